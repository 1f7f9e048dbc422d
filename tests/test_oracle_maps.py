"""The oracle at a map of omega: brute force, pixel by pixel, in float64; and written numbers."""

import numpy as np
import pytest

from tunable import oracle
from tunable.specs.formulations import Formulation
from tunable.tolerances import relative_error

ROUNDING = 1e-13
LOW_RANK = Formulation(differences="low_rank", rank=2, anchor=(0.5, -1), bump=True)


def convolution(rng, formulation, transposed):
    """Tensors of 4 -> 6 channels in two groups, kernels 3x2."""
    kernel = (4, 3, 3, 2) if transposed else (6, 2, 3, 2)
    if formulation == "affine":
        shapes = {"weight": (2, *kernel), "bias": (2, 6), "phi.weight": (2, 2), "phi.bias": (2,)}
    else:
        down = (3, 4, 2, 3, 2)
        shapes = {"weight": (1, *kernel), "bias": (4, 6), "down": down, "up": (3, 6, 2)}
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("formulation", ["affine", LOW_RANK])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_pixel_is_that_of_its_own_omega(formulation, transposed, rng):
    layer = oracle.conv_transpose if transposed else oracle.conv
    x, tensors = rng.standard_normal((2, 4, 5, 6)), convolution(rng, formulation, transposed)
    options = {"stride": (2, 1), "padding": 1, "groups": 2}
    size = layer(x, np.zeros(2), tensors, formulation, **options).shape[2:]
    omega = rng.standard_normal((2, 2, *size))
    made = layer(x, omega, tensors, formulation, **options)
    for i, j in np.ndindex(*size):
        alone = layer(x, omega[:, :, i, j], tensors, formulation, **options)
        assert relative_error(made[:, :, i, j], alone[:, :, i, j]) <= ROUNDING


@pytest.mark.parametrize("kind", ["linear", "layer_norm", "layer_norm2d", "instance_norm2d", "parameter"])
def test_other_layers_pixel_by_pixel(kind, rng):
    last = kind in ("linear", "layer_norm")
    x = None if kind == "parameter" else rng.standard_normal((2, 3, 4, 5))
    options = {"eps": 1e-5} if "norm" in kind else {}
    channels = 5 if last else 3
    tensors = {"weight": rng.standard_normal((3, channels)), "bias": rng.standard_normal((3, channels))}
    if kind == "linear":
        tensors["weight"] = rng.standard_normal((3, channels, 5))
    omega = rng.standard_normal((2, 2, *((3, 4) if last else (4, 5))))
    made = oracle.layer(kind, "base", tensors, options, x, omega)
    made = made if last else np.moveaxis(made, 1, -1)
    for i, j in np.ndindex(*omega.shape[2:]):
        alone = oracle.layer(kind, "base", tensors, options, x, omega[:, :, i, j])
        if x is not None:
            alone = alone[:, i, j] if last else alone[:, :, i, j]
        assert relative_error(made[:, i, j], alone) <= ROUNDING


def test_written_numbers():
    """A pixel of 1, kernels 1 and 10, biases 100 and 1000, at omega (1, 2) and (3, 4): 1 + 20 + 100 + 2000, ..."""
    tensors = {"weight": np.array([1, 10.0]).reshape(2, 1, 1, 1, 1), "bias": np.array([[100], [1000.0]])}
    omega = np.array([[[[1, 3]], [[2, 4]]]])
    made = oracle.conv(np.ones((1, 1, 1, 2)), omega, tensors, "identity")
    np.testing.assert_array_equal(made, [[[[2121, 4343]]]])
    attention = {f"conv.{name}": value for name, value in tensors.items()}
    made = oracle.layer("simplified_channel_attention", "identity", attention, {}, np.ones((1, 1, 1, 2)), omega)
    np.testing.assert_array_equal(made, [[[[3232, 3232]]]])  # at the mean of the map, (2, 3)
