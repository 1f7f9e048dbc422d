"""Files for other programs, each opened by the program's own runtime and compared with the network."""

import json
import sys
import types

import numpy as np
import onnxruntime
import pytest
from small import small

from tunable.api import load
from tunable.backends.registry import installed
from tunable.errors import TunableError
from tunable.exports import official
from tunable.exports.judging import checked_export
from tunable.exports.programs import export_for
from tunable.specs.networks import CompactSpec, NAFNetSpec, ResNetSpec, SwinIRSpec, UNetSpec
from tunable.tolerances import TOLERANCES, relative_error

LIMIT = TOLERANCES["network"].limit
IMAGE = np.random.default_rng(0).random((1, 3, 32, 48), np.float32)
OMEGA = np.float32([0.7, 0.2])
NEEDS_TORCH = pytest.mark.skipif("torch" not in installed(), reason="torch is not installed: spandrel runs on it")
OFFICIAL = {
    "nafnet": NAFNetSpec(width=4, middle=1, encoder=[1, 1], decoder=[1, 1]),
    "compact": CompactSpec(channels=6, blocks=2, upscale=2),
    "swinir": SwinIRSpec(channels=8, depths=[2, 3], heads=[2, 2], window=4),
    "swinir of the window that computes in 0..255": SwinIRSpec(channels=8, depths=[2], heads=[2], window=7),
    "swinir, pixelshuffledirect": SwinIRSpec(
        channels=8, depths=[2], heads=[2], window=8, upscale=3, upsampler="pixelshuffledirect"
    ),
    "swinir, nearest+conv": SwinIRSpec(
        channels=8, depths=[2], heads=[2], window=8, upscale=2, upsampler="nearest+conv"
    ),
}


def runtime(name: str) -> types.ModuleType:
    """A package that runs files; the test is skipped where it is not installed."""
    return pytest.importorskip(name, reason=f"{name} is not installed (make install does): no file is opened in it")


@pytest.fixture
def spandrel(monkeypatch):
    """spandrel, without torchvision: two networks that are not exported would use three of its names."""
    functional = types.ModuleType("torchvision.transforms.functional")
    functional.InterpolationMode = types.SimpleNamespace(NEAREST=0, BILINEAR=2)
    functional.rotate = functional.normalize = None
    for name in ("torchvision", "torchvision.transforms"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, functional.__name__, functional)
    return runtime("spandrel")


def opened(spandrel, path):
    """The output for IMAGE of a file that spandrel recognises by itself, and the name of its architecture."""
    import torch

    loaded = spandrel.ModelLoader().load_from_file(path)
    with torch.no_grad():
        return loaded.model.eval()(torch.from_numpy(IMAGE)).numpy(), loaded.architecture.id, loaded.scale


@NEEDS_TORCH
@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("spec", OFFICIAL.values(), ids=OFFICIAL)
def test_official_names_in_spandrel(spec, spandrel, tmp_path):
    """chaiNNer and ComfyUI load files so: by the tensors alone."""
    model = small(spec)
    files, report = export_for(model, "official", tmp_path / "net.safetensors", OMEGA)
    assert report.passed and files == [tmp_path / "net.safetensors"]
    output, name, scale = opened(spandrel, files[0])
    assert name.lower() == spec.name and scale == spec.scale
    assert relative_error(output, model.run(IMAGE, OMEGA)) <= LIMIT
    assert relative_error(output, model.run(IMAGE, OMEGA + 0.1)) > 1e-3


@NEEDS_TORCH
def test_the_model_that_enlarges_in_spandrel(spandrel, tmp_path):
    """`upscale4`, at a setting, is a file for chaiNNer."""
    model, omega = load("upscale4"), np.float32([0.5])
    files, report = export_for(model, "official", tmp_path / "x4.safetensors", omega)
    output, name, scale = opened(spandrel, files[0])
    assert report.passed and (name, scale) == ("Compact", 4)
    assert relative_error(output, model.run(IMAGE, omega)) <= LIMIT


@NEEDS_TORCH
def test_a_set_of_official_files(spandrel, tmp_path):
    """Interpolated as other programs do it, the files at the ends give every setting."""
    from safetensors.numpy import load_file, save_file

    model = small(CompactSpec(channels=6, blocks=2, upscale=2))
    files, report = export_for(model, "official", tmp_path / "net.safetensors")
    assert [path.name for path in files] == ["net-0.safetensors", "net-1.safetensors", "net-2.safetensors"]
    origin, *ends = map(load_file, files)
    mixed = {k: v + sum(t * (end[k] - v) for t, end in zip(OMEGA, ends, strict=True)) for k, v in origin.items()}
    save_file(mixed, tmp_path / "mixed.safetensors")
    assert relative_error(opened(spandrel, tmp_path / "mixed.safetensors")[0], model.run(IMAGE, OMEGA)) <= LIMIT


@pytest.mark.parametrize(
    "spec",
    [
        CompactSpec(channels=6, blocks=2, upscale=2),
        UNetSpec(width=4, depth=2),
        ResNetSpec(channels=4, blocks=2, upscale=4, head_relu=True, mean=True, residual_scale=0.1),
        ResNetSpec(channels=4, blocks=1, global_residual=True),
    ],
    ids=["compact", "unet", "resnet that enlarges", "resnet"],
)
def test_ncnn(spec, tmp_path):
    """With a program of one's own, at a size that the export did not try; what is below 0 is 0.

    Of ncnn's layers those alone are used with which realesrgan-ncnn and upscayl are built.
    """
    ncnn, model = runtime("ncnn"), small(spec)
    files, report = export_for(model, "ncnn", tmp_path / "net.param", OMEGA)
    assert report.passed and len(report.errors) == 2
    net = ncnn.Net()
    net.opt.use_vulkan_compute = False
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    assert net.load_param(str(files[0])) == net.load_model(str(files[1])) == 0
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(IMAGE[0]).clone())
    _, output = extractor.extract("output")
    answer = model.run(IMAGE, OMEGA)
    assert answer.min() < -0.01 and answer.max() > 1.01
    assert relative_error(np.array(output)[None], np.maximum(answer, 0)) <= TOLERANCES["export"].limit
    kinds = {line.split()[0] for line in files[0].read_text().splitlines()[2:]}
    assert kinds <= {"Input", "Split", "Convolution", "PReLU", "ReLU", "BinaryOp", "Concat", "Interp", "PixelShuffle"}


@pytest.mark.thorough
@NEEDS_TORCH
@pytest.mark.parametrize(("upscale", "task", "stem"), [(1, "denoise", "model"), (2, "upscale", "model_x2")])
def test_darktable(tunable, upscale, task, stem, tmp_path):
    """A manifest with what darktable asks for, and a network of one size by the names that it calls."""
    model = small(CompactSpec(channels=4, blocks=1, upscale=upscale))
    model.save(tmp_path / "net.safetensors")
    words = ("--format", "darktable", "--omega", "0.7,0.2", "--size", "40x40", "-o", tmp_path / "My Knobs")
    status, _, err = tunable("export", tmp_path / "net.safetensors", *words)
    assert status == 0, err
    config = json.loads((tmp_path / "My Knobs" / "config.json").read_text())
    assert {"id", "name", "description", "task", "version", "backend"} <= set(config)
    assert (config["id"], config["task"], config["backend"]) == (f"{task}-my-knobs", task, "onnx")
    sizes = config["attributes"] if upscale == 1 else config["attributes"][stem]
    assert sizes == {"input_sizes": [40]}
    session = onnxruntime.InferenceSession(tmp_path / "My Knobs" / f"{stem}.onnx")
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape, made.name) == ("input", [1, 3, 40, 40], "output")
    image = np.random.default_rng(1).random((1, 3, 40, 40), np.float32)
    (output,) = session.run(["output"], {"input": image})
    assert relative_error(output, model.run(image, OMEGA)) <= LIMIT


@pytest.mark.thorough
@NEEDS_TORCH
def test_openvino(tmp_path):
    """OpenVINO reads the ONNX file as it is, with omega as an input, at two sizes and settings."""
    openvino = runtime("openvino")
    model = small(UNetSpec(width=4, depth=2))
    checked_export(model, "onnx", tmp_path / "net.onnx")
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(tmp_path / "net.onnx"), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    for image, omega in ((IMAGE, OMEGA), (IMAGE[:, :, :23, :37], OMEGA[::-1])):
        output = compiled({"image": image, "omega": omega[None]})["restored"]
        assert relative_error(output, model.run(image, omega)) <= TOLERANCES["export"].limit


def test_what_is_refused(tunable, tmp_path, refused):
    """One line each, and nothing is written."""
    compact, net = small(CompactSpec(channels=4, blocks=1)), tmp_path / "net.safetensors"
    for model, format, path, words, message in (
        (small(ResNetSpec(channels=4, blocks=1)), "official", net, {}, "official names are known of nafnet, swinir, "),
        (compact, "official", tmp_path / "net.pth", {}, "must be named *.safetensors"),
        (compact, "official", net, {"size": (8, 8)}, "not for format official"),
        (compact, "ncnn", tmp_path / "net.param", {}, "holds one setting of the knobs grain, detail: say which"),
        (compact, "ncnn", tmp_path / "net.bin", {"omega": OMEGA}, "must be named *.param"),
        (small(OFFICIAL["nafnet"]), "ncnn", tmp_path / "net.param", {"omega": OMEGA}, "resnet, unet, not of nafnet"),
        (compact, "darktable", tmp_path / "d", {"omega": OMEGA, "size": (40, 48)}, "as high as wide, not 40x48"),
        (small(SwinIRSpec(channels=4, depths=[1], heads=[1], shifted=False)), "official", net, {}, "does not"),
        (small(ResNetSpec(channels=4, blocks=1, tunable=False), 0), "ncnn", net, {"omega": OMEGA}, "plain network"),
    ):  # fmt: skip
        with refused(TunableError, message):
            export_for(model, format, path, **words)
    for words, message in (
        (["--format", "ncnm", "-o", "x.param"], "unknown format 'ncnm' (did you mean 'ncnn'?); known: onnx, mindir, "),
        (["--format", "ncnn", "--omega", "1,0", "--float16", "-o", "x.param"], "--float16 is for a graph"),
    ):  # fmt: skip
        status, _, err = tunable("export", "denoise", *words)
        assert status == 2 and err.count("\n") == 1 and message in err, err
    assert not list(tmp_path.iterdir())


def test_what_was_not_read_back_is_not_kept(tmp_path, monkeypatch):
    """A table of names that loses a layer is found out."""
    monkeypatch.setattr(official, "_official", lambda network, tensors: {k: 0 * v for k, v in tensors.items()})
    with pytest.raises(TunableError, match="is not the network, and nothing was kept"):
        export_for(small(CompactSpec(channels=4, blocks=1)), "official", tmp_path / "net.safetensors", OMEGA)
    assert not list(tmp_path.iterdir())
