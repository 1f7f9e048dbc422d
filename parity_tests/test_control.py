"""The control strategies: both twins to the oracle, folded too, by hand, and their parameters and multiply-adds."""

import numpy as np
import pytest

from parity_tests.twins import differ
from tunable import oracle
from tunable.backends.model import WeightsModel, load
from tunable.certificate import verify
from tunable.commands import main
from tunable.errors import TunableError
from tunable.exports.judging import tried_export
from tunable.parameters.arithmetic import multiples, table
from tunable.parameters.layouts import layout
from tunable.parameters.starts import starting_weights
from tunable.parameters.strategies import folded
from tunable.specs.control import AdaFMSpec, CFSNetSpec, CResMDSpec, DyNetSpec
from tunable.specs.networks import CompactSpec, OutputBlendSpec, ResNetSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage
from tunable.weights.storage import Header

LIMIT = TOLERANCES["network"].limit
SMALL = {"channels": 4, "blocks": 2}
SPECS = {
    "dynet": DyNetSpec(**SMALL),
    "dynet deep x2": DyNetSpec(**SMALL, tuning_depth=3, upscale=2),
    "cfsnet": CFSNetSpec(**SMALL),
    "cfsnet x3": CFSNetSpec(**SMALL, upscale=3),
    "cfsnet x4": CFSNetSpec(**SMALL, upscale=4),
    "cresmd": CResMDSpec(**SMALL),
    "cresmd x2": CResMDSpec(**SMALL, upscale=2),
    "adafm": AdaFMSpec(**SMALL),
    "adafm 3 x4": AdaFMSpec(**SMALL, kernel=3, upscale=4),
}
SETTINGS = {
    "one": np.array([0.3, 0.9], np.float32),
    "nothing": np.zeros(2, np.float32),
    "per sample": np.array([[1, 0], [0.2, 0.5]], np.float32),
}


def drawn(spec, p=2, scale=1.0):
    """Weights with none at zero, of which every part moves the picture."""
    rng = np.random.default_rng(4)
    tensors = {}
    for name, shape in layout(spec, p):
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 4
        control = 2.0 if name.startswith(("control", "couplings")) else scale
        tensors[name] = (control * rng.normal(size=shape) / np.sqrt(fan_in)).astype(np.float32)
    return tensors


def built(twin, spec, p=2, tensors=None):
    network = twin.backend.build(spec, p)
    twin.backend.assign(network, tensors or drawn(spec, p))
    return network


@pytest.mark.parametrize("name", SPECS)
def test_names_shapes_and_starts(twins, name):
    """Equal in both twins and in the layout, tunable and plain."""
    for p in (2, 0):
        spec = SPECS[name].model_copy(update={"tunable": p > 0})
        first, second = (twin.backend.specs(twin.backend.build(spec, p)) for twin in twins)
        assert first == second
        assert {one.name: one.shape for one in first} == dict(layout(spec, p))
        begun = [twin.backend.parameters(twin.backend.build(spec, p)) for twin in twins]
        assert all((begun[0][one.name] == begun[1][one.name]).all() for one in first)


@pytest.mark.parametrize("name", SPECS)
def test_outputs(twin, name, rng):
    """Against the oracle, for one omega, one for each sample and a map, folded where it folds; and omega matters."""
    spec, tensors = SPECS[name], drawn(SPECS[name])
    network, plain = built(twin, spec), spec.model_copy(update={"tunable": False})
    for size in ((2, 3, 7, 5), (2, 3, 1, 1)):
        x, outputs = rng.uniform(size=size).astype(np.float32), []
        for omega in [*SETTINGS.values(), rng.uniform(size=(2, 2, *size[2:])).astype(np.float32)]:
            truth = oracle.strategy(x, omega, spec, tensors)
            outputs.append(twin.backend.run(network, x, omega))
            assert outputs[-1].shape == (2, 3, *(spec.upscale * side for side in size[2:]))
            assert relative_error(outputs[-1], truth) <= LIMIT
            if omega.ndim == 1 and not spec.without_folding:
                one = twin.backend.fold(network, omega)
                assert {each.name: each.shape for each in twin.backend.specs(one)} == dict(layout(plain, 0))
                assert relative_error(twin.backend.run(one, x, None), truth) <= TOLERANCES["folded"].limit
        assert all(differ(other, outputs[0]) for other in outputs[1:])


@pytest.mark.parametrize("name", ["dynet", "cfsnet", "adafm"])
def test_the_first_objective_is_the_main_branch(twin, name, rng):
    """At a = 0 a strategy is the plain residual network of its main branch, whatever the rest of it holds."""
    spec, tensors = SPECS[name], drawn(SPECS[name])
    main = {local: tensors[local] for local, _ in layout(spec.main, 0)}
    x = rng.uniform(size=(1, 3, 6, 5)).astype(np.float32)
    alone = twin.backend.run(built(twin, spec.main, 0, main), x, None)
    network = built(twin, spec)
    assert relative_error(twin.backend.run(network, x, np.array([0.7, 0], np.float32)), alone) <= LIMIT
    assert differ(twin.backend.run(network, x, np.array([0.5, 0.5], np.float32)), alone)


def single(spec, p=2):
    """Weights of a network of one channel and one block for pictures of one pixel: every kernel's middle is 1, all
    else 0, and the tail gives (1, 0, -1) times its input."""
    tensors = {}
    for name, shape in layout(spec, p):
        value = np.zeros(shape, np.float32)
        if len(shape) == 4 and "scale" not in name:
            value[:, :, shape[2] // 2, shape[3] // 2] = 1
        tensors[name] = value
    tensors["tail.weight"][:, 0, 1, 1] = [1, 0, -1]
    return tensors


ONE = {"channels": 1, "blocks": 1}


def test_dynet_by_hand(twin):
    """x = (1, 2, 3): head 6, block 6 + 6 = 12, tuning at a = 1/4: 12 + (12 - 2 + 0.5) / 4 = 14.625, skip 20.625.

    The reflected border of a single pixel repeats it: T's first kernel, all 1/9, is its sum; the bias is -2.
    """
    spec = DyNetSpec(**ONE)
    tensors = single(spec)
    tensors["tuning.0.conv1.weight"][:] = 1 / 9
    tensors["tuning.0.conv1.bias"][:], tensors["tuning.0.conv2.bias"][:] = -2, 0.5
    y = twin.backend.run(built(twin, spec, tensors=tensors), pixel(), np.array([0.9, 0.3], np.float32))
    np.testing.assert_allclose(y.ravel(), [20.625, 0, -20.625], rtol=1e-6)


def pixel():
    return np.array([1, 2, 3], np.float32).reshape(1, 3, 1, 1)


def test_cfsnet_by_hand(twin):
    """Head 6, B = 6 + 6 + 1 = 13, T = 2 x 6 = 12; v = 512 x 0.5 x 1 x 1 x 2 / 512 = 1: at a = 1/4 A = 0.25,
    0.75 x 13 + 0.25 x 12 = 12.75, skip 18.75."""
    spec = CFSNetSpec(**ONE)
    tensors = single(spec)
    tensors["body.0.conv2.bias"][:] = 1
    tensors["tuning.0.conv2.weight"][:] *= 2
    tensors["control.0.weight"][0] = 1 / 512
    tensors["control.1.weight"][0, 0], tensors["control.2.weight"][0, 0] = 0.5, 1
    tensors["couplings.0.0.weight"][:], tensors["couplings.0.1.weight"][:] = 1, 2
    y = twin.backend.run(built(twin, spec, tensors=tensors), pixel(), np.array([0.75, 0.25], np.float32))
    np.testing.assert_allclose(y.ravel(), [18.75, 0, -18.75], rtol=1e-6)


def test_cresmd_by_hand(twin):
    """Head 6; s = 0.5 + 0.5 x 0.2 + 2 x 0.1 = 0.8: 6 + 0.8 x (6 + 1) = 11.6, no skip; tail (11.6, 0, -11.6) times
    s' = (0.1, 1, 0.5 + 0.2) added to the input."""
    spec = CResMDSpec(**ONE)
    tensors = single(spec)
    tensors["body.0.conv2.bias"][:] = 1
    tensors["body.0.scale.weight"].ravel()[:] = [0.5, 0.5, 2]
    tensors["scale_tail.weight"][:, :, 0, 0] = [[0.1, 1, 0.5], [0, 0, 1], [0, 0, 0]]
    y = twin.backend.run(built(twin, spec, tensors=tensors), pixel(), np.array([0.2, 0.1], np.float32))
    np.testing.assert_allclose(y.ravel(), [1 + 1.16, 2, 3 - 0.7 * 11.6], rtol=1e-6)


def test_adafm_by_hand(twin):
    """At a = 0.5 with g = 1, b = 2: head 6 + 0.5 (6 + 2) = 10; the block's own have g = b = 0: 20, skip 30; tail 30 x
    (1, 0, -1), then + 0.5 (2 x that + 1)."""
    spec = AdaFMSpec(**ONE)
    tensors = single(spec)
    tensors["body.0.modulate1.weight"][:], tensors["body.0.modulate2.weight"][:] = 0, 0
    tensors["modulate_head.bias"][:] = 2
    tensors["modulate_tail.weight"][:], tensors["modulate_tail.bias"][:] = 2, 1
    y = twin.backend.run(built(twin, spec, tensors=tensors), pixel(), np.array([0.4, 0.4], np.float32))
    np.testing.assert_allclose(y.ravel(), [60.5, 0.5, -59.5], rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "parameters", "multiply_adds"),
    [
        (DyNetSpec(), 1.000, 1.000),
        (DyNetSpec(tuning_depth=3), 1.249, 1.249),
        (CFSNetSpec(), 1.200, 1.000),
        (CResMDSpec(), 1.003, 1.000),
    ],
)
def test_multiples(spec, parameters, multiply_adds):
    """As published for 16 blocks of 64 channels, of which DyNet and CFSNet have 8 beside 8 for tuning."""
    values = multiples(spec, 2)
    assert values["beside"] == "plain resnet of 16 blocks of 64 channels"
    assert round(values["parameters"], 3) == parameters and round(values["multiply_adds"], 3) == multiply_adds
    if spec.name == "cfsnet":
        assert values["folded"] == pytest.approx(1_184_707 / 1_185_219)
    if spec.name == "cresmd":
        assert values["folded"] == 1
    assert (values["folded"] is None) == (spec.name == "dynet")
    assert any(row["parameters"] == values["parameters"] for row in table())


def test_full_size_counts(twin):
    """What the twins build has as many parameters as the layouts say."""
    counts = {"dynet": 1_185_219, "cfsnet": 1_421_763}
    for name, kind in (("dynet", DyNetSpec), ("cfsnet", CFSNetSpec)):
        network = twin.backend.build(kind(), 2)
        assert sum(value.size for value in twin.backend.parameters(network).values()) == counts[name]


@pytest.mark.parametrize("name", ["cfsnet", "dynet"])
def test_modes_are_equal(twin, name, rng, without_kernels):
    spec = SPECS[name]
    network, x = built(twin, spec), rng.uniform(size=(2, 3, 7, 5)).astype(np.float32)
    compiled = twin.in_mode({"torch": "compile", "mindspore": "graph"}[twin.name])
    omega = SETTINGS["per sample"]
    assert relative_error(compiled.run(network, x, omega), twin.backend.run(network, x, omega)) <= LIMIT


@pytest.mark.parametrize(
    ("name", "form"),
    [("dynet", "shared"), ("cfsnet", "basis"), ("cresmd", "basis"), ("adafm", "shared"), ("blend", "basis")],
)
def test_onnx(twin, name, form, tmp_path, rng):
    """With omega as an input: one for all, or one for each."""
    model = blend_of(twin, BLENDS["two"])[0] if name == "blend" else model_of(twin, name)
    size = None if twin.backend.pads_any_size else (7, 5)
    (path,), report = tried_export(model, "onnx", tmp_path, form=form, size=size)
    assert report.passed
    x, omega = rng.uniform(size=(2, 3, 7, 5)).astype(np.float32), SETTINGS["one" if form == "shared" else "per sample"]
    assert relative_error(load(path, "onnx").run(x, omega), model.run(x, omega)) <= TOLERANCES["export"].limit


def model_of(twin, name):
    return WeightsModel(twin.backend, built(twin, SPECS[name]), Header(SPECS[name], ("a", "b"), ((0.0, 1.0),) * 2))


def test_dynet_does_not_fold(twin, tmp_path):
    """The reason is said wherever folding is asked for."""
    model = model_of(twin, "dynet")
    assert not model.folds
    for ask in (lambda: model.fold([0.5, 0.5]), lambda: tried_export(model, "onnx", tmp_path, omega=[0.5, 0.5])):
        with pytest.raises(TunableError, match="dynet does not fold: every tuning block has a ReLU inside"):
            ask()


def test_starts(twin):
    """CFSNet and CResMD begin Kaiming-normal times 0.1 with biases 0; AdaFM's depth-wise convolutions at zero."""
    backend = twin.backend
    for spec in (CFSNetSpec(channels=32, blocks=1), CResMDSpec(channels=32, blocks=1)):
        begun = starting_weights(backend.specs(backend.build(spec, 2)), 3)
        value = begun["body.0.conv1.weight"]
        assert value.std() == pytest.approx(0.1 * np.sqrt(2 / (9 * 32)), rel=0.05)
        assert not begun["body.0.conv1.bias"].any()
    scale = begun["body.0.scale.weight"]
    assert not scale[0].any() and scale[1:].std() == pytest.approx(0.1, rel=0.4)
    begun = starting_weights(backend.specs(backend.build(AdaFMSpec(**SMALL), 2)), 3)
    assert all(value.any() != ("modulate" in name) for name, value in begun.items() if name.endswith("weight"))


BLENDS = {
    "two": OutputBlendSpec(of=ResNetSpec(channels=4, blocks=1, tunable=False)),
    "three, x2": OutputBlendSpec(of=CompactSpec(channels=4, blocks=1, upscale=2, tunable=False), ends=3),
    "input": OutputBlendSpec(of=UNetSpec(width=2, depth=1, tunable=False), ends=1, nu=0.9),
}


def blend_of(twin, spec):
    """An output blend, and its weights."""
    p = spec.wanted_objectives
    tensors, header = drawn(spec, p), Header(spec, tuple("abc"[:p]), ((0.0, 1.0),) * p)
    return WeightsModel(twin.backend, built(twin, spec, p, tensors), header), tensors


@pytest.mark.parametrize("name", BLENDS)
def test_output_blend(twin, name, rng):
    """What the networks return, each run alone, mixed by the oracle; another omega runs no network again."""
    spec = BLENDS[name]
    model, tensors = blend_of(twin, spec)
    p = model.header.num_objectives
    x, ends = rng.uniform(size=(2, 3, 6, 5)).astype(np.float32), []
    for place in range(spec.ends):
        alone = {local.removeprefix(f"ends.{place}."): tensors[local] for local in tensors if f"ends.{place}." in local}
        ends.append(twin.backend.run(built(twin, spec.of, 0, alone), x, None))
    prepared = model.prepare(x)
    for shape in ((p,), (2, p), (2, p, 6, 5)):
        omega = rng.uniform(0.1, 1, size=shape).astype(np.float32)
        finer = omega.repeat(spec.scale, 2).repeat(spec.scale, 3) if omega.ndim == 4 else omega
        truth = oracle.output_blend(ends, x, finer, spec.nu)
        assert relative_error(model.run(x, omega), truth) <= LIMIT
        assert relative_error(prepared.at(omega), truth) <= LIMIT
    corner = np.eye(p, dtype=np.float32)[-1]
    expected = ends[0] + np.float32(0.9) * (x - ends[0]) if spec.nu else ends[-1]
    assert relative_error(model.run(x, corner), expected) <= LIMIT
    with pytest.raises(TunableError, match="output_blend does not fold: its picture is a sum of others"):
        model.fold(corner)


@pytest.mark.parametrize("name", ["adafm", "two"])
def test_certificates_pass(twins, name, tmp_path):
    """On a grid whose neighbours (0, 0.5) and (0, 1) are one setting to these networks, which know shares alone."""
    spec, path = (SPECS | BLENDS)[name], tmp_path / "model.safetensors"
    storage.save(path, drawn(spec), Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))
    certificate = verify(path, [twins[0].backend], points=3)
    assert certificate.passed, [row for row in certificate.rows if not row.passed]
    changes = [row.omega for row in certificate.rows if row.stage == "control: omega matters"]
    assert "(0, 0.5)" in changes and "(0, 1)" not in changes and "(0.5, 1)" in changes


def test_files_become_strategies(twin, tmp_path, rng):
    """`tunable convert`: DNI of two files interpolates their weights, an output blend their pictures, and a blend
    mixes one with its input."""
    plain = ResNetSpec(channels=4, blocks=1, tunable=False)
    x, files, models = rng.uniform(size=(1, 3, 6, 5)).astype(np.float32), [], []
    for place in range(2):
        tensors = {name: (rng.normal(size=shape) / 4).astype(np.float32) for name, shape in layout(plain, 0)}
        files.append(tmp_path / f"{place}.safetensors")
        storage.save(files[-1], tensors, Header(plain))
        models.append(load(files[-1], twin.backend))
    first, second = (model.run(x) for model in models)
    a = 0.3
    mixed = {k: (1 - a) * v + a * storage.load(files[1])[0][k] for k, v in storage.load(files[0])[0].items()}
    between = twin.backend.run(built(twin, plain, 0, mixed), x, None)
    cases = {"endpoints": between, "outputs": (1 - a) * first + a * second, "blend": first + a * 0.9 * (x - first)}
    for source, expected in cases.items():
        out = tmp_path / f"{source}.safetensors"
        given = files[:1] if source == "blend" else files
        options = ["--from", source, "--objectives", "fidelity,noise", "-o", str(out)]
        assert main(["convert", *map(str, given), *options]) == 0
        assert relative_error(load(out, twin.backend).run(x, [1 - a, a]), expected) <= LIMIT
    assert main(["convert", str(files[0]), "--from", "outputs", "-o", str(tmp_path / "no.safetensors")]) == 2


def test_refused(twin):
    with pytest.raises(TunableError, match="cfsnet is a network for 2 objectives, not 3"):
        twin.backend.build(CFSNetSpec(**SMALL), 3)
    with pytest.raises(TunableError, match="phi"):
        twin.module("control").DyNet(num_objectives=2, phi="affine")
    with pytest.raises(ValueError, match="phi is for tunable layers: the convolutions of dynet are ordinary"):
        DyNetSpec(phi="affine")
    with pytest.raises(TunableError, match="dynet does not fold"):
        folded(SPECS["dynet"], drawn(SPECS["dynet"]), np.array([0.5, 0.5]))
