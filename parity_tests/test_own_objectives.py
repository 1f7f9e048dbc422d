"""Objectives of one's own in both twins, against the same objective of this package."""

import numpy as np
import pytest

from tunable.errors import TunableError
from tunable.own import permitted
from tunable.specs.recipe import parse

SOURCES = {
    "torch": """from torch import nn
class Distance(nn.Module):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor
    def forward(self, restored, sample, omega):
        return self.factor * (restored - sample["clean"]).abs().mean((1, 2, 3))
class Mean(nn.Module):
    def forward(self, restored, sample, omega):
        return (restored - sample["clean"]).abs().mean()
class Other:
    pass
""",
    "mindspore": """from mindspore import nn
class Distance(nn.Cell):
    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = factor
    def construct(self, restored, sample, omega):
        return self.factor * (restored - sample["clean"]).abs().mean((1, 2, 3))
class Mean(nn.Cell):
    def construct(self, restored, sample, omega):
        return (restored - sample["clean"]).abs().mean()
class Other:
    pass
""",
}
VALUES = {
    "task": "denoise",
    "network": {"name": "resnet", "channels": 4, "blocks": 1},
    "data": {"train": "bundled", "patch": 8, "batch": 3, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
    "steps": 10,
}


@pytest.fixture
def own(twin, tmp_path, monkeypatch):
    """own(name, ...): an objective of a module in the working directory."""
    monkeypatch.chdir(tmp_path)
    module = f"own_{twin.name}_{tmp_path.name}"
    (tmp_path / f"{module}.py").write_text(SOURCES[twin.name])
    return lambda name, **options: {"name": "mine", "import": {twin.name: f"{module}:{name}"}, **options}


def report_of(twin, objective, rng):
    """The loss and its gradients on one batch."""
    recipe = parse({**VALUES, "objectives": [objective, {"name": "noise", "kind": "noise"}]})
    backend = twin.module("backend").Backend("cpu")
    network = backend.build(recipe.network, 2)
    pictures = {name: rng.uniform(size=(3, 3, 8, 8)).astype(np.float32) for name in ("clean", "degraded")}
    from tunable.data.patches import Batch

    batch = Batch(0, pictures, rng.uniform(size=(3, 2)).astype(np.float32))
    with permitted():
        return backend.trainer(network, recipe).gradients(batch)


def test_it_is_the_objective_of_its_formula(twin, own):
    """Twice the L1 distance at weight 0.5 is `rec`, in value and gradients."""
    mine = report_of(twin, own("Distance", factor=2.0, weight=0.5), np.random.default_rng(0))
    known = report_of(twin, {"name": "mine", "kind": "rec"}, np.random.default_rng(0))
    np.testing.assert_allclose(mine.loss, known.loss, rtol=1e-6)
    np.testing.assert_allclose(mine.terms, known.terms * [2, 1], rtol=1e-6)
    for name, gradient in known.gradients.items():
        np.testing.assert_allclose(mine.gradients[name], gradient, rtol=1e-4, atol=1e-7)


def test_what_is_no_objective_is_said(twin, own, rng):
    with pytest.raises((TunableError, ValueError), match="Mean must return one number for each sample"):
        report_of(twin, own("Mean"), rng)
    with pytest.raises(TunableError, match=f"backend '{twin.name}' cannot run it"):
        report_of(twin, own("Other"), rng)
    other = {"torch": "mindspore", "mindspore": "torch"}[twin.name]
    with pytest.raises(TunableError, match=f"no class for {twin.name}, only for {other} \\(a:B\\)"):
        report_of(twin, {"name": "mine", "import": {other: "a:B"}}, rng)
