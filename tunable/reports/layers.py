"""What `tunable bench layers` prints: overheads beside what is wanted, and the fastest forms."""

from collections.abc import Callable
from typing import Any

from tunable.benchmark.layer_timing import AGAIN, SHARED, fastest
from tunable.benchmark.layers import Layer
from tunable.forms import choose

CLAIMS = {2: 0.05, 4: 0.05, 8: 0.20}  # the paper, Fig. 3, one omega: less than this, by p
WANTED = {2: 0.05, 4: 0.05, 8: 0.10}  # ours, of convolutions of WIDE channels and more
PER_SAMPLE = {"torch": 0.15, "mindspore": 0.50}
WIDE = 32


def document(rows: list[dict]) -> str:
    """Write the Markdown page: one omega, omega per sample, what misses its limit, the table of fastest forms."""
    return "\n".join(
        [
            "With one omega and one picture, relative to the time of the ordinary layer:\n",
            *one_omega(rows),
            "\nWith omega per sample and four pictures, relative to the time of the ordinary layer on the four; the "
            "form that `auto` chooses\nis in bold:\n",
            *per_sample(rows),
            "",
            *missed(rows),
            "\nThe fastest forms, as `_AUTO` of tunable/forms.py holds them:\n",
            "```text",
            *auto(rows),
            "```\n",
        ]
    )


def one_omega(rows: list[dict]) -> list[str]:
    """Write a Markdown table of one omega, channels across; the ordinary layer's second copy is the noise."""
    chosen = [row for row in rows if row["batch"] == 1 and row["form"] in (SHARED, AGAIN)]
    return _table(chosen, lambda row: (_name(row), f"p = {row['p']}" if row["form"] == SHARED else row["form"]))


def per_sample(rows: list[dict]) -> list[str]:
    """Write a Markdown table of omega per sample, channels across."""
    chosen = [row for row in rows if row["batch"] > 1 and (row["form"] == AGAIN or row["p"])]
    return _table(chosen, lambda row: (_name(row), _form(row)))


def missed(rows: list[dict]) -> list[str]:
    """Write one line for each dense convolution above its limit, or one that says there is none."""
    lines = []
    noise = {_place(row): row["ratio"] for row in rows if row["form"] == AGAIN}
    for row in rows:
        limit = limit_of(row)
        if limit is not None and row["ratio"] > 1 + limit:
            kind = "one omega" if row["batch"] == 1 else "omega per sample"
            overhead = f"{_percent(row['ratio'])} (quartiles {_percent(row['low'])}, {_percent(row['high'])})"
            lines.append(
                f"- {row['backend']}, {_name(row)}, {row['channels']} channels, p = {row['p']}, {kind}: "
                f"{overhead}, wanted at most {limit:.0%}"
                + (f"; the ordinary layer's copy {_percent(noise[_place(row)])}" if _place(row) in noise else "")
            )
    judged = sum(limit_of(row) is not None for row in rows)
    if not lines:
        return [f"Every one of the {judged} that have a limit keeps it."]
    return [f"{len(lines)} of the {judged} that have a limit exceed it:\n", *lines]


def limit_of(row: dict) -> float | None:
    """Return the overhead that is wanted at most; None but for dense convolutions of WIDE channels and more."""
    if row["kind"] != "dense" or row["channels"] < WIDE:
        return None
    if row["form"] == SHARED:
        return WANTED[row["p"]]
    return PER_SAMPLE.get(row["backend"]) if _is_auto(row) else None


def auto(rows: list[dict]) -> list[str]:
    """Write the table of fastest forms as lines of Python for each framework."""
    lines = []
    for name in dict.fromkeys(row["backend"] for row in rows):
        for device, forms in fastest([row for row in rows if row["backend"] == name]).items():
            inside = ", ".join(f'"{kind}": "{form}"' for kind, form in forms.items())
            lines.append(f'    "{device}": {{{inside}}},  # {name}')
    return lines


def _table(rows: list[dict], keys: Callable[[dict], tuple[str, ...]]) -> list[str]:
    channels = sorted({row["channels"] for row in rows})
    lines = [
        "| framework | layer | case | " + " | ".join(f"{count} channels" for count in channels) + " |",
        "|---" * (3 + len(channels)) + "|",
    ]
    cells: dict[tuple, dict[int, str]] = {}
    for row in rows:
        cells.setdefault((row["backend"], *keys(row)), {})[row["channels"]] = _percent(row["ratio"])
    for names, overheads in cells.items():
        lines.append("| " + " | ".join([*names, *(overheads.get(count, "") for count in channels)]) + " |")
    return lines


def _place(row: dict) -> tuple:
    """The framework and the layer."""
    return row["backend"], *(row[field] for field in Layer._fields)


def _name(row: dict[str, Any]) -> str:
    size = f"{row['kernel']}x{row['kernel']}"
    kind: str = row["kind"]
    name = {"dense": size, "depthwise": f"{size} depth-wise", "pointwise": size}.get(kind, kind)
    return name + (", forward and backward" if row["backward"] else "")


def _form(row: dict) -> str:
    if row["form"] == AGAIN:
        return AGAIN
    name = f"{row['form']}, p = {row['p']}"
    return f"**{name}**" if _is_auto(row) else name


def _is_auto(row: dict) -> bool:
    """Whether it is the form with omega per sample that runs unasked; linear layers have one only."""
    if row["batch"] == 1 or not row["p"]:
        return False
    return row["kind"] == "linear" or row["form"] == choose("auto", True, row["device"].partition(":")[0], row["kind"])


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"
