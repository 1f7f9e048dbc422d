"""Devices, precision switches, and what a run on them depends on."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import mindspore as ms
from mindspore import ops as _ops

from tunable.errors import BackendError
from tunable.training.ranks import launched

_TARGETS = {"cpu": "CPU", "ascend": "Ascend", "gpu": "GPU"}
_MODES = {"graph": ms.GRAPH_MODE, "pynative": ms.PYNATIVE_MODE}


@_ops.constexpr
def device_in_use() -> str:
    """Return the kind of the device: cpu, ascend or gpu. A compiled graph, which cannot ask, holds it as a constant."""
    return ms.get_context("device_target").lower()


_one_thread = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Let no other thread use MindSpore inside: two at once bring the process down, so they wait here."""
    with _one_thread:
        yield


@contextmanager
def running(mode: str) -> Iterator[None]:
    """Run the body in `graph` or `pynative` mode, alone; MindSpore's mode is one global switch."""
    with alone():
        before = ms.get_context("mode")
        ms.set_context(mode=_MODES[mode])
        try:
            yield
        finally:
            ms.set_context(mode=before)


def device_of(name: str | None) -> str:
    """Make a device current: `cpu`, `ascend`, `gpu` or `ascend:1`; None means ascend where there is one, else cpu.

    A process that msrun started gets, of devices without a number, the one of its own number on the machine.

    Returns:
        The name of the device.

    Raises:
        BackendError: for another name, and for a device that this MindSpore does not see or cannot use.
    """
    name = name or ("ascend" if _available("ascend") else "cpu")
    kind, _, index = name.partition(":")
    if kind not in _TARGETS or (index and not index.isdigit()) or (":" in name and not index):
        raise BackendError(f"mindspore has no device {name!r}; known: cpu, ascend, gpu, ascend:N, gpu:N")
    if not _available(kind):
        raise BackendError(
            f"mindspore device {name!r} was requested, but this mindspore ({ms.__version__}) sees no such device"
        )
    if kind == "cpu":
        # Single-threaded dispatch: by default the Python thread spins while it waits for a graph, and with as few
        # cores as kernels have threads it starves them (a training step on two cores took twice as long).
        os.environ.setdefault("MS_DEV_HOST_BLOCKING_RUN", "1")
    launch = launched() if kind != "cpu" else None
    try:
        ms.set_device(_TARGETS[kind], int(index or (launch.local if launch else 0)))
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BackendError(f"mindspore device {name!r} cannot be used: {reason}") from None
    return name


def _available(kind: str) -> bool:
    """Whether MindSpore has the device: asking for one that it was built without is a RuntimeError."""
    try:
        return bool(getattr(ms.device_context, kind).is_available())
    except (RuntimeError, AttributeError):
        return False


def full_precision() -> None:
    """Let float32 mean float32 in convolutions and matrix products.

    No HF32 (11-bit mantissa), Ascend's default, and no TF32, that of a GPU.
    """
    if device_in_use() == "gpu":
        ms.device_context.gpu.op_precision.conv_allow_tf32(False)
        ms.device_context.gpu.op_precision.matmul_allow_tf32(False)
    if device_in_use() == "ascend":
        ms.device_context.ascend.op_precision.conv_allow_hf32(False)
        ms.device_context.ascend.op_precision.matmul_allow_hf32(False)


def facts(device: str, mode: str) -> dict[str, str]:
    """Return the framework's version, the device, and every switch that changes numbers, by name, to be printed."""
    hf32 = "False" if device.startswith("ascend") else "not on this device"
    tf32 = {"tf32 convolution": "False", "tf32 matmul": "False"} if device.startswith("gpu") else {}
    return {
        "mindspore": ms.__version__,
        "device": device,
        "mode": mode,
        "threads": str(ms.get_context("runtime_num_threads")),
        "hf32 convolution": hf32,
        "hf32 matmul": hf32,
        **tf32,
        "amp": "False",  # MindSpore has no switch for it: a network is rewritten, and nothing here rewrites one
        "deterministic": str(ms.get_context("deterministic")),
        "onednn isa cap": os.environ.get("ONEDNN_MAX_CPU_ISA", "none"),
        "single-threaded dispatch": os.environ.get("MS_DEV_HOST_BLOCKING_RUN", "0"),
    }
