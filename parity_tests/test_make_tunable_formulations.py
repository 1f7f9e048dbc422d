"""Anchor, bump and scale of networks made tunable: judged by numpy from the tensors of their files."""

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import NETWORK, call, made, omega_of, ordinary
from tunable.specs.networks import UNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import retrofitted

ANCHOR = [0.3, 0.8]
KEYS = {
    "anchor": {"anchor": ANCHOR},
    "bump": {"bump": True},
    "anchored bump": {"anchor": ANCHOR, "bump": True},
    "low rank": {"anchor": ANCHOR, "bump": True, "train": "differences", "rank": 1},
    "scale": {"anchor": ANCHOR, "bump": True, "train": "differences", "differences": "scale"},
}


def steps(omega, keys):
    """The weights of the differences at omega (p,), in float64."""
    at, anchor = omega.astype(np.float64), np.array(keys.get("anchor", [0, 0]), np.float32).astype(np.float64)
    weights = [at[0] - anchor[0], at[1] - anchor[1]]
    return np.array([*weights, at[0] * at[1] - anchor[0] * anchor[1]] if keys.get("bump") else weights)


def kernels_at(given, tensors, plan, keys, omega):
    """The ordinary weights at omega (p,), from the file's tensors of differences and the given network's."""
    weights, mixed = steps(omega, keys), {}
    for name, value in given.items():
        file = plan.tensors[name]
        parts = {
            key.removeprefix(f"{file}."): part.astype(np.float64)
            for key, part in tensors.items()
            if key.rpartition(".")[0] == file
        }
        if "gain" in parts:
            mixed[name] = value * (1 + weights @ parts["gain"]).reshape(-1, *[1] * (value.ndim - 1))
            continue
        differences = np.matmul(parts["up"], parts["down"]) if "up" in parts else parts["differences"]
        mixed[name] = value + np.einsum("m,m...->...", weights, differences).reshape(value.shape)
    return mixed


@pytest.mark.parametrize("name", ["unet", "attention"])
@pytest.mark.parametrize("keys", KEYS)
def test_what_is_learnt(twin, arrays, tmp_path, keys, name):
    """At every omega, folded and read from its file; at the anchor the given network to the bit, however trained."""
    keys, given, x = KEYS[keys], strangers.build(name, twin.name), arrays(name)
    alone = "train" in keys
    parameters = twin.module("parameters")
    entries = {local: parameters.array(each) for local, each in parameters.entries(given).items()}
    network, tensors = made(twin, name, "*", **keys)
    path = tmp_path / "made.safetensors"
    network.save(path)
    again = twin.impl.load_tuned(path, base=given)
    assert again.plan == network.plan and (not alone or tensors.keys() == again.weights().keys())
    base = entries if alone else {local: tensors[file][0] for local, file in network.plan.tensors.items()}
    at_anchor = np.array(keys.get("anchor", [0, 0]), np.float32)
    statistics = {local: value for local, value in tensors.items() if "running" in local}
    expected = call(twin, ordinary(twin, name, {**base, **statistics}), x)
    for place, value in call(twin, network, x, at_anchor).items():
        assert np.array_equal(value, expected[place]), place

    def at(row):
        plan = network.plan
        return kernels_at(entries, tensors, plan, keys, row) if alone else strangers.mixed(tensors, plan, row)

    for label in ("corner", "outside", "per sample"):
        omega = omega_of(label)
        result = call(twin, again, x, omega)
        for n, row in enumerate(np.atleast_2d(omega)):
            weights = at(row)
            part = call(twin, ordinary(twin, name, {**weights, **statistics}), [a[n : n + 1] for a in x])
            for place, value in result.items():
                assert relative_error(value[n : n + 1], part[place]) <= NETWORK, (label, place)
    folded = twin.impl.fold(network, *twin.tensors([omega_of("corner")]))
    for place, value in call(twin, folded, x).items():
        assert relative_error(value, call(twin, again, x, omega_of("corner"))[place]) <= NETWORK


@pytest.mark.parametrize("kind", ["float16", "float64"])
@pytest.mark.parametrize("keys", ["anchored bump", "low rank", "scale"])
def test_at_its_anchor_in_other_precisions(twin, keys, kind):
    """Of 0.05 and 0.1, whose product is another in each: the given weights to the bit, for an omega in float32 too."""
    network, _ = made(twin, "attention", "qkv", **KEYS[keys] | {"anchor": [0.05, 0.1]})
    parameters, dtype = twin.module("parameters"), getattr(twin.torch if twin.name == "torch" else twin.ms, kind)
    if twin.name == "torch":
        network.half().to(dtype)
    for each in () if twin.name == "torch" else network.get_parameters():
        if kind == "float64" or each is not network.omega:  # which float32 alone can be given to
            each.set_dtype(dtype)
    given = {local: parameters.array(each) for local, each in parameters.entries(network.network).items()}
    (omega,) = twin.tensors([np.array([0.05, 0.1], np.float32)])
    for at in (omega, omega.new_tensor([0.05, 0.1], dtype=dtype)) if twin.name == "torch" else (omega,):
        for local, each in parameters.entries(network.fold(at)).items():
            assert np.array_equal(parameters.array(each), given[local]), local


def test_it_becomes_the_projects_own_form(twin, rng):
    """With anchor and bump, as trained whole: the tensors of the tunable network of these keys, and its outputs."""
    spec, keys = UNetSpec(width=4, depth=1, tunable=False), {"anchor": ANCHOR, "bump": True}
    network = twin.impl.make_tunable(twin.backend.build(spec, 0), 2, **keys)
    drawn = {local: 0.3 * rng.standard_normal(value.shape) for local, value in sorted(network.weights().items())}
    tensors = {local: value.astype(np.float32) for local, value in drawn.items()}
    network.assign(tensors)
    tunable = twin.backend.build(UNetSpec(width=4, depth=1, **keys), 2)
    assert {one.name: tuple(one.shape) for one in twin.backend.specs(tunable)} == {
        local: value.shape for local, value in tensors.items()
    }
    twin.backend.assign(tunable, tensors)
    x = rng.uniform(size=(2, 3, 8, 8)).astype(np.float32)
    for label in ("inside", "outside", "per sample"):
        result = call(twin, network, [x], omega_of(label))[""]
        assert relative_error(result, twin.backend.run(tunable, x, omega_of(label))) <= TOLERANCES["folded"].limit


def test_gains_are_trained(twin, arrays, rng):
    """The gradient of each gain is that of its rows, by finite differences of the oracle's scales."""
    network, tensors = made(twin, "unet", "*", **KEYS["scale"])
    x, omega = arrays("unet"), omega_of("corner")
    name = next(local for local in sorted(tensors) if local.endswith(".gain"))
    step = np.zeros_like(tensors[name])
    step[0, 0] = 1e-2
    outputs = []
    for sign in (1, -1):
        network.assign({**tensors, name: tensors[name] + sign * step})
        outputs.append(call(twin, network, x, omega)[""].astype(np.float64).mean())
    network.assign(tensors)
    entry = next(parts[0] for local, parts in network._stored().items() if local == name)
    (gradient,) = _gradient(twin, network, x, omega, entry.value)
    assert gradient[0, 0] == pytest.approx((outputs[0] - outputs[1]) / 2e-2, rel=0.02, abs=1e-6)
    assert np.abs(gradient).max() > 1e-6


def _gradient(twin, network, x, omega, parameter):
    inputs = twin.tensors([*x, omega])
    if twin.name == "torch":
        network(*inputs).mean().backward()
        return (twin.array(parameter.grad),)
    forward = twin.ms.value_and_grad(lambda *tensors: network(*tensors).mean(), None, [parameter])
    return tuple(twin.array(each) for each in forward(*inputs)[1])


def test_a_file_of_earlier_versions(tmp_path, torch):
    """A plan without these keys has their defaults, and such a plan is written as ever."""
    network, _ = made(torch, "unet", "*")
    network.save(tmp_path / "made.safetensors")
    _, plan, _ = retrofitted.load(tmp_path / "made.safetensors")
    assert plan == network.plan and (plan.differences, plan.anchor, plan.bump) == ("full", [], False)
