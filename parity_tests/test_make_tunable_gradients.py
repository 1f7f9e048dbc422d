"""Gradients and training of networks made tunable: in both frameworks, in omega, and where a network recomputes."""

import numpy as np
import pytest

from parity_tests import strangers
from parity_tests.tuned import GRADIENT, SOME, Trained, call, gradients, made, omega_of
from tunable import retrofit
from tunable.errors import TunableError
from tunable.tolerances import joint_error, relative_error


@pytest.mark.parametrize("label", ["inside", "per sample"])
@pytest.mark.parametrize("name", SOME)
def test_gradients_are_the_same_in_both(twins, arrays, name, label, rng):
    x, omega, by_twin = arrays(name), omega_of(label), {}
    for twin in twins:
        network, _ = made(twin, name, "*")
        outputs = call(twin, network, x, omega)
        weights = {place: np.random.default_rng(8).standard_normal(value.shape) for place, value in outputs.items()}
        by_twin[twin.name] = gradients(twin, network, x, omega, weights)
    (x1, omega1, names1), (x2, omega2, names2) = by_twin["torch"], by_twin["mindspore"]
    assert names1.keys() == names2.keys() and joint_error(names2, names1) <= GRADIENT
    assert max(relative_error(b, a) for a, b in zip(x1, x2, strict=True)) <= GRADIENT
    assert np.abs(omega1).min() > 0
    assert np.isnan(omega2).all(), "MindSpore cannot tell it, and must not say zero"


@pytest.mark.parametrize("name", SOME)
def test_the_gradient_of_omega(twins, arrays, name):
    """torch's gradient equals differences of float64 outputs; MindSpore takes it in its parameter `omega`."""
    torch, mindspore = twins
    x, omega = arrays(name), omega_of("inside")
    network, tensors = made(torch, name, "*")
    weights = {p: np.random.default_rng(8).standard_normal(v.shape) for p, v in call(torch, network, x, omega).items()}

    def exact(point):
        outputs = strangers.exact(name, strangers.mixed(tensors, network.plan, point), x)
        return sum(np.mean(outputs[place] * weight.astype(np.float32)) for place, weight in weights.items())

    step = 1e-5
    expected = [(exact(omega + e * step) - exact(omega - e * step)) / (2 * step) for e in np.eye(2)]
    assert relative_error(gradients(torch, network, x, omega, weights)[1], expected) <= GRADIENT
    network, _ = made(mindspore, name, "*")
    network.omega.requires_grad = True
    factors = dict(zip(weights, mindspore.tensors(weights.values()), strict=True))

    def loss(*inputs):
        outputs = strangers.flat(network(*inputs))
        return sum((outputs[place] * factor).mean() for place, factor in factors.items())

    result = mindspore.ms.grad(loss, None, network.omega)(*mindspore.tensors([*x, omega]))
    assert relative_error(mindspore.array(result), expected) <= GRADIENT


def test_it_learns(twin, rng):
    """Two targets, one for each corner: the differences grow, and the corners part. The base, frozen, stays."""
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    network = twin.impl.make_tunable(strangers.build("reused", twin.name), 2, train="differences")
    parameters = twin.module("parameters")
    base = {name: parameters.array(each) for name, each in parameters.entries(network.network).items()}
    targets = {"corner": 0.5 * x, "other": -0.5 * x}
    omegas = {"corner": omega_of("corner"), "other": np.array([0, 1], np.float32)}

    def distance(label):
        return float(np.mean((call(twin, network, [x], omegas[label])[""] - targets[label]) ** 2))

    started = {label: distance(label) for label in targets}
    trained = Trained(twin, network)
    for _ in range(60):
        for label, target in targets.items():
            (goal,) = twin.tensors([target])

            def loss(inputs, omega, goal=goal):
                return ((network(inputs, omega) - goal) ** 2).mean()

            _, slopes = twin.differentiate(loss, [x, omegas[label]], trained)
            for value, gradient in zip(trained.get_parameters(), slopes[2:], strict=True):
                each = retrofit.Entry(value, gradient.shape)
                parameters.set_value(each, parameters.array(each) - 0.1 * gradient)
    assert all(distance(label) < 0.5 * started[label] for label in targets), "the knobs learnt nothing"
    after = {name: parameters.array(each) for name, each in parameters.entries(network.network).items()}
    assert all(np.array_equal(after[name], value) for name, value in base.items())


def test_recomputation_inside_is_refused(torch):
    """torch.utils.checkpoint would see the given weights in the backward pass; of the whole network it is right."""
    checkpoint, nn = torch.torch.utils.checkpoint.checkpoint, torch.torch.nn

    class Recomputed(nn.Module):
        def __init__(self, within):
            super().__init__()
            self.conv, self.within = nn.Conv2d(3, 3, 3), within

        def forward(self, x):
            return checkpoint(self.conv, x, use_reentrant=False) if self.within else self.conv(x)

    x, omega = torch.tensors([np.ones((2, 3, 5, 6), np.float32), np.float32([0.3, 0.8])])
    inside, plain = (torch.impl.make_tunable(Recomputed(within), 2) for within in (True, False))
    with pytest.raises(TunableError, match="Conv2d is run again in the backward pass"):
        inside(x, omega).square().sum().backward()
    gradients = []
    for run in (plain, lambda x, omega: checkpoint(plain, x, omega, use_reentrant=False)):
        plain.zero_grad()
        run(x, omega).square().sum().backward()
        gradients.append([torch.array(value.grad) for value in plain.parameters()])
    assert all(np.array_equal(a, b) for a, b in zip(*gradients, strict=True)) and np.any(gradients[0][-1])
    folded = inside.fold(omega)
    folded(x).square().sum().backward()  # is an ordinary network again


def test_recomputation_inside_in_mindspore(mindspore):
    """Refused in PyNative mode, where kernels would get no gradient; right in graphs, and of the whole network."""
    ms, nn = mindspore.ms, mindspore.ms.nn

    class Whole(nn.Cell):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3)

        def construct(self, x):
            return self.conv(x)

    class ByFunction(Whole):  # which graphs do not know
        def construct(self, x):
            return ms.recompute(self.conv, x)

    inputs = mindspore.tensors([np.ones((2, 3, 5, 6), np.float32), np.float32([0.3, 0.8])])

    def gradient(tuned, whole=False):
        def loss(x, omega):
            return ((ms.recompute(tuned, x, omega) if whole else tuned(x, omega)) ** 2).sum()

        return [mindspore.array(v) for v in ms.value_and_grad(loss, None, list(tuned.trainable_params()))(*inputs)[1]]

    plain, inside = (mindspore.impl.make_tunable(network, 2) for network in (Whole(), ByFunction()))
    expected = gradient(plain)
    assert all(np.array_equal(a, b) for a, b in zip(gradient(plain, whole=True), expected, strict=True))
    plain.network.conv.recompute()
    for network in (plain, inside):
        with pytest.raises(TunableError, match="Conv2d recomputes, or is run without its tuned network"):
            gradient(network)
    with mindspore.module("ops").running("graph"):
        result = gradient(plain)
    assert all(relative_error(a, b) <= GRADIENT and np.any(b) for a, b in zip(result, expected, strict=True))
