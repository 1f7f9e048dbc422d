"""An omega of a wrong shape is refused by name, before a framework repeats, cuts or misreads it."""

import numpy as np
import pytest

from tunable.errors import OmegaError

SHAPES = [(3,), (3, 2), (2, 3), (1, 1, 2), (2, 1), ()]


@pytest.fixture
def pictures(rng):
    return rng.uniform(size=(2, 3, 8, 9)).astype(np.float32)


def omega_of(shape):
    return np.full(shape, 0.5, np.float32)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layers(twin, pictures, shape):
    layer = twin.impl.TunableConv2d(3, 4, 3, num_objectives=2)
    with pytest.raises(OmegaError, match="^omega "):
        layer(*twin.tensors([pictures, omega_of(shape)]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_networks_losses_and_folding(twin, pictures, shape):
    network = twin.impl.ResNet(num_objectives=2, channels=4, blocks=1)
    loss = twin.impl.MultiLoss([twin.impl.Reconstruction(), twin.impl.NoisePreservation()], weights=[1.0, 1.0])
    x, omega = twin.tensors([pictures, omega_of(shape)])
    with pytest.raises(OmegaError, match="^omega "):
        network(x, omega)
    with pytest.raises(OmegaError, match="^omega "):
        loss(x, {"clean": x, "degraded": x}, omega)
    with pytest.raises(OmegaError, match="^omega "):
        twin.impl.fold(network, omega)


def test_what_is_no_tensor(twin, pictures):
    (x,) = twin.tensors([pictures])
    with pytest.raises(OmegaError, match=r"^omega must be a tensor \(2,\) or \(N, 2\), not list$"):
        twin.impl.TunableConv2d(3, 4, 3, num_objectives=2)(x, [0.5, 0.5])
    with pytest.raises(OmegaError, match=r"^omega must be a tensor \(2,\) or \(N, 2\), not NoneType$"):
        twin.impl.TunableConv2d(3, 4, 3, num_objectives=2)(x, None)


def test_folding_wants_one_omega(twin):
    network = twin.impl.ResNet(num_objectives=2, channels=4, blocks=1)
    with pytest.raises(OmegaError, match=r"^omega must be a tensor \(2,\), not one of shape \(2, 2\)$"):
        twin.impl.fold(network, *twin.tensors([omega_of((2, 2))]))


@pytest.mark.parametrize("shape", [(2,), (2, 2)], ids=str)
def test_right_shapes_pass_by_position_and_by_name(twin, pictures, shape):
    layer = twin.impl.TunableConv2d(3, 4, 3, num_objectives=2)
    x, omega = twin.tensors([pictures, omega_of(shape)])
    np.testing.assert_array_equal(twin.array(layer(x, omega=omega)), twin.array(layer(x, omega)))


def test_layers_fold_at_one_omega(twin):
    """Each by itself too: a free parameter would become one of many values."""
    (omega,) = twin.tensors([omega_of((2, 2))])
    layers = (
        twin.impl.TunableConv2d(3, 4, 3, num_objectives=2),
        twin.impl.TunableLinear(3, 4, num_objectives=2),
        twin.impl.TunableLayerNorm(3, num_objectives=2),
        twin.impl.TunableParameter((3,), num_objectives=2),
    )
    for layer in layers:
        with pytest.raises(OmegaError, match=r"^omega must be a tensor \(2,\), not one of shape \(2, 2\)$"):
            layer.fold(omega)


def test_a_missing_omega_is_said_to_be_missing(twin, pictures):
    (x,) = twin.tensors([pictures])
    with pytest.raises(OmegaError, match="not NoneType"):
        twin.impl.TunableConv2d(3, 4, 3, num_objectives=2)(x)


def test_a_layer_with_more_inputs_is_called(twin, pictures):
    """A subclass of somebody's: the first two inputs are x and omega."""
    name = "forward" if twin.name == "torch" else "construct"
    run = getattr(twin.impl.TunableConv2d, name)
    kind = type(
        "Scaled", (twin.impl.TunableConv2d,), {name: lambda self, x, omega, factor: run(self, x, omega) * factor}
    )
    x, omega = twin.tensors([pictures, omega_of((2,))])
    assert twin.array(kind(3, 4, 3, num_objectives=2)(x, omega, 2)).shape == (2, 4, 6, 7)


def test_a_network_in_float64_folds_in_float64(torch, pictures):
    network = torch.impl.ResNet(num_objectives=2, channels=4, blocks=1).double()
    x, omega = (value.double() for value in torch.tensors([pictures, np.float32([0.3, 0.9])]))
    gap = (torch.impl.fold(network, omega)(x) - network(x, omega)).abs().max()
    assert gap < 1e-13


def test_a_network_says_whether_it_takes_maps(twin, pictures):
    resnet = twin.impl.ResNet(num_objectives=2, channels=4, blocks=1)
    swinir = twin.impl.SwinIR(num_objectives=2, channels=4, depths=[1], heads=[1], window=2)
    x, *omegas = twin.tensors([pictures, omega_of((2, 8, 9)), omega_of((2, 2, 8, 9))])
    with pytest.raises(OmegaError, match=r"\(2,\) or \(N, 2\), or a map \(N, 2, 8, 9\), not one of shape \(2, 8, 9\)$"):
        resnet(x, omegas[0])
    with pytest.raises(
        OmegaError, match=r"\(2,\) or \(N, 2\) and no map, for attention mixes pixels .*, not one of shape"
    ):
        swinir(x, omegas[1])
