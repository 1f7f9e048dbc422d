"""omega as a map (N, p, H, W), every pixel its own setting (docs/method.md, "ω as a map")."""

import dataclasses

import numpy as np
import pytest

from parity_tests.cases import BATCH, CASES, FORMULATIONS, build, inputs, weights
from parity_tests.twins import differ
from tunable import oracle
from tunable.api import restore
from tunable.backends.model import WeightsModel
from tunable.errors import OmegaError
from tunable.images.tiling import run_tiled
from tunable.specs.formulations import Last
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, StyleUNetSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights.storage import Header

LAYER, NETWORK = TOLERANCES["layer"].limit, TOLERANCES["network"].limit
GRADIENT = TOLERANCES["layer gradient"].limit
# Every kind of layer, phi and formulation.
LAYERS = [
    ("padded", "affine", 2),
    ("depth-wise", "se", 2),
    ("grouped strided", "low rank", 2),
    ("reflected uneven", "scale, anchored", 2),
    ("1x1 strided", "identity", 3),
    ("1-d uneven", "low rank", 2),
    ("3-d uneven", "bump", 3),
    ("transposed uneven", "low rank", 2),
    ("transposed x2", "scale, anchored", 2),
    ("grouped", "low rank, bump, anchored", 3),
    ("linear on rows", "low rank", 2),
    ("linear on maps", "se", 1),
    ("linear no bias", "scale, anchored", 2),
    ("vector", "affine", 2),
    ("layer norm", "bump", 3),
    ("layer norm 2d", "se", 2),
    ("instance norm", "base", 2),
]


def map_for(twin, layer, name, p, rng):
    """A random map of the layer's output; of a parameter, which has none, one of 4x5 pixels."""
    x = inputs(name)
    size = (4, 5) if x is None else layer.pixels(twin.tensors([x])[0])
    return rng.normal(size=(BATCH, p, *size)).astype(np.float32)


def true_output(name, phi, p, x, omega):
    case = CASES[name]
    return oracle.layer(case.kind, FORMULATIONS[phi], weights(name, phi, p), case.options, x, omega)


@pytest.mark.parametrize(("name", "phi", "p"), LAYERS)
def test_layers(twin, name, phi, p, rng):
    """Against the oracle, whatever form is asked for; the same map everywhere is the setting of the sample."""
    layer, x = build(twin, name, phi, p), inputs(name)
    omega = map_for(twin, layer, name, p, rng)
    layer.form = "grouped"  # which knows no maps
    output = twin.run(layer, x, omega)
    assert output.shape[2:] == omega.shape[2:] or output.shape[1:-1] == omega.shape[2:]
    assert relative_error(output, true_output(name, phi, p, x, omega)) <= LAYER
    rows = np.ascontiguousarray(omega.reshape(BATCH, p, -1)[..., 0])
    even = np.broadcast_to(rows.reshape(BATCH, p, *[1] * (omega.ndim - 2)), omega.shape)
    expected = twin.run(layer, x, rows)
    if x is None:
        expected = np.broadcast_to(expected[..., None, None], output.shape)
    assert relative_error(twin.run(layer, x, even), expected) <= LAYER


@pytest.mark.parametrize(("name", "phi", "p"), [("grouped strided", "low rank", 2), ("layer norm 2d", "se", 2)])
def test_gradients(twin, name, phi, p, rng):
    """In the input, the map and every parameter, along one random direction each: central differences of the oracle."""
    layer, case, x = build(twin, name, phi, p), CASES[name], inputs(name)
    omega = map_for(twin, layer, name, p, rng)
    factor = rng.normal(size=true_output(name, phi, p, x, omega).shape).astype(np.float32)
    places = {"x": x, "omega": omega, **weights(name, phi, p)}
    for place, gradient in twin.gradients(layer, x, omega, factor).items():
        step, sides = rng.normal(size=places[place].shape), []
        for length in (1e-5, -1e-5):
            moved = {**places, place: places[place] + length * step}
            tensors = {local: value for local, value in moved.items() if local not in ("x", "omega")}
            output = oracle.layer(case.kind, FORMULATIONS[phi], tensors, case.options, moved["x"], moved["omega"])
            sides.append(np.mean(output * factor))
        gap = np.sum(gradient * step) - (sides[0] - sides[1]) / 2e-5
        assert abs(gap) <= GRADIENT * np.linalg.norm(gradient) * np.linalg.norm(step), place


@pytest.mark.parametrize("name", ["channel attention", "simplified channel attention"])
def test_what_mixes_the_whole_picture_takes_the_mean(twin, name, rng):
    layer, x = build(twin, name, "affine", 2), inputs(name)
    omega = rng.normal(size=(BATCH, 2, *x.shape[2:])).astype(np.float32)
    output = twin.run(layer, x, omega)
    assert relative_error(output, true_output(name, "affine", 2, x, omega)) <= LAYER
    assert relative_error(output, twin.run(layer, x, omega.mean((2, 3)))) <= LAYER


def test_written_numbers(twin):
    """A point of 2, at omega_1 = 1, 2, 3, 4 and omega_2 = 0, 1, 0, 1: with A 3 and B 5 at omega_2, 2 + 15 omega_2."""
    make, x = twin.impl.TunableConv2d, np.ones((1, 1, 2, 2))
    omega = np.array([[[[1, 2], [3, 4]], [[0, 1], [0, 1]]]])
    low_rank = make(1, 1, 1, num_objectives=2, differences="low_rank", rank=1)
    tensors = {"weight": [2], "down": [0, 3], "up": [7, 5], "bias": [0, 100, 0]}
    shapes = {name: value.shape for name, value in twin.backend.parameters(low_rank).items()}
    twin.backend.assign(low_rank, {name: np.float32(tensors[name]).reshape(shapes[name]) for name in shapes})
    np.testing.assert_array_equal(twin.run(low_rank, x, omega)[0, 0], [[102, 217], [302, 417]])


def test_wrong_maps_are_refused(twin, rng):
    """One line each; never repeated to fit."""
    x = rng.uniform(size=(2, 3, 8, 9)).astype(np.float32)
    strided = twin.impl.TunableConv2d(3, 4, 3, num_objectives=2, stride=2)
    linear = twin.impl.TunableLinear(9, 4, num_objectives=2)
    table = twin.impl.TunableParameter((9, 2), num_objectives=2)
    no_map = r"^omega must be a tensor \(2,\) or \(N, 2\), not one of shape \(2, 2, 4, 4\)$"
    for layer, given, shape, message in (
        (strided, x, (2, 2, 8, 9), "^omega is a map of 8x9 pixels, height x width; 3x4 are wanted$"),
        (strided, x, (2, 2, 1, 1), "^omega is a map of 1x1 pixels"),
        (strided, x, (2, 3, 3, 4), r"^omega has 3 maps, of shape \(2, 3, 3, 4\); 2 are wanted, one for each"),
        (strided, x, (1, 2, 3, 4), "^omega has maps for 1 samples, but the input has 2$"),
        (linear, x, (2, 2, 3, 9), "^omega is a map of 3x9 pixels, height x width; 3x8 are wanted$"),
        (linear, x[:, 0, 0], (2, 2, 4, 4), no_map),
        (table, None, (2, 2, 4, 4), no_map),
    ):
        with pytest.raises(OmegaError, match=message):
            twin.run(layer, given, np.zeros(shape))


NETWORKS = {
    "resnet": ResNetSpec(channels=4, blocks=1, upscale=4, differences="low_rank", rank=2, bump=True),
    "unet": UNetSpec(width=4, depth=2, phi="affine"),
    "compact": CompactSpec(
        channels=4, blocks=1, upscale=3, tunable_slopes=True, differences="scale", anchor=[0.3, 0.6]
    ),
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[1, 1], decoder=[1, 1], tunable_norms=True),
    "style": StyleUNetSpec(channels=4, scales=2, blocks=(2, 1, 2), tunable_norms=True),
}


def model_of(twin, spec, rng):
    """A model with random weights, none of them zero."""
    network = twin.backend.build(spec, 2)
    shapes = {one.name: one.shape for one in twin.backend.specs(network)}
    twin.backend.assign(network, {k: rng.normal(size=v, scale=0.3).astype("f") for k, v in shapes.items()})
    return WeightsModel(twin.backend, network, Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))


def picture_and_map(rng, height=13, width=18, n=2):
    """Of a size that every network pads, down and across differently."""
    return (rng.uniform(size=(n, c, height, width)).astype(np.float32) for c in (3, 2))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(twin, torch, name, rng):
    """Against float64, the oracle where it knows the network; a constant map is the setting of the sample."""
    spec, (x, omega) = NETWORKS[name], picture_and_map(rng)
    model, exact = model_of(twin, spec, rng), torch.backend.in_float64()
    tensors, network = twin.backend.parameters(model.network), exact.build(spec, 2)
    exact.assign(network, tensors)
    restored, truth = model.run(x, omega), exact.run(network, x, omega)
    assert relative_error(restored, truth) <= NETWORK
    if name in ("unet", "compact"):
        assert relative_error(restored, getattr(oracle, name)(x, omega, spec, tensors)) <= NETWORK
    rows = omega[:, :, 3, 4]
    even = np.broadcast_to(rows[:, :, None, None], omega.shape)
    assert relative_error(exact.run(network, x, even), exact.run(network, x, rows)) <= 1e-12
    assert relative_error(model.run(x, even), model.run(x, rows)) <= NETWORK
    assert differ(restored, model.run(x, rows))


@pytest.mark.parametrize("name", ["resnet", "unet", "compact"])
def test_two_halves(torch, name, rng):
    """Away from their border by more than the halo: the two settings, exactly; nearer they are neither."""
    spec = NETWORKS[name]
    halo, scale, exact, model = spec.halo, spec.scale, torch.backend.in_float64(), model_of(torch, spec, rng)
    network = exact.build(spec, 2)
    exact.assign(network, torch.backend.parameters(model.network))
    border = halo + 7  # no multiple of what the network pads to
    x, omega = picture_and_map(rng, 9, border + halo + 6, 1)
    first, second = np.float32([0.2, 0.9]), np.float32([0.8, 0.4])
    omega[..., :border], omega[..., border:] = first[:, None, None], second[:, None, None]
    restored = exact.run(network, x, omega)
    for at, inside in ((first, slice(0, border - halo)), (second, slice(border + halo, None))):
        columns = slice(inside.start * scale, inside.stop and inside.stop * scale)
        alone = exact.run(network, x, at)
        assert relative_error(restored[..., columns], alone[..., columns]) <= 1e-12
        assert differ(restored, alone)
    around = slice((border - 1) * scale, (border + 1) * scale)
    for at in (first, second):
        assert differ(restored[..., around], exact.run(network, x, at)[..., around])


@pytest.mark.parametrize(
    "spec", [ResNetSpec(channels=4, blocks=1, upscale=2, phi="se"), UNetSpec(width=4, depth=1, phi="affine")]
)
def test_tiles(torch, spec, rng, monkeypatch):
    """The map is cut with the picture, and its halo is exact; one that is narrower is not."""
    model, (x, omega) = model_of(torch, spec, rng), picture_and_map(rng, 41, 75, 1)
    whole = model.run(x, omega)
    assert relative_error(run_tiled(model, x, omega, 16), whole) <= NETWORK
    levels = run_tiled(model, np.uint8(255 * x), omega, 21)
    assert levels.dtype == np.uint8 and differ(levels, run_tiled(model, np.uint8(255 * x), [0.5, 0.5], 21))
    sized = dataclasses.replace(model, header=dataclasses.replace(model.header, size=(40, 64)))
    if spec.scale == 1:
        assert relative_error(run_tiled(sized, x, omega), whole) <= NETWORK
    monkeypatch.setattr(type(spec), "halo", spec.halo - 2 * spec.padding_multiple)
    assert relative_error(run_tiled(model, x, omega, 16), whole) > 10 * NETWORK


def test_blended_tiles(torch, rng):
    """Every piece has its part of the map: with a map of two halves the outer tiles are those of the settings."""
    model, (x, omega) = model_of(torch, NETWORKS["nafnet"], rng), picture_and_map(rng, 16, 64, 1)
    omega[..., :32], omega[..., 32:] = 0.2, 0.8
    tiled = run_tiled(model, x, omega, 16)
    for value, columns in ((0.2, slice(0, 8)), (0.8, slice(56, None))):
        even = run_tiled(model, x, [value, value], 16)
        assert relative_error(tiled[..., columns], even[..., columns]) <= NETWORK


def test_wrong_maps_are_refused_by_models(twin, rng):
    """One line each, before a piece is cut; the network itself says so too."""
    model, (x, omega) = model_of(twin, NETWORKS["unet"], rng), picture_and_map(rng)
    swinir = model_of(twin, SwinIRSpec(channels=4, depths=[1], heads=[1], window=2), rng)
    wrong = omega.copy()
    wrong[0, 1, 2, 3] = np.nan
    for given, message in (
        (omega[:, :, :9], r"^omega is a map of 9x18 pixels, height x width; 13x18 are wanted$"),
        (
            omega[:, [0, 1, 1]],
            r"^omega has 3 maps, of shape \(2, 3, 13, 18\); 2 are wanted, one for each objective",
        ),
        (omega[:1], r"^omega has maps for 1 samples, but the input has 2$"),
        (wrong, r"^omega must be finite, not a map of which some are not$"),
        (omega[0], r"^omega has shape \(2, 13, 18\); .* so it must be \(2,\) or \(N, 2\), or a map \(N, 2, 13, 18\)$"),
    ):
        for run in (model.run, lambda *inputs: run_tiled(model, *inputs, 16)):
            if run != model.run and given.ndim == 3:
                continue  # the first piece says so, of its own size
            with pytest.raises(OmegaError, match=message):
                run(x, given)
    with pytest.raises(
        OmegaError, match=r"^this swinir takes one omega for a picture, not a map: attention mixes pixels"
    ):
        swinir.run(x, omega)
    with pytest.raises(
        OmegaError, match=r"^omega must be a tensor \(2,\) or \(N, 2\) and no map, for attention mixes pixels"
    ):
        twin.backend.run(swinir.network, x, omega)
    with pytest.raises(OmegaError, match=r"^omega is a map of 9x18 pixels"):
        twin.backend.run(model.network, x, np.ascontiguousarray(omega[:, :, :9]))


@pytest.mark.parametrize("spec", [UNetSpec(width=4, depth=1, bump=True), CompactSpec(channels=4, blocks=1, upscale=2)])
def test_prepared_pictures_and_heads_take_maps(twin, spec, rng):
    """At the cost of a sum: base and differences, weighed pixel by pixel, are what the network restores."""
    model, (x, omega) = model_of(twin, spec.model_copy(update={"where": Last(last=1)}), rng), picture_and_map(rng)
    restored = model.run(x, omega)
    assert relative_error(model.prepare(x).at(omega), restored) <= NETWORK
    assert relative_error(model.heads(x).at(omega), restored) <= NETWORK
    for at in (model.prepare(x).at, model.heads(x).at):
        with pytest.raises(OmegaError, match=r"^omega is a map of 13x9 pixels"):
            at(omega[..., :9])


def test_what_is_no_map(torch, rng):
    """The most telling line, whoever is asked: rows of several lengths, a map without rows, a network without maps."""
    model, (x, omega) = (
        model_of(torch, CompactSpec(channels=4, blocks=1, where=Last(last=1)), rng),
        picture_and_map(rng),
    )
    swinir = model_of(torch, SwinIRSpec(channels=4, depths=[1], heads=[1], window=2), rng)
    for run in (
        lambda given: run_tiled(model, x, given),
        lambda given: restore(model, x[0].transpose(1, 2, 0), given),
        lambda given: swinir.run(x, given),
        model.heads(x).at,
    ):
        with pytest.raises(OmegaError, match=r"^omega must be numbers of shape"):
            run([[1, 0], [1]])
    with pytest.raises(OmegaError, match=r"^omega is a map of 0x8 pixels"):
        model.heads(x).at(omega[:, :, :0, :8])
    with pytest.raises(OmegaError, match="^a plain network takes no omega"):
        run_tiled(model.fold([1, 0]), x, omega)
    with pytest.raises(OmegaError, match="^this swinir takes one omega for a picture"):
        run_tiled(swinir, x, omega[..., :9])
