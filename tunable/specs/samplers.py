"""How training draws omega (docs/method.md, "Objectives"): uniform, as in the paper, or corners more often.

Every sampler is a small pydantic model, so that a recipe can hold it, with two methods: `draw(rng, n, p, batch)` ->
(n, p) float32 for the batch of that number, and `span(p)`, where what it draws lies. A recipe may write a sampler that
needs no values as its name.
"""

from functools import lru_cache
from math import gcd
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, model_validator

from tunable.errors import TunableError
from tunable.omega import MOST_SHARES, count_shares, shares
from tunable.own import blamed, shared
from tunable.specs.documents import is_list, is_mapping
from tunable.specs.own import KEY, Own, tagged
from tunable.specs.schema import MOST, Section

_grid = lru_cache(maxsize=8)(shares)

Draws = NDArray[np.float32]  # (n, p)


class _Sampler(Section):
    def check(self, num_objectives: int, steps: int) -> None:
        """Raise ValueError if this sampler cannot serve `num_objectives` objectives in a run of `steps` steps."""

    def span(self, p: int) -> tuple[tuple[float, float], ...]:
        """The least and the largest that each of p knobs can be."""
        return ((0.0, 1.0),) * p


class Uniform(_Sampler):
    """omega_i ~ U(0, 1), independent: the paper's choice."""

    kind: Literal["uniform"] = "uniform"

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        return rng.uniform(size=(n, p)).astype(np.float32)


class Beta(_Sampler):
    """omega_i ~ Beta(a, b), independent; a = b < 1 favours 0 and 1."""

    kind: Literal["beta"] = "beta"
    a: float = Field(gt=0, allow_inf_nan=False)
    b: float = Field(gt=0, allow_inf_nan=False)

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        return rng.beta(self.a, self.b, size=(n, p)).astype(np.float32)


class LogUniform(_Sampler):
    """ln omega_i ~ U(ln low, 0), independent, as in loss-conditional training (Dosovitskiy and Djolonga, ICLR 2020)."""

    kind: Literal["log_uniform"] = "log_uniform"
    low: float = Field(default=0.01, ge=1e-6, lt=1)

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        return (self.low ** rng.uniform(size=(n, p))).astype(np.float32)

    def span(self, p: int) -> tuple[tuple[float, float], ...]:
        """Return the least and the largest that each of p knobs can be: `low` and 1."""
        return ((self.low, 1.0),) * p


class _Reaching(_Sampler):
    """A sampler that gives a network of a single knob always 1."""

    def span(self, p: int) -> tuple[tuple[float, float], ...]:
        """The least and the largest that each of p knobs can be: 0 and 1, but 1 and 1 for a single knob."""
        return super().span(p) if p > 1 else ((1.0, 1.0),)


class Simplex(_Reaching):
    """omega ~ Dirichlet(1, ..., 1): non-negative with sum one; for p = 2 the line."""

    kind: Literal["simplex"] = "simplex"

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        return rng.dirichlet(np.ones(p), size=n).astype(np.float32)


class Corners(_Reaching):
    """One of the p unit vectors."""

    kind: Literal["corners"] = "corners"

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        chosen = rng.integers(p, size=n)  # pyright: ignore[reportUnknownMemberType]  # numpy's overloads hold unknown types
        return np.eye(p, dtype=np.float32)[chosen]


class Cube(_Reaching):
    """One of the vertices of [0, 1]^p but the origin."""

    kind: Literal["cube"] = "cube"

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        vertex = rng.integers(1, 2**p, size=n)  # pyright: ignore[reportUnknownMemberType]  # as above
        return ((vertex[:, None] >> np.arange(p)) & 1).astype(np.float32)


class Annealed(_Reaching):
    """Points of a grid over sum omega_i = 1 in turn, which spreads from the centre outwards (after PaLoRA, ICLR 2025).

    The grid holds the points whose omega_i are multiples of 1 / divisions. Batch b draws c + s (point - c), c being the
    centre (1/p, ..., 1/p) and s = min(1, (b + 1) / over). Nothing is random: each sample takes the point a fixed stride
    after the sample before it, so that a batch holds points from all over the grid.
    """

    kind: Literal["annealed"] = "annealed"
    divisions: int = Field(default=10, ge=1, le=1000)
    over: int = Field(default=1000, ge=1, le=MOST)  # steps until the grid reaches the unit vectors

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        points = _grid(self.divisions, p)
        places = (batch * n % len(points) + np.arange(n)) * _stride(len(points)) % len(points)
        spread = min(1.0, (batch + 1) / self.over)
        return (1 / p + spread * (points[places] - 1 / p)).astype(np.float32)

    def check(self, num_objectives: int, steps: int) -> None:
        """Raise ValueError if the grid for `num_objectives` objectives has too many points, or never spreads wholly."""
        points = count_shares(self.divisions, num_objectives)
        if points > MOST_SHARES:
            raise ValueError(
                f"an annealed grid of {self.divisions} divisions has {points} points for {num_objectives} objectives; "
                f"the limit is {MOST_SHARES}"
            )
        if self.over > steps:
            raise ValueError(
                f"an annealed grid that spreads over {self.over} steps never reaches the unit vectors in {steps} steps"
            )


def _stride(count: int) -> int:
    """A step through so many points that meets all of them before any twice, near the golden section."""
    stride = max(1, round(count * 0.618))
    while gcd(stride, count) > 1:
        stride += 1
    return stride


class Fixed(_Sampler):
    """Always the same omega: an ordinary loss."""

    kind: Literal["fixed"] = "fixed"
    value: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1, max_length=16)

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        return np.tile(np.asarray(self.value, dtype=np.float32), (n, 1))

    def span(self, p: int) -> tuple[tuple[float, float], ...]:
        """Return the value of each knob, twice, for it is the least and the largest."""
        return tuple((value, value) for value in self.value)

    def check(self, num_objectives: int, steps: int) -> None:
        """Raise ValueError unless there is a value for each of `num_objectives` objectives."""
        if len(self.value) != num_objectives:
            raise ValueError(f"fixed omega has {len(self.value)} values for {num_objectives} objectives")


class Mixture(_Sampler):
    """Each draw comes from one of several samplers, chosen with probability `weights` (normalised)."""

    kind: Literal["mixture"] = "mixture"
    weights: list[Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(min_length=1, max_length=64)
    of: list["Sampler"] = Field(min_length=1, max_length=64)

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        if len(self.weights) != len(self.of):
            raise ValueError(f"a mixture of {len(self.of)} samplers needs as many weights, not {len(self.weights)}")
        return self

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        probability = np.asarray(self.weights) / np.sum(self.weights)
        choice = rng.choice(len(self.of), size=n, p=probability)
        drawn = np.stack([sampler.draw(rng, n, p, batch) for sampler in self.of])
        return drawn[choice, np.arange(n)]

    def span(self, p: int) -> tuple[tuple[float, float], ...]:
        """Return the least and the largest that any of the samplers can draw for each of p knobs."""
        spans = np.array([sampler.span(p) for sampler in self.of])
        lows, highs = spans[..., 0].min(0), spans[..., 1].max(0)
        return tuple(zip(lows.tolist(), highs.tolist(), strict=True))

    def check(self, num_objectives: int, steps: int) -> None:
        """Raise ValueError if one of the samplers cannot serve `num_objectives` objectives in `steps` steps."""
        for sampler in self.of:
            if isinstance(sampler, Condition):
                raise ValueError("condition degrades every sample by its omega, and is no part of a mixture")
            sampler.check(num_objectives, steps)


class Condition(_Sampler):
    """CResMD's conditions: omega is the true level of every degradation, divided by its largest (ECCV 2020).

    Half of the samples have one degradation, half all of them. A level is round(Beta(0.5, 1) n) / n of its n steps; a
    sample that would have none at all has one step of one degradation. `tunable.data.patches` then degrades each sample
    by its omega.

    Attributes:
        levels: n of each degradation, in the order of `data.degradation`: 50 for sigma up to 50 in whole numbers.
    """

    kind: Literal["condition"] = "condition"
    levels: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(min_length=1, max_length=16)

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        steps = np.asarray(self.levels)
        drawn, alone = np.rint(rng.beta(0.5, 1, size=(n, p)) * steps), rng.choice(p, size=n)
        one = np.eye(p)[alone]
        drawn = np.where(rng.uniform(size=(n, 1)) < 0.5, drawn * one, drawn)
        drawn = np.where(drawn.any(axis=1, keepdims=True), drawn, one)
        return (drawn / steps).astype(np.float32)

    def check(self, num_objectives: int, steps: int) -> None:
        """Raise ValueError unless there are levels for each of `num_objectives` objectives."""
        if len(self.levels) != num_objectives:
            raise ValueError(f"condition has {len(self.levels)} levels for {num_objectives} objectives")


class OwnSampler(Own, _Sampler):
    """A sampler of one's own (docs/own_parts.md)."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["import"]

    def draw(self, rng: np.random.Generator, n: int, p: int, batch: int = 0) -> Draws:
        """Draw n omega of p knobs, (n, p); `batch` as the module says."""
        sampler = shared(self.reference, self.options, "sampler", "draw")
        with blamed(self.reference, "sampler"):
            drawn = np.asarray(sampler.draw(rng, n, p, batch), dtype=np.float32)
        if drawn.shape != (n, p) or not ((drawn >= 0) & (drawn <= 1)).all():
            raise TunableError(
                f"sampler {self.reference} drew omega of shape {drawn.shape}, from {drawn.min(initial=np.inf):g} to "
                f"{drawn.max(initial=-np.inf):g}; shape {(n, p)} and values from 0 to 1 are wanted"
            )
        return drawn


Sampler = Annotated[
    Uniform | Beta | LogUniform | Simplex | Corners | Cube | Annealed | Fixed | Mixture | Condition | OwnSampler,
    Field(discriminator="kind"),
]
Mixture.model_rebuild()


def named(value: Any) -> Any:
    """Let a recipe write `sampler: uniform` for `sampler: {kind: uniform}`, in mixtures too."""
    if isinstance(value, str):
        return {"kind": value}
    if is_mapping(value) and is_list(items := value.get("of")) and KEY not in value:
        return {**value, "of": [named(item) for item in items]}
    return tagged("kind")(value)
