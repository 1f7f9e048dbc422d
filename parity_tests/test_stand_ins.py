"""Devices that no test has: what the twins ask of them, said to stand-ins that record it.

torch_npu's runs in a process of its own, for PyTorch takes another name for its devices once and for all.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tunable.errors import BackendError
from tunable.forms import KINDS, choose, runnable

ROOT = Path(__file__).parent.parent
TORCH_NPU = """
import types
import torch

__version__ = "2.13.0"
asked = []

class Switch:
    def __init__(self, name):
        vars(self).update(name=name)
    def __setattr__(self, key, value):
        asked.append(f"{self.name}.{key} = {value}")
        vars(self)[key] = value

npu = types.ModuleType("torch.npu")
npu.conv, npu.matmul, npu.config = Switch("conv"), Switch("matmul"), Switch("config")
npu.is_available = lambda: AVAILABLE
npu.get_device_name = lambda device: "Ascend910B"
npu.set_compile_mode = lambda jit_compile: asked.append(f"jit_compile = {jit_compile}")
npu.is_jit_compile_false = lambda: "jit_compile = False" in asked
torch.utils.rename_privateuse1_backend("npu")
torch._register_device_module("npu", npu)
"""
ON_NPU = """
import json, sys
from torch_impl import ops

device = ops.device_of(NAME)
ops.full_precision()
facts = ops.facts(device, "eager")
print(json.dumps([str(device), sys.modules["torch_npu"].asked, facts, ops.DISTRIBUTED[device.type]]))
"""


def on_npu(folder, name, available=True):
    """What a process prints in which torch_npu is the stand-in."""
    (folder / "torch_npu.py").write_text(TORCH_NPU.replace("AVAILABLE", str(available)))
    paths = os.pathsep.join([str(folder), str(ROOT)])
    command = [sys.executable, "-c", ON_NPU.replace("NAME", repr(name))]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}, timeout=300)


def test_torch_on_ascend(torch, tmp_path):
    """An accelerator is taken where nobody names a device, and every switch is set before it is reported."""
    done = on_npu(tmp_path, None)
    assert done.returncode == 0, done.stderr
    device, asked, facts, distributed = json.loads(done.stdout)
    assert (device, distributed) == ("npu", "hccl")
    assert asked == [
        "conv.allow_hf32 = False",
        "matmul.allow_hf32 = False",
        "config.allow_internal_format = False",
        "jit_compile = False",
    ]
    assert (facts["device"], facts["torch_npu"]) == ("Ascend910B", "2.13.0")
    switches = ("hf32 convolution", "hf32 matmul", "internal format", "jit compile", "amp")
    assert [facts[name] for name in switches] == ["False"] * 5


def test_torch_npu_without_a_device(torch, tmp_path):
    done = on_npu(tmp_path, "npu:1", available=False)
    assert "torch device 'npu:1' was requested, but torch_npu (2.13.0) sees no Ascend device" in done.stderr


def test_torch_npu_is_missing(torch):
    """One line, and how to install it; where no device is named nobody asks."""
    with pytest.raises(BackendError) as caught:
        torch.module("ops").device_of("npu")
    assert str(caught.value) == (
        "torch device 'npu' needs torch_npu, which is not installed: pip install 'tunable-convolutions[npu]'"
    )


def test_forms_on_ascend():
    """torch's name for it means what MindSpore's means: no groups but depth-wise ones."""
    for kind in KINDS:
        assert runnable("npu", kind) == runnable("ascend", kind)
        for differences in ("full", "low_rank", "scale"):
            chosen = [choose("auto", True, device, kind, differences) for device in ("npu", "ascend")]
            assert chosen[0] == chosen[1] and (chosen[0] != "grouped" or kind == "depthwise")


@pytest.mark.parametrize(("kind", "switch"), [("gpu", "tf32"), ("ascend", "hf32")])
def test_mindspore_on_accelerators(mindspore, monkeypatch, kind, switch):
    """Both switches are off and reported; builds for a GPU ended before the MindSpore that this package needs."""
    device, asked = mindspore.module("ops.device"), []
    monkeypatch.setattr(device, "device_in_use", lambda: kind)
    precision = getattr(mindspore.ms.device_context, kind).op_precision
    names = [f"conv_allow_{switch}", f"matmul_allow_{switch}"]
    for name in names:
        monkeypatch.setattr(precision, name, lambda value, name=name: asked.append((name, value)))
    device.full_precision()
    assert asked == [(name, False) for name in names]
    facts = device.facts(kind, "graph")
    assert (facts[f"{switch} convolution"], facts[f"{switch} matmul"]) == ("False", "False")
