"""Devices, precision switches, and what a run on them depends on."""

import os

import numpy as np
import torch

from tunable.errors import BackendError


def device_of(name: str | None) -> torch.device:
    """Return the device of a name: `cpu`, `cuda` or `cuda:1`; None means cuda where there is one, else cpu.

    Raises:
        BackendError: for another name, and for cuda where torch sees no CUDA device.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise BackendError(f"torch has no device {name!r}; known: cpu, cuda, cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise BackendError(f"torch device {name!r} is not supported; known: cpu, cuda, cuda:N")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise BackendError(
            f"torch device {name!r} was requested, but this torch ({torch.__version__}) sees no CUDA device"
        )
    return device


def moved(array: np.ndarray, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Return an array as a tensor of a type on a device, without waiting for the copy."""
    tensor = torch.from_numpy(array)
    if device.type == "cpu":
        return tensor.to(device, dtype)
    return tensor.pin_memory().to(device, dtype, non_blocking=True)  # from pinned memory nobody waits


def full_precision() -> None:
    """Let float32 mean float32: no TF32 in convolutions (where cuDNN allows it by default) and matrix products."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def facts(device: torch.device, mode: str) -> dict[str, str]:
    """Return the framework's version, the device, and every switch that changes numbers, by name, to be printed."""
    switches = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
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
    return switches
