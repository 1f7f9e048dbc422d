"""Devices, precision switches, and what a run on them depends on."""

import importlib
import importlib.util
import os
import sys
from typing import Any

import numpy as np
import torch

from tunable.errors import BackendError, needs
from tunable.training.ranks import launched

DISTRIBUTED = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}  # the backend of torch.distributed, by kind of device
_KNOWN = "cpu, cuda, cuda:N, npu, npu:N"


def device_of(name: str | None) -> torch.device:
    """Return the device of a name: `cpu`, `cuda`, `npu`, or one of several, such as `cuda:1`.

    None means an accelerator where there is one, else cpu. `npu` is an Ascend, which torch_npu brings to PyTorch.

    A process that torchrun started gets, of devices without a number, the one of its own number on the machine.

    Raises:
        BackendError: for another name, and for a device that torch does not see.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "npu" if _npu_problem() is None else "cpu"
    if name.partition(":")[0] == "npu" and (problem := _npu_problem()):
        raise BackendError(f"torch device {name!r} {problem}")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendError(f"torch has no device {name!r}; known: {_KNOWN}") from None
    if device.type not in DISTRIBUTED:
        raise BackendError(f"torch device {name!r} is not supported; known: {_KNOWN}")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            f"torch device {name!r} was requested, but this torch ({torch.__version__}) sees no CUDA device"
        )
    if device.type != "cpu" and device.index is None and (launch := launched()):
        return torch.device(device.type, launch.local)  # each process of a machine its own
    return device


def _npu_problem() -> str | None:
    """Import torch_npu, which adds `npu` to torch's devices, and say why there is none; None where there is one."""
    if importlib.util.find_spec("torch_npu") is None:
        return needs("torch_npu", "npu")
    try:
        importlib.import_module("torch_npu")
    except (ImportError, OSError, RuntimeError) as error:  # without CANN, or for another release of torch
        return f"needs torch_npu, which cannot be imported: {' '.join(str(error).split())[:200]}"
    if _npu().is_available():
        return None
    return f"was requested, but torch_npu ({sys.modules['torch_npu'].__version__}) sees no Ascend device"


def _npu() -> Any:
    """What torch_npu adds to torch."""
    return torch.npu  # pyright: ignore[reportAttributeAccessIssue]  no part of torch's own stubs


def moved(array: np.ndarray, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return an array as a tensor of a type on a device, without waiting for the copy."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor.to(device, dtype)
    return tensor.pin_memory().to(device, dtype, non_blocking=True)  # from pinned memory nobody waits


def pixel_by_pixel(pictures: torch.Tensor) -> torch.Tensor:
    """Lay out pictures (N, C, H, W) in memory with the channels of a pixel together, which convolutions then keep."""
    return pictures.contiguous(memory_format=torch.channels_last)


def full_precision() -> None:
    """Let float32 mean float32: no TF32 in convolutions (where cuDNN allows it by default) and matrix products.

    On an Ascend no HF32 (11-bit mantissa), its default in convolutions; no private memory formats, and no compilation
    of single operators, either of which changes how they sum.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if "torch_npu" in sys.modules:
        npu = _npu()
        npu.conv.allow_hf32 = False
        npu.matmul.allow_hf32 = False
        npu.config.allow_internal_format = False
        npu.set_compile_mode(jit_compile=False)


def synchronize(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def facts(device: torch.device, mode: str) -> dict[str, str]:
    """Return the framework's version, the device, and every switch that changes numbers, by name, to be printed."""
    switches = {
        "torch": torch.__version__,
        "device": _name_of(device),
        "mode": mode,
        "threads": str(torch.get_num_threads()),
        "tf32 convolution": str(torch.backends.cudnn.allow_tf32),
        "tf32 matmul": str(torch.backends.cuda.matmul.allow_tf32),
        "float32 matmul": torch.get_float32_matmul_precision(),
        "amp": str(torch.is_autocast_enabled(device.type)),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "onednn isa cap": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
    }
    if device.type == "cuda":
        switches["cudnn"] = str(torch.backends.cudnn.version())
        switches["cudnn deterministic"] = str(torch.backends.cudnn.deterministic)
        switches["cudnn benchmark"] = str(torch.backends.cudnn.benchmark)
    if device.type == "npu":
        npu = _npu()
        switches["torch_npu"] = sys.modules["torch_npu"].__version__
        switches["hf32 convolution"] = str(npu.conv.allow_hf32)
        switches["hf32 matmul"] = str(npu.matmul.allow_hf32)
        switches["internal format"] = str(npu.config.allow_internal_format)
        switches["jit compile"] = str(not npu.is_jit_compile_false())
    return switches


def _name_of(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _npu().get_device_name(device) if device.type == "npu" else "cpu"
