"""What strength tables measure: central crops of whole sets, restored by a weights file at several settings."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from statistics import fmean

import numpy as np
import runs

from tunable import api
from tunable.data.patches import find_pictures
from tunable.evaluation import metrics
from tunable.evaluation.samples import samples
from tunable.files import write_text
from tunable.images.pictures import from_network, to_network
from tunable.reports import tables

Omega = tuple[float, ...]


@cache
def degraded_set(name: str, sigma: float, crop: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Central crops of a set's first pictures, clean and with the protocol's noise, float32 (count, 3, crop, crop)."""
    paths = find_pictures([f"${{TUNABLE_DATA}}/{name}"])[:count]
    found = list(samples(paths, [(sigma, 0.0)], 1, crop=crop))
    pairs = [(to_network(sample.clean), to_network(sample.degraded)) for sample in found]
    clean, degraded = map(np.concatenate, zip(*pairs, strict=True))
    return clean, degraded


def restorer(path: Path) -> Callable[[np.ndarray, Omega], np.ndarray]:
    """A weights file as a function of pictures and omega, folded where it can be; a plain one ignores omega."""
    model = api.load(path, "torch")

    @cache
    def at(omega: Omega):
        return model.fold(omega) if model.folds else model

    def restore(pictures: np.ndarray, omega: Omega) -> np.ndarray:
        given = omega if model.objectives and not model.folds else None
        return np.concatenate([at(omega).run(one[None], given) for one in pictures])  # all at once fit no cache

    return restore


def measured(restored: np.ndarray, clean: np.ndarray, degraded: np.ndarray, omega: Omega, nu: float) -> dict:
    """PSNR to y and to y_eta in dB, and both objectives' own losses at their full ends, means over pictures."""
    kept = {share: clean + share * nu * (degraded.astype(np.float64) - clean) for share in (0.0, omega[1], 1.0)}
    return {
        "psnr": _psnr(restored, kept[0.0]),
        "psnr_eta": _psnr(restored, kept[omega[1]]),
        "rec": float(np.mean(np.abs(restored - kept[0.0]))),
        "noise": float(np.mean(np.abs(restored - kept[1.0]))),
    }


def _psnr(restored: np.ndarray, target: np.ndarray) -> float:
    pairs = zip(restored, target, strict=True)
    return fmean(metrics.psnr(from_network(a[None]), from_network(b[None])) for a, b in pairs)


def kept_rows(path: Path, make: Callable[[], Iterable[dict]]) -> list[dict]:
    """The rows of a CSV, which is made unless it is there; numbers are numbers."""
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tables.to_csv(list(make())))
    return [{key: _number(value) for key, value in row.items()} for row in runs.rows_of(path)]


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
