"""omega as a map (N, p, H, W), every pixel its own setting, at the scales that a network has inside.

A layer takes a map of its output's pixels. What is no map (None, (p,), (N, p)) is passed on as it is.
"""

import mindspore as ms

from mindspore_impl import ops


def at_scale(omega: ms.Tensor | None, factor: int, multiple: int = 1) -> ms.Tensor | None:
    """Return the map for a layer whose pixels are factor x factor of the picture's: the means of these cells.

    Args:
        omega: (N, p, H, W), a value for every pixel of the picture.
        factor: how many pixels a side a cell has; the first one lies at the top left.
        multiple: what the network pads its pictures to multiples of, itself a multiple of `factor`; the map is padded
            by replication.

    Returns:
        (N, p, H' / factor, W' / factor), H' and W' the next multiples.
    """
    if omega is None or omega.ndim < 3:
        return omega
    omega = ops.pad_to_multiple(omega, multiple, "replicate")
    return omega if factor == 1 else ops.mean_pool(omega, factor)


def enlarged(omega: ms.Tensor | None, factor: int) -> ms.Tensor | None:
    """Return the map for a layer whose pixels are a factor finer than those of omega (N, p, H, W): each repeated."""
    return omega if omega is None or omega.ndim < 3 or factor == 1 else ops.nearest(omega, factor)


def pooled(omega: ms.Tensor | None) -> ms.Tensor | None:
    """Return omega for a layer of what the whole picture's pixels have been averaged to: the map's mean, (N, p)."""
    return omega if omega is None or omega.ndim < 3 else omega.mean((2, 3))
