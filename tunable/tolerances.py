"""The one table of tolerances: how far correct programs may differ, and why (docs/design.md, "Judging against truth").

Errors are relative: ||a - b|| / ||b|| over a whole tensor, b the float64 truth where there is one.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Tolerance(NamedTuple):
    """The limit of one stage, and its reason.

    Attributes:
        limit: the largest relative error of a correct program.
        reason: why it is so large.
        most: up to where the limit grows with the model's own gap (`limit_of`); None: it does not grow.
    """

    limit: float
    reason: str
    most: float | None = None


# In the order in which a certificate shows its stages.
TOLERANCES = {
    "weights": Tolerance(0.0, "the same file: equal to the last bit"),
    "layer": Tolerance(
        2e-6, "float32 sums of some hundred products against float64: about 1e-6 is the rounding itself"
    ),
    "layer gradient": Tolerance(
        5e-6, "as `layer`, under a smooth loss: two more products, and sums over batch and pixels that cancel in part"
    ),
    "truth": Tolerance(1e-12, "float64 against float64: what judges the network is itself right, layer by layer"),
    "layer output": Tolerance(2e-6, "inside the network: as `layer`, on inputs with the rounding before it", 2e-5),
    "network": Tolerance(2e-6, "what the layers' rounding leaves: 7e-7 after the 34 layers of Table 1", 2e-5),
    "loss": Tolerance(5e-6, "a mean over float32 pixels against float64"),
    "gradients": Tolerance(
        1e-5, "all parameters together: a ReLU that rounding flips is worth 1e-5, 1.4e-4 at most (no L1 kinks)", 5e-4
    ),
    "gradients: median": Tolerance(
        1e-5, "of all omega: a ReLU that rounding flips counts at one of them, a fault at all", 1e-4
    ),
    "gradient": Tolerance(
        2e-4, "one parameter tensor: the same flip is worth 2e-4 to the tensor behind it, 3e-3 at most", 5e-3
    ),
    "optimizer": Tolerance(
        2e-6, "a few steps on drawn gradients, which are the same for all, against numpy: 4e-8 of rounding each"
    ),
    "training": Tolerance(
        2e-5, "ten free steps: a ReLU whose sign rounding changes, and small gradients, which Adam makes large", 5e-3
    ),
    "folded": Tolerance(1e-5, "the same kernels, summed before rather than during the call; then as `network`"),
    "export graph": Tolerance(0.0, "faults of the exported graph itself: grouped convolutions, inputs, hidden parts"),
    "export": Tolerance(1e-5, "the same float32 graph in another runtime, which sums in another order: as `folded`"),
    "export float16": Tolerance(
        5e-3, "weights and every layer's output rounded to eleven bits, up to 5e-4 each, over some thirty layers"
    ),
    "golden": Tolerance(
        1e-5, "of the largest output: another implementation in float32; instance norms of few pixels reach 5e-6"
    ),
    "interpolated": Tolerance(1e-5, "kernels summed from folded ones instead of the layer's own: as `folded`"),
    "autocast": Tolerance(
        4e-3, "a layer in bfloat16: input, kernel and output rounded to eight bits, 1.7e-3 each; kernels summed before"
    ),
    "autocast network": Tolerance(1e-2, "a network of six such layers with skips: 5e-3"),
    "float16": Tolerance(1e-3, "a layer on float16 input: as `autocast`, eleven bits, 2e-4 each, and the bias added"),
    "float16 network": Tolerance(2e-3, "a network of six such layers with skips: 1e-3"),
}
CONTROL = 1e-3  # negative control: two different omega must differ by at least this, relative
MOVED = 1e-6  # negative control: ten steps move the weights by at least this, relative
FACTOR = 8  # another order of summation, other ReLUs that flip, steps that drift: three bits beside the model's own gap
DRIFT = 10  # times the gap of runs of one framework whose weights differ by 1e-7: rounding may be worth three bits more
KINK = 1e-2  # of a gradient: one unit of some thousand, whose ReLU or maximum is within rounding of a tie
FOLLOW_GRADIENTS = ("gradients", "gradients: median", "gradient", "training")
PERTURBATION = 1e-7  # relative noise in weights that is worth what float32 rounds
ZERO = 1e-10  # a gradient is truly zero when float64 leaves less of it than this beside the whole: its own rounding


def limit_of(stage: str, gap: float | None = None, *, judged: bool = False) -> float:
    """Return a stage's limit for a model.

    It is the table's limit, or FACTOR times the model's gap where that is more, but never above `most`, for a faulty
    program must not excuse itself by its own gap. TF32 and HF32 err by 1e-3 in every layer. The `most` of layers, of
    outputs and of the median of gradients is a tenth of that or less. The `most` of gradients at one omega (5e-4
    together, 5e-3 for one tensor) and of training (5e-3) is not: there one ReLU that rounding flips counts, and `most`
    is up to four times what one of the ResNet of Table 1 was seen to do. The median over omega does not see such a
    ReLU, and no faulty program has a part in its gap.

    Args:
        stage: a key of TOLERANCES.
        gap: the model's gap at this stage (tunable.certificate.truth); None: not measured, and the table's limit holds.
        judged: whether VGG stands between network and loss; then KINK takes the place of `most` in what follows
            gradients. One of its ReLUs or maxima within rounding of a tie decides over one of some ten thousand
            features, and with that over a hundredth of the gradient: seen were 6e-4 by one ReLU of the seventh layer,
            9e-3 by one maximum of the fourth.
    """
    limit, _, most = TOLERANCES[stage]
    if most is None or gap is None or not np.isfinite(gap):
        return limit
    most = KINK if judged and stage in FOLLOW_GRADIENTS else most
    return min(most, max(limit, FACTOR * gap))


def relative_error(a: ArrayLike, b: ArrayLike, norm: float | None = None) -> float:
    """Return ||a - b|| / ||b|| in float64; inf when either is not finite or the shapes differ, ||a|| when b is 0.

    Args:
        a: an array of any shape.
        b: what it is compared with, an array of the same shape.
        norm: what the difference is divided by instead of ||b||.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf")
    norm = norm or float(np.linalg.norm(b))
    return float(np.linalg.norm(a - b) / norm) if norm else float(np.linalg.norm(a))


def joint_error(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> float:
    """Return the relative error of all tensors together, as if they were one; inf when their names differ.

    Args:
        a: tensors by name.
        b: what they are compared with, by the same names.
    """
    if a.keys() != b.keys():
        return float("inf")
    return relative_error(np.concatenate([np.ravel(a[k]) for k in b]), np.concatenate([np.ravel(b[k]) for k in b]))
