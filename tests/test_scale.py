"""The formulas of tools/scale.py, against what PyTorch counts at a small size, and numbers by hand."""

from pathlib import Path

import numpy as np
import pytest

from tools import scale
from tunable.backends.registry import installed
from tunable.images.pictures import write
from tunable.specs.networks import ResNetSpec
from tunable.specs.reading import load_recipe, shipped_recipes
from tunable.specs.recipe import parse

NEEDS_TORCH = pytest.mark.skipif("torch" not in installed(), reason="torch, which counts, is not installed")


def small(upscale=1):
    """A plain network, and a batch of it."""
    import torch

    from torch_impl.networks import ResNet

    spec = ResNetSpec(channels=8, blocks=2, upscale=upscale, tunable=False)
    network = ResNet(num_objectives=0, channels=8, blocks=2, upscale=upscale)
    return spec, network, torch.rand(2, 3, 12, 10)


@NEEDS_TORCH
def test_multiply_adds():
    """A step is three times the forward pass, but for the gradient in the pictures, which nobody asks for."""
    from torch.utils.flop_counter import FlopCounterMode

    spec, network, x = small()
    with FlopCounterMode(display=False) as counter:
        network(x).square().mean().backward()
    pixels = 2 * 12 * 10
    assert counter.get_total_flops() == 2 * pixels * (3 * spec.multiply_adds - 27 * spec.channels)


@NEEDS_TORCH
@pytest.mark.parametrize("upscale", [1, 2, 4])
def test_activations(upscale):
    """Every tensor that autograd keeps for a convolution or a ReLU, each storage once, without the weights."""
    import torch

    spec, network, x = small(upscale)
    weights = {value.data_ptr() for value in network.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        restored = network(x)
    assert restored.requires_grad
    assert sum(kept.values()) == scale.activations(spec, 2 * 12 * 10)


@NEEDS_TORCH
def test_judging(tmp_path):
    """VGG-19 runs on both pictures once for all styles: but for Gram matrices, three times its forward pass."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from torch_impl.objectives.multi import make_loss

    write(tmp_path / "a.png", np.zeros((16, 16, 3), np.float32))
    style = {"kind": "style", "image": str(tmp_path / "a.png")}
    recipe = parse(
        {
            "task": "style_transfer",
            "network": {"name": "style_unet", "channels": 4, "scales": 1, "blocks": [1, 1, 1]},
            "objectives": [{"name": name, **style} for name in "abc"],
            "data": {"train": "bundled", "patch": 16},
            "vgg": {"seed": 0, "width": 8},
            "steps": 1,
        }
    )
    restored = torch.rand(1, 3, 16, 16, requires_grad=True)
    loss = make_loss(recipe, restored)
    with FlopCounterMode(display=False) as counter:
        loss(restored, {"clean": torch.rand(1, 3, 16, 16)}, torch.ones(1, 3))[0].sum().backward()
    assert counter.get_total_flops() == pytest.approx(2 * 16**2 * scale.judging(recipe), rel=0.05)


def test_networks_that_judge_by_hand():
    """ESRGAN's discriminator is trained by Adam and its gradients are sent; VGG-19 only stands in memory."""
    one = scale.cost("a", load_recipe("super_resolution/paper"))
    assert one.state == 4 * (4 * one.parameters + 4 * 7_175_752 + 20_024_384)
    assert one.sent(8) == 7 * (one.parameters + 7_175_752)


def test_by_hand():
    """A million numbers, 10 TFLOP a step, 8 samples, at 1 PFLOP/s and 1 GB/s."""
    one = scale.Cost("a", 10**6, 5e12, 16 * 10**6, None, 86_400, 8)
    machine = scale.Machine(1e15, 1.0, 1e9)
    assert one.sent(1) == 0 and one.sent(8) == 7e6
    assert one.days(1, machine) == pytest.approx(0.01)
    assert one.days(8, machine) == pytest.approx(0.01 / 8 + 0.007) == one.days(64, machine)


def test_the_page_is_what_the_program_writes():
    names = [name for name in shipped_recipes() if name.endswith("/paper")]
    costs = [scale.cost(name, load_recipe(name)) for name in names]
    assert (Path(__file__).parent.parent / "docs" / "scale.md").read_text("utf-8") == scale.page(costs, scale.Machine())
    (paper,) = (one for one in costs if one.name == "denoise/paper")
    assert paper.state == 4 * 4 * paper.parameters
