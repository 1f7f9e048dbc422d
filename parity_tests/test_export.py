"""Exports, run by the runtimes that they are for, against the network in its own framework.

`tried_export` itself compares at two sizes; here what it reports is held against comparisons of its own, and it must
see deliberate faults.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest

from parity_tests.exported import FORMS, LIMIT, OMEGA, RANGES, RECIPE, SHAPES, compare, model_of, refused, written
from tunable.backends import onnx_runtime
from tunable.backends.model import Model, WeightsModel, load
from tunable.errors import BackendError, CheckFailed, TunableError
from tunable.exports import graphs
from tunable.exports.judging import checked_export, tried_export
from tunable.specs.formulations import PHI_FORMS
from tunable.specs.networks import (
    CompactSpec,
    NAFNetSpec,
    ResNetSpec,
    StyleUNetSpec,
    SwinIRSpec,
    UNetSpec,
)
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage
from tunable.weights.storage import Header


def check_file(model, exported, kind, path):
    """Its convolutions; that it says what the weights file says, and nothing about the machine that exported."""
    seen = graphs.convolutions(exported.backend.graph(path))
    assert len(seen) == 4 and all(one.groups == 1 for one in seen)
    # The kernels of `shared` are mixed at run time; all kernels of `basis` are there, and their outputs are mixed.
    assert [one.constant for one in seen] == [kind != "shared"] * 4
    header, folded = exported.header, kind == "folded"
    assert header == (model.fold(OMEGA).header if folded else model.header)
    assert header.omega_range == (() if folded else RANGES[:2]) and header.writer == "another version"
    assert header.unread == RECIPE and header.folded_at == (pytest.approx(OMEGA) if folded else None)
    assert str(Path(__file__).parent.parent).encode() not in path.read_bytes()
    # It runs, and that is all.
    with refused(TunableError, "only runs", "save"):
        exported.save(path)
    if not exported.folds:
        with refused(TunableError, "plain already" if folded else "only runs"):
            exported.fold(OMEGA)
    with refused(TunableError, "cannot be exported again"):
        checked_export(exported, path.suffix[1:], path)


# Shared, phi is part of the graph; basis mixes what any phi gives; a folded network has none.
@pytest.mark.parametrize(
    ("phi", "kind"), [*((phi, "shared") for phi in PHI_FORMS), ("base", "basis"), ("se", "basis"), ("affine", "folded")]
)
def test_onnx(twin, phi, kind, tmp_path, rng):
    model, exported, report = written(twin, tmp_path, "onnx", kind, phi)
    assert report.passed and report.form == kind and 0 < report.worst <= LIMIT
    compare(model, exported, kind, rng, LIMIT)
    check_file(model, exported, kind, tmp_path / "model.onnx")
    given = {one.name: one.shape for one in exported.network.get_inputs()}
    assert given.pop("image") == ["n", 3, "h", "w"]
    assert given == {"shared": {"omega": [1, 2]}, "basis": {"omega": ["n", 2]}, "folded": {}}[kind]
    assert json.loads(exported.network.get_modelmeta().custom_metadata_map["scale"]) == 1
    assert exported.folds == (kind == "shared")
    if exported.folds:
        compare(model, exported.fold(OMEGA), "folded", rng, LIMIT)
        blocked = load(tmp_path / "model.onnx", "onnx", mode="blocked")
        compare(model, blocked, kind, rng, LIMIT)
        check_blocked(blocked.network, affine=phi != "se")


def check_blocked(session, affine):
    """What onnxruntime makes of its folded file, and two operations for every kernel and bias; if they are affine."""
    assert (session.blocked is session) != affine
    if not affine:
        return
    with TemporaryDirectory() as folder:
        session.fold(np.array(OMEGA), Path(folder, "folded.onnx"))
        folded = onnx.load(Path(folder, "folded.onnx")).graph
    blocked = onnx.load_model_from_string(session.blocked.model).graph
    mixed = len(blocked.node) - len(folded.node)
    assert [one.op_type for one in blocked.node] == ["Gemm", "Reshape"] * (mixed // 2) + [
        one.op_type for one in folded.node
    ]
    computed = {one for node in blocked.node[:mixed] for one in node.output}
    convolutions = [node for node in blocked.node if "Conv" in node.op_type]
    assert convolutions and all(one in computed for node in convolutions for one in node.input[1:2])


FORMULATIONS = [
    {"differences": "low_rank", "rank": 2, "anchor": [1, 0], "bump": True, "global_residual": True},
    {"differences": "scale"},
]


@pytest.mark.parametrize("kind", ["shared", "basis"])
@pytest.mark.parametrize("change", FORMULATIONS, ids=["low rank", "scale"])
def test_formulations(twin, change, kind, tmp_path, rng):
    """In the twin's own format; low rank and scale need no groups with omega per sample either."""
    format = "onnx" if twin.name == "torch" else "mindir"
    model = model_of(twin, **change)
    drawn = {name: rng.normal(size=v.shape).astype("f") for name, v in twin.backend.parameters(model.network).items()}
    twin.backend.assign(model.network, drawn)  # what starts at zero would hide the rest
    (made,), report = tried_export(model, format, tmp_path, form=kind)
    exported = load(made, "onnx" if format == "onnx" else twin.backend)
    assert report.passed and report.form == kind
    compare(model, exported, kind, rng, LIMIT)
    assert all(one.groups == 1 for one in graphs.convolutions(exported.backend.graph(made)))
    if exported.folds:
        compare(model, exported.fold(OMEGA), "folded", rng, LIMIT)
        compare(model, load(made, "onnx", mode="blocked"), kind, rng, LIMIT)


# Each phi in the graph, and each kind; ONNX tries them together.
@pytest.mark.parametrize(
    ("phi", "kind"),
    [("base", "shared"), ("se", "shared"), ("affine", "shared"), ("identity", "basis"), ("affine", "folded")],
)
def test_mindir(mindspore, phi, kind, tmp_path, rng):
    model, exported, report = written(mindspore, tmp_path, "mindir", kind, phi)
    assert report.passed and report.form == kind and report.worst <= LIMIT
    compare(model, exported, kind, rng, LIMIT)
    check_file(model, exported, kind, tmp_path / "model.mindir")


@pytest.mark.parametrize("kind", ["shared", "folded"])
def test_float16(twin, kind, tmp_path, rng):
    model, exported, report = written(twin, tmp_path, "onnx", kind, half=True)
    limit = TOLERANCES["export float16"].limit
    assert report.passed and report.limit == "export float16" and report.worst > 10 * LIMIT
    compare(model, exported, kind, rng, limit)
    graph = onnx.load(tmp_path / "model.onnx")
    floats = {one.data_type for one in graph.graph.initializer} - {onnx.TensorProto.INT64}
    assert floats == {onnx.TensorProto.FLOAT16}
    assert {one.type.tensor_type.elem_type for one in (*graph.graph.input, *graph.graph.output)} == {1}  # float32


SIZE = (9, 14)  # multiples of nothing
PADDING = {
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[0], decoder=[0]),
    "swinir": SwinIRSpec(channels=6, depths=[1], heads=[2], window=4, tunable_norms=True),
    "swinir x2": SwinIRSpec(  # two blocks, of which one is shifted
        channels=6, depths=[2], heads=[1], window=4, upscale=2, upsampler="nearest+conv", features=4, tunable_norms=True
    ),
    "style": StyleUNetSpec(channels=4, scales=1, blocks=[1, 1, 1]),
    "norms": StyleUNetSpec(channels=4, scales=1, blocks=[1, 0, 1], tunable_norms=True, padding="reflect"),
    "resnet x4": ResNetSpec(channels=4, blocks=1, upscale=4),
    "unet": UNetSpec(width=4, depth=1),
    "compact": CompactSpec(channels=4, blocks=1),
    "compact x2": CompactSpec(channels=4, blocks=1, upscale=2, tunable_slopes=True),
}
# Every network with omega in its graph, every form, every kind of layer in the form basis, and every kind of
# upsampling and norm once. Folded, a network has nothing that is not in its shared graph: one of them is enough.
KINDS = [
    ("nafnet", "basis"),
    ("swinir", "basis"),
    ("swinir x2", "shared"),
    ("norms", "basis"),
    ("resnet x4", "shared"),
    ("style", "shared"),
    ("unet", "folded"),
    ("unet", "shared"),
    ("compact", "shared"),
    ("compact x2", "basis"),
]
# MINDIR holds MindSpore's operators as they are: each kind of network once.
IN_EVERY_FORMAT = {type(PADDING[name]): (name, kind) for name, kind in KINDS}.values()


def moved(twin, spec):
    """A tunable network of this kind with no weight at zero."""
    model = WeightsModel(twin.backend, twin.backend.build(spec, 2), Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))
    draw = np.random.default_rng(4)
    parameters = twin.backend.parameters(model.network)
    twin.backend.assign(
        model.network, {k: (v + 0.2 * draw.normal(size=v.shape)).astype("f") for k, v in parameters.items()}
    )
    return model


def check_float16(model, kind, size, path, folder, monkeypatch):
    """Of the file that was written: indices and sizes stay whole numbers; everything else is rounded, and no more."""
    with monkeypatch.context() as patch:
        patch.setattr(model.backend, "export", lambda network, place, *_: shutil.copyfile(path, place))
        _, report = tried_export(model, "onnx", folder, **FORMS[kind], size=size, half=True)
    assert report.passed and report.limit == "export float16" and report.worst > 10 * LIMIT


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_networks_that_pad_their_input(twin, name, kind, tmp_path, rng, monkeypatch):
    """From torch for pictures of any size, smaller than a window too; for one size from both, and by no other."""
    (tmp_path / "half").mkdir()
    model = moved(twin, PADDING[name])
    for format in twin.backend.formats if (name, kind) in IN_EVERY_FORMAT else ("onnx",):
        exported = {}
        sizes = [None] if twin.backend.pads_any_size else [SIZE]
        for size in sizes if kind != "folded" else {*sizes, SIZE}:
            (made,), report = tried_export(model, format, tmp_path, **FORMS[kind], size=size)
            assert report.passed and report.worst <= LIMIT
            exported[size] = load(made, "onnx" if format == "onnx" else twin.backend)
            assert exported[size].header.size == size
            if format == "onnx":  # what programs that know nothing of networks read
                metadata = exported[size].network.get_modelmeta().custom_metadata_map
                assert json.loads(metadata["scale"]) == model.header.network.scale
                check_float16(model, kind, size, made, tmp_path / "half", monkeypatch)
            if format == "onnx" and kind == "shared":
                exported[size] = load(made, "onnx", mode="blocked")
                check_blocked(exported[size].network, affine=True)
        for size in (SIZE, (3, 2), (8, 12))[: 3 if None in exported else 1]:
            image = rng.uniform(size=(2, 3, *size)).astype(np.float32)
            omega = {"shared": np.array([0.3, -0.7]), "basis": rng.uniform(size=(2, 2)), "folded": None}[kind]
            expected = model.run(image, OMEGA if omega is None else omega)
            for fixed, one in exported.items():
                if fixed in (None, size):
                    assert relative_error(one.run(image, omega), expected) <= LIMIT, (format, fixed, size)
                    continue
                with refused(TunableError, "exported for pictures of 9x14", "{}x{} was received".format(*size)):
                    one.run(image, omega)


def test_a_size_is_asked_for(mindspore, tmp_path):
    """Where MindSpore cannot leave it open; a set for interpolation needs no graph."""
    model = moved(mindspore, PADDING["nafnet"])
    for format in ("onnx", "mindir"):
        with refused(
            BackendError, "nafnet pads its input", "multiples of 2 pixels", f"{format} from mindspore", "--size"
        ):
            tried_export(model, format, tmp_path)
    with refused(BackendError, "MindSpore cannot export", "--size HxW"):
        tried_export(moved(mindspore, PADDING["resnet x4"]), "onnx", tmp_path)
    for size, format, words in (((0, 4), "onnx", "at least 1x1 pixels, not 0x4"), (SIZE, "dni", "format dni")):
        with refused(TunableError, words):
            tried_export(model, format, tmp_path, size=size)
    assert not list(tmp_path.iterdir())
    assert tried_export(model, "dni", tmp_path)[1].passed


@pytest.mark.parametrize("p", [0, 3])
def test_other_numbers_of_objectives(twin, p, tmp_path, rng):
    """None, a plain network, which is exported as it is; and three."""
    model = model_of(twin, p=p)
    for format in twin.backend.formats[-1:]:
        checked_export(model, format, tmp_path / f"a.{format}")
        exported = load(tmp_path / f"a.{format}", "onnx" if format == "onnx" else twin.backend)
        image = rng.uniform(size=SHAPES[0]).astype(np.float32)
        omega = rng.uniform(size=p) if p else None
        assert relative_error(exported.run(image, omega), model.run(image, omega)) <= LIMIT
        assert exported.header == model.header and exported.objectives == tuple("abc"[:p])


@pytest.mark.parametrize("phi", ["affine", "base", "identity"])
def test_dni(twin, phi, tmp_path, rng):
    """p + 1 plain files: interpolated they are the network at any omega, the pair alone on omega_1 + omega_2 = 1."""
    model = model_of(twin, phi)
    report = checked_export(model, "dni", tmp_path / "net.safetensors")
    assert report.passed and report.form == "interpolated"
    paths = [tmp_path / f"net-{j}.safetensors" for j in range(3)]
    assert sorted(tmp_path.iterdir()) == paths
    tensors, headers = zip(*(storage.load(path) for path in paths), strict=True)
    assert [header.folded_at for header in headers] == [(0, 0), (1, 0), (0, 1)]
    assert list(headers) == [model.fold(omega).header for omega in ([0, 0], [1, 0], [0, 1])]
    assert all(not header.objectives and not header.omega_range for header in headers)
    plain, image = load(paths[0], twin.backend), rng.uniform(size=SHAPES[0]).astype(np.float32)
    for omega, factors in (([0.2, 0.9], (-0.1, 0.2, 0.9)), ([0.25, 0.75], (0, 0.25, 0.75))):
        mixed = {name: sum(f * one[name] for f, one in zip(factors, tensors, strict=True)) for name in tensors[0]}
        twin.backend.assign(plain.network, mixed)
        assert relative_error(plain.run(image), model.run(image, omega)) <= TOLERANCES["interpolated"].limit


def test_the_network_is_untouched(twin, tmp_path, rng):
    """Its weights, their names, its outputs per sample, and the form of its layers."""
    model, image = model_of(twin), rng.uniform(size=SHAPES[0]).astype(np.float32)
    rows = rng.uniform(size=(len(image), 2)).astype(np.float32)
    before = model.backend.parameters(model.network), model.run(image, rows)
    for format in twin.backend.formats:
        tried_export(model, format, tmp_path, form="basis")
    after = model.backend.parameters(model.network), model.run(image, rows)
    assert list(after[0]) == list(before[0])
    np.testing.assert_equal(after, before)
    assert {module.form for module in twin.modules(model.network) if hasattr(module, "form")} == {"auto"}


def test_an_export_of_one_omega_for_all_is_not_kept(twin, tmp_path, monkeypatch):
    """A file that gives every picture of a batch the first one's omega."""
    for format, kind in [("onnx", onnx_runtime.Backend), ("mindir", type(twin.backend))][: len(twin.backend.formats)]:
        real = kind.run

        def run(self, network, degraded, omega, real=real):
            if omega.ndim == 2 and not hasattr(network, "num_objectives"):  # what was exported
                omega = np.repeat(omega[:1], len(omega), axis=0)
            return real(self, network, degraded, omega)

        monkeypatch.setattr(kind, "run", run)
        with pytest.raises(CheckFailed, match="one omega per sample"):
            checked_export(model_of(twin), format, tmp_path / f"a.{format}", form="basis")
        monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_a_wrong_interpolation_is_not_kept(twin, tmp_path, monkeypatch):
    model = model_of(twin)
    real = Model.fold
    monkeypatch.setattr(Model, "fold", lambda self, omega: real(self, np.array(omega) * 0.9))
    with pytest.raises(CheckFailed, match="not equal"):
        checked_export(model, "dni", tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_equal_networks_make_equal_mindirs(mindspore, small_network, tmp_path):
    """Two processes write the same bytes: no time, address or chance order, all of which MindSpore's own file has."""
    program = (
        "import sys; from tunable.backends.model import load; model = load(sys.argv[1], 'mindspore');"
        "model.backend.export(model.network, sys.argv[2], 'mindir', 'shared', model.header.to_metadata())"
    )
    paths = [tmp_path / name for name in ("a.mindir", "b.mindir")]
    for path in paths:
        words = [sys.executable, "-c", program, str(small_network("base")), str(path)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert paths[0].read_bytes() == paths[1].read_bytes()
