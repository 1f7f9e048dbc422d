"""How networks of MindSpore hold their parameters: where, under which names, and what can become tunable.

Names and shapes are PyTorch's, so that the twins of a user's network read each other's files: a norm's gamma and
beta are weight and bias, and one-dimensional layers, which store their kernels with an axis more, have one less.
"""

import copy
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import mindspore as ms
import numpy as np
from mindspore import mint, nn

from mindspore_impl import ops
from tunable import retrofit
from tunable.contents import reachable
from tunable.errors import TunableError
from tunable.weights import retrofitted

GIVEN = "_given_"  # before the name of a parameter in whose place there is something else

_USUAL = (
    *ops.ORDINARY,
    *(nn.Conv1d, nn.Conv3d, nn.Conv1dTranspose, nn.Conv2dTranspose, nn.Conv3dTranspose),
    *(mint.nn.Conv2d, mint.nn.Conv3d, mint.nn.ConvTranspose2d, mint.nn.Linear),
)
_NARROW = (nn.Conv1d, nn.Conv1dTranspose)
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_NORM_NAMES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_NAMES = {
    **dict.fromkeys((nn.LayerNorm, nn.GroupNorm, *_BATCH_NORMS), _NORM_NAMES),
    nn.Embedding: {"embedding_table": "weight"},
    nn.PReLU: {"w": "weight"},
}
_STATISTICS = ("moving_mean", "moving_variance")


def places(network: nn.Cell, kept: Mapping[str, str] = MappingProxyType({})) -> list[retrofit.Place]:
    """List every layer and free parameter of a network, in its order.

    Args:
        network: a copy of a user's network.
        kept: what `kept` returned of the network that was copied.

    Returns:
        The places; a tensor that two of them hold has its first name in both.
    """
    names = {id(each.value): name for name, each in entries(network).items()}

    def unfit(value: ms.Parameter) -> str:
        return _unfit(value) or kept.get(names[id(value)], "")

    candidates = []
    for name, cell in _cells(network):
        direct = {local: value for local, value in cell._params.items() if value is not None and id(value) in names}
        known, usual, obstacle = _names_of(cell), isinstance(cell, _USUAL), _obstacle(cell)
        framework = type(cell).__module__.startswith("mindspore.")
        inside = (
            [local for local in direct if local in ("weight", "bias")] if usual else list(direct) if framework else []
        )
        if obstacle or (direct and (usual or framework)):
            reason = obstacle or next(filter(None, (unfit(direct[local]) for local in inside)), "")
            tensors = {known.get(local, local): names[id(direct[local])] for local in inside}
            candidates.append(retrofit.Place(name, type(cell).__name__, cell, tensors, usual, reason))
        for local, value in direct.items():
            if local not in inside:
                tensors = {"weight": names[id(value)]}
                free = retrofit.below(name, local)
                candidates.append(retrofit.Place(free, "parameter", cell, tensors, obstacle=obstacle or unfit(value)))
    return candidates


def _names_of(cell: nn.Cell) -> dict[str, str]:
    """What the attributes of a layer of the framework are called in PyTorch."""
    return next((names for kind, names in _NAMES.items() if isinstance(cell, kind)), {})


def _obstacle(cell: nn.Cell) -> str:
    """Why a layer cannot become tunable, "" when it can."""
    if cell._params_list or any(isinstance(value, ms.ParameterTuple) for value in vars(cell).values()):
        return "it holds parameters in a tuple"
    return ""


def _unfit(value: ms.Parameter) -> str:
    return "" if value.dtype in (ms.float16, ms.bfloat16, ms.float32, ms.float64) else f"its values are {value.dtype}"


def copied(network: nn.Cell) -> nn.Cell:
    """Copy a network, sharing nothing with it, without the wrapper that spreads it over devices."""
    if not isinstance(network, nn.Cell):
        raise TunableError(f"the network must be a mindspore.nn.Cell, not {type(network).__name__}")
    try:
        return copy.deepcopy(_unwrapped(network))
    except Exception as error:  # whatever a user's class raises
        raise TunableError(f"the network cannot be copied: {type(error).__name__} {error}") from None


def _unwrapped(cell: nn.Cell) -> nn.Cell:
    while type(cell).__name__ == "AutoParallel" and type(cell).__module__.startswith("mindspore."):
        cell = cell.network
    return cell


def _cells(network: nn.Cell) -> Iterator[tuple[str, nn.Cell]]:
    """Its cells by name; what mixed precision `O2` has put around it, for the sake of its outputs, gives no name."""
    prefix = "_backbone" if type(network).__name__ == "_OutputTo32" else ""
    for name, cell in network.cells_and_names():
        yield name.removeprefix(prefix).removeprefix("." if prefix else ""), cell


def kept(network: nn.Cell) -> dict[str, str]:
    """Find the parameters that code can reach otherwise than as attributes of their layers.

    They stand in lists, dictionaries, other objects, closures and cells that are not registered.

    Returns:
        For each of them, by name, why it cannot be tunable.
    """
    network = _unwrapped(network)
    known = {id(cell) for _, cell in network.cells_and_names()}
    names = {id(each.value): name for name, each in entries(network).items()}
    reasons = {}
    for path, cell in _cells(network):
        for attribute, content in vars(cell).items():
            if attribute in ("_params", "_cells", "_exist_objs") or attribute in cell._params:
                continue
            for where, value in reachable(retrofit.below(path, attribute), content, (nn.Cell, nn.Optimizer, ms.Tensor)):
                values = [value]
                if isinstance(value, nn.Cell):
                    values = [] if id(value) in known else list(value.get_parameters())
                for each in values:
                    if id(each) in names:
                        reasons.setdefault(names[id(each)], retrofit.kept_reason(where.replace("._params_list", "")))
    return reasons


def entries(network: nn.Cell) -> dict[str, retrofit.Entry]:
    """Return the parameters of a network by name."""
    return {name: each for name, local, each in _all(network) if local not in _STATISTICS}


def statistics(network: nn.Cell) -> dict[str, retrofit.Entry]:
    """Return the running statistics of norms by name."""
    return {name: each for name, local, each in _all(network) if local in _STATISTICS}


def _all(network: nn.Cell) -> Iterator[tuple[str, str, retrofit.Entry]]:
    """(name, attribute, entry) of every parameter, each once."""
    known = set()
    for path, cell in _cells(network):
        names = _names_of(cell)
        for local, value in cell._params.items():
            if value is not None and id(value) not in known:
                known.add(id(value))
                narrow = isinstance(cell, _NARROW) and value.ndim == 4
                shape = tuple(value.shape[:2] + value.shape[3:] if narrow else value.shape)
                local = local.removeprefix(GIVEN)
                yield ".".join(filter(None, (path, names.get(local, local)))), local, retrofit.Entry(value, shape)


def digest(network: nn.Cell, prefix: str = "") -> str:
    """Return a digest that tells the parameters of a network, under names with a prefix, from others."""
    return retrofitted.digest({prefix + name: array(each) for name, each in entries(network).items()})


def array(each: retrofit.Entry) -> np.ndarray:
    """Return a copy of a parameter's values: float64 where the parameter is float64, else float32."""
    kind = np.float64 if each.value.dtype == ms.float64 else np.float32
    return each.value.asnumpy().astype(kind).reshape(each.shape)


def set_value(each: retrofit.Entry, value: np.ndarray) -> None:
    """Set a parameter to a value of its shape, in place."""
    ops.assign(each.value, value)


def mixes_samples(network: nn.Cell) -> bool:
    """Return whether the outputs of one sample depend on the others, as they do with batch norms in training."""
    return any(isinstance(cell, _BATCH_NORMS) and cell.training for _, cell in network.cells_and_names())
