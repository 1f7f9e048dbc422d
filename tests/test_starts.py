"""Starting weights: bounds, names, and each named start (docs/method.md, "Layers")."""

import numpy as np
import pytest

from tunable.errors import TunableError
from tunable.parameters.specs import ParameterSpec
from tunable.parameters.starts import Initial, starting_weights


def conv(phi="", p=2, name="layer", out=32, fan_in=144):
    """The parameters of a convolution with 16 input channels and a 3x3 kernel."""
    kernels = (p + 1,) if phi == "base" else (p,) if phi else ()
    specs = [
        ParameterSpec(f"{name}.weight", (*kernels, out, 16, 3, 3), "kernel", fan_in, phi),
        ParameterSpec(f"{name}.bias", (*kernels, out), "bias", fan_in, phi),
    ]
    if phi == "affine":
        specs += [
            ParameterSpec(f"{name}.phi.weight", (p, p), "phi", p, phi),
            ParameterSpec(f"{name}.phi.bias", (p,), "phi", p, phi),
        ]
    if phi == "se":
        specs += [
            ParameterSpec(f"{name}.phi.0.weight", (4 * p, p), "phi", p, phi),
            ParameterSpec(f"{name}.phi.2.weight", (p, 4 * p), "phi", 4 * p, phi),
        ]
    return specs


def start(specs, seed=0, **options):
    return {name.partition(".")[2]: value for name, value in starting_weights(specs, seed, Initial(**options)).items()}


def check_uniform(values, bound):
    """U(-bound, bound): inside, filling it, with its variance."""
    assert np.abs(values).max() <= bound * (1 + 1e-6)
    assert values.max() > 0.95 * bound and values.min() < -0.95 * bound
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.1)


def test_ordinary_layer():
    """Kaiming-uniform with a = sqrt 5: bound 1 / sqrt(fan_in) = 1/12, for weight and bias."""
    drawn = start(conv())
    check_uniform(drawn["weight"], 1 / 12)
    assert np.abs(drawn["bias"]).max() <= 1 / 12 and drawn["bias"].std() > 0.03
    assert all(value.dtype == np.float32 for value in drawn.values())


def test_shapes():
    specs = conv("affine") + conv("base", name="other")
    drawn = starting_weights(specs, 0)
    assert {name: value.shape for name, value in drawn.items()} == {spec.name: spec.shape for spec in specs}


def test_names_and_seed_decide_not_order():
    first, second = conv("affine", name="a"), conv("affine", name="b")
    forward, backward = starting_weights(first + second, 3), starting_weights((first + second)[::-1], 3)
    alone = starting_weights(second, 3)
    for name, value in forward.items():
        np.testing.assert_array_equal(value, backward[name])
        assert name not in alone or np.array_equal(value, alone[name])
    assert len(alone) == 4
    assert not np.array_equal(forward["a.weight"], forward["b.weight"])
    assert not np.array_equal(forward["a.weight"], starting_weights(first, 4)["a.weight"])


def test_constant_start():
    drawn = start(conv("affine", p=4), start="constant", phi_scale=0.1)
    for kernel in drawn["weight"]:
        check_uniform(kernel, 1 / 12)
    correlation = np.corrcoef(drawn["weight"].reshape(4, -1)) - np.eye(4)
    assert np.abs(correlation).max() < 0.06  # independent kernels
    np.testing.assert_array_equal(drawn["phi.bias"], np.full(4, 0.5, dtype=np.float32))  # 1 / sqrt 4
    assert 0 < np.abs(drawn["phi.weight"]).max() < 0.4
    np.testing.assert_array_equal(start(conv("affine"), phi_scale=0.0)["phi.weight"], np.zeros((2, 2)))


def test_constant_start_has_the_variance_of_an_ordinary_layer():
    """phi's bias 1 / sqrt p makes sum_i alpha_i k_i as large as one k_i."""
    drawn = start(conv("affine", p=4), phi_scale=0.0)
    kernel = np.tensordot(drawn["phi.bias"], drawn["weight"], axes=1)
    assert kernel.var() == pytest.approx((1 / 12) ** 2 / 3, rel=0.1)


def test_phi_scale():
    many = [ParameterSpec("x.phi.weight", (40, 40), "phi", 40, "affine")]
    assert start(many, phi_scale=0.3)["phi.weight"].std() == pytest.approx(0.3, rel=0.08)
    near = start(many, start="identity", phi_scale=0.05)["phi.weight"] - np.eye(40)
    assert near.std() == pytest.approx(0.05, rel=0.08)


def test_identity_start():
    drawn = start(conv("affine"), start="identity", phi_scale=0.0)
    np.testing.assert_array_equal(drawn["phi.weight"], np.eye(2))
    np.testing.assert_array_equal(drawn["phi.bias"], np.zeros(2))
    assert not np.array_equal(drawn["weight"][0], drawn["weight"][1])


def test_equal_start():
    drawn = start(conv("affine", p=4), start="equal", phi_scale=0.0)
    for name in ("weight", "bias"):
        for kernel in drawn[name][1:]:
            np.testing.assert_array_equal(kernel, drawn[name][0])
    check_uniform(drawn["weight"][0], 1 / 12)
    np.testing.assert_array_equal(drawn["phi.bias"], np.full(4, 0.25))


def test_paper_start():
    drawn = start(conv("affine"), start="paper")
    assert drawn["weight"].std() == pytest.approx(0.01, rel=0.05)
    assert np.abs(drawn["weight"]).max() > 0.025  # normal, not uniform
    np.testing.assert_array_equal(drawn["bias"], np.zeros((2, 32)))
    assert 0 < np.abs(drawn["phi.weight"]).max() < 0.06 and 0 < np.abs(drawn["phi.bias"]).max() < 0.06
    check_uniform(start(conv(), start="paper")["weight"], 1 / 12)  # ordinary layers stay ordinary


@pytest.mark.parametrize("difference", [0.1, 0.0, 1.0])
def test_base_differences_are_scaled(difference):
    drawn = start(conv("base"), difference=difference)
    check_uniform(drawn["weight"][0], 1 / 12)
    for name in ("weight", "bias"):
        full = start(conv("base"), difference=1.0)[name]
        np.testing.assert_allclose(drawn[name][1:], difference * full[1:], rtol=1e-6)
        np.testing.assert_array_equal(drawn[name][0], full[0])
    assert not np.array_equal(full[1], full[2])


def test_base_default_is_a_tenth():
    drawn = starting_weights(conv("base"), 0)["layer.weight"]
    for kernel in drawn[1:]:
        check_uniform(kernel, 0.1 / 12)


def test_se_starts_as_ordinary_linear_layers():
    drawn = start(conv("se", p=16))
    check_uniform(drawn["phi.0.weight"], 1 / 4)
    check_uniform(drawn["phi.2.weight"], 1 / 8)


@pytest.mark.parametrize("role", ["one", "zero"])
def test_free_parameters_start_constant_in_omega(role):
    """sum_i alpha_i w_i is 1 (or 0) at every omega where phi is constant, and for phi `base`."""
    value = float(role == "one")

    def free(phi, k, **options):
        return start([ParameterSpec("x.weight", (k, 5), role, 0, phi)], **options)["weight"]

    np.testing.assert_array_equal(start([ParameterSpec("x.weight", (5,), role)])["weight"], np.full(5, value))
    np.testing.assert_array_equal(free("base", 3), [[value] * 5, [0] * 5, [0] * 5])
    np.testing.assert_allclose(free("affine", 4).sum(0) / np.sqrt(4), np.full(5, value), rtol=1e-6)
    np.testing.assert_allclose(free("affine", 4, start="equal").sum(0) / 4, np.full(5, value), rtol=1e-6)


def test_unknown_role(refused):
    with refused(TunableError, "x.weight", "'gain'", "kernel, bias"):
        starting_weights([ParameterSpec("x.weight", (2,), "gain")], 0)
