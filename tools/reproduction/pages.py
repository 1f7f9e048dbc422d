"""What the pages of tables share."""

from pathlib import Path

import runs

from reproduction.scales import Scale

RESULTS = Path(__file__).parent.parent.parent / "docs" / "results"
GLOSSARY = runs.GLOSSARY.replace("../../", "../../../")


def trainings(out: Path, size: Scale, name: str) -> list[str]:
    """How a table was made: size, command, and its trainings from trainings.csv."""
    return [
        "## How this was made\n",
        f"All methods have the paper's residual network with {size.blocks} blocks of {size.channels} channels in all "
        f"(the paper: 16 of 64) and {size.steps:,} steps (500,000). Made by `python tools/reproduce.py {name}`; "
        "`--commands` prints every training. [trainings.csv](trainings.csv) holds their steps and seconds of one core."
        "\n",
        *training_rows(out),
    ]


def training_rows(out: Path) -> list[str]:
    """The table of trainings.csv."""
    lines = ["| training | recipe | seed | steps | seconds |", "|---|---|---|---|---|"]
    for row in runs.rows_of(out / "trainings.csv"):
        cells = (row[key] for key in ("training", "recipe", "seed", "steps", "cpu_seconds"))
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]
