"""The knob certificate for people: a Markdown table, files, and a self-contained page."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from tunable.files import write_text
from tunable.images.folders import counted
from tunable.omega import format_omega
from tunable.reports import charts, tables
from tunable.reports.page import embedded, render
from tunable.response import KnobCertificate, Response
from tunable.response.judging import COLOURS, DEAD_ZONE
from tunable.response.measures import MOST_PSNR
from tunable.response.paths import SETTINGS

FILES = ("knobs.md", "knobs.csv", "knobs.png", "knobs.html")
HEADINGS = ("knob", "measure", "path", "from → to", "range", "steps back", "dead zones", "cast", "seam", "verdict")
MEANINGS = {
    "noise kept": "the share of what was degraded that is left: r of the least-squares fit restored = y + r (z - y), y "
    "the clean and z the degraded picture",
    "residue kept": "r of the least-squares fit restored = y + r d, y the clean picture and d what that degradation "
    "changed",
    "PSNR": f"to the clean picture, at most {MOST_PSNR:g} dB, for finer differences are lost in 8 bits",
    "sharpening": "c of the least-squares fit restored = y + c (y - g * y), g a Gaussian of 9x9 pixels and sigma 2.5; "
    "0 is as sharp as the truth, and less is blurred",
    "sharpness": "mean absolute Laplacian of Y as a share of the truth's",
    "change": "root mean square distance from what the path's start gives",
}


def write(out: str | Path, certificate: KnobCertificate) -> None:
    """Write `FILES` into folder `out`: the table, every value, the plot, and the page that holds all of it."""
    markdown, csv, plot, html = (Path(out) / name for name in FILES)
    write_text(markdown, document(certificate))
    write_text(csv, tables.to_csv([asdict(row) for row in certificate.rows]))
    charts.knob_responses(plot, certificate)
    write_text(html, page(certificate, plot))


def document(certificate: KnobCertificate) -> str:
    """Write the certificate as Markdown: verdict, tables, and what they mean."""
    found = [f"* {line}" for line in (*certificate.faults, *warnings(certificate))]
    lines = [verdict(certificate), *([""] if found else []), *found]
    lines += ["", *_table(HEADINGS, [cells(response) for response in certificate.responses])]
    lines += ["", *_table(end_headings(certificate), end_cells(certificate)), ""]
    return "\n".join([*lines, *(f"{note}\n" for note in notes(certificate))])


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (headings, ["---"] * len(headings), *rows)]


def verdict(certificate: KnobCertificate) -> str:
    """Say in one sentence whether it passed, failed, or had nothing to judge."""
    total = len(certificate.responses)
    judged = sum(not response.unjudged for response in certificate.responses)
    if not certificate.passed:
        found = len(certificate.faults)
        return f"FAILED: {certificate.source} has {found} fault{'s' if found > 1 else ''}."
    if not judged:
        where = f"only {certificate.trained}" if certificate.trained else "nobody knows where"
        return f"NOT JUDGED: {certificate.source} was trained {where}, and along no path that was measured."
    along = f"all {total} paths" if judged == total else f"{judged} of {total} paths; the others are not judged"
    return f"PASSED: the knobs of {certificate.source} do what they should along {along}."


def warnings(certificate: KnobCertificate) -> list[str]:
    """List what would be a fault if the network had been trained there: colours that shift."""
    limit, found = certificate.tolerances.cast, {}
    if limit is None:
        return []
    for response in certificate.responses:
        if response.unjudged and abs(response.cast) > limit and not response.faults:
            found[response.cast_at] = response.cast
    for end in certificate.ends:
        place = int(np.argmax(np.abs(end.cast)))
        if not end.trained and abs(end.cast[place]) > limit:
            found[f"{COLOURS[place]} at {format_omega(end.omega)}"] = end.cast[place]
    return [
        f"not judged, for it was hardly or never trained there: a colour cast of {cast(value, where)}"
        for where, value in found.items()
    ]


def cells(response: Response) -> list[str]:
    """Return a row of the table, in the order of HEADINGS."""
    first, last = response.values[0], response.values[-1]
    unit = f" {response.unit}" if response.unit and response.unit != "1/255" else response.unit and "/255"
    return [
        response.knob,
        response.measure,
        response.path,
        f"{_number(first)} → {_number(last)}{unit}",
        f"{response.range:.3g}{unit}" + (" (reversed)" if response.reversed else ""),
        _percent(response.back),
        zones(response),
        cast(response.cast, response.cast_at),
        seam(response.seam),
        response.verdict,
    ]


def zones(response: Response) -> str:
    """Write the dead zones and their share of the travel: "0.8 to 1 (20 %)"."""
    if not response.dead_zones:
        return "none"
    return ", ".join(f"{low:g} to {high:g}" for low, high in response.dead_zones) + f" ({100 * response.dead:.0f} %)"


def cast(value: float, where: str) -> str:
    """Write a cast and where it is: "+1.65/255, blue at (0, 0)"."""
    return f"{value:+.2f}/255, {where}" if math.isfinite(value) else "not finite"


def seam(value: float | None) -> str:
    """Write a seam in 1/255, "-" where nothing could be cut into tiles."""
    return "-" if value is None else f"{value:.1g}/255" if value < 0.01 else f"{value:.2f}/255"


def end_headings(certificate: KnobCertificate) -> list[str]:
    """Return the headings of the table of `end_cells`."""
    measures = {response.knob: response.measure for response in certificate.responses}
    return ["ω", *(f"{name}: {measures[name]}" for name in certificate.objectives), *COLOURS, "seam", "verdict"]


def end_cells(certificate: KnobCertificate) -> list[list[str]]:
    """Return the rows of the settings all 0 and all 1."""
    return [
        [
            format_omega(end.omega),
            *("-" if math.isnan(value) else _number(value) for value in end.values.values()),
            *(f"{value:+.2f}/255" for value in end.cast),
            seam(end.seam),
            end.verdict,
        ]
        for end in certificate.ends
    ]


def _number(value: float) -> str:
    return f"{round(value, 4) + 0.0:.4g}"  # no -0


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def notes(certificate: KnobCertificate) -> list[str]:
    """Say what the numbers mean, a paragraph each."""
    limits = certificate.tolerances
    where = certificate.trained or "nobody knows where"
    unjudged = dict.fromkeys(f"{r.knob}, {r.path}: {r.unjudged}" for r in certificate.responses if r.unjudged)
    used = dict.fromkeys(response.measure for response in certificate.responses)
    meanings = [f"{name}: {next(text for key, text in MEANINGS.items() if key in name)}." for name in used]
    least = "" if limits.least is None else f" ({', '.join(f'{value:g}' for value in limits.least)} here)"
    blurred = any(rho for _, rho in certificate.levels)
    levels = [f"σ {sigma:g}" + f", ρ {rho:g}" * blurred for sigma, rho in certificate.levels]
    noise = " without noise" if levels == ["σ 0"] else f" at {'; '.join(levels)}"
    beyond = "for a style no fault" if limits.cast is None else f"beyond {limits.cast:g}/255 it fails"
    most = "" if limits.seam is None else f"; a seam beyond {limits.seam:g}/255 fails"
    return [
        f"Trained at ω: {where}. Knobs are judged along paths on which the network was trained throughout, and colours "
        "at every setting where it was trained.",
        *(f"Not judged: {line}." for line in unjudged),
        *(meaning[0].upper() + meaning[1:] for meaning in meanings),
        f"From → to: at both ends of the knob's travel of {SETTINGS} settings. Values are means over "
        f"{counted(len(certificate.pictures))}{noise}.",
        f"A knob fails if its range is below what counts for its measure{least}, if it steps back by more than "
        f"{100 * limits.back:g} % of its range, if it leads the wrong way, or if more than {100 * limits.dead:g} % of "
        f"its travel are dead zones: steps of a tenth that change less than {100 * DEAD_ZONE:g} % of the range.",
        "Cast: mean of a channel less that of the truth, and less that of the noise that is kept; the largest of all "
        f"pictures along the path; {beyond}. Seam: the largest step of tiled minus whole across a border of tiles, at "
        f"both ends and the middle of a path, in the middle of the first picture{most}.",
    ]


def page(certificate: KnobCertificate, plot: Path) -> str:
    """Write the certificate as one HTML page, with the plot inside it."""
    return render(
        "knobs.html.j2",
        title="Knob certificate",
        certificate=certificate,
        verdict=verdict(certificate),
        warnings=warnings(certificate),
        plot=embedded(plot),
        headings=HEADINGS,
        rows=[(response.verdict, cells(response)) for response in certificate.responses],
        end_headings=end_headings(certificate),
        end_rows=list(zip((end.verdict for end in certificate.ends), end_cells(certificate), strict=True)),
        notes=notes(certificate),
    )
