"""What a certificate consists of: rows of comparisons, what ran them, and what could not be judged."""

from dataclasses import dataclass, field, replace

import numpy as np

from tunable.tolerances import TOLERANCES, limit_of

OMEGA_CONTROL, MOVE_CONTROL = "control: omega matters", "control: weights move"
ORDER = [*TOLERANCES]
ORDER.insert(ORDER.index("network") + 1, OMEGA_CONTROL)
ORDER.insert(ORDER.index("training"), MOVE_CONTROL)


@dataclass(frozen=True)
class Row:
    """One comparison at one omega; it passes when error <= limit.

    Attributes:
        stage: a key of tunable.tolerances.TOLERANCES, or a negative control.
        compared: what was compared, such as "torch : oracle", "mindspore : float64", "mindspore : torch".
        omega: an omega, "per sample", or "" where none is involved.
        worst: the layer or tensor with the largest error.
        error: the relative error of `worst`.
        limit: what the error may be.
        at_least: whether the row is a negative control, whose error must reach the limit.
        parts: the error of every layer or tensor, in calling order.
        rmse: rmse(float64, a) / rmse(float64, b) of "a : b", as the tests of PyTorch's compiler measure a program,
            which accept 2; None where there is no such pair. It is information and decides nothing.
    """

    stage: str
    compared: str
    omega: str
    worst: str
    error: float
    limit: float
    at_least: bool = False
    parts: dict[str, float] = field(default_factory=dict)
    rmse: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the error keeps the limit, or reaches it in a negative control; an error that is not finite fails."""
        if not np.isfinite(self.error):
            return False
        return self.error >= self.limit if self.at_least else self.error <= self.limit

    @property
    def ratio(self) -> float:
        """Error over limit (controls: limit over error): above 1 fails, the larger the nearer to failing."""
        if not np.isfinite(self.error):
            return float("inf")
        above, below = (self.limit, self.error) if self.at_least else (self.error, self.limit)
        return above / below if below else float("inf") if above else 0.0

    @property
    def first(self) -> str:
        """The first part, in calling order, beyond the limit; where all keep it, the first that differs at all."""
        for bound in (self.limit, 0.0):
            for name, error in self.parts.items():
                if not error <= bound:
                    return name
        return ""


@dataclass
class Certificate:
    """All rows, what ran them, and what could not be judged.

    Attributes:
        source: the weights file.
        facts: of every framework, its versions, its device and every switch that changes numbers.
        rows: the comparisons, in the order of stages.
        not_judged: one line for each thing that was not tested, with the reason.
        machine: the facts of the machine that it ran on.
        recorded: the same facts of the machine that recorded the pack, {} without a pack.
        gaps: of the stages whose limit follows the model (tunable.certificate.truth.Exact).
        zeros: the parameters whose true gradient is zero, with the reason.
        notes: lines on where the truth came from or was recorded.
        subject: what is certified, when, by which program and by which command or call: lines to be printed, by name.
    """

    source: str
    facts: dict[str, dict[str, str]]
    rows: list[Row] = field(default_factory=list)
    not_judged: list[str] = field(default_factory=list)
    machine: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, dict[str, str]] = field(default_factory=dict)
    gaps: dict[str, float] = field(default_factory=dict)
    zeros: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    subject: dict[str, str] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether there are rows, and all of them pass."""
        return bool(self.rows) and all(row.passed for row in self.rows)

    def add(self, stage: str, compared: str, omega: str, parts: dict[str, float]) -> None:
        """Add a comparison whose limit `settle` will set; an empty one, where nothing was compared, fails."""
        worst, error = max(parts.items(), key=_size, default=("nothing was compared", float("inf")))
        worst = worst if error else ""
        self.rows.append(Row(stage, compared, omega, worst, float(error), float("nan"), parts=parts))

    def control(self, stage: str, compared: str, omega: str, where: str, change: float, limit: float) -> None:
        """Add a negative control: `change` must reach `limit`."""
        self.rows.append(Row(stage, compared, omega, where, float(change), limit, at_least=True))

    def settle(self, gaps: dict[str, float], *, judged: bool = False) -> None:
        """Give every row its limit, now that the model's gaps are known, and put the rows in the order of stages.

        Args:
            gaps: the model's gap at each stage.
            judged: as for `limit_of`.
        """
        self.gaps = {stage: gap for stage, gap in gaps.items() if TOLERANCES[stage].most}
        self.rows = [
            replace(row, limit=limit_of(row.stage, self.gaps.get(row.stage), judged=judged))
            if np.isnan(row.limit)
            else row
            for row in self.rows
        ]
        place = {stage: index for index, stage in enumerate(ORDER)}
        self.rows.sort(key=lambda row: place.get(row.stage, len(place)))

    def compare_rmse(self, references: dict[tuple[str, str], float]) -> None:
        """Give every row its `rmse`.

        b is the other framework in "a : b". Beside float64 or a pack it is PyTorch's float32 on the CPU, whose errors
        are the `references` by (stage, omega). Beside the oracle it is the first framework.
        """
        errors = {}
        for row in self.rows:
            program, _, truth = row.compared.rpartition(" : ")
            errors[row.stage, row.omega, truth, program] = rms(row.parts)
        first, exact = next(iter(self.facts), ""), "pack" if self.recorded else "float64"
        for index, row in enumerate(self.rows):
            key, (program, _, other) = (row.stage, row.omega), row.compared.rpartition(" : ")
            if other in ("float64", "pack"):
                error, beside = errors[*key, other, program], references.get(key)
            elif other == "oracle" and program != first:
                error, beside = errors[*key, other, program], errors.get((*key, other, first))
            else:
                error, beside = errors.get((*key, exact, program)), errors.get((*key, exact, other))
            if error is not None and beside:
                self.rows[index] = replace(row, rmse=error / float(beside))

    def summary(self) -> list[Row]:
        """Return the row nearest to failing of every (stage, compared) pair, in order."""
        groups: dict[tuple[str, str], Row] = {}
        for row in self.rows:
            key = (row.stage, row.compared)
            if key not in groups or row.ratio > groups[key].ratio:
                groups[key] = row
        return list(groups.values())

    def counts(self, row: Row) -> tuple[int, int]:
        """Return how many rows of the summary row's group passed, and how many there are."""
        group = [other for other in self.rows if (other.stage, other.compared) == (row.stage, row.compared)]
        return sum(other.passed for other in group), len(group)

    def to_dict(self) -> dict:
        """Return everything as JSON values. A row's `minimum_tolerance` is the least limit that would have passed."""
        return {
            "source": self.source,
            "subject": self.subject,
            "passed": self.passed,
            "machine": self.machine,
            "facts": self.facts,
            "recorded": self.recorded,
            "gaps": self.gaps,
            "stages": [self._described(row) for row in self.summary()],
            "rows": [_described(row) for row in self.rows],
            "zero_gradients": self.zeros,
            "not_judged": self.not_judged,
            "notes": self.notes,
        }

    def _described(self, row: Row) -> dict:
        passed, total = self.counts(row)
        values = _described(row)
        del values["parts"]
        return {**values, "passed": passed == total, "rows_passed": passed, "rows": total}


def _described(row: Row) -> dict:
    return {
        "stage": row.stage,
        "compared": row.compared,
        "omega": row.omega,
        "worst": row.worst,
        "error": row.error,
        "limit": row.limit,
        "minimum_tolerance": row.error,
        "rmse_ratio": row.rmse,
        "first_difference": row.first,
        "at_least": row.at_least,
        "passed": row.passed,
        "parts": row.parts,
    }


def rms(parts: dict[str, float]) -> float:
    """Return the root mean square of the errors of all parts: one number for layers of different size."""
    return float(np.sqrt(np.mean(np.square(list(parts.values()))))) if parts else 0.0


def _size(part: tuple[str, float]) -> float:
    """NaN counts as the largest."""
    return float("inf") if np.isnan(part[1]) else part[1]
