"""The plots of tables: curves over omega, bars of hypervolumes."""

from pathlib import Path

from matplotlib.figure import Figure

from tunable.files import atomic

FAMILIES = {  # first word of a method -> colour
    "plain": "#000000",
    "DNI": "#7f7f7f",
    "DyNet": "#1f77b4",
    "CFSNet": "#17becf",
    "AdaFM": "#9467bd",
    "CResMD": "#8c564b",
    "tunable": "#d62728",
    "strength": "#ff7f0e",
    "blend": "#2ca02c",
    "output": "#98df8a",
}
STYLES = ("-", "--", ":", "-.")


def style(method: str, methods: list[str]) -> dict:
    """Colour by family, dashes by the place in it."""
    family = method.split()[0]
    place = [each for each in methods if each.split()[0] == family].index(method)
    return {"color": FAMILIES.get(family, "#444444"), "linestyle": STYLES[place % len(STYLES)]}


Lines = dict[str, tuple[list[float], list[float]]]  # method -> places and values


def curves(path: Path, panels: list[tuple[str, Lines, tuple[float, float] | None]], label: str) -> None:
    """Draw panels side by side: what the axis says, lines, and the range of the axis, None for all."""
    methods = list(dict.fromkeys(method for _, lines, _ in panels for method in lines))
    figure = Figure(figsize=(6 * len(panels), 4.6))
    for axes, (title, lines, limits) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for method, (places, values) in lines.items():
            axes.plot(places, values, marker="o", markersize=3, label=method, **style(method, methods))
        axes.set_xlabel(label)
        axes.set_ylabel(title)
        axes.grid(alpha=0.3)
        if limits:
            axes.set_ylim(limits)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    figure.tight_layout()
    _save(figure, path)


def bars(path: Path, values: dict[str, list[float]], title: str) -> None:
    """Draw one bar for each method, its mean over seeds, with a dot for every seed."""
    methods = list(values)
    figure = Figure(figsize=(7, 0.32 * len(methods) + 1))
    axes = figure.subplots()
    means = [sum(each) / len(each) for each in values.values()]
    axes.barh(methods, means, color=[style(method, methods)["color"] for method in methods], alpha=0.75)
    for place, each in enumerate(values.values()):
        axes.plot(each, [place] * len(each), "k.", markersize=4)
    axes.invert_yaxis()
    axes.set_xlabel(title)
    axes.grid(alpha=0.3, axis="x")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")
