"""Exports that must not be kept, files that are damaged, and what is refused."""

import numpy as np
import pytest

from parity_tests.exported import OMEGA, model_of, refused, written
from tunable.backends.model import load
from tunable.errors import CheckFailed, CheckpointError, TunableError
from tunable.exports import graphs, judging
from tunable.exports.judging import checked_export

# --- faults that must be seen


def other_weights(backend, network, *rest):
    """The exporter wrote another network's weights."""
    changed = {name: value + np.float32(1e-3) for name, value in backend.parameters(network).items()}
    backend.assign(network, changed)


def no_omega(backend, network, *rest):
    """The exporter folded what was to stay tunable."""
    return backend.fold(network, np.array(OMEGA, np.float32))


@pytest.mark.parametrize(
    ("fault", "words"), [(other_weights, "not equal to the network"), (no_omega, "the inputs are")]
)
def test_a_wrong_export_is_not_kept(twin, fault, words, tmp_path, monkeypatch):
    for format in twin.backend.formats:
        model, real = model_of(twin), twin.backend.export
        before = twin.backend.parameters(model.network)

        def export(network, *rest, real=real, before=before):
            real(fault(twin.backend, network, *rest) or network, *rest)
            if network.num_objectives:
                twin.backend.assign(network, before)

        monkeypatch.setattr(twin.backend, "export", export, raising=False)
        with pytest.raises(CheckFailed, match=words):
            checked_export(model, format, tmp_path / "made" / f"a.{format}")
        monkeypatch.undo()
        assert not list((tmp_path / "made").iterdir())


@pytest.mark.parametrize(("out", "groups", "fit"), [(6, 1, True), (6, 6, True), (6, 2, False), (12, 6, False)])
def test_mindir_groups_are_seen(mindspore, out, groups, fit, tmp_path):
    """One ordinary convolution of 6 channels; only dense and depth-wise ones may pass."""
    ms = mindspore.ms
    layer = ms.nn.Conv2d(6, out, 3, pad_mode="pad", padding=1, group=groups, has_bias=True)
    image = ms.Tensor(shape=[None, 6, None, None], dtype=ms.float32)
    with mindspore.module("ops").running("graph"):
        ms.export(layer, image, file_name=str(tmp_path / "a.mindir"), file_format="MINDIR")
    graph = mindspore.backend.graph(tmp_path / "a.mindir")
    (seen,) = graphs.convolutions(graph)
    assert (seen.groups, seen.kernel, seen.constant) == (groups, (out, 6 // groups, 3, 3), True)
    faults = [fault for fault in graphs.faults(graph, tunable=False) if "groups" in fault]
    assert bool(faults) != fit


def test_a_grouped_network_is_not_exported(twin, tmp_path, monkeypatch):
    """A network for which the graph check matters: its comparison would pass."""
    model, real = model_of(twin), graphs.convolutions
    monkeypatch.setattr(graphs, "convolutions", lambda graph: [one._replace(groups=2) for one in real(graph)])
    for format in twin.backend.formats:
        with pytest.raises(CheckFailed, match="2 groups for a kernel"):
            checked_export(model, format, tmp_path / f"a.{format}", OMEGA)
    assert not list(tmp_path.iterdir())


DAMAGES = {
    # cut inside the last entry, whichever it is: protobuf orders maps at random
    "not a readable": lambda content: content[:-1],
    "is not an exported model": lambda content: content.replace(b"tunable-convolutions/1", b"tunable-convolutions/9"),
    "damaged header: it lacks": lambda content: content.replace(b"omega_range", b"omega_rings"),
    "damaged header: not JSON": lambda content: content.replace(b'["a", "b"]', b'["a", "b"}'),
}


def test_damaged_files(twin, tmp_path):
    for format in twin.backend.formats:
        _, _, _ = written(twin, tmp_path, format, "shared")
        path, backend = tmp_path / f"model.{format}", "onnx" if format == "onnx" else twin.backend
        whole = path.read_bytes()
        for message, damage in DAMAGES.items():
            assert damage(whole) != whole
            path.write_bytes(damage(whole))
            with refused(CheckpointError, message, path.name):
                load(path, backend)
        path.write_text("hello, this is text")
        with refused(CheckpointError, "not a readable"):
            load(path, backend)
        path.unlink()
        with refused(CheckpointError, path.name):
            load(path, backend)


# --- what is refused


@pytest.mark.parametrize(
    ("format", "options", "fragments"),
    [
        ("onx", {}, ["unknown format 'onx'", "did you mean 'onnx'", "onnx, mindir, dni"]),
        ("onnx", {"form": "loop"}, ["unknown form 'loop'", "shared, basis"]),
        ("onnx", {"omega": [1]}, ["omega has shape (1,)", "2 objectives"]),
        ("onnx", {"omega": [[1, 0]]}, ["one omega (2,)"]),
        ("onnx", {"omega": OMEGA, "form": "basis"}, ["form basis"]),
        ("dni", {"form": "basis"}, ["form basis"]),
        ("dni", {"omega": OMEGA}, ["dni takes no omega"]),
        ("dni", {"half": True}, ["float16 is for format onnx"]),
    ],
)
def test_refused(twin, format, options, fragments, tmp_path):
    with refused(TunableError, *fragments):
        checked_export(model_of(twin), format, tmp_path / f"a{judging.SUFFIXES.get(format, '')}", **options)
    assert not list(tmp_path.iterdir())


def test_refused_networks(twin, tmp_path):
    with refused(TunableError, "phi se", "softmax"):
        checked_export(model_of(twin, "se"), "dni", tmp_path / "a.safetensors")
    with refused(TunableError, "this one is plain"):
        checked_export(model_of(twin, p=0), "dni", tmp_path / "a.safetensors")
    with refused(TunableError, "a plain network takes no omega"):
        checked_export(model_of(twin, p=0), "onnx", tmp_path / "a.onnx", OMEGA)


def test_mindir_is_mindspores(torch, tmp_path):
    with refused(TunableError, "backend 'torch' exports onnx, not mindir"):
        checked_export(model_of(torch), "mindir", tmp_path / "a.mindir")


def test_a_mindir_larger_than_its_format(mindspore, tmp_path):
    """Refused before it is read: 6 GB of holes cost 6 GB of memory."""
    with open(tmp_path / "a.mindir", "wb") as file:
        file.truncate(6 * 2**30)
    with refused(CheckpointError, "a.mindir is not a readable MINDIR file: it has 6442450944 bytes"):
        mindspore.backend.graph(tmp_path / "a.mindir")
