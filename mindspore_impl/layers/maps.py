"""omega as a map (N, p, H, W), every pixel its own setting, at the scales that a network has inside.

A layer takes a map of its output's pixels. What is no map (None, (p,), (N, p), what `layers.mixing` has mixed) is
passed on as it is.
"""

from typing import Any

from mindspore_impl import ops


def is_map(omega: Any) -> bool:
    """Return whether omega is a map."""
    return omega is not None and not isinstance(omega, tuple) and omega.ndim > 2


def at_scale(omega: Any, factor: int, multiple: int = 1) -> Any:
    """Return the map for a layer whose pixels are factor x factor of the picture's: the means of these cells.

    Args:
        omega: (N, p, H, W), a value for every pixel of the picture.
        factor: how many pixels a side a cell has; the first one lies at the top left.
        multiple: what the network pads its pictures to multiples of, itself a multiple of `factor`; the map is padded
            by replication.

    Returns:
        (N, p, H' / factor, W' / factor), H' and W' the next multiples.
    """
    if not is_map(omega):
        return omega
    omega = ops.pad_to_multiple(omega, multiple, "replicate")
    return omega if factor == 1 else ops.mean_pool(omega, factor)


def enlarged(omega: Any, factor: int) -> Any:
    """Return the map for a layer whose pixels are a factor finer than those of omega (N, p, H, W): each repeated."""
    return omega if not is_map(omega) or factor == 1 else ops.nearest(omega, factor)


def pooled(omega: Any) -> Any:
    """Return omega for a layer of what the whole picture's pixels have been averaged to: the map's mean, (N, p)."""
    return omega if not is_map(omega) else omega.mean((2, 3))
