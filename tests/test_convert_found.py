"""Where a network lies in a foreign file, as what numbers, and which variants are refused."""

import argparse
import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file
from test_convert import edsr, official_swinir, write_ckpt
from test_convert_compact import compact

from tunable.backends.registry import installed
from tunable.errors import CheckpointError, TunableError
from tunable.specs.networks import NAFNetSpec
from tunable.weights.conversion import convert, read_network
from tunable.weights.sources import SOURCES

needs_torch = pytest.mark.skipif("torch" not in installed(), reason="torch is not installed: its pickles are not read")


def nafnet(width=2, seed=0):
    """The official NAFNet, one block before, in the middle and after."""
    rng, tensors = np.random.default_rng(seed), {}

    def add(name, *shape):
        tensors[name] = rng.standard_normal(shape).astype(np.float32)

    def conv(name, outputs, inputs, size=1):
        add(name + ".weight", outputs, inputs, size, size)
        add(name + ".bias", outputs)

    conv("intro", width, 3, 3)
    conv("ending", 3, width, 3)
    for block, c in (("encoders.0.0", width), ("middle_blks.0", 2 * width), ("decoders.0.0", width)):
        for name, outputs, inputs, size in (
            ("conv1", 2 * c, c, 1), ("conv2", 2 * c, 1, 3), ("conv3", c, c, 1), ("sca.1", c, c, 1),
            ("conv4", 2 * c, c, 1), ("conv5", c, c, 1),
        ):  # fmt: skip
            conv(f"{block}.{name}", outputs, inputs, size)
        for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"):
            add(f"{block}.{name}", c)
        add(block + ".beta", 1, c, 1, 1)
        add(block + ".gamma", 1, c, 1, 1)
    conv("downs.0", 2 * width, width, 2)
    add("ups.0.0.weight", 4 * width, 2 * width, 1, 1)
    return tensors


def under(prefix, tensors):
    return {prefix + name: value for name, value in tensors.items()}


def write_safetensors(path, kind, tensors):
    """A safetensors file of a type that numpy does not know: `tensors` are the bits."""
    header, content = {}, b""
    for name, value in tensors.items():
        end = len(content) + value.nbytes
        header[name] = {"dtype": kind, "shape": value.shape, "data_offsets": [len(content), end]}
        content += value.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def check(result, header, tensors):
    """The small NAFNet, to the bit."""
    assert header.network == NAFNetSpec(tunable=False, width=2, middle=1, encoder=[1], decoder=[1])
    for name, value in tensors.items():
        converted = result[name.replace("sca.1", "sca").replace("ups.0.0", "ups.0")]
        np.testing.assert_array_equal(converted, value.reshape(converted.shape))
    assert len(result) == len(tensors)


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "net_g.", "generator.", "model.", "backbone."]
PREFIXES += ["state_dict.model.net_g.module.", "anything.at.all."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_prefix(tmp_path, prefix):
    """And what training keeps beside: steps, an optimizer's moments by the same names, another network."""
    tensors, step = nafnet(), np.zeros(1, np.float32)
    beside = {"n_averaged": step} if prefix else {"global_step": step}
    beside |= under("moment1." + prefix, nafnet(seed=1)) | under("net_d.", {"conv0.weight": step})
    if not prefix:
        del beside["net_d.conv0.weight"]
    save_file(under(prefix, tensors) | beside, tmp_path / "a.safetensors")
    check(*convert(tmp_path / "a.safetensors", "nafnet"), tensors)


def test_wrappers_inside_names(tmp_path):
    """A compiled block in a network, and FSDP's wrapped parts."""
    tensors = nafnet()
    named = {
        name.replace("encoders.0.0.", "encoders.0._orig_mod.0._fsdp_wrapped_module."): v for name, v in tensors.items()
    }
    save_file(under("module.", named), tmp_path / "a.safetensors")
    check(*convert(tmp_path / "a.safetensors", "nafnet"), tensors)


def test_prefixes_of_mindspores_checkpoints(tmp_path):
    tensors = edsr()
    stored = under("network.", tensors) | under("moments.network.", tensors) | {"learning_rate": np.ones(1, np.float32)}
    result, header = convert(write_ckpt(tmp_path / "a.CKPT", stored), "mindediting")
    np.testing.assert_array_equal(result["head.weight"], tensors["head.weight"][0])
    assert header.network.blocks == 1 and not any("moment" in name or "rate" in name for name in result)


WRAPPERS = ["params", "params_ema", "state_dict", "model", "model_state_dict", "net", "net_g", "ema", "weights", "netG"]


@needs_torch
@pytest.mark.parametrize(
    "wrapped",
    [
        *[lambda state, name=name: {name: state} for name in WRAPPERS],
        lambda state: {"model": {"state_dict": state}, "optimizer": {"state": {0: {"exp_avg": state["intro.bias"]}}}},
        lambda state: {"epoch": 3, "state_dict": under("model.", state), "hyper_parameters": argparse.Namespace(x=[1])},
        lambda state: {"step": np.float64(2), "date": None, "models": [{"weights": state}]},
    ],
)  # fmt: skip
def test_any_wrapper(tmp_path, wrapped):
    import torch

    tensors = nafnet()
    content = wrapped({name: torch.from_numpy(value) for name, value in tensors.items()})
    for zipped, suffix in ((True, "PTH"), (False, "Pt"), (True, "bin"), (True, "ckpt")):
        torch.save(content, tmp_path / f"a.{suffix}", _use_new_zipfile_serialization=zipped)
        if zipped or not any(isinstance(value, argparse.Namespace | np.generic) for value in content.values()):
            check(*convert(tmp_path / f"a.{suffix}", "nafnet", allow_pickle=True), tensors)


def test_which_of_several(tmp_path, refused):
    """The averaged one; another when asked; and no guess between two of a kind."""
    path, one, two = tmp_path / "a.safetensors", nafnet(seed=1), nafnet(seed=2)
    save_file(under("params.", one) | under("params_ema.", two), path)
    check(*convert(path, "nafnet"), two)
    said = ["its network lies under 'params_ema'", "other networks in it lie under 'params': --key NAME chooses one"]
    assert read_network(path, "nafnet").notes[:2] == said
    check(*convert(path, "nafnet", key="params"), one)
    with refused(CheckpointError, "no network under 'param'", "did you mean 'params'"):
        convert(path, "nafnet", key="param")
    save_file(under("student.module.", one) | under("teacher.module.", two), path)
    with refused(CheckpointError, "2 networks, under 'student.module', under 'teacher.module': --key NAME chooses one"):
        convert(path, "nafnet")
    check(*convert(path, "nafnet", key="teacher"), two)
    save_file(one | under("ema.", two), path)
    check(*convert(path, "nafnet"), two)


def test_numbers_of_every_type(tmp_path, refused):
    """Halves exactly, doubles rounded, and said; what does not become float32 is refused by its name."""
    tensors, path = nafnet(), tmp_path / "a.SafeTensors"
    half = {name: value.astype(np.float16) for name, value in tensors.items()}
    save_file(half, path)
    check(*convert(path, "nafnet"), {name: value.astype(np.float32) for name, value in half.items()})
    assert read_network(path, "nafnet").notes == ["float16 became float32, exactly"]
    double = {name: value.astype(np.float64) / 3 for name, value in tensors.items()}
    save_file(double, path)
    check(*convert(path, "nafnet"), {name: value.astype(np.float32) for name, value in double.items()})
    assert read_network(path, "nafnet").notes == ["float64 became float32 (float64 is rounded)"]
    bits = {name: (value.view(np.uint32) >> 16).astype(np.uint16) for name, value in tensors.items()}
    expected = {name: (value.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, value in tensors.items()}
    check(*convert(write_safetensors(path, "BF16", bits), "nafnet"), expected)
    assert read_network(path, "nafnet").notes == ["bfloat16 became float32, exactly"]
    eight = {name: np.zeros(value.shape, np.uint8) for name, value in tensors.items()}
    for kind in ("F8_E4M3", "F8_E5M2", "I8"):
        with refused(CheckpointError, "tensor 'decoders.0.0.beta' is " + kind):
            convert(write_safetensors(path, kind, eight), "nafnet")


@needs_torch
def test_types_of_pickles(tmp_path, refused):
    import torch

    tensors = {name: torch.from_numpy(value) for name, value in nafnet().items()}
    path = tmp_path / "a.pth"
    torch.save({name: value.bfloat16() for name, value in tensors.items()}, path)
    check(*convert(path, "nafnet", allow_pickle=True), {k: v.bfloat16().float().numpy() for k, v in tensors.items()})
    torch.save({name: torch.nn.Parameter(value.double()) for name, value in tensors.items()}, path)
    check(*convert(path, "nafnet", allow_pickle=True), {name: value.numpy() for name, value in tensors.items()})
    for change, said in (
        (lambda value: value.to(torch.float8_e5m2), "float8_e5m2"),
        (lambda value: value.to(torch.complex64), "complex64"),
        (lambda value: value.to_sparse(), "float32 in a form that is not plain"),
        (lambda value: torch.zeros(1).expand(10**9), "more numbers than the file has"),
        (lambda value: torch.zeros(0).as_strided((0, 2**62), (1, 1)), "which no array has"),
    ):
        torch.save({**tensors, "intro.weight": change(tensors["intro.weight"])}, path)
        with refused(CheckpointError, "tensor 'intro.weight' is", said):
            convert(path, "nafnet", allow_pickle=True)


def test_names_that_do_not_fit(tunable, tmp_path):
    """By the names of the file, all that is missing and all that is too much, with the nearest; nothing is written."""
    tensors, out = nafnet(), tmp_path / "out.safetensors"
    misspelt = {name.replace("sca.1.weight", "sca.1.wieght"): value for name, value in tensors.items()}
    save_file(misspelt, tmp_path / "a.safetensors")
    status, _, err = tunable("convert", tmp_path / "a.safetensors", "--from", "nafnet", "-o", out)
    assert status == 2 and not out.exists()
    assert "(did you mean 'encoders.0.0.sca.1.wieght'?)" in err
    assert "; it has, and the network does not, 3 tensors: 'decoders.0.0.sca.1.wieght' (did you" in err
    for name in tensors:  # whichever is missing: one line that names it, or one that it decides about
        save_file({other: value for other, value in tensors.items() if other != name}, tmp_path / "a.safetensors")
        status, _, err = tunable("convert", tmp_path / "a.safetensors", "--from", "nafnet", "-o", out)
        assert status == 2 and not out.exists() and len(err.strip().splitlines()) == 1
        assert name in err or "shape" in err or "downs" in name, err
    save_file({"a": np.zeros(1, np.float32), "b": np.zeros(1, np.float32)}, tmp_path / "a.safetensors")
    status, _, err = tunable("convert", tmp_path / "a.safetensors", "--from", "swinir", "-o", out)
    assert status == 2 and "none of its 2 tensors ('a', 'b', ...)" in err and "holds no tensors" not in err


@pytest.mark.parametrize("source", SOURCES)
def test_shapes_that_do_not_fit(tmp_path, source):
    """Every tensor of another rank or empty: accepted, to be refused by the network, or one clear line."""
    files = {"mindediting": edsr((2,)), "swinir": official_swinir("pixelshuffle")}
    tensors = {**files, "nafnet": nafnet(), "compact": compact()}[source]
    for name in tensors:
        for shape in ((), (1,), (2, 3), (1, 0, 3, 3)):
            changed = {**tensors, name: np.zeros(shape, np.float32)}
            path = write_ckpt(tmp_path / "a.ckpt", changed) if source == "mindediting" else tmp_path / "a.safetensors"
            if source != "mindediting":
                save_file(changed, path)
            try:
                convert(path, source)
            except TunableError as error:
                assert "\n" not in str(error)


def swin(**changes):
    """A small official SwinIR whose masks and index are there."""
    tensors = official_swinir("")
    block = "layers.0.residual_group.blocks."
    tensors |= {
        block + "1.attn_mask": np.zeros((4, 9, 9), np.float32),
        block + "1.norm1.weight": np.ones(4, np.float32),
    }
    tensors["conv_last.weight"] = np.zeros((3, 4, 3, 3), np.float32)
    return {name: value for name, value in {**tensors, **changes}.items() if value is not None}


BLOCK, TABLE = "layers.0.residual_group.blocks.", "0.attn.relative_position_bias_table"
REFUSED = {  # what a variant has -> what is said
    "ape": ({"absolute_pos_embed": np.zeros((1, 9, 4), np.float32)}, "positions added to the features (ape)"),
    "3conv": ({"conv_after_body.0.weight": np.zeros((1, 4, 3, 3), np.float32)}, "resi_connection 3conv"),
    "unshuffled": ({"conv_first.1.weight": np.zeros((4, 12, 3, 3), np.float32)}, "a pixel unshuffle"),
    "grey": ({"conv_first.weight": np.zeros((4, 1, 3, 3), np.float32)}, "takes 1 channels per pixel (grey pictures)"),
    "grey out": ({"conv_last.weight": np.zeros((1, 4, 3, 3), np.float32)}, "gives 1 channels per pixel"),
    "window 7": ({BLOCK + TABLE: np.zeros((169, 2), np.float32)}, "--set img_range=255"),
    "no window": ({BLOCK + TABLE: np.zeros((24, 2), np.float32)}, "of no window"),
    "some masks": ({BLOCK + "0.attn_mask": np.zeros((4, 9, 9), np.float32)}, "2 of its blocks have an attn_mask"),
    "another mean": ({"mean": np.full((1, 3, 1, 1), 0.5, np.float32)}, "its mean colour is [0.5, 0.5, 0.5]"),
    "version 2": ({BLOCK + "0.attn.logit_scale": np.zeros((2, 1, 1), np.float32)}, "Swin2SR"),
    "x1 pixelshuffle": ({"conv_before_upsample.0.weight": np.zeros((5, 4, 3, 3), np.float32)}, "enlarges 1 times"),
    "x6 direct": ({"upsample.0.weight": np.zeros((108, 4, 3, 3), np.float32)}, "pixelshuffledirect enlarges 6 times"),
    "x1 or x2": (
        {name: np.zeros((4, 4, 3, 3), np.float32) for name in ("conv_up1.weight", "conv_hr.weight")},
        "keeps the size, which is not known here; --set upscale=2",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_variants_of_swinir_are_refused_by_name(tmp_path, refused, kind):
    changes, said = REFUSED[kind]
    save_file(swin(**changes), tmp_path / "a.safetensors")
    with refused(CheckpointError, "a.safetensors is not of a network of swinir that is known here: ", said):
        convert(tmp_path / "a.safetensors", "swinir")


def test_what_is_assumed_is_said(tmp_path, refused):
    """img_range, and whether windows shift: by the masks, or, where the buffers are gone, as usual."""
    path = tmp_path / "a.safetensors"

    def assumed(changes, settings=None):
        save_file(swin(**changes), path)
        network = read_network(path, "swinir", settings)
        return network.header.network.shifted, "; ".join(network.assumed)

    shifted, said = assumed({})
    assert shifted and "img_range 1 (--set img_range=255" in said and "shift" not in said
    shifted, said = assumed({BLOCK + "1.attn_mask": None}, {"img_range": 255})
    assert not shifted and "windows that never shift" in said and "img_range" not in said
    assert assumed({BLOCK + "1.attn_mask": None}, {"shifted": True})[0]
    shifted, said = assumed({BLOCK + "1.attn_mask": None, BLOCK + "0.attn.relative_position_index": None})
    assert shifted and "windows that shift" in said
    for value in (0, -1, "a", True, float("nan"), float("inf")):
        with refused(CheckpointError, "img_range wants a number above zero"):
            convert(path, "swinir", {"img_range": value})
    save_file(nafnet(), path)
    with refused(TunableError, "img_range"):
        convert(path, "nafnet", {"img_range": 255})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoders.0.0.se.1.weight": np.zeros((2, 2, 1, 1), np.float32)}, "the Baseline network"),
        ({"intro.weight": np.zeros((2, 1, 3, 3), np.float32)}, "takes 1 channels per pixel (grey pictures)"),
        ({"body.0.fusion.l_proj1.weight": np.zeros((2, 2, 1, 1), np.float32)}, "NAFSSR"),
        ({"intro.weight_g": np.zeros((2, 1, 1, 1), np.float32)}, "merge them first"),
    ],
)  # fmt: skip
def test_variants_of_nafnet_are_refused_by_name(tmp_path, refused, changes, said):
    save_file({**nafnet(), **changes}, tmp_path / "a.safetensors")
    with refused(CheckpointError, said):
        convert(tmp_path / "a.safetensors", "nafnet")


def test_another_source_is_suggested(tmp_path, refused):
    save_file(under("params.", nafnet()), tmp_path / "a.safetensors")
    with refused(CheckpointError, "is not of a network of swinir", "try --from nafnet"):
        convert(tmp_path / "a.safetensors", "swinir")


def test_every_ratio_of_the_mlp(tmp_path):
    """The hidden channels of an MLP come back from the stored ratio, also where c (h / c) is below h."""
    for channels, hidden in ((22, 49), (26, 63), (38, 53), (60, 160), (180, 478)):
        tensors = swin()
        tensors["conv_first.weight"] = np.zeros((channels, 3, 3, 3), np.float32)
        tensors[BLOCK + "0.mlp.fc1.weight"] = np.zeros((hidden, channels), np.float32)
        save_file(tensors, tmp_path / "a.safetensors")
        assert int(channels * convert(tmp_path / "a.safetensors", "swinir")[1].network.mlp_ratio) == hidden


def test_where_own_weights_are_wanted_conversion_is_named(tunable, tmp_path, values):
    """A foreign file as `initial.weights`, for `info`, and as plain weights; and an own file as a foreign one."""
    save_file(nafnet(), tmp_path / "a.safetensors")
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04 and more")
    for name in ("a.safetensors", "a.pth"):
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(json.dumps({**values, "initial": {"weights": str(tmp_path / name)}}))
        for call in (
            ("train", recipe, "--out", tmp_path / "run"),
            ("info", tmp_path / name),
            ("convert", tmp_path / name, "--from", "plain", "--objectives", "a,b", "-o", tmp_path / "out.safetensors"),
        ):
            status, _, err = tunable(*call)
            assert status == 2 and "(weights of other programs: tunable convert)" in err, err
    path = tmp_path / "own.safetensors"
    assert tunable("convert", tmp_path / "a.safetensors", "--from", "nafnet", "-o", path)[0] == 0
    status, _, err = tunable("convert", path, "--from", "nafnet", "-o", tmp_path / "again.safetensors")
    assert status == 2 and "own.safetensors is a weights file of this project already" in err


def test_whether_a_network_is_tunable_the_file_says(tmp_path, refused):
    """What was written with another word in its header could not be loaded."""
    save_file(nafnet(), tmp_path / "plain.safetensors")
    with refused(TunableError, "plain.safetensors holds a plain network", "--from plain", "tunable", "set to true"):
        read_network(tmp_path / "plain.safetensors", "nafnet", {"tunable": True})
    assert read_network(tmp_path / "plain.safetensors", "nafnet", {"tunable": False}).header.objectives == ()
    write_ckpt(tmp_path / "edsr.ckpt", edsr())
    with refused(TunableError, "edsr.ckpt holds a tunable network", "2 objectives", "set to false"):
        read_network(tmp_path / "edsr.ckpt", "mindediting", {"tunable": False})


@pytest.mark.parametrize("img_range", [10**400, 1e-320, float("nan"), True, "255"])
def test_an_img_range_that_is_no_range(img_range, tmp_path, refused):
    """Python's integers have no end, and the inverse of a number near zero is infinite."""
    save_file(official_swinir(""), tmp_path / "a.safetensors")
    with refused(CheckpointError, "img_range wants a number above zero such as 255"):
        read_network(tmp_path / "a.safetensors", "swinir", {"img_range": img_range})


def test_other_files_of_this_project_are_no_foreign_ones(tmp_path, refused):
    """A checkpoint holds the moments of an optimizer by the names of a network: --key would take them for one."""
    tensors = {f"{part}.{name}": value for part in ("weights", "state.first") for name, value in nafnet().items()}
    for number, (format, kind) in enumerate(
        {"tunable-convolutions-state/1": "a checkpoint of a run", "tunable-convolutions/tuned/1": "tuned/1"}.items()
    ):
        path = tmp_path / f"{number}.safetensors"
        save_file(tensors, path, {"format": format})
        for key in (None, "weights", "first"):
            with refused(CheckpointError, str(path), kind, "already", "--from plain"):
                read_network(path, "nafnet", key=key)
