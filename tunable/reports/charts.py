"""The project's plots (matplotlib, written without a display)."""

from pathlib import Path
from typing import Any

import numpy as np

from tunable.analysis import Analysis, Profile
from tunable.evaluation.sentences import is_enlarged
from tunable.files import atomic
from tunable.omega import format_omega
from tunable.response import KnobCertificate
from tunable.training.comparing import LAST, Run
from tunable.training.records import SCORE

COLOURS = {"torch": "#d1495b", "mindspore": "#00798c"}


def _panels(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, Any]:
    """A figure of `size` inches and its axes (rows, columns)."""
    from matplotlib.figure import Figure  # here: most commands draw nothing

    figure = Figure(figsize=size)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _save(figure: Any, path: str | Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")


_DECIBELS = {
    "psnr": "PSNR",
    "psnr_y": r"PSNR$_Y$",
    "psnr_eta": r"PSNR$_\eta$",
    "psnr_gamma": r"PSNR$_\gamma$",
}


def metrics_over_omega(path: str | Path, summary: list[dict]) -> None:
    """Draw PSNR in all its forms, as the mean over the levels, against omega_1 (p <= 2, on a line) or per point.

    Of a network that enlarges, sharpness is drawn too, on an axis of its own.

    Args:
        path: the PNG.
        summary: the means, as tunable.evaluation.measuring.summarise returns them.
    """
    rows = [row for row in summary if row["sigma"] == "mean"]
    figure, ((axes,),) = _panels(1, 1, (6, 3.6))
    on_line = all(len(row["omega"]) == 2 and abs(sum(row["omega"]) - 1) < 1e-6 for row in rows)
    places = [row["omega"][0] for row in rows] if on_line else list(range(len(rows)))
    for name, label in _DECIBELS.items():
        values = [row[name] for row in rows]
        if not np.all(np.isnan(values)):
            axes.plot(places, values, "o-", label=label)
    if on_line:
        axes.set_xlabel(r"$\omega_1$   ($\omega_2 = 1 - \omega_1$)")
    else:
        axes.set_xlabel(r"$\omega$")
        axes.set_xticks(places, ["(" + ", ".join(f"{v:g}" for v in row["omega"]) + ")" for row in rows], rotation=90)
    axes.grid(alpha=0.3)
    if is_enlarged(rows):
        axes.set_ylabel("dB")
        right = axes.twinx()
        right.plot(places, [row["sharpness"] for row in rows], "s--", color="#555", label="sharpness")
        right.set_ylabel("sharpness, truth = 1")
        axes.plot([], [], "s--", color="#555", label="sharpness")  # one legend for both axes
    else:
        axes.set_ylabel("dB, mean over ρ and σ" if any(row["rho"] for row in rows) else "dB, mean over σ")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=4)
    _save(figure, path)


def loss_curves(path: str | Path, curves: dict[str, np.ndarray], window: int = 25) -> None:
    """Draw the training losses of several backends over each other, and their gap below.

    Args:
        path: the PNG.
        curves: the loss of every step, by backend; drawn pale.
        window: steps of the running mean, which is drawn in full colour.
    """
    figure, ((axes,), (gap,)) = _panels(2, 1, (7, 5), sharex=True, height_ratios=(3, 1))
    for index, (name, losses) in enumerate(curves.items()):
        steps = np.arange(1, len(losses) + 1)
        width = min(window, len(losses))
        smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
        style = {"color": COLOURS.get(name), "linewidth": 3.5 if index == 0 else 1.5}
        axes.plot(steps, losses, color=COLOURS.get(name), alpha=0.15)
        axes.plot(steps[width - 1 :], smooth, label=name, **style)
    axes.set_yscale("log")
    axes.set_ylabel("loss")
    axes.legend()
    axes.grid(alpha=0.3)
    if len(curves) == 2:
        first, second = curves.values()
        length = min(len(first), len(second))
        difference = np.abs(second[:length] - first[:length]) / np.abs(first[:length])
        gap.plot(np.arange(1, length + 1), np.maximum(difference, 1e-9), color="#555", linewidth=0.8)
        gap.set_yscale("log")
    gap.set_ylabel("relative gap")
    gap.set_xlabel("step")
    gap.grid(alpha=0.3)
    _save(figure, path)


def training_curves(path: str | Path, runs: list[Run]) -> None:
    """Draw the loss of every run against its steps, a running mean in full colour, and below it the validations.

    Args:
        path: the PNG or SVG.
        runs: as `tunable.training.comparing.find_runs` returns them.
    """
    figure, ((losses,), (scores,)) = _panels(2, 1, (8, 6.5), sharex=True)
    for number, run in enumerate(runs):
        style = {"color": f"C{number % 10}", "label": _literal(str(run.folder))}
        steps, values = run.steps["step"], run.steps.get("loss", [])
        if values:
            width = min(LAST, max(1, len(values) // 10))
            losses.plot(steps, values, alpha=0.15, linewidth=0.6, color=style["color"])
            losses.plot(steps[width - 1 :], np.convolve(values, np.ones(width) / width, mode="valid"), **style)
        measured = run.validations.get(SCORE, [])
        scores.plot(run.validations["step"][: len(measured)], measured, "o-", markersize=3, **style)
    losses.set_yscale("log")
    losses.set_ylabel("loss")
    losses.legend(fontsize=8)
    scores.set_ylabel("validation score, dB")
    scores.set_xlabel("step")
    for axes in (losses, scores):
        axes.grid(alpha=0.3)
    figure.tight_layout()
    _save(figure, path)


def layer_overheads(path: str | Path, rows: list[dict], claims: dict[int, float]) -> None:
    """Draw the overhead of one omega over channels, a panel for each kernel size of dense convolutions.

    Args:
        path: the PNG.
        rows: what tunable.benchmark.layer_timing.summary returned.
        claims: by p, the overhead below which the paper finds it, which is drawn dashed.
    """
    rows = [row for row in rows if (row["kind"], row["batch"], row["backward"]) == ("dense", 1, False) and row["p"]]
    kernels = sorted({row["kernel"] for row in rows})
    figure, panels = _panels(1, len(kernels), (4 * len(kernels), 3.6), sharey=True)
    for kernel, axes in zip(kernels, panels[0], strict=True):
        for name in dict.fromkeys(row["backend"] for row in rows):
            for p, style in zip(claims, (":", "--", "-"), strict=True):
                line = [row for row in rows if (row["backend"], row["kernel"], row["p"]) == (name, kernel, p)]
                axes.plot(
                    [row["channels"] for row in line],
                    [100 * (row["ratio"] - 1) for row in line],
                    style,
                    marker="o",
                    markersize=3,
                    color=COLOURS.get(name),
                    label=f"{name}, p = {p}",
                )
        for claim in sorted(set(claims.values())):
            axes.axhline(100 * claim, color="#999", linewidth=0.8, linestyle="-.")
        axes.axhline(0, color="#000", linewidth=0.6)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({row["channels"] for row in rows}), sorted({row["channels"] for row in rows}))
        axes.set_title(f"{kernel}x{kernel}")
        axes.set_xlabel("channels")
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("time over an ordinary convolution, %")
    panels[0][-1].legend(fontsize=7, title="dash-dotted: the paper's bounds", title_fontsize=7)
    _save(figure, path)


def knob_responses(path: str | Path, certificate: KnobCertificate) -> None:
    """Draw every knob's measure over its travel, a line per path, dead zones shaded; below it, how far colours shift.

    What was not judged is dashed.

    Args:
        path: the PNG.
        certificate: of the knobs.
    """
    names = list(certificate.objectives)
    figure, panels = _panels(2, len(names), (max(4.2 * len(names), 5.5), 5.6), height_ratios=(2.2, 1), sharex="col")
    limit = certificate.tolerances.cast
    for name, upper, lower in zip(names, *panels, strict=True):
        responses = [response for response in certificate.responses if response.knob == name]
        place = names.index(name)
        for number, response in enumerate(responses):
            travel = [omega[place] for omega in response.omegas]
            style = {"color": f"C{number}", "linestyle": "--" if response.unjudged else "-"}
            label = _literal(response.path) + (", not judged" if response.unjudged else "")
            upper.plot(travel, response.values, marker="o", markersize=4, label=label, **style)
            for low, high in response.dead_zones:
                upper.axvspan(low, high, color=f"C{number}", alpha=0.12, linewidth=0)
            for colour, channel in zip(("#c0392b", "#1e8449", "#2e6da4"), range(3), strict=True):
                shifts = [abs(cast[channel]) for cast in response.casts]
                lower.plot(travel, shifts, color=colour, linestyle=style["linestyle"], linewidth=1.2, alpha=0.8)
        upper.set_title(_literal(name))
        upper.set_ylabel(responses[0].measure + (f", {responses[0].unit}" if responses[0].unit else ""))
        upper.legend(fontsize=8)
        low, high = upper.get_ylim()
        margin = (5 * responses[0].least - (high - low)) / 2
        if margin > 0:  # a range that counts as nothing looks like nothing
            upper.set_ylim(low - margin, high + margin)
        lower.set_ylabel("largest shift of red,\ngreen, blue, 1/255")
        lower.set_xlabel(f"ω of {_literal(name)}")
        if limit is not None:
            lower.axhline(limit, color="#777", linewidth=0.9, linestyle=":")
        lower.set_ylim(bottom=0)
        for axes in (upper, lower):
            axes.grid(alpha=0.3)
    figure.tight_layout()
    _save(figure, path)


def blocks_in_the_plane(path: str | Path, analysis: Analysis) -> None:
    """Draw where the kernels of every block lie (Fig. 8): a colour for each block, and for each setting a point.

    Points are joined in the order of the settings, and grow from the first setting to the last.

    Args:
        path: the PNG.
        analysis: of the kernels.
    """
    figure, ((axes,),) = _panels(1, 1, (7, 6.4))
    colours = _colours(len(names := list(dict.fromkeys(point.block for point in analysis.points))))
    for name, colour in zip(names, colours, strict=True):
        points = [point for point in analysis.points if point.block == name]
        x, y = ([getattr(point, axis) for point in points] for axis in "xy")
        axes.plot(x, y, color=colour, linewidth=0.8, alpha=0.6)
        axes.scatter(x, y, s=np.linspace(12, 60, len(points)), color=colour, alpha=0.85, linewidths=0)
        top = int(np.argmax(y))
        axes.annotate(_literal(name), (x[top], y[top]), (0, 5), textcoords="offset points", ha="center", fontsize=7)
    first, last = (format_omega(analysis.points[place].omega) for place in (0, -1))
    axes.set_title(f"kernels of every block, from ω = {first} (small) to {last} (large)", fontsize=10)
    axes.set_xlabel("t-SNE, first axis")
    axes.set_ylabel("t-SNE, second axis")
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    _save(figure, path)


def kernels_along_lines(path: str | Path, profiles: list[Profile]) -> None:
    """Draw the kernels of layers by their first principal component along lines (Fig. 9).

    Above, a line for each kernel: its place along the component that all kernels have together. Below, where kernels
    are pictures of red, green and blue, their first component at each setting; grey is 0.

    Args:
        path: the PNG.
        profiles: of the layers, line by line.
    """
    layers = list(dict.fromkeys(profile.layer for profile in profiles))
    lines = list(dict.fromkeys(profile.line for profile in profiles))
    figure, panels = _panels(
        2 * len(lines), len(layers), (6.2 * len(layers), 3.6 * len(lines)), height_ratios=(4, 1) * len(lines)
    )
    for profile in profiles:
        row, column = 2 * lines.index(profile.line), layers.index(profile.layer)
        upper, lower = panels[row][column], panels[row + 1][column]
        places = np.arange(len(profile.omegas))
        for score, colour in zip(profile.scores, _colours(len(profile.scores)), strict=True):
            upper.plot(places, score, color=colour, linewidth=0.9)
        share = f"{100 * profile.share:.0f} % of their variance"
        upper.set_title(f"{_literal(profile.layer)}: {len(profile.scores)} kernels, {share}", fontsize=10)
        upper.set_ylabel("first component")
        upper.set_xlim(-0.5, len(places) - 0.5)
        upper.grid(alpha=0.3)
        shown = [0, len(places) // 2, len(places) - 1]
        ticks = (shown, [format_omega(profile.omegas[place]) for place in shown])
        if profile.pictures is None:
            lower.axis("off")
            upper.set_xticks(*ticks)
            continue
        gap = np.full((3, profile.pictures.shape[2], 1), np.nan)
        strip = np.concatenate([np.concatenate([each, gap], axis=2) for each in profile.pictures], axis=2)
        colours = 0.5 + 0.5 * strip / (np.nanmax(np.abs(strip)) or 1)
        shift = 0.5 / (1 + profile.pictures.shape[3])  # half a gap, which stands behind each picture
        lower.imshow(np.nan_to_num(colours, nan=1.0).transpose(1, 2, 0), aspect="auto", interpolation="nearest",
                     extent=(-0.5 + shift, len(places) - 0.5 + shift, 0, 1))  # fmt: skip
        lower.set_xlim(upper.get_xlim())
        upper.set_xticks(shown, [])
        lower.set_xticks(*ticks)
        lower.set_yticks([])
        lower.set_xlabel("ω")
    figure.tight_layout(h_pad=0.3)
    _save(figure, path)


def _colours(count: int) -> Any:
    """As many colours, from the first to the last of a scale."""
    from matplotlib import colormaps

    return colormaps["turbo"](np.linspace(0.05, 0.95, count))


def _literal(text: str) -> str:
    """A text that may hold dollar signs, none of which begins a formula."""
    return text.replace("$", r"\$")
