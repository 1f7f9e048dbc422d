"""Layer cases as data: what to build, how it is called, and the shapes that a weights file must hold."""

import math
import zlib
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from tunable import oracle
from tunable.specs.formulations import PHI_FORMS, Formulation

BATCH = 3


class Case(NamedTuple):
    """One layer.

    kind       the oracle's name of it
    arguments  positional arguments of the constructor; options: the others, as the oracle takes them
    shape      of one sample's input; None for a parameter
    bias       whether it has one
    parts      of what is built from several layers: shapes of one kernel of each, by name
    """

    kind: str
    arguments: tuple
    options: dict[str, Any]
    shape: tuple[int, ...] | None
    bias: bool = True
    parts: dict[str, dict[str, tuple[int, ...]]] = {}


CASES = {
    "3x3": Case("conv2d", (3, 5, 3), {}, (3, 5, 6)),
    "padded": Case("conv2d", (3, 4, 3), {"padding": 1}, (3, 5, 4)),
    "1x1": Case("conv2d", (5, 4, 1), {}, (5, 3, 4)),
    "rectangular": Case("conv2d", (2, 3, (1, 5)), {"padding": (0, 2)}, (2, 4, 6)),
    "strided": Case("conv2d", (3, 4, 3), {"stride": 2, "padding": 1}, (3, 6, 7)),
    "uneven": Case("conv2d", (2, 3, (3, 2)), {"stride": (1, 3), "padding": (2, 1), "dilation": (2, 1)}, (2, 6, 8)),
    "dilated": Case("conv2d", (2, 4, 3), {"dilation": 2, "padding": 2}, (2, 6, 5)),
    "grouped": Case("conv2d", (4, 6, 3), {"groups": 2, "padding": 1}, (4, 4, 5)),
    "grouped strided": Case("conv2d", (6, 3, 3), {"groups": 3, "stride": 2, "padding": (1, 0)}, (6, 5, 6)),
    "depth-wise": Case("conv2d", (4, 4, 3), {"groups": 4, "padding": 1}, (4, 5, 4)),
    "depth-wise x2": Case("conv2d", (3, 6, 3), {"groups": 3, "padding": 1, "dilation": (1, 2)}, (3, 4, 6)),
    "no bias": Case("conv2d", (3, 4, 3), {"padding": 1}, (3, 4, 4), bias=False),
    "1x1 strided": Case("conv2d", (6, 4, 1), {"stride": (2, 3), "groups": 2}, (6, 5, 4)),
    "1x1 padded": Case("conv2d", (3, 4, 1), {"padding": 1}, (3, 3, 4)),
    "reflected": Case("conv2d", (3, 4, 3), {"padding": 1, "padding_mode": "reflect"}, (3, 4, 5)),
    "reflected uneven": Case(
        "conv2d", (2, 3, 5), {"padding": (1, 3), "padding_mode": "reflect", "stride": (1, 2)}, (2, 5, 4)
    ),
    "replicated": Case("conv2d", (4, 4, 3), {"padding": (2, 1), "padding_mode": "replicate", "groups": 2}, (4, 4, 3)),
    "1-d": Case("conv1d", (3, 4, 5), {"padding": 2}, (3, 9)),
    "1-d uneven": Case("conv1d", (4, 6, 3), {"stride": 2, "dilation": 2, "groups": 2, "padding": 1}, (4, 10)),
    "1-d depth-wise": Case("conv1d", (4, 4, 3), {"padding": 1, "groups": 4}, (4, 7), bias=False),
    "1-d point": Case("conv1d", (5, 3, 1), {}, (5, 6)),
    "1-d reflected": Case("conv1d", (3, 4, 3), {"padding": 2, "padding_mode": "reflect"}, (3, 6)),
    "3-d": Case("conv3d", (2, 3, 3), {"padding": 1}, (2, 3, 4, 5)),
    "3-d uneven": Case(
        "conv3d",
        (4, 2, (3, 2, 1)),
        {"stride": (2, 1, 2), "dilation": (1, 2, 1), "padding": (2, 1, 0), "groups": 2},
        (4, 5, 4, 5),
    ),
    "3-d dilated": Case(
        "conv3d", (2, 2, (2, 1, 2)), {"stride": (2, 1, 1), "dilation": (3, 1, 2), "padding": (2, 0, 1)}, (2, 4, 2, 3)
    ),
    "3-d depth-wise": Case("conv3d", (2, 4, (2, 3, 3)), {"groups": 2, "padding": (0, 1, 1)}, (2, 3, 3, 4), bias=False),
    "3-d point": Case("conv3d", (3, 2, 1), {}, (3, 2, 3, 2)),
    "3-d replicated": Case("conv3d", (2, 3, 3), {"padding": (1, 2, 1), "padding_mode": "replicate"}, (2, 3, 2, 3)),
    "3-d reflected": Case("conv3d", (2, 3, 3), {"padding": (1, 2, 1), "padding_mode": "reflect"}, (2, 3, 4, 3)),
    "transposed": Case("conv_transpose2d", (3, 4, 3), {}, (3, 4, 5)),
    "transposed x2": Case("conv_transpose2d", (4, 3, 4), {"stride": 2, "padding": 1}, (4, 3, 4)),
    "transposed output padding": Case(
        "conv_transpose2d", (3, 2, 3), {"stride": (2, 3), "padding": 1, "output_padding": (1, 2)}, (3, 3, 2)
    ),
    "transposed cut": Case("conv_transpose2d", (2, 3, 2), {"stride": 2, "padding": (2, 1)}, (2, 4, 5)),
    "transposed uneven": Case(
        "conv_transpose2d",
        (4, 6, (3, 2)),
        {"stride": (1, 2), "padding": (2, 0), "dilation": (2, 1), "groups": 2, "output_padding": (0, 1)},
        (4, 5, 3),
    ),
    "transposed depth-wise": Case("conv_transpose2d", (4, 4, 3), {"stride": 2, "groups": 4}, (4, 3, 2), bias=False),
    "transposed 1-d": Case(
        "conv_transpose1d", (3, 4, 4), {"stride": 2, "padding": 1, "output_padding": 1, "groups": 1}, (3, 5)
    ),
    "transposed 3-d": Case(
        "conv_transpose3d", (4, 2, (2, 3, 3)), {"stride": (2, 1, 2), "padding": (0, 1, 1), "groups": 2}, (4, 2, 3, 2)
    ),
    "linear": Case("linear", (5, 4), {}, (5,)),
    "linear on rows": Case("linear", (5, 4), {}, (7, 5)),
    "linear on maps": Case("linear", (3, 2), {}, (2, 4, 3)),
    "linear no bias": Case("linear", (5, 4), {}, (3, 5), bias=False),
    "layer norm": Case("layer_norm", (6,), {"eps": 1e-5}, (2, 4, 6)),
    "layer norm small variance": Case("layer_norm", (6,), {"eps": 1e-2}, (6,)),
    "layer norm 2d": Case("layer_norm2d", (5,), {"eps": 1e-6}, (5, 3, 4)),
    "instance norm": Case("instance_norm2d", (3,), {"eps": 1e-5}, (3, 4, 5)),
    "attention": Case(
        "window_attention",
        (4,),
        {"heads": 2, "window": 2, "shift": 0},
        (2, 4, 4),
        parts={
            "qkv": {"weight": (12, 4), "bias": (12,)},
            "relative_position_bias_table": {"weight": (9, 2)},
            "proj": {"weight": (4, 4), "bias": (4,)},
        },
    ),
    "attention shifted": Case(
        "window_attention",
        (3,),
        {"heads": 1, "window": 3, "shift": 1},
        (6, 3, 3),
        bias=False,
        parts={
            "qkv": {"weight": (9, 3)},
            "relative_position_bias_table": {"weight": (25, 1)},
            "proj": {"weight": (3, 3), "bias": (3,)},
        },
    ),
    "attention in six windows": Case(
        "window_attention",
        (4,),
        {"heads": 2, "window": 2, "shift": 1},
        (4, 6, 4),
        parts={
            "qkv": {"weight": (12, 4), "bias": (12,)},
            "relative_position_bias_table": {"weight": (9, 2)},
            "proj": {"weight": (4, 4), "bias": (4,)},
        },
    ),
    "channel attention": Case(
        "channel_attention",
        (6, 2),
        {},
        (6, 3, 4),
        parts={"reduce": {"weight": (2, 6, 1, 1), "bias": (2,)}, "expand": {"weight": (6, 2, 1, 1), "bias": (6,)}},
    ),
    "simplified channel attention": Case(
        "simplified_channel_attention", (4,), {}, (4, 3, 2), parts={"conv": {"weight": (4, 4, 1, 1), "bias": (4,)}}
    ),
    "vector": Case("parameter", ((6,),), {}, None),
    "table": Case("parameter", ((2, 3, 4),), {}, None),
}
CONVOLUTIONS = [name for name, case in CASES.items() if case.kind.startswith("conv")]
# The grid of geometry (CASES), phi and p in pairs: phi and p meet geometry in one vector only, the alpha that mixes the
# kernels, so each pair of geometry and phi, geometry and p, phi and p stands once, not every combination of the three.
OBJECTIVES = (1, 2, 3, 16)
GRID = [
    (name, phi, OBJECTIVES[(i + j) % len(OBJECTIVES)])
    for i, name in enumerate(CASES)
    for j, phi in enumerate(PHI_FORMS)
]
# One case of each kind of layer, and one without bias: with every phi where the others have one in turn.
KINDS = (
    "grouped", "no bias", "1-d uneven", "3-d depth-wise", "transposed uneven", "linear on rows", "table",
    "layer norm 2d", "attention", "channel attention"
)  # fmt: skip
IN_TURN = [
    (name, phi)
    for i, name in enumerate(CASES)
    for j, phi in enumerate(PHI_FORMS)
    if name in KINDS or i % len(PHI_FORMS) == j
]
# By name: phi alone, and what changes phi `base`.
FORMULATIONS = {
    **{phi: Formulation(phi) for phi in PHI_FORMS},
    "low rank": Formulation(differences="low_rank", rank=2),
    "scale, anchored": Formulation(differences="scale", anchor=(0.75, -0.5)),
    "bump": Formulation(bump=True),
    "low rank, bump, anchored": Formulation(differences="low_rank", rank=3, anchor=(1, 0.5, 0.25), bump=True),
}
FORMULATED = [
    *(
        (name, "low rank", 2)
        for name in (
            "padded", "grouped strided", "depth-wise x2", "1x1 strided", "reflected uneven", "1-d uneven",
            "3-d uneven", "transposed uneven", "transposed depth-wise", "linear no bias", "attention shifted",
            "channel attention",
        )
    ),
    *(
        (name, "scale, anchored", 2)
        for name in ("padded", "grouped strided", "1x1", "3-d depth-wise", "transposed uneven", "linear on rows")
    ),
    *((name, "bump", 3) for name in ("padded", "linear", "table", "layer norm 2d", "simplified channel attention")),
    *((name, "low rank, bump, anchored", 3) for name in ("grouped", "transposed x2", "linear on rows", "table")),
]  # fmt: skip
CLASSES = {
    "conv1d": "TunableConv1d",
    "conv2d": "TunableConv2d",
    "conv3d": "TunableConv3d",
    "conv_transpose1d": "TunableConvTranspose1d",
    "conv_transpose2d": "TunableConvTranspose2d",
    "conv_transpose3d": "TunableConvTranspose3d",
    "linear": "TunableLinear",
    "parameter": "TunableParameter",
    "layer_norm": "TunableLayerNorm",
    "layer_norm2d": "TunableLayerNorm2d",
    "instance_norm2d": "TunableInstanceNorm2d",
    "window_attention": "WindowAttention",
    "channel_attention": "ChannelAttention",
    "simplified_channel_attention": "SimplifiedChannelAttention",
}


def build(twin, name: str, phi: str, p: int, **options):
    """The case's layer in a twin, holding the case's weights."""
    case = CASES[name]
    if case.kind.startswith(("conv", "linear", "window")):
        options["bias"] = case.bias
    if not case.parts:
        options["seed"] = 0
    formulation = FORMULATIONS[phi]
    vectors = case.kind == "parameter" or "norm" in case.kind
    options |= formulation.vector_keywords() if vectors else formulation.keywords()
    layer = twin.layer(CLASSES[case.kind])(*case.arguments, num_objectives=p, **case.options, **options)
    twin.backend.assign(layer, weights(name, phi, p))
    return layer


def shapes(name: str, phi: str, p: int) -> dict[str, tuple[int, ...]]:
    """Every parameter's shape by name (docs/design.md, "The weights file")."""
    formulation, mapped = FORMULATIONS[phi], {}
    if phi == "affine":
        mapped = {"phi.weight": (p, p), "phi.bias": (p,)}
    if phi == "se":
        mapped = {
            "phi.0.weight": (4 * p, p), "phi.0.bias": (4 * p,), "phi.2.weight": (p, 4 * p), "phi.2.bias": (p,)
        }  # fmt: skip
    parts = CASES[name].parts or {"": _of_one_kernel(CASES[name])}
    return {
        f"{part}.{local}".lstrip("."): shape
        for part, part_shapes in parts.items()
        for local, shape in (_of_all_kernels(CASES[name], part, formulation, p, part_shapes) | mapped).items()
    }


def _of_all_kernels(case: Case, part: str, formulation: Formulation, p: int, shapes: dict[str, tuple[int, ...]]):
    """What a layer holds for several kernels: all of them, or the base kernel and what stands beside it."""
    k = formulation.num_kernels(p)
    stacked = {local: (k, *shape) for local, shape in shapes.items()}
    vector = case.kind == "parameter" or "norm" in case.kind or part == "relative_position_bias_table"
    if formulation.differences == "full" or vector:
        return stacked
    (first, second, *size), groups = shapes["weight"], case.options.get("groups", 1)
    transposed = "transpose" in case.kind
    out, within = (second * groups, first // groups) if transposed else (first, second)
    stacked["weight"] = (1, *shapes["weight"])
    if formulation.differences == "scale":
        return stacked | {"gain": (k - 1, out)}
    rank = min(formulation.rank, out // groups, within * math.prod(size))
    down = (first, rank) if transposed else (groups * rank, within)
    return stacked | {"down": (k - 1, *down, *size), "up": (k - 1, out, rank)}


def _of_one_kernel(case: Case) -> dict[str, tuple[int, ...]]:
    """What one kernel and one bias of a layer hold."""
    if case.kind == "parameter":
        return {"weight": case.arguments[0]}
    if case.kind.endswith(("norm", "norm2d")):
        return {"weight": case.arguments, "bias": case.arguments}
    inputs, outputs, *size = case.arguments
    if size:
        size = size[0] if isinstance(size[0], tuple) else size * (len(case.shape) - 1)
        first, second = (inputs, outputs) if "transpose" in case.kind else (outputs, inputs)
        sizes = {"weight": (first, second // case.options.get("groups", 1), *size), "bias": (outputs,)}
    else:
        sizes = {"weight": (outputs, inputs), "bias": (outputs,)}
    return sizes if case.bias else {"weight": sizes["weight"]}


@cache
def weights(name: str, phi: str, p: int) -> dict[str, np.ndarray]:
    """Random float32 values for every parameter.

    Those of phi `se`, of attention's qkv and of the layer before a sigmoid are small: a softmax driven to 0.9999 loses
    the digits of 1 - alpha, and with them the effect of what is before it; a sum of some hundreds has no digit left
    where a sigmoid is steep.
    """
    tensors = {local: _draw(f"{name} {phi} {local}", shape) for local, shape in shapes(name, phi, p).items()}
    for local, value in tensors.items():
        if (phi == "se" and "phi." in local) or local.startswith("qkv."):
            value *= 0.4
        if local.startswith("expand.") and "phi." not in local:
            value *= 0.1
    return tensors


@cache
def inputs(name: str) -> np.ndarray | None:
    """A batch of random inputs."""
    shape = CASES[name].shape
    return None if shape is None else _draw(f"{name} input", (BATCH, *shape))


def omegas(p: int) -> dict[str, np.ndarray]:
    """Zero, the corners, the centre, inside, outside, and one of each kind per sample: label -> (p,) or (N, p)."""
    corners = range(p) if p <= 5 else (0, p - 1)
    points = {"zero": np.zeros(p), **{f"corner {i}": np.eye(p)[i] for i in corners}, "centre": np.full(p, 0.5)}
    points["inside"] = _draw("inside", (p,), uniform=True)
    points["outside"] = 3 * _draw("outside", (p,))
    points["per sample"] = np.stack([points["outside"], points["inside"], points["corner 0"]])
    return {label: value.astype(np.float32) for label, value in points.items()}


@cache
def truth(name: str, phi: str, p: int, label: str) -> np.ndarray:
    """The oracle's output of a case at an omega."""
    case = CASES[name]
    tensors = weights(name, phi, p)
    return oracle.layer(case.kind, FORMULATIONS[phi], tensors, case.options, inputs(name), omegas(p)[label])


@cache
def factor(name: str, phi: str, p: int, label: str) -> np.ndarray:
    """The fixed random tensor of the smooth loss mean(output factor)."""
    return _draw(f"{name} factor", truth(name, phi, p, label).shape)


@cache
def true_gradients(name: str, phi: str, p: int, label: str) -> dict[str, np.ndarray]:
    """Central differences of the oracle's mean(output factor) in input, omega and every parameter.

    In float64, and the loss is linear in each input, kernel and bias: good to 1e-8 at least.
    """
    case = CASES[name]
    places = {"x": inputs(name), "omega": omegas(p)[label], **weights(name, phi, p)}
    places = {place: np.array(value, np.float64) for place, value in places.items() if value is not None}
    weight = factor(name, phi, p, label).astype(np.float64)

    def loss():
        tensors = {local: value for local, value in places.items() if local not in ("x", "omega")}
        formulation, x = FORMULATIONS[phi], places.get("x")
        output = oracle.layer(case.kind, formulation, tensors, case.options, x, places["omega"])
        return np.mean(output * weight)

    gradients = {place: np.zeros_like(value) for place, value in places.items()}
    for place, value in places.items():
        for index in np.ndindex(value.shape):
            middle, sides = value[index], []
            for step in (1e-5, -1e-5):
                value[index] = middle + step
                sides.append(loss())
            value[index] = middle
            gradients[place][index] = (sides[0] - sides[1]) / 2e-5
    return gradients


def _draw(key: str, shape: tuple[int, ...], uniform: bool = False) -> np.ndarray:
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    return (rng.uniform(size=shape) if uniform else rng.standard_normal(shape)).astype(np.float32)
