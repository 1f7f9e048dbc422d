"""--omega-map: omega from pictures, every pixel its own setting."""

import argparse
import hashlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tunable.errors import OmegaError, nearest, shown
from tunable.images.pictures import read_picture, to_floats
from tunable.omega import check_omega, check_range
from tunable.weights.storage import Header

_MOST_SETTINGS = 1000  # of a map that are looked at: a mask of 8 bits has 256 of each knob


def add_omega_map(parser: argparse.ArgumentParser) -> None:
    """Add --omega-map."""
    parser.add_argument(
        "--omega-map",
        action="append",
        metavar="[KNOB=]MASK",
        help="A setting for every pixel, from a picture of the same size: black is 0, white is 1. Give one grey "
        "picture for each knob, in order or by name (--omega-map fidelity=a.png --omega-map noise=b.png), or one "
        "colour picture whose red, green and blue are the knobs in order. A number in place of a picture, noise=0.3, "
        "is the same everywhere. For the knobs fidelity and noise one grey picture alone is the strength: white cleans "
        "fully, black not at all.",
    )


def read_omega_map(words: Sequence[str], header: Header, extrapolate: bool, max_pixels: int | None) -> np.ndarray:
    """Read the pictures that --omega-map names as a map (1, p, H, W) for a network; numbers alone as (p,).

    Args:
        words: what was given, each a picture's path, or KNOB=PATH or KNOB=NUMBER.
        header: names the knobs, and where they were trained.
        extrapolate: whether values outside of the trained range are taken.
        max_pixels: of a picture; None: the usual limit.

    Raises:
        OmegaError: for other knobs or sizes, or another number of maps, than the network's.
        DataError: for what is no picture.
    """
    names = header.objectives
    split = [word.partition("=") for word in words]
    values = {name: value for name, equals, value in split if equals and name in names}
    unknown = next((parts for parts in split if parts[1] and parts[0] not in names), None)
    if unknown and (values or not os.path.exists("".join(unknown))):
        known = f"{nearest(unknown[0], names)}; the knobs are {', '.join(names)}"
        raise OmegaError(f"--omega-map {shown(''.join(unknown))} names no knob{known}")
    if not values:
        maps = _in_order(words, names, max_pixels)
    elif len(values) < len(words):
        raise OmegaError("--omega-map wants each knob once, and a name for all or for none")
    elif missing := [name for name in names if name not in values]:
        raise OmegaError(f"--omega-map lacks {', '.join(missing)}: a picture or a number, such as {missing[0]}=0.5")
    else:
        maps = [_number_or_map(values[name], max_pixels) for name in names]
    sizes = {each.shape for each in maps if each.size > 1} or {(1, 1)}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}x{height}" for height, width in sorted(sizes))
        raise OmegaError(f"the pictures of --omega-map must have one size, not {listed}")
    omega = np.stack(np.broadcast_arrays(*maps))[None].astype(np.float32)
    omega = omega[0, :, 0, 0] if sizes == {(1, 1)} else omega
    return omega if extrapolate else check_range(omega, header.omega_range)


def settings_in(rows: Iterable[Iterable[np.ndarray | None]]) -> list[np.ndarray]:
    """Return the settings (p,) of the rows of a sheet, those of a map (1, p, H, W) each once."""
    each = [omega for row in rows for omega in row if omega is not None]
    return [setting for omega in each for setting in (_settings_in(omega) if omega.ndim == 4 else [omega])]


def noted(rows: Iterable[Iterable[np.ndarray | None]]) -> list[list[Any]]:
    """Return what says which settings were given: their numbers, of a map their digest."""
    return [[_noted(omega) for omega in row] for row in rows]


def _settings_in(omega: np.ndarray) -> list[np.ndarray]:
    """Of many settings an even choice."""
    rows = np.ascontiguousarray(np.moveaxis(omega[0], 0, -1).reshape(-1, omega.shape[1]))
    each = np.unique(rows.view(f"V{rows.itemsize * rows.shape[1]}")).view(rows.dtype).reshape(-1, rows.shape[1])
    return list(each[:: -(-len(each) // _MOST_SETTINGS)])


def _noted(omega: np.ndarray | None) -> Any:
    if omega is None or omega.ndim < 4:
        return None if omega is None else omega.tolist()
    return [*omega.shape, hashlib.sha256(omega.tobytes()).hexdigest()]


def _in_order(words: Sequence[str], names: Sequence[str], max_pixels: int | None) -> list[np.ndarray]:
    """The maps (H, W) of pictures without names."""
    p, knobs = len(names), f"{len(names)} knob{'s' * (len(names) > 1)} ({', '.join(names)})"
    maps = [each for word in words for each in _channels(word, p if len(words) == 1 else 1, max_pixels)]
    if len(words) == 1 and len(maps) == 1 and set(names) == {"fidelity", "noise"}:
        strength = maps[0]  # as omega.of_strength
        return [strength if name == "fidelity" else 1 - strength for name in names]
    if len(maps) != p:
        raise OmegaError(
            f"--omega-map has {len(maps)} map{'s' * (len(maps) > 1)} for {knobs}: give one grey picture for each, or a "
            f"number, by name, such as {' '.join(f'--omega-map {name}=0.5' for name in names)}"
        )
    return maps


def _channels(word: str, most: int, max_pixels: int | None) -> list[np.ndarray]:
    """The map of a grey picture, or those of the first `most` channels of a colour picture."""
    picture = read_picture(word, max_pixels)
    if picture.alpha is not None and to_floats(picture.alpha).min() < 1:
        raise OmegaError(f"{word} is partly transparent: a map is a picture without transparency")
    levels = to_floats(picture.levels)
    if picture.grey or (most < 3 and np.ptp(picture.levels, axis=2).max() == 0):
        return [levels[:, :, 0]]
    used = [number for number in range(3) if levels[:, :, number].any()]
    if used and used[-1] >= most:
        wanted = "a grey picture is wanted" if most == 1 else "for two knobs its third channel, blue, must be black"
        raise OmegaError(f"{word} holds more maps than knobs: {wanted}")
    return [levels[:, :, number] for number in range(min(most, 3))]


def _number_or_map(value: str, max_pixels: int | None) -> np.ndarray:
    try:
        number = float(value)
    except ValueError:
        return _channels(value, 1, max_pixels)[0]
    try:
        return check_omega([[number]], 1)
    except OmegaError:
        raise OmegaError(f"--omega-map wants a picture or a finite number, not {shown(value)}") from None
