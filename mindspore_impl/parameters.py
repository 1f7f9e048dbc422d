"""How networks of MindSpore hold their parameters: where, under which names, and what can become tunable.

Names and shapes are those of PyTorch, so that the twins of a user's network read each other's files: a norm's gamma and
beta are weight and bias, and one-dimensional layers, which store their kernels with an axis more, have one less.
"""

import copy
from collections.abc import Iterator

import mindspore as ms
import numpy as np
from mindspore import mint, nn

from mindspore_impl import ops
from tunable_core import tuned
from tunable_core.errors import TunableError

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


def places(network: nn.Cell) -> list[tuned.Place]:
    """Every layer and free parameter of a network, in its order. A tensor held twice has its first name in both."""
    names = {id(each.value): name for name, each in held(network).items()}
    found = []
    for name, cell in network.cells_and_names():
        own = {local: value for local, value in cell._params.items() if value is not None and id(value) in names}
        known, usual, obstacle = _names_of(cell), isinstance(cell, _USUAL), _obstacle(cell)
        framework = type(cell).__module__.startswith("mindspore.")
        inside = [local for local in own if local in ("weight", "bias")] if usual else list(own) if framework else []
        if obstacle or (own and (usual or framework)):
            reason = obstacle or next(filter(None, (_unfit(own[local]) for local in inside)), "")
            tensors = {known.get(local, local): names[id(own[local])] for local in inside}
            found.append(tuned.Place(name, type(cell).__name__, cell, tensors, usual, reason))
        for local, value in own.items():
            if local not in inside:
                tensors = {"weight": names[id(value)]}
                free = tuned.below(name, local)
                found.append(tuned.Place(free, "parameter", cell, tensors, obstacle=obstacle or _unfit(value)))
    return found


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
    """A copy that shares nothing with the network."""
    if not isinstance(network, nn.Cell):
        raise TunableError(f"the network must be a mindspore.nn.Cell, not {type(network).__name__}")
    try:
        return copy.deepcopy(network)
    except Exception as error:  # whatever a user's class raises
        raise TunableError(f"the network cannot be copied: {type(error).__name__} {error}") from None


def held(network: nn.Cell) -> dict[str, tuned.Held]:
    """Parameters, by name."""
    return {name: each for name, local, each in _all(network) if local not in _STATISTICS}


def statistics(network: nn.Cell) -> dict[str, tuned.Held]:
    """Running statistics of norms, by name."""
    return {name: each for name, local, each in _all(network) if local in _STATISTICS}


def _all(network: nn.Cell) -> Iterator[tuple[str, str, tuned.Held]]:
    """(name, attribute, what is held), each parameter once."""
    known = set()
    for path, cell in network.cells_and_names():
        names = _names_of(cell)
        for local, value in cell._params.items():
            if value is not None and id(value) not in known:
                known.add(id(value))
                narrow = isinstance(cell, _NARROW) and value.ndim == 4
                shape = tuple(value.shape[:2] + value.shape[3:] if narrow else value.shape)
                local = local.removeprefix(GIVEN)
                yield ".".join(filter(None, (path, names.get(local, local)))), local, tuned.Held(value, shape)


def digest(network: nn.Cell) -> str:
    """What tells its parameters from others."""
    return tuned.digest({name: array(each) for name, each in held(network).items()})


def array(each: tuned.Held) -> np.ndarray:
    """Its values, float32, a copy."""
    return each.value.asnumpy().astype(np.float32).reshape(each.shape)


def set_value(each: tuned.Held, value: np.ndarray) -> None:
    """Take over a value in place."""
    ops.assign(each.value, value)


def mixes_samples(network: nn.Cell) -> bool:
    """Whether the outputs of one sample depend on the others: batch norms in training."""
    return any(isinstance(cell, _BATCH_NORMS) and cell.training for _, cell in network.cells_and_names())
