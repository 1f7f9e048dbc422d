"""Timing single layers (Fig. 3): what one omega costs, what omega per sample costs, and in which form the least.

A layer's cases take turns in one process, in an order drawn anew every round, and every number is the median over
rounds of a case's time over the ordinary layer's in the same round. That of the ordinary layer's second copy tells
how far such a number is from the truth. phi is the paper's, affine: p kernels.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tunable.backends.protocol import Framework
from tunable.benchmark.layers import Layer
from tunable.benchmark.turns import in_turns
from tunable.forms import KINDS, runnable

ORDINARY, AGAIN, SHARED = "ordinary", "ordinary, again", "shared"
WIDE = 128  # `basis` costs p ordinary layers: it is timed up to this many kernels times channels
SECONDS = 2.0  # rounds go on for as long, so that small layers get many
TURN = 0.004  # seconds: in its turn a case runs for as long


class Case(NamedTuple):
    """ORDINARY or AGAIN (p 0); SHARED, one omega; or a form, omega per sample."""

    form: str
    p: int = 0


OBJECTIVES = (2, 4, 8)
CHANNELS = (16, 32, 64, 128, 256)
OTHERS = (("depthwise", 3), ("pointwise", 1), ("linear", 1))
LAYERS = (
    *(Layer("dense", kernel, channels) for kernel in (3, 5, 7) for channels in CHANNELS),
    *(Layer("dense", 3, channels, 4) for channels in CHANNELS),
    *(Layer("dense", kernel, channels, 4) for kernel in (5, 7) for channels in CHANNELS[:3]),
    *(Layer("dense", 3, channels, batch, True) for batch in (1, 4) for channels in CHANNELS[:3]),
    *(Layer(*other, channels, batch) for batch in (1, 4) for other in OTHERS for channels in CHANNELS),
    *(Layer(*other, 64, 4, True) for other in OTHERS),
)
QUICK = (Layer("dense", 3, 16), Layer("dense", 3, 16, 4), *(Layer(*other, 16, 4) for other in OTHERS[:2]))


def cases(layer: Layer, device: str) -> list[Case]:
    """Return the cases in which a layer is timed."""
    forms = runnable(device, layer.kind) if layer.kind in KINDS else ("matmul",)
    forms = (SHARED,) if layer.batch == 1 else forms
    objectives = OBJECTIVES if layer.kind == "dense" and not layer.backward else OBJECTIVES[1:2]
    tunable = (Case(form, p) for form in forms for p in objectives)
    return [Case(ORDINARY), *(c for c in tunable if c.form != "basis" or c.p * layer.channels <= WIDE), Case(AGAIN)]


def measure(backend: Framework, layers: Iterable[Layer], rounds: int, seconds: float = SECONDS) -> Iterable[dict]:
    """Time layers, one after the other.

    Args:
        backend: the framework, on its device and in its mode.
        layers: what is timed.
        rounds: how many rounds each layer has at least.
        seconds: how long the rounds of each layer go on at least.

    Yields:
        One row per layer and case: their fields, `device`, and `seconds` of each round.
    """
    for layer in layers:
        calls = {case: backend.layer_call(layer, *case) for case in cases(layer, _kind(backend.device))}
        for case, times in in_turns(calls, rounds, seconds=seconds, turn=TURN).items():
            yield {"device": backend.device, **layer._asdict(), **case._asdict(), "seconds": times}


def summary(name: str, rows: list[dict]) -> list[dict]:
    """Join the turns of one framework's rows: medians of seconds and of the ratio, and the ratio's quartiles."""
    joined: dict[tuple, dict] = {}
    for row in rows:
        known = joined.setdefault((*_layer(row), row["form"], row["p"]), {**row, "seconds": []})
        known["seconds"] = known["seconds"] + row["seconds"]
    rows = list(joined.values())
    ordinary = {_layer(row): np.array(row["seconds"]) for row in rows if row["form"] == ORDINARY}
    summaries = []
    for row in rows:
        ratios = np.array(row["seconds"]) / ordinary[_layer(row)]
        low, ratio, high = (float(value) for value in np.percentile(ratios, (25, 50, 75)))
        times = {"rounds": len(ratios), "seconds": float(np.median(row["seconds"]))}
        summaries.append({"backend": name, **row, **times, "ratio": ratio, "low": low, "high": high})
    return summaries


def fastest(rows: list[dict]) -> dict[str, dict[str, str]]:
    """Device -> kind of layer -> the form with the least geometric mean of ratios, of the rows of one framework.

    It takes the layers and p for which every form was timed, and has the shape in which tunable.forms holds it.
    """
    forms_of: dict[str, dict[str, str]] = {}
    for device in dict.fromkeys(row["device"] for row in rows):
        for kind in KINDS:
            forms = runnable(_kind(device), kind)
            cases = [row for row in rows if (row["device"], row["kind"]) == (device, kind) and row["form"] in forms]
            means = {form: value for form, value in _means(cases, forms).items() if np.isfinite(value)}
            if means:
                forms_of.setdefault(_kind(device), {})[kind] = min(means, key=means.__getitem__)
    return forms_of


def _means(rows: list[dict], forms: tuple[str, ...]) -> dict[str, float]:
    ratios: dict[tuple, dict[str, float]] = {}
    for row in rows:
        ratios.setdefault((*_layer(row), row["p"]), {})[row["form"]] = row["ratio"]
    whole = [entry for entry in ratios.values() if len(entry) == len(forms)]
    if not whole:
        return {}
    return {form: float(np.exp(np.mean([np.log(entry[form]) for entry in whole]))) for form in forms}


def _layer(row: dict) -> tuple:
    return tuple(row[field] for field in Layer._fields)


def _kind(device: str) -> str:
    """cuda:1 -> cuda."""
    return device.partition(":")[0]
