"""Networks with a tunable end, outside the frameworks: prepared pictures, heads, tiles, and their exported files."""

import numpy as np
import onnx
import pytest

from parity_tests.test_where import made
from tunable.backends import onnx_runtime
from tunable.backends.model import ExportedModel, WeightsModel, load
from tunable.errors import BackendError, CheckpointError, OmegaError, TunableError
from tunable.exports.judging import checked_export
from tunable.exports.onnx_files import in_two_parts
from tunable.images.tiling import PreparedTiles, heads_tiled, run_tiled
from tunable.specs.networks import CompactSpec, ResNetSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights.storage import Header

EXPORT, ROUNDING = TOLERANCES["export"].limit, 1e-6
OMEGA = [0.2, 0.7]
LAST = {"last": 1}
BUMPED = {"anchor": [0.25, 1.0], "bump": True, "differences": "low_rank", "rank": 2}
AFFINE = {
    "unet": UNetSpec(width=4, depth=1, where=LAST),
    "compact": CompactSpec(channels=4, blocks=1, upscale=2, phi="affine", where=LAST),
    "resnet": ResNetSpec(channels=4, blocks=1, mean=True, global_residual=True, where=LAST, **BUMPED),
}
ENDED = ResNetSpec(channels=4, blocks=2, where={"last": 3})


def model_of(twin, spec):
    return WeightsModel(twin.backend, made(twin, spec), Header(spec, ("a", "b"), ((0.0, 1.0),) * 2))


def pictures(rng, *sides):
    return rng.uniform(size=(2, 3, *sides)).astype("f")


@pytest.mark.parametrize("name", AFFINE)
def test_heads(twin, name, rng):
    """Every omega is a sum to rounding, outside the range and one for each sample too; the base is no sum."""
    spec = AFFINE[name]
    model, x = model_of(twin, spec), pictures(rng, 9, 7)
    heads = model.heads(x)
    assert model.has_heads and heads.differences.shape[1] == (3 if spec.bump else 2)
    np.testing.assert_array_equal(heads.base, model.run(x, spec.anchor or (0, 0)))
    for omega in (OMEGA, [-0.5, 2.0], rng.uniform(size=(2, 2))):
        assert relative_error(heads.at(omega), model.run(x, omega)) <= ROUNDING
    with pytest.raises(OmegaError, match="the network has 2 objectives"):
        heads.at([1, 0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"where": {"last": 2}}, r"where the last layer, tail, alone is tunable; here it is decoders.0.conv2, tail$"),
        ({"where": "all"}, r"tail, alone is tunable; here it is every layer$"),
        ({"where": ["encoders.0.conv1"]}, r"here it is encoders.0.conv1$"),
        ({"phi": "se", "where": LAST}, r"^with phi se, a softmax, pictures are not affine in omega"),
    ],
)
def test_what_has_no_heads(twin, change, message, tmp_path, rng):
    model = model_of(twin, UNetSpec(width=4, depth=1, **change))
    assert not model.has_heads
    with pytest.raises(TunableError, match=message):
        model.heads(pictures(rng, 8, 8))
    with pytest.raises(TunableError, match=message):
        checked_export(model, "onnx", tmp_path / "x.onnx", form="heads")
    assert not list(tmp_path.iterdir())


def test_tiles(twin, rng):
    """Prepared, and as heads, tiles make what they make at once; levels stay levels."""
    spec = AFFINE["unet"]
    model, levels = model_of(twin, spec), rng.integers(0, 256, (1, 3, 50, 41), dtype=np.uint8)
    x, tile = levels.astype("f") / 255, 16
    prepared, heads = PreparedTiles(model, x, tile), heads_tiled(model, levels, tile)
    for omega in (OMEGA, OMEGA[::-1]):
        expected = run_tiled(model, x, omega, tile)
        assert relative_error(expected, model.run(x, omega)) <= TOLERANCES["network"].limit
        assert relative_error(prepared.at(omega), expected) <= ROUNDING
        assert relative_error(heads.at(omega), expected) <= ROUNDING
    assert heads.differences.flags.c_contiguous  # else a sum takes several times as long
    again = PreparedTiles(model, levels, tile).at(OMEGA)
    assert again.dtype == np.uint8 and np.array_equal(again, run_tiled(model, levels, OMEGA, tile))


def test_prepared_models(twin, rng):
    """In each framework's first mode, which is MindSpore's graphs."""
    model, x = model_of(twin, ENDED).with_mode(twin.backend.modes[0]), pictures(rng, 9, 7)
    prepared = model.prepare(x)
    for omega in (OMEGA, rng.uniform(size=(2, 2))):
        assert relative_error(prepared.at(omega), model.run(x, omega)) <= TOLERANCES["network"].limit
    np.testing.assert_array_equal(model.prepare(x[:0]).at(OMEGA), model.run(x[:0], OMEGA))
    with pytest.raises(OmegaError, match="the network has 2 objectives"):
        prepared.at([1.0])
    with pytest.raises(TunableError, match="a plain network takes no omega"):
        model.fold(OMEGA).prepare(x)


@pytest.mark.parametrize("form", ["prepared", "heads"])
def test_exported(twin, form, tmp_path, rng):
    """In onnxruntime, whole and in tiles, and of MindSpore's MINDIR the heads.

    PyTorch writes a network that pads: its tail knows sizes, skips and the padded input, and has the tunable layers.
    """
    ended = UNetSpec(width=4, depth=1, where=["decoders.0.conv2", "tail"]) if twin.name == "torch" else ENDED
    model, x = model_of(twin, AFFINE["resnet"] if form == "heads" else ended), pictures(rng, 30, 21)
    formats = twin.backend.formats if form == "heads" else ("onnx",)
    for format in formats:
        report = checked_export(model, format, tmp_path / f"net.{format}", form=form)
        assert report.passed and report.form == form
        name = "net-tail" if form == "prepared" else "net"
        exported = load(tmp_path / f"{name}.{format}")
        assert isinstance(exported, ExportedModel) and not exported.folds and exported.has_heads == (form == "heads")
        at = exported.heads(x).at if form == "heads" else exported.prepare(x).at
        tiled = (heads_tiled if form == "heads" else PreparedTiles)(exported, x, 16)
        np.testing.assert_array_equal(
            at(OMEGA)[:0], (exported.heads if form == "heads" else exported.prepare)(x[:0]).at(OMEGA)
        )
        for omega in (OMEGA, rng.uniform(size=(2, 2))):
            expected = model.run(x, omega)
            for restored in (at(omega), exported.run(x, omega), tiled.at(omega)):
                assert relative_error(restored, expected) <= EXPORT
    assert len(list(tmp_path.iterdir())) == (2 if form == "prepared" else len(formats))
    if form == "prepared":
        graph = exported.backend.graph(tmp_path / "net-tail.onnx")
        assert sum(node.op == "Conv" for node in graph.nodes) == (2 if twin.name == "torch" else 3)
        assert graph.inputs[-1] == "omega" and all(name.startswith("features.") for name in graph.inputs[:-1])


def test_features_of_no_batch(torch, tmp_path, rng):
    """The mask of shifted windows, which is one for all pictures; each of these has an omega of its own."""
    spec = SwinIRSpec(channels=4, depths=[2], heads=[1], window=4, where=["*.blocks.1.attn.qkv"])
    model, x, each = model_of(torch, spec), pictures(rng, 12, 8), rng.uniform(size=(2, 2))
    report = checked_export(model, "onnx", tmp_path / "net.onnx", form="prepared")
    assert any("one omega per sample" in label for label in report.errors)
    exported = load(tmp_path / "net-tail.onnx")
    assert exported.header.part == "tail"
    assert relative_error(exported.run(x, each), model.run(x, each)) <= EXPORT


def test_features_in_blocks(torch, tmp_path, rng, monkeypatch):
    """A move lays nothing out but what it returns, adds as it convolves, and leaves the features as they were.

    Without room for files it is right too, and in mode `blocked` an error.
    """
    spec = ResNetSpec(channels=32, blocks=3, where={"last": 5})  # enough channels to be laid out in blocks
    model, x, each = model_of(torch, spec), pictures(rng, 19, 14), rng.uniform(size=(2, 2))
    checked_export(model, "onnx", tmp_path / "net.onnx", form="prepared")

    def full(**_):
        raise OSError(28, "No space left on device")

    def check(parts):
        prepared = parts.prepare(x)
        for omega in (OMEGA, each, OMEGA):
            assert relative_error(prepared.at(omega), model.run(x, omega)) <= EXPORT

    for mode in ("session", "blocked"):
        parts = load(tmp_path / "net-trunk.onnx", mode=mode)
        check(parts)
        blocks = parts.network.tail.in_blocks
        assert blocks is parts.network.tail.in_blocks
        first, move = (onnx.load_model_from_string(part.model).graph.node for part in blocks)
        kinds = [node.op_type for node in move]
        assert "ReorderInput" in {node.op_type for node in first} and "ReorderInput" not in kinds
        assert kinds.count("ReorderOutput") == 1 and kinds.count("Add") == 1  # of the head's features
        assert [len(node.input) for node in move if node.op_type == "Conv"] == [3, 4, 3, 4, 3]
    missing = load(tmp_path / "net-trunk.onnx"), load(tmp_path / "net-trunk.onnx", mode="blocked")
    monkeypatch.setattr(onnx_runtime.tempfile, "TemporaryDirectory", full)
    check(missing[0])
    with pytest.raises(BackendError, match="cannot lay out this model's kernels"):
        missing[1].prepare(x)


def test_parts_that_are_not_a_pair(torch, tmp_path, rng):
    model, x = model_of(torch, ENDED), pictures(rng, 8, 8)
    checked_export(model, "onnx", tmp_path / "whole.onnx")
    whole = load(tmp_path / "whole.onnx")
    for method in (whole.prepare, whole.heads):
        with pytest.raises(TunableError, match="^this exported file"):
            method(x)
    in_two_parts(tmp_path / "whole.onnx", tmp_path / "a-trunk.onnx", tmp_path / "a-tail.onnx")
    for mode in ("session", "blocked"):
        parts = load(tmp_path / "a-trunk.onnx", mode=mode)
        assert relative_error(parts.run(x, OMEGA), model.run(x, OMEGA)) <= EXPORT
    other = onnx.load(tmp_path / "whole.onnx")
    other.producer_name = "another export"
    onnx.save(other, tmp_path / "other.onnx")
    in_two_parts(tmp_path / "other.onnx", tmp_path / "b-trunk.onnx", tmp_path / "b-tail.onnx")
    (tmp_path / "b-tail.onnx").replace(tmp_path / "a-tail.onnx")
    with pytest.raises(CheckpointError, match=r"a-trunk.onnx and .*a-tail.onnx are not the two parts of one export"):
        load(tmp_path / "a-trunk.onnx")
    with pytest.raises(
        CheckpointError, match=r"b-trunk.onnx is the trunk .* its tail is wanted beside it, as .*b-tail"
    ):
        load(tmp_path / "b-trunk.onnx")


def test_a_file_that_depends_on_omega_everywhere(tmp_path):
    value = onnx.helper.make_tensor_value_info
    sides = [value(name, 1, [1, 1]) for name in ("image", "omega", "restored")]
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Mul", ["image", "omega"], ["restored"])], "g", sides[:2], sides[2:]
    )
    onnx.save(onnx.helper.make_model(graph, ir_version=10), tmp_path / "net.onnx")
    with pytest.raises(TunableError, match="^there is nothing to prepare: "):
        in_two_parts(tmp_path / "net.onnx", tmp_path / "a.onnx", tmp_path / "b.onnx")


def test_padding_is_nothing_to_prepare(torch, tmp_path):
    with pytest.raises(TunableError, match="^there is nothing to prepare: the network is tunable from its first layer"):
        checked_export(model_of(torch, UNetSpec(width=4, depth=1)), "onnx", tmp_path / "net.onnx", form="prepared")
    assert not list(tmp_path.iterdir())
