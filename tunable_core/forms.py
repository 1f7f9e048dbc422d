"""Forms of a tunable layer whose kernel differs from sample to sample, and which one `auto` stands for.

shared   one kernel for the batch: one ordinary layer (the only form where omega is (p,))
grouped  one convolution with groups = N groups, each sample its group
basis    one convolution with all k kernels, then a weighted sum of the k outputs
loop     one convolution per sample
matmul   one batched matrix product (point-wise convolutions; linear layers know no other)

`shared` asked for with omega per sample, and `matmul` for a kernel larger than a point, mean `auto`.
Ascend runs no grouped convolution but depth-wise ones, so `grouped` is `basis` there.
"""

FORMS = ("auto", "shared", "grouped", "basis", "loop", "matmul")

# What `auto` is, by device and kind of layer. cpu: measured by `tunable bench layers` (docs/results/layers).
# cuda, gpu, ascend: not measured; grouped keeps the multiply-adds of an ordinary layer, basis is what Ascend can run.
_AUTO = {
    "cpu": {"dense": "grouped", "pointwise": "matmul"},
    "cuda": {"dense": "grouped", "pointwise": "matmul"},
    "gpu": {"dense": "grouped", "pointwise": "matmul"},
    "ascend": {"dense": "basis", "pointwise": "matmul"},
}


def choose(form: str, per_sample: bool, device: str, pointwise: bool = False) -> str:
    """The form to run.

    form        one of FORMS
    per_sample  whether omega is (N, p)
    device      cpu, cuda, gpu or ascend
    pointwise   whether the kernel is a single point and nothing is padded
    """
    if not per_sample:
        return "shared"
    auto = _AUTO[device]["pointwise" if pointwise else "dense"]
    if form in ("auto", "shared") or (form == "matmul" and not pointwise):
        return auto
    return "basis" if form == "grouped" and device == "ascend" else form
