"""How kernels move with omega, for people: a Markdown table, files, and a self-contained page."""

import math
from dataclasses import asdict
from pathlib import Path

from tunable.analysis import Analysis, Movement
from tunable.analysis.embedding import MOST_COMPONENTS
from tunable.analysis.movement import SETTINGS
from tunable.files import write_text
from tunable.images.folders import some
from tunable.reports import charts, tables
from tunable.reports.page import embedded, render

FILES = ("analysis.md", "blocks.csv", "points.csv", "kernels.csv", "blocks.png", "kernels.png", "analysis.html")
HEADINGS = ("block", "line", "kernels", "numbers", "moved", "turned", "first component", "bend")
_STRAIGHT = 1e-6  # a bend that rounding of float32 makes


def write(out: str | Path, analysis: Analysis) -> None:
    """Write `FILES` into folder `out`: the table, its numbers, those of both plots, the plots, and the page."""
    markdown, blocks, points, kernels, plane, lines, html = (Path(out) / name for name in FILES)
    write_text(markdown, document(analysis))
    write_text(blocks, tables.to_csv([asdict(each) for each in analysis.movements]))
    write_text(points, tables.to_csv([asdict(each) for each in analysis.points]))
    write_text(kernels, tables.to_csv(scores(analysis)))
    charts.blocks_in_the_plane(plane, analysis)
    charts.kernels_along_lines(lines, analysis.profiles)
    write_text(html, page(analysis, plane, lines))


def document(analysis: Analysis) -> str:
    """Write the analysis as Markdown: what was found, the table, and what its numbers mean."""
    rows = [HEADINGS, ["---"] * len(HEADINGS), *map(cells, analysis.movements)]
    table = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([conclusion(analysis), "", *table, "", *(f"{note}\n" for note in notes(analysis))])


def conclusion(analysis: Analysis) -> str:
    """Say in one sentence whether the kernels move on straight lines, and how far."""
    moving = [each for each in analysis.movements if not math.isnan(each.bend)]
    if not moving:
        return f"The kernels of {analysis.source} do not move between the corners of ω."
    least, most = (pick(each.moved for each in moving) for pick in (min, max))
    far = f"by {100 * least:.0f} to {100 * most:.0f} % of their norm" if least < most else f"by {100 * most:.0f} %"
    bend = max(moving, key=lambda each: each.bend)
    if bend.bend < _STRAIGHT:
        return f"The kernels of {analysis.source} move {far}, evenly and on straight lines."
    return (
        f"The kernels of {analysis.source} move {far}, not on straight lines: {bend.block} strays by "
        f"{100 * bend.bend:.2g} % of its way along {bend.line}."
    )


def cells(movement: Movement) -> list[str]:
    """Return a row of the table, in the order of HEADINGS."""
    return [
        movement.block,
        movement.line,
        str(movement.layers),
        f"{movement.values:,}",
        f"{100 * movement.moved:.1f} %",
        f"{movement.turned:.1f}°",
        "-" if math.isnan(movement.first) else f"{100 * movement.first:.2f} %",
        "-" if math.isnan(movement.bend) else "0" if movement.bend < _STRAIGHT else f"{100 * movement.bend:.2g} %",
    ]


def notes(analysis: Analysis) -> list[str]:
    """Say what the numbers mean, a paragraph each."""
    trained = f" It was trained at ω {analysis.trained}." if analysis.trained else ""
    left = f"No ω changes {some(list(analysis.fixed))}: left out." if analysis.fixed else ""
    notes = [
        f"ω: {', '.join(analysis.objectives)}.{trained} Every line has {SETTINGS} settings. Biases are left out.",
        left,
        "Moved: the distance between the kernels at both ends of the line, over the norm of the longer of the two. "
        "Turned: the angle between them; 0° where they differ in length alone.",
        "First component: its share of the variance of the kernels along the line, 100 % on a straight one. Bend: the "
        "largest distance from an even way on the straight line between the ends, over the distance of these.",
        f"Points of the first plot: kernels of a block as one vector, PCA to at most {MOST_COMPONENTS} components of "
        f"all blocks, then t-SNE with seed {analysis.seed}; blocks of different shapes are orthogonal. t-SNE keeps "
        "neighbours together. It may bend a straight line, and its distances between blocks mean nothing.",
        "Second plot: the kernels of the first and of the last layer by their first principal component, which all "
        "settings and kernels have together; below, the first component of the kernels at each setting as a picture, "
        "where they are pictures of red, green and blue.",
    ]
    return [note for note in notes if note]


def page(analysis: Analysis, plane: Path, lines: Path) -> str:
    """Write the analysis as one HTML page, with both plots inside it."""
    return render(
        "analysis.html.j2",
        title="How the kernels move",
        conclusion=conclusion(analysis),
        plane=embedded(plane),
        lines=embedded(lines),
        headings=HEADINGS,
        rows=[cells(each) for each in analysis.movements],
        notes=notes(analysis),
    )


def scores(analysis: Analysis) -> list[dict]:
    """Return the numbers of the second plot, a row for each kernel of a layer at each setting."""
    return [
        {
            "layer": profile.layer,
            "line": profile.line,
            "omega": omega,
            "kernel": number,
            "first_component": float(score),
        }
        for profile in analysis.profiles
        for number, line in enumerate(profile.scores)
        for omega, score in zip(profile.omegas, line, strict=True)
    ]
