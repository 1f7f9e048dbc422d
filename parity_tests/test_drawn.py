"""Convolutions of drawn shapes against the float64 oracle, in both twins: what no list of cases thinks of."""

from typing import NamedTuple

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from parity_tests.cases import CLASSES
from parity_tests.twins import differ
from tunable import oracle
from tunable.forms import FORMS
from tunable.specs.formulations import PHI_FORMS
from tunable.tolerances import TOLERANCES, relative_error

LIMIT = TOLERANCES["layer"].limit
KINDS = [kind for kind in CLASSES if kind.startswith("conv")]


class Drawn(NamedTuple):
    """A layer and what it is called with; `seed` draws weights, input and omega."""

    kind: str
    channels: tuple[int, int]
    kernel: tuple[int, ...]
    options: dict
    bias: bool
    phi: str
    p: int
    form: str
    shape: tuple[int, ...]
    per_sample: bool
    seed: int

    @property
    def omega(self) -> np.ndarray:
        """Inside [0, 1] and outside it."""
        size = (self.shape[0], self.p) if self.per_sample else (self.p,)
        return np.random.default_rng(self.seed).uniform(-0.5, 1.5, size).astype(np.float32)


@st.composite
def layers(draw) -> Drawn:
    kind = draw(st.sampled_from(KINDS))
    dims, transposed = int(kind[-2]), "transpose" in kind

    def each(low, high):
        return draw(st.tuples(*[st.integers(low, high)] * dims))

    groups = draw(st.integers(1, 3))
    channels = tuple(groups * draw(st.integers(1, 3)) for _ in range(2))
    kernel, stride, dilation = each(1, 3), each(1, 3), each(1, 2)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    options = {"groups": groups, "stride": stride, "dilation": dilation}
    if transposed:
        # Padding cuts the output: less than what the first pixel alone writes on both sides.
        options["padding"] = tuple(draw(st.integers(0, r // 2)) for r in reach)
        options["output_padding"] = tuple(
            draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
        )
        size = each(1, 4)
    else:
        padding = each(0, 2)
        options["padding"] = padding
        options["padding_mode"] = draw(st.sampled_from(["zeros", "reflect", "replicate"]))
        # A kernel must fit, and a reflection needs a pixel more than it shows.
        least = [max(1, r + 1 - 2 * p, p + 1) for r, p in zip(reach, padding, strict=True)]
        size = tuple(draw(st.integers(low, low + 4)) for low in least)
    return Drawn(
        kind=kind,
        channels=channels,
        kernel=kernel,
        options=options,
        bias=draw(st.booleans()),
        phi=draw(st.sampled_from(PHI_FORMS)),
        p=draw(st.integers(1, 4)),
        form=draw(st.sampled_from(FORMS)),
        shape=(draw(st.integers(1, 3)), channels[0], *size),
        per_sample=draw(st.booleans()),
        seed=draw(st.integers(0, 999)),
    )


def outputs(twin, drawn: Drawn, omega: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The twin's and the oracle's, the latter at another omega when one is given."""
    layer = twin.layer(CLASSES[drawn.kind])(
        *drawn.channels,
        drawn.kernel,
        num_objectives=drawn.p,
        bias=drawn.bias,
        phi=drawn.phi,
        form=drawn.form,
        seed=0,
        **drawn.options,
    )
    rng = np.random.default_rng(drawn.seed)
    # Those of `se` are small: see parity_tests.cases.weights.
    tensors = {
        name: (rng.standard_normal(value.shape) * (0.4 if name.startswith("phi") else 1)).astype(np.float32)
        for name, value in twin.backend.parameters(layer).items()
    }
    twin.backend.assign(layer, tensors)
    x = rng.standard_normal(drawn.shape).astype(np.float32)
    truth = oracle.layer(drawn.kind, drawn.phi, tensors, drawn.options, x, drawn.omega if omega is None else omega)
    return twin.run(layer, x, drawn.omega), truth


# `twin` is made once per session: hypothesis need not have it anew for every example.
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(drawn=layers())
def test_drawn_layer(twin, drawn):
    output, truth = outputs(twin, drawn)
    assert output.shape == truth.shape and output.size
    assert relative_error(output, truth) <= LIMIT


@settings(max_examples=10, deadline=None, derandomize=True, database=None)
@given(drawn=layers())
def test_another_omega_is_seen(twin, drawn):
    """Negative control: the same layers, judged by the truth at another omega, fail."""
    assume(drawn.phi != "se")  # whose softmax of one kernel is 1 whatever omega is
    output, truth = outputs(twin, drawn, drawn.omega + np.float32(1))
    assert differ(output, truth)


def test_what_is_drawn():
    """Every kind, form and phi, groups, borders and omega per sample are among the examples."""
    seen: list[Drawn] = []

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @given(drawn=layers())
    def collect(drawn):
        seen.append(drawn)

    collect()
    assert {drawn.kind for drawn in seen} == set(KINDS)
    assert {drawn.form for drawn in seen} == set(FORMS) and {drawn.phi for drawn in seen} == set(PHI_FORMS)
    assert {drawn.options.get("padding_mode") for drawn in seen} == {None, "zeros", "reflect", "replicate"}
    assert {drawn.options["groups"] for drawn in seen} == {1, 2, 3} and {drawn.p for drawn in seen} == {1, 2, 3, 4}
    assert {drawn.per_sample for drawn in seen} == {True, False}
    assert any(drawn.options.get("output_padding", (0,)) != (0,) * len(drawn.kernel) for drawn in seen)
