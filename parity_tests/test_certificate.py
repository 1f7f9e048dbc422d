"""The certificate passes on two right twins and turns red for a deliberate fault in either, at the stage named."""

import numpy as np
import pytest

from tunable_core import checkpoint
from tunable_core.certificate import Certificate, Row, verify
from tunable_core.errors import TunableError
from tunable_core.initial import starting_weights
from tunable_core.recipe import Recipe
from tunable_core.tolerances import TOLERANCES


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """weights_file(name, recipe, backend): the recipe's network, freshly initialised."""
    folder = tmp_path_factory.mktemp("weights")

    def write(name, recipe, backend):
        path = folder / f"{name}.safetensors"
        if not path.exists():
            specs = backend.specs(backend.build(recipe.network, recipe.network_objectives))
            checkpoint.save(path, starting_weights(specs, 1, recipe.initial), checkpoint.Header.of(recipe))
        return path

    return write


@pytest.fixture
def certified(twins, make_recipe, weights_file):
    """certified(phi, backends): verify a network of that phi, with lambdas that are not 1."""

    def run(phi="affine", backends=None):
        recipe = make_recipe(
            network={"name": "resnet", "channels": 5, "blocks": 1, "phi": phi},
            objectives=[{"name": "a", "kind": "rec", "weight": 0.8}, {"name": "b", "kind": "noise", "weight": 1.3}],
        )
        backends = backends or [twin.backend for twin in twins]
        return verify(weights_file(phi, recipe, backends[0]), backends, points=2)

    return run


def described(certificate) -> str:
    return "\n".join(str(row) for row in certificate.rows if not row.passed)


@pytest.mark.parametrize("phi", ["affine", "base"])
def test_right_twins_pass(certified, phi):
    certificate = certified(phi)
    assert certificate.passed, described(certificate)
    assert not certificate.not_judged
    stages = {row.stage for row in certificate.rows}
    assert stages == set(TOLERANCES) - {"layer gradient"} | {"control: omega matters", "control: weights move"}
    assert {row.omega for row in certificate.rows if row.stage == "layer"} == {
        "(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)", "per sample"
    }  # fmt: skip


def test_compiled_twins_pass(certified, twins):
    """MindSpore's default mode, which users run; torch's is the eager one used above."""
    certificate = certified("base", [twins[0].backend, twins[1].in_mode("graph")])
    assert certificate.passed, described(certificate)


def test_one_twin_alone(twin, make_recipe, weights_file):
    """Judged by the oracle; what needs a second framework is said not to be judged."""
    certificate = verify(weights_file(f"alone-{twin.name}", make_recipe(), twin.backend), [twin.backend], points=2)
    assert certificate.passed, described(certificate)
    assert any(f"only {twin.name} ran" in line for line in certificate.not_judged)
    assert {row.stage for row in certificate.rows} >= {"weights", "layer", "folded", "loss", "control: omega matters"}


# Faults: fault(twin, monkeypatch) breaks one twin. Tensors of both frameworks share the operators used here.


def in_conv2d(change):
    """A fault in the arguments of ops.conv2d: change(twin, x, alpha, weight, bias) -> the same, changed."""

    def fault(twin, monkeypatch):
        ops = twin.module("ops")
        real = ops.conv2d

        def conv2d(x, alpha, weight, bias, *options):
            return real(*change(twin, x, alpha, weight, bias), *options)

        monkeypatch.setattr(ops, "conv2d", conv2d)

    return fault


def in_recipe(change):
    """A fault in what the trainer is told: change(recipe as values) in place."""

    def fault(twin, monkeypatch):
        module = twin.module("backend")
        real = module.Trainer

        def trainer(network, recipe, **options):
            values = recipe.to_dict()
            change(values)
            return real(network, Recipe.model_validate(values), **options)

        monkeypatch.setattr(module, "Trainer", trainer)

    return fault


def mixed(twin, alpha, matrix):
    return alpha @ twin.tensors([matrix])[0]


def kernels_swapped(twin, x, alpha, weight, bias):
    return x, mixed(twin, alpha, [[0, 1], [1, 0]]), weight, bias


def omega_ignored(twin, x, alpha, weight, bias):
    return x, alpha * 0 + 0.5, weight, bias


def omega_of_another_sample(twin, x, alpha, weight, bias):
    if alpha.ndim == 2:
        alpha = twin.tensors([np.roll(np.eye(len(x)), 1, axis=0)])[0] @ alpha
    return x, alpha, weight, bias


def bias_dropped(twin, x, alpha, weight, bias):
    return x, alpha, weight, bias * 0


def bias_not_mixed(twin, x, alpha, weight, bias):
    return x, alpha, weight, bias * 0 + bias[:1]


def kernel_transposed(twin, x, alpha, weight, bias):
    return x, alpha, weight.swapaxes(-1, -2), bias


def phi_untrained(twin, x, alpha, weight, bias):
    return x, twin.constant(alpha) + alpha * 0, weight, bias


def phi_transposed(twin, monkeypatch):
    def wrong(self, omega):
        return omega @ self.weight + self.bias

    if twin.name == "torch":
        monkeypatch.setattr(twin.torch.nn.Linear, "forward", wrong)
    else:
        monkeypatch.setattr(twin.ms.nn.Dense, "construct", wrong)


def padding_shifted(twin, monkeypatch):
    """The picture moves by one row."""
    ops = twin.module("ops")
    real = ops.conv2d

    def conv2d(x, alpha, weight, bias, stride, padding, dilation, groups, form):
        return real(x, alpha, weight, bias, stride, (padding[0] + 1, padding[1]), dilation, groups, form)[:, :, :-2]

    monkeypatch.setattr(ops, "conv2d", conv2d)


def wrong_activation(twin, monkeypatch):
    """A leak of a hundredth: every layer is right, the network is not."""

    def leaky(x):
        return x - 0.99 * (x - abs(x)) / 2

    monkeypatch.setattr(*((twin.torch, "relu") if twin.name == "torch" else (twin.ms.ops, "relu")), leaky)


def fold_elsewhere(twin, monkeypatch):
    folding = twin.module("folding")
    real = folding.fold
    monkeypatch.setattr(folding, "fold", lambda network, omega: real(network, omega * 0.99))


def weights_in_half_precision(twin, monkeypatch):
    real = twin.backend.assign

    def assign(network, tensors):
        real(network, {name: value.astype(np.float16).astype(np.float32) for name, value in tensors.items()})

    monkeypatch.setattr(twin.backend, "assign", assign)


def one_nan(twin, monkeypatch):
    real = twin.backend.run

    def run(network, degraded, omega):
        output = real(network, degraded, omega)
        output[0, 0, 0, 0] = np.nan
        return output

    monkeypatch.setattr(twin.backend, "run", run)


def nan_gradient(twin, monkeypatch):
    trainer = twin.module("training").Trainer
    real = trainer.gradients

    def gradients(self, batch):
        report = real(self, batch)
        report.gradients["tail.bias"][0] = np.nan
        return report

    monkeypatch.setattr(trainer, "gradients", gradients)


def lambda_squared(values):
    for objective in values["objectives"]:
        objective["weight"] **= 2


def residual_removed(values):
    values["objectives"][1]["residual"] = "remove"


def loss_normalised(values):
    values["loss"]["normalise"] = "sum"


def optimizer(name, value):
    return in_recipe(lambda values: values["optimizer"].update({name: value}))


def nothing_moves(twin, monkeypatch):
    monkeypatch.setattr(twin.module("training").Trainer, "step", lambda self, batch, rate: (0.1, np.zeros(2)))


# name -> (fault, the first stage that is red, others that must be)
FAULTS = {
    "kernels swapped": (in_conv2d(kernels_swapped), "layer", {"network", "gradients"}),
    "omega ignored": (in_conv2d(omega_ignored), "layer", {"control: omega matters", "network"}),
    "omega of another sample": (in_conv2d(omega_of_another_sample), "layer", {"network"}),
    "bias dropped": (in_conv2d(bias_dropped), "layer", {"folded", "network"}),
    "bias not mixed": (in_conv2d(bias_not_mixed), "layer", {"folded", "network"}),
    "kernel transposed": (in_conv2d(kernel_transposed), "layer", {"folded", "network"}),
    "phi gets no gradient": (in_conv2d(phi_untrained), "gradients", {"gradient", "steps: weights"}),
    "phi transposed": (phi_transposed, "layer", {"network"}),
    "padding shifted": (padding_shifted, "layer", {"folded", "network"}),
    "wrong activation": (wrong_activation, "layer output", {"network"}),
    "fold at another omega": (fold_elsewhere, "folded", set()),
    "weights in half precision": (weights_in_half_precision, "weights", {"network"}),
    "one output not finite": (one_nan, "network", {"folded", "control: omega matters"}),
    "one gradient not finite": (nan_gradient, "gradients", {"gradient"}),
    "lambda squared": (in_recipe(lambda_squared), "loss", {"gradients", "steps: loss"}),
    "noise removed, not kept": (in_recipe(residual_removed), "loss", {"gradients", "steps: loss"}),
    "loss normalised": (in_recipe(loss_normalised), "loss", {"gradients", "steps: loss"}),
    "eps x 10": (optimizer("eps", 1e-7), "steps: weights", set()),
    "beta1 wrong": (optimizer("beta1", 0.89), "steps: loss", {"steps: weights"}),
    "beta2 wrong": (optimizer("beta2", 0.99), "steps: loss", {"steps: weights"}),
    "nothing moves": (nothing_moves, "control: weights move", {"steps: loss", "steps: weights"}),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("which", [0, 1], ids=["torch", "mindspore"])
def test_a_fault_turns_it_red(twins, certified, monkeypatch, name, which):
    fault, first, others = FAULTS[name]
    fault(twins[which], monkeypatch)
    certificate = certified()
    failed = [row for row in certificate.rows if not row.passed]
    assert not certificate.passed and failed[0].stage == first, described(certificate)
    assert others <= {row.stage for row in failed}
    # an oracle's verdict is against the broken twin, not the other
    judged = {row.compared for row in failed if row.compared.endswith((": oracle", ": file", ": live"))}
    assert all(compared.startswith(twins[which].name) for compared in judged)
    if name == "omega of another sample":
        assert {row.omega for row in failed if row.stage in ("layer", "network")} == {"per sample"}


def test_a_row_that_is_not_finite_never_passes():
    for at_least in (False, True):
        for error in (np.nan, np.inf, -np.inf):
            assert not Row("layer", "", "", "", error, 1.0, at_least).passed
    assert Row("layer", "", "", "", 1.0, 1.0).passed and not Row("layer", "", "", "", 1.1, 1.0).passed
    assert Row("layer", "", "", "", 1.0, 1.0, True).passed and not Row("layer", "", "", "", 0.9, 1.0, True).passed


def test_an_empty_certificate_does_not_pass():
    assert not Certificate("", {}).passed
    good, bad = (Row("layer", "a : oracle", "", "", error, 1.0) for error in (0.5, 2.0))
    assert Certificate("", {}, [good]).passed and not Certificate("", {}, [good, bad]).passed
    assert Certificate("", {}, [good, bad]).summary() == [bad]


def test_a_plain_network_is_refused(twin, make_recipe, weights_file):
    recipe = make_recipe(
        network={"name": "resnet", "channels": 2, "blocks": 1, "tunable": False},
        omega={"sampler": {"kind": "fixed", "value": [1, 0]}},
    )
    with pytest.raises(TunableError, match="plain network"):
        verify(weights_file(f"plain-{twin.name}", recipe, twin.backend), [twin.backend])
