"""Forms of a tunable layer whose kernel differs from sample to sample, and which one `auto` stands for.

shared   one kernel for the batch: one ordinary layer (the only form where omega is (p,))
grouped  one convolution with groups = N groups, each sample its group
basis    one convolution with all k kernels, then a weighted sum of the k outputs; where differences are of low rank
         or scale, of the base kernel and the kernels A_j, whose outputs are weighed and mapped by the points B_j
loop     one convolution per sample
matmul   one batched matrix product (point-wise convolutions; linear layers know no other)

`shared` asked for with omega per sample, and `matmul` for a kernel larger than a point, mean `auto`.
Ascend runs no grouped convolution but depth-wise ones, so `grouped` is `basis` there for all others.

And where the kernels of a network are mixed: `layer`, every layer its own when it runs; `network`, those of all layers
at once before the first of them runs, which starts fewer operators and copies the kernels once.
"""

import math
import os

from tunable.errors import TunableError, nearest

FORMS = ("auto", "shared", "grouped", "basis", "loop", "matmul")
KINDS = ("dense", "depthwise", "pointwise")

# What `auto` is, by device and kind of layer. cpu, cuda: measured by `tunable bench layers` (docs/results/layers,
# docs/results/cuda), which prints such a line for the device it runs on. gpu, ascend, and npu, as PyTorch calls an
# Ascend: not measured; grouped keeps the multiply-adds of an ordinary layer, basis is what Ascend can run.
_AUTO = {
    "cpu": {"dense": "grouped", "depthwise": "grouped", "pointwise": "matmul"},
    "cuda": {"dense": "grouped", "depthwise": "grouped", "pointwise": "matmul"},
    "gpu": {"dense": "grouped", "depthwise": "grouped", "pointwise": "matmul"},
    "ascend": {"dense": "basis", "depthwise": "grouped", "pointwise": "matmul"},
    "npu": {"dense": "basis", "depthwise": "grouped", "pointwise": "matmul"},
}

MIXING = ("auto", "network", "layer")


def mixing_asked() -> str:
    """Return where the environment variable TUNABLE_MIX wants kernels mixed, `auto` where it is not set.

    Raises:
        TunableError: for another value than MIXING.
    """
    asked = os.environ.get("TUNABLE_MIX") or "auto"
    if asked not in MIXING:
        raise TunableError(f"TUNABLE_MIX is {asked!r}{nearest(asked, MIXING)}; known: {', '.join(MIXING)}")
    return asked


def mixes_network(asked: str, device: str) -> bool:
    """Return whether the kernels of all layers of a network are mixed at once.

    Args:
        asked: one of MIXING.
        device: cpu, cuda, gpu, ascend, npu.
    """
    # A CPU starts operators in no time; where kernels outweigh pixels, as in a U-Net, the copy costs more than it saves
    return device != "cpu" if asked == "auto" else asked == "network"


def kind_of(kernel: tuple[int, ...], groups: int, padding: tuple[int, ...]) -> str:
    """Return the kind of a convolution, one of KINDS.

    Args:
        kernel: the shape (out, in / groups, *size) of the ordinary layer's kernel.
        groups: parts of the channels that do not see each other.
        padding: pixels added on both sides, one integer per dimension.

    Returns:
        pointwise where the kernel is a single point and nothing is padded; dense where no other kind fits.
    """
    if math.prod(kernel[2:]) == 1 and not any(padding):
        return "pointwise"
    return "depthwise" if kernel[0] == groups and kernel[1] == 1 and groups > 1 else "dense"


def runnable(device: str, kind: str) -> tuple[str, ...]:
    """Return the forms with omega per sample that differ from each other on a device, for a kind of KINDS."""
    return tuple(
        form
        for form in ("grouped", "loop", "basis", "matmul")
        if (form == "matmul") <= (kind == "pointwise") and _runs(form, device, kind) == form
    )


def choose(form: str, per_sample: bool, device: str, kind: str = "dense", differences: str = "full") -> str:
    """Choose the form to run.

    Args:
        form: one of FORMS, as asked for.
        per_sample: whether omega is (N, p).
        device: cpu, cuda, gpu, ascend or npu.
        kind: one of KINDS.
        differences: full, low_rank or scale.

    Returns:
        One of FORMS other than `auto`.
    """
    if not per_sample:
        return "shared"
    if form in ("auto", "shared") or (form == "matmul" and kind != "pointwise"):
        # A scale costs nothing beside the convolution. Low rank costs less there than groups do on an accelerator; on
        # a CPU groups are as fast as an ordinary convolution, and nothing is faster.
        if differences == "scale" or (differences == "low_rank" and device != "cpu" and kind == "dense"):
            return "basis"
        return _AUTO[device][kind]
    return _runs(form, device, kind)


def _runs(form: str, device: str, kind: str) -> str:
    return "basis" if form == "grouped" and device in ("ascend", "npu") and kind != "depthwise" else form
