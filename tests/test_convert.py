"""Foreign weights files: how they are read, what is found in them, and what is refused."""

import zipfile

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from tunable.backends.registry import installed
from tunable.errors import CheckpointError, TunableError
from tunable.specs.networks import ResNetSpec, SwinIRSpec
from tunable.weights import foreign
from tunable.weights.conversion import convert
from tunable.weights.foreign import read_foreign


def draw(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def edsr(upsample=()):
    """MindEditing's tunable EDSR: 3 channels, one block, two objectives."""
    names = {"head": (3, 3), "body.0.conv1": (3, 3), "body.0.conv2": (3, 3), "tail": (3, 3)}
    names |= {f"upsample.{2 * i}": (3 * factor**2, 3) for i, factor in enumerate(upsample)}
    tensors = {"sub_mean.weight": draw(3, 3, 1, 1), "add_mean.bias": draw(3)}
    for name, (outputs, inputs) in names.items():
        tensors[name + ".weight"], tensors[name + ".bias"] = draw(1, 2, outputs, inputs, 3, 3), draw(1, 2, outputs)
        tensors[name + ".mlp.weight"], tensors[name + ".mlp.bias"] = draw(2, 2), draw(2)
    return tensors


def write_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", "a")
    return path


def write_ckpt(path, tensors, parts=1, kind=None):
    message = foreign._checkpoint_message()()
    for name, value in tensors.items():
        content = value.tobytes()
        step = max(-(-len(content) // parts), 1)
        for start in range(0, max(len(content), 1), step):
            entry = message.value.add(tag=name)
            entry.tensor.dims.extend(value.shape)
            entry.tensor.tensor_type = (kind or {}).get(name, "Float32")
            entry.tensor.tensor_content = content[start : start + step]
    path.write_bytes(message.SerializeToString())
    return path


@pytest.mark.parametrize("parts", [1, 3])
def test_a_checkpoint_is_read(tmp_path, parts):
    tensors = edsr()
    converted = read_foreign(write_ckpt(tmp_path / "a.ckpt", tensors, parts)).tensors
    assert converted.keys() == tensors.keys()
    for name, value in tensors.items():
        np.testing.assert_array_equal(converted[name], value)
        assert converted[name].flags.writeable


@pytest.mark.parametrize(("upsample", "scale"), [((), 1), ((2,), 2), ((3,), 3), ((2, 2), 4)])
def test_a_residual_network(tmp_path, upsample, scale):
    tensors = edsr(upsample)
    converted, header = convert(write_ckpt(tmp_path / "a.ckpt", tensors), "mindediting")
    options = {"head_relu": True, "residual_scale": 0.1, "mean": True}
    assert header.network == ResNetSpec(phi="affine", channels=3, blocks=1, upscale=scale, **options)
    assert header.recipe is None and "converted from mindediting" in header.writer
    assert header.objectives == ("omega_1", "omega_2") and header.omega_range == ((0.0, 1.0),) * 2
    np.testing.assert_array_equal(converted["head.weight"], tensors["head.weight"][0])
    np.testing.assert_array_equal(converted["body.0.conv1.phi.bias"], tensors["body.0.conv1.mlp.bias"])
    if scale == 4:
        np.testing.assert_array_equal(converted["upsample.1.bias"], tensors["upsample.2.bias"][0])
    assert not any("mean" in name or "mlp" in name for name in converted)


def official_swinir(upsampler):
    """One group of one block, 4 channels, 2 heads, window 3; only what the architecture is read from."""
    block = "layers.0.residual_group.blocks.0."
    tensors = {
        "conv_first.weight": draw(4, 3, 3, 3),
        block + "attn.relative_position_bias_table": draw(25, 2),
        block + "attn.relative_position_index": np.zeros((9, 9), np.int64),
        block + "mlp.fc1.weight": draw(6, 4),
    }
    if upsampler == "pixelshuffledirect":
        tensors["upsample.0.weight"] = draw(27, 4, 3, 3)
    elif upsampler:
        tensors["conv_before_upsample.0.weight"] = draw(5, 4, 3, 3)
    if upsampler == "pixelshuffle":
        tensors["upsample.0.weight"] = tensors["upsample.2.weight"] = draw(20, 5, 3, 3)
    if upsampler == "nearest+conv":
        tensors |= {name + ".weight": draw(5, 5, 3, 3) for name in ("conv_up1", "conv_up2", "conv_HR")}
    return tensors


@pytest.mark.parametrize(
    ("upsampler", "scale", "features", "holds"),
    [
        ("", 1, 64, "conv_first.weight"),
        ("pixelshuffledirect", 3, 64, "upsample.0.weight"),
        ("pixelshuffle", 4, 5, "upsample.1.weight"),
        ("nearest+conv", 4, 5, "conv_up.1.weight"),
    ],
)
def test_an_official_swinir(tmp_path, upsampler, scale, features, holds):
    save_file(official_swinir(upsampler), tmp_path / "a.safetensors")
    converted, header = convert(tmp_path / "a.safetensors", "swinir")
    shape = {"channels": 4, "depths": [1], "heads": [2], "window": 3, "mlp_ratio": 1.5, "features": features}
    assert header.network == SwinIRSpec(tunable=False, upscale=scale, upsampler=upsampler, **shape)
    assert holds in converted and not any("index" in name for name in converted) and header.objectives == ()


def test_what_a_file_cannot_say_can_be_said(tmp_path, refused):
    path = write_ckpt(tmp_path / "a.ckpt", edsr())
    assert convert(path, "mindediting", {"residual_scale": 1.0})[1].network.residual_scale == 1
    with refused(TunableError, "residual_scales", "did you mean 'residual_scale'"):
        convert(path, "mindediting", {"residual_scales": 1.0})
    with refused(TunableError, "upscale", "5"):
        convert(path, "mindediting", {"upscale": 5})


def test_what_is_refused(tmp_path, refused):
    path = write_ckpt(tmp_path / "a.ckpt", edsr())
    with refused(TunableError, "'mindeditin'", "did you mean 'mindediting'"):
        convert(path, "mindeditin")
    with refused(CheckpointError, "a.ckpt is not of a network of swinir"):
        convert(path, "swinir")
    with refused(CheckpointError, "no such weights file"):
        convert(tmp_path / "absent.ckpt", "nafnet")
    (tmp_path / "noise.ckpt").write_bytes(b"\xff\xff\xff noise")
    with refused(CheckpointError, "noise.ckpt is not a readable MindSpore checkpoint"):
        convert(tmp_path / "noise.ckpt", "mindediting")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    with refused(CheckpointError, "holds no tensors"):
        convert(tmp_path / "empty.ckpt", "mindediting")
    for content, said in ((b"junk", "must be a .safetensors file"), (b"<!DOCTYPE html><p>", "is a web page")):
        (tmp_path / "a.bin").write_bytes(content)
        with refused(CheckpointError, said):
            convert(tmp_path / "a.bin", "mindediting")
    (tmp_path / "lfs.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with refused(CheckpointError, "pointer of Git LFS"):
        convert(tmp_path / "lfs.safetensors", "swinir")
    with refused(CheckpointError, "is a pickle of PyTorch's", "--allow-pickle"):
        convert(write_zip(tmp_path / "a.pth"), "mindediting")
    with refused(CheckpointError, "'tail.bias' is int4"):
        convert(write_ckpt(tmp_path / "b.ckpt", edsr(), kind={"tail.bias": "Int4"}), "mindediting")
    cut = {"head.weight": draw(4)}
    path = write_ckpt(tmp_path / "c.ckpt", cut)
    message = foreign._checkpoint_message().FromString(path.read_bytes())
    message.value[0].tensor.dims[0] = 5
    path.write_bytes(message.SerializeToString())
    with refused(CheckpointError, "'head.weight' holds 4 values for shape (5,)"):
        read_foreign(path)


def test_the_command(tunable, tmp_path, backend, monkeypatch):
    """Written only when a framework has taken every tensor."""
    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)
    path, out = write_ckpt(tmp_path / "a.ckpt", edsr((2,))), tmp_path / "a.safetensors"
    status, _, err = tunable("convert", path, "--from", "mindediting", "-o", out, "--set", "mean=false")
    assert status == 0 and "resnet, tunable, 2 objectives" in err
    assert "x2" in tunable("info", out)[1] or "upscale" in tunable("info", out, "--json")[1]
    Image.fromarray(np.arange(32 * 28 * 3, dtype=np.uint8).reshape(32, 28, 3)).save(tmp_path / "a.png")
    status, text, _ = tunable("evaluate", out, "--data", tmp_path, "--line", "2")
    assert status == 0 and "PSNR_Y" in text
    tensors = edsr()
    del tensors["tail.bias"]
    path, out = write_ckpt(tmp_path / "b.ckpt", tensors), tmp_path / "b.safetensors"
    status, _, err = tunable("convert", path, "--from", "mindediting", "-o", out)
    assert status == 2 and "lacks tensor 'tail.bias'" in err and not out.exists()
    status, _, err = tunable("convert", path, "--from", "mindediting", "-o", out, "--set", "mean")
    assert status == 2 and "KEY=VALUE" in err


@pytest.mark.skipif("torch" not in installed(), reason="torch is not installed: its pickles are not read")
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_is_read_when_asked(tmp_path, wrapped, refused):
    """Its tensors alone: a file that holds a program is refused."""
    import torch

    tensors = {name: torch.from_numpy(value) for name, value in official_swinir("").items()}
    torch.save({"params": tensors} if wrapped else tensors, tmp_path / "a.pth")
    assert convert(tmp_path / "a.pth", "swinir", allow_pickle=True)[1].network.name == "swinir"
    torch.save({"weights": tensors, "program": eval}, tmp_path / "b.pth")
    with refused(CheckpointError, "b.pth cannot be read as tensors alone"):
        convert(tmp_path / "b.pth", "swinir", allow_pickle=True)
