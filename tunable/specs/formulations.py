"""How the kernels of a tunable layer depend on omega: what layers and networks take as `phi`, `differences`, `rank`,
`anchor` and `bump`.

The kernel of a layer is k(omega) = sum_i alpha_i k_i (Eq. 3). With phi `base`, alpha = (1, omega): a base kernel and
one difference for each objective, k_0 + sum_j omega_j d_j. Only then do the other keys have a meaning:

differences  full: every d_j is a kernel. low_rank: d_j = B_j A_j, a kernel A_j to `rank` channels and a point B_j from
             them. scale: d_j = diag(g_j) k_0, one number for each output channel.
anchor       omega*, where the layer is its base kernel: omega_j - omega*_j stands for omega_j.
bump         one more difference for each pair of objectives, weighed by omega_i omega_j.

Biases, norms and free parameters keep full differences.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from numbers import Integral
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from tunable.errors import TunableError, nearest, shown
from tunable.specs.schema import Section

PHI_FORMS = ("affine", "identity", "se", "base")
DEFAULT_PHI = "base"  # docs/results/starts; the paper's is "affine"
DIFFERENCES = ("full", "low_rank", "scale")
FACTORS = ("down", "up", "gain")  # what a layer of low rank or scale has beside its base kernel, by local name
MOST_RANK = 2**14
MOST_PATTERNS = 100
KEYS = ("phi", "differences", "rank", "anchor", "bump")  # of a network, as of a layer


class Last(Section):
    """The last layers of a network, those nearest to its output."""

    last: int = Field(ge=1, le=10**6)


def _in_words(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One message for all three: that of a union speaks of the first alone."""
    try:
        chosen: Any = handler(value)
    except ValidationError:
        chosen = ()
    if chosen != "all" and not isinstance(chosen, Last) and not 0 < len(chosen) <= MOST_PATTERNS:
        wanted = f"all, {{last: N}} with N from 1 on, or 1 to {MOST_PATTERNS} patterns of names"
        raise ValueError(f"wants {wanted}, not {shown(value)}")
    return chosen


_Pattern = Annotated[str, Field(min_length=1, max_length=1000)]
Where = Annotated[Literal["all"] | Last | list[_Pattern], WrapValidator(_in_words)]  # which layers are tunable


@dataclass(frozen=True)
class Formulation:
    """How kernels depend on omega.

    Attributes:
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: full, low_rank or scale.
        rank: of low_rank differences, at least 1; a layer takes less where its kernels have less. 0 for the others.
        anchor: omega* (p,), where the base kernel is the kernel; () where that is omega = 0.
        bump: whether products of two knobs have kernels too.

    Raises:
        TunableError: for values that do not go together.
    """

    phi: str = DEFAULT_PHI
    differences: str = "full"
    rank: int = 0
    anchor: Sequence[float] = ()
    bump: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "anchor", anchor_of(self.anchor))
        fault = fault_of(self.phi, self.differences, self.rank, self.anchor, self.bump)
        if fault:
            raise TunableError(fault)

    @classmethod
    def of(cls, formulation: "Formulation | str") -> "Formulation":
        """A formulation as it is; of the name of a phi, the formulation with everything else at its default."""
        return formulation if isinstance(formulation, Formulation) else cls(formulation)

    def misfit(self, num_objectives: int) -> str | None:
        """What does not fit p objectives; None where everything does."""
        if self.anchor and len(self.anchor) != num_objectives:
            return f"anchor has {len(self.anchor)} values for {num_objectives} objectives: {shown(list(self.anchor))}"
        if self.bump and num_objectives < 2:
            return f"bump has a kernel for each pair of objectives: it needs at least two, not {num_objectives}"
        return None

    def keywords(self) -> dict[str, Any]:
        """What a layer takes by keyword."""
        return asdict(self)

    def vector_keywords(self) -> dict[str, Any]:
        """What a norm or a free parameter takes by keyword: its differences are full."""
        return {"phi": self.phi, "anchor": self.anchor, "bump": self.bump}

    def num_differences(self, num_objectives: int) -> int:
        """What stands beside the base kernel: one for each objective, with `bump` one for each pair too."""
        return num_objectives + len(pairs(num_objectives)) if self.bump else num_objectives

    def num_kernels(self, num_objectives: int) -> int:
        """k, the length of alpha: p, with phi `base` one more for the base kernel, with `bump` one for each pair."""
        return self.num_differences(num_objectives) + (self.phi == "base")

    def rank_of(self, out: int, within: int, taps: int) -> int:
        """The rank of a layer: what is asked for, or what its kernels can have.

        Args:
            out: output channels per group.
            within: input channels per group.
            taps: of the kernel, k^2 in two dimensions.
        """
        return min(self.rank, out, within * taps)


def anchor_of(anchor: Any) -> tuple[float, ...]:
    """Return an anchor as numbers; TunableError for what is no sequence of them."""
    try:
        if isinstance(anchor, str):
            raise TypeError
        return tuple(map(float, anchor))
    except (TypeError, ValueError, OverflowError):
        raise TunableError(f"anchor must be a number for each objective, such as [1, 0], not {shown(anchor)}") from None


def fault_of(phi: str, differences: str, rank: int, anchor: Sequence[float], bump: bool) -> str | None:
    """What does not go together, whatever the number of objectives; None where everything does.

    The arguments are the attributes of `Formulation`.
    """
    for name, value, known in (("phi", phi, PHI_FORMS), ("differences", differences, DIFFERENCES)):
        if value not in known:
            return f"unknown {name} {value!r}{nearest(value, known)}; known: {', '.join(known)}"
    if not isinstance(rank, Integral):
        return f"rank must be a whole number, not {shown(rank)}"
    if (differences == "low_rank") != (rank > 0) or rank < 0:
        return f"low_rank differences, and no others, have a rank of at least 1: not {differences} with rank {rank}"
    if not all(map(math.isfinite, anchor)):
        return f"anchor must hold finite numbers, not {shown(list(anchor))}"
    if phi != "base" and (differences != "full" or anchor or bump):
        return f"differences, anchor and bump change phi base, which has a base kernel, not phi {phi}"
    return None


def rank_fault(rank: int, ranks: Iterable[int]) -> str | None:
    """What is wrong with a rank that no layer of a network has; None where one has it, and without layers of low rank.

    Args:
        rank: what was asked for, the same for every layer.
        ranks: of the layers, each as much of it as its kernels can have.
    """
    largest = 0
    for each in ranks:
        if each == rank:
            return None
        largest = max(largest, each)
    return f"rank {rank} is above that of every layer, at most {largest}" if largest else None


def pairs(num_objectives: int) -> list[tuple[int, int]]:
    """The pairs of objectives (i, j), i < j, in the order of their kernels."""
    return list(combinations(range(num_objectives), 2))
