"""Knobs for any network: layers become tunable where they stand, starting from its weights.

A tunable parameter of a cell becomes a property of that cell's class, the kernels' sum at the omega in one shared
parameter, which is set before the network runs: nothing of its code has to know of omega, every use of the parameter is
reached, in graph mode too, and omega changes without a compilation.
"""

import math
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops, parameters
from mindspore_impl.layers import Tunable
from mindspore_impl.layers.phi import make_phi
from tunable import retrofit
from tunable.errors import OmegaError, TunableError
from tunable.weights import retrofitted

_SUM = "_sum_of_"


@ms.jit_class  # not a cell: a graph that calls a cell from a property brings MindSpore down
class _Phi:
    """phi as a function: `make_phi`'s cell, whose parameters it shares, cannot be called from a property."""

    def __init__(self, form: str, cell: nn.Cell):
        self.form = form
        if form == "affine":
            self.weight, self.bias = cell.weight, cell.bias
        if form == "se":
            self.weight, self.bias = cell[0].weight, cell[0].bias
            self.weight2, self.bias2 = cell[2].weight, cell[2].bias

    def alpha(self, omega: ms.Tensor) -> ms.Tensor:
        """omega (p,) -> (p,)."""
        if self.form == "identity":
            return omega
        alpha = ops.affine(omega, self.weight, self.bias)
        if self.form == "se":
            alpha = ops.softmax(ops.affine(_ops.relu(alpha), self.weight2, self.bias2))
        return alpha


@ms.jit_class
class _Kernels:
    """One tensor of a layer at the omega in a parameter.

    Parameters: for phi `base` `differences` (p, *shape) from the given tensor, or their factors `up` (p, rows, rank)
    and `down` (p, rank, columns), rows being the first axis of the tensor; for another phi `kernels` (p, *shape).
    """

    def __init__(
        self, name: str, given: retrofit.Held, plan: retrofit.Plan, seed: int, phi: _Phi | None, omega: ms.Parameter
    ):
        value, p = given.value.asnumpy(), plan.num_objectives
        self.base = plan.phi == "base"
        self.low_rank = retrofit.is_low_rank(given.shape, plan.rank)
        if self.low_rank:
            start = retrofit.low_rank_start(name, given.shape, p, plan.rank, seed)
            self.up = _parameter(start["up"], given.value, f"{name}.up")
            self.down = _parameter(start["down"], given.value, f"{name}.down")
        elif self.base:
            self.differences = _parameter(np.zeros((p, *value.shape)), given.value, f"{name}.differences")
        else:
            self.kernels = _parameter(np.repeat(value[None], p, 0), given.value, f"{name}.kernels")
        self.given = given.value
        self.file_shape = given.shape
        self.phi = phi
        self.omega = omega

    def value(self) -> ms.Tensor:
        """The tensor at omega."""
        omega = self.omega * 1  # a copy: what is differentiated must not see the next omega
        if self.low_rank:
            return self.given + ops.low_rank(omega, self.up, self.down).reshape(self.given.shape)
        if self.base:
            return ops.displaced(self.given, omega, self.differences)
        return ops.aggregate(self.phi.alpha(omega), self.kernels)

    def parts(self) -> dict[str, retrofit.Held]:
        """Its parameters by name, as files hold them."""
        names = ("up", "down") if self.low_rank else ("differences",) if self.base else ("kernels",)
        found = {name: getattr(self, name) for name in names}
        return {
            name: retrofit.Held(value, tuple(value.shape) if self.low_rank else (len(value), *self.file_shape))
            for name, value in found.items()
        }


class _Layer(nn.Cell):
    """The tensors of a layer that share a phi: it holds their parameters.

    kernels  in the order of `names`
    names    in the network, by name in the layer
    """

    def __init__(self, place: retrofit.Place, given: dict[str, retrofit.Held], plan: retrofit.Plan, seed: int, omega):
        super().__init__(auto_prefix=False)
        self.name = place.name
        self.names = dict(place.tensors)
        self.phi = None
        if plan.phi != "base":
            self.phi = make_phi(plan.phi, plan.num_objectives)
            parts = parameters.held(self.phi)
            start = retrofit.phi_start(
                retrofit.below(place.name, "phi"), plan.phi, {local: each.shape for local, each in parts.items()}, seed
            )
            for local, each in parts.items():
                parameters.set_value(each, start[local])
                each.value.name = retrofit.below(place.name, f"phi.{local}")
        phi = None if self.phi is None else _Phi(plan.phi, self.phi)
        self.kernels = [
            _Kernels(retrofit.below(place.name, local), given[full], plan, seed, phi, omega)
            for local, full in self.names.items()
        ]
        for local, kernels in zip(self.names, self.kernels, strict=True):
            for part, each in kernels.parts().items():
                self.insert_param_to_cell(f"{local}_{part}", each.value)

    def parts(self) -> retrofit.LayerParts:
        """What files hold of it."""
        kernels = {local: kernels.parts() for local, kernels in zip(self.names, self.kernels, strict=True)}
        return retrofit.LayerParts(
            self.name, self.names, kernels, {} if self.phi is None else parameters.held(self.phi)
        )


def _parameter(value: np.ndarray, like: ms.Parameter, name: str) -> ms.Parameter:
    return ms.Parameter(ms.Tensor(np.ascontiguousarray(value)).astype(like.dtype), name=name)


def _put(network: nn.Cell, kernels: dict[str, _Kernels]) -> list[retrofit.Branch]:
    """Let the cells of a network find the kernels' sums where they had parameters, which they keep by other names.

    Returns the way to these cells.
    """
    tunable = set()
    values = {id(each.value): name for name, each in parameters.held(network).items() if name in kernels}
    for _, cell in network.cells_and_names():
        found = {attribute: values[id(value)] for attribute, value in cell._params.items() if id(value) in values}
        if not found:
            continue
        tunable.add(id(cell))
        kind, members = type(cell), {}
        for attribute, name in found.items():
            # Left under its name, the parameter would make the parser run the property once and take a constant for
            # it; so would a property of a class above the cell's own.
            _rename(cell, attribute, parameters.GIVEN + attribute)
            object.__setattr__(cell, _SUM + attribute, kernels[name])
            members[attribute] = property(_reader(_SUM + attribute))
        members["__call__"] = _guarded(kind)
        cell.__class__ = type(kind.__name__, (kind,), {**members, "__module__": kind.__module__, "_given_class": kind})
    return retrofit.branches(network, lambda cell: cell._cells, tunable)


def _rename(cell: nn.Cell, attribute: str, other: str) -> None:
    """Let a parameter be another attribute of its cell, in the same place of their order."""
    held = dict(cell._params)
    cell._params.clear()
    cell._params.update({other if name == attribute else name: value for name, value in held.items()})
    vars(cell).pop(attribute, None)


def _reader(attribute: str):
    def read(self):
        return getattr(self, attribute).value()

    return read


_running: ContextVar[bool] = ContextVar("running", default=False)  # a network, in this thread; graphs do without


def _guarded(kind: type):
    """`__call__` of cells of this kind, which graphs do not use: TunableError where they recompute, or run alone."""

    def call(self, *inputs, **options):
        if not _running.get() or self._recompute_cell is not None:
            raise TunableError(
                f"{kind.__name__} recomputes, or is run without its tuned network, as in a backward pass that "
                "recomputes: its kernels would get no gradient; in PyNative mode recompute cannot be used inside a "
                "tuned network, in graph mode it can"
            )
        return kind.__call__(self, *inputs, **options)

    return call


def _taken_out(network: nn.Cell) -> nn.Cell:
    """Undo `_put` everywhere."""
    for _, cell in network.cells_and_names():
        cell.__class__ = getattr(type(cell), "_given_class", type(cell))
        for name in [name for name in vars(cell) if name.startswith(_SUM)]:
            object.__delattr__(cell, name)
        for attribute in [name for name in cell._params if name.startswith(parameters.GIVEN)]:
            _rename(cell, attribute, attribute.removeprefix(parameters.GIVEN))
    return network


class _Untold(nn.Cell):
    """x, whose gradient passes; that of omega, which a parameter cuts off, becomes NaN instead of zero."""

    def construct(self, x, omega):
        return x

    def bprop(self, x, omega, out, dout):
        return dout, _ops.full_like(omega, math.nan)


class TunedNetwork(nn.Cell):
    """A network with knobs, called as tuned(x, omega), with one input or several: what `make_tunable` returns.

    network         the given one; its tunable parameters are the base kernels, or (another phi than `base`) unused
    num_objectives  p
    plan            what is tunable and how
    left            every layer and free parameter that is not tunable -> its kind and why not
    omega           the parameter (p,) that holds omega while the network runs: a gradient in it is that in omega,
                    summed over samples; the gradient in the input omega is NaN
    """

    def __init__(
        self, network: nn.Cell, places: list[retrofit.Place], left: dict[str, str], plan: retrofit.Plan, seed: int
    ):
        super().__init__(auto_prefix=False)
        self.network = network
        self.num_objectives = plan.num_objectives
        self.plan = plan
        self.left = left
        given = parameters.held(network)
        self.omega = ms.Parameter(
            ms.Tensor(np.zeros(plan.num_objectives, np.float32)), name="tuned_omega", requires_grad=False
        )
        self._untold = _Untold()
        self.layers = nn.CellList(
            [_Layer(place, given, plan, seed, self.omega) for place in places if place.tensors], auto_prefix=False
        )
        self._trained = {name: each.value.requires_grad for name, each in given.items()}
        for name in retrofit.frozen(plan, given):
            given[name].value.requires_grad = False
        kernels = {n: k for layer in self.layers for n, k in zip(layer.names.values(), layer.kernels, strict=True)}
        self._branches = _put(network, kernels)

    def __call__(self, *inputs, omega: ms.Tensor | None = None, **options):
        """Raise OmegaError as `construct` cannot: for a wrong omega, or where the network mixes samples."""
        # A compiled graph raises Python's own exceptions only.
        if omega is None:
            if not inputs:
                raise OmegaError(f"omega, the last input, is missing: a tensor ({self.num_objectives},)")
            *inputs, omega = inputs
        self._check(omega)
        retrofit.check_kept(self._branches)
        if omega.ndim == 2:
            if parameters.mixes_samples(self.network):
                raise OmegaError(
                    f"omega {tuple(omega.shape)} is one per sample, but a batch norm in training mixes the samples: "
                    f"use one omega ({self.num_objectives},) for the batch, or put the batch norms in eval mode"
                )
            retrofit.check_rows(omega.shape[0], [*inputs, *options.values()], ms.Tensor)
            if not omega.shape[0]:
                raise OmegaError("omega has no rows: MindSpore computes with no empty batch")
        with self._alone():
            return super().__call__(*inputs, omega, **options)

    def construct(self, *inputs, **options):
        """inputs, options as the network takes them, the last of inputs omega, (p,), or (N, p).

        With omega (N, p) the samples are run one by one: N must be the first axis of every tensor of the inputs, and
        of the outputs, which may be tensors, tuples, lists and dictionaries; ValueError where outputs have it not.
        """
        omega = inputs[-1]
        if omega.ndim == 1:
            return self._at(omega, inputs[:-1], options)
        outputs = []
        for n in range(omega.shape[0]):
            outputs.append(self._at(omega[n], _sample(inputs[:-1], n), _sample(options, n)))
        return _joined(outputs)

    def _at(self, omega, inputs, options):
        first = self._untold(_ops.depend(inputs[0], _ops.assign(self.omega, omega)), omega)
        return self.network(first, *inputs[1:], **options)

    @contextmanager
    def _alone(self):
        """No other thread uses MindSpore; a network that is called while it runs goes on at its own omega after."""
        with ops.alone():
            inside = _running.get()
            before = self.omega * 1 if inside else None
            token = _running.set(True)
            try:
                yield
            finally:
                _running.reset(token)
                if inside:
                    _ops.assign(self.omega, before)

    def _check(self, omega, axes: tuple[int, ...] = (1, 2)) -> None:
        wanted = " or ".join(f"({'N, ' * (n - 1)}{self.num_objectives}{',' * (n == 1)})" for n in axes)
        if not isinstance(omega, ms.Tensor):
            raise OmegaError(f"omega, the last input, must be a tensor {wanted}, not {type(omega).__name__}")
        if omega.ndim not in axes or omega.shape[-1] != self.num_objectives or omega.dtype != ms.float32:
            raise OmegaError(f"omega must be float32 {wanted}, not {omega.dtype} of shape {tuple(omega.shape)}")

    def fold(self, omega: ms.Tensor) -> nn.Cell:
        """The ordinary network equal to this one at omega (p,): of the given network's class, with its names."""
        self._check(omega, (1,))
        retrofit.check_kept(self._branches)
        with self._alone(), ops.running("pynative"):
            folded = _taken_out(parameters.copied(self.network))
            _ops.assign(self.omega, omega)
            found = {
                full: kernels.value().asnumpy()
                for layer in self.layers
                for full, kernels in zip(layer.names.values(), layer.kernels, strict=True)
            }
            for name, each in parameters.held(folded).items():
                each.value.requires_grad = self._trained[name]
                if name in found:
                    parameters.set_value(each, found[name])
        return folded

    @ops.alone()
    def weights(self) -> dict[str, np.ndarray]:
        """Every tensor of the file, float32, or float64 where the network's are: see `save`."""
        return {
            name: retrofit.stacked([parameters.array(part) for part in parts]) for name, parts in self._stored().items()
        }

    @ops.alone()
    def assign(self, tensors: dict[str, np.ndarray], source: str | Path = "weights") -> None:
        """Take over what `weights` returned. Raises CheckpointError unless names and shapes are exactly those."""
        stored = self._stored()
        retrofitted.check_tensors(tensors, retrofit.specs(stored), source)
        for name, parts in stored.items():
            for part, value in zip(parts, retrofit.unstacked(tensors[name], len(parts)), strict=True):
                parameters.set_value(part, value)

    def _stored(self) -> dict[str, list[retrofit.Held]]:
        network = self.network
        layers = [layer.parts() for layer in self.layers]
        return retrofit.stored(self.plan, layers, parameters.held(network), parameters.statistics(network))

    @ops.alone()
    def save(self, path: str | Path) -> None:
        """Write the weights file (.safetensors), from which `load_tuned` makes this network again.

        It holds all weights, kernels stacked, and running statistics of norms; with train='differences' no other
        weights than the differences.
        """
        retrofitted.save(path, self.weights(), self.plan, parameters.digest(self.network))


def make_tunable(
    network: nn.Cell,
    num_objectives: int,
    *,
    where: retrofit.Where = None,
    phi: str = "base",
    train: str = "all",
    rank: int = 0,
    seed: int = 0,
) -> TunedNetwork:
    """Give a network knobs: every omega gives exactly the function of `network`, which is copied, until trained.

    where  what becomes tunable: a pattern of names ("body.*", "*.scale"), a class of layers, a predicate
           (name, layer) -> bool, or a list of these of which one must hold. None: convolutions, transposed ones and
           linear layers. Norms and free parameters become tunable when asked for
    phi    base: differences from the given kernels, zero at first; affine, se: p equal kernels, whose alphas sum to
           one at first, with affine to within rounding
    train  all, or differences: the given weights are frozen, and the file holds the differences alone
    rank   of the differences as matrices (first axis, the others); 0: any
    seed   of what starts at random: phi se, one factor of a rank

    Raises TunableError for a value out of range, something asked for by name that cannot become tunable, or when
    nothing is left; what else could not is in `left`.
    """
    copied = parameters.copied(network)
    retrofit.check_ordinary(network, (Tunable, TunedNetwork), (cell for _, cell in copied.cells_and_names()))
    places, left = retrofit.chosen(parameters.places(copied, parameters.kept(network)), where)
    return TunedNetwork(copied, places, left, retrofit.plan(places, num_objectives, phi, train, rank), seed)


def from_endpoints(*networks: nn.Cell) -> TunedNetwork:
    """A network with a knob per network given: omega interpolates their weights (DNI), the unit vectors give each.

    All parameters become tunable, those of norms too, with phi `identity`: sum_i omega_i W_i.

    Raises TunableError unless there are two or more, with equal names and shapes, and equal running statistics.
    """
    kept = {name: why for network in networks for name, why in parameters.kept(network).items()}
    networks = [parameters.copied(network) for network in networks]
    held = [parameters.held(network) for network in networks]
    first = networks[0] if networks else None
    retrofit.check_endpoints(
        [{name: each.shape for name, each in found.items()} for found in held],
        [{n: parameters.array(v) for n, v in parameters.statistics(network).items()} for network in networks],
    )
    retrofit.check_ordinary(first, (Tunable, TunedNetwork), (cell for _, cell in first.cells_and_names()))
    places, left = retrofit.chosen(parameters.places(first, kept), "*")
    plan = retrofit.interpolation(places, left, len(networks))
    network = TunedNetwork(first, places, left, plan, 0)
    weights = {name: np.stack([parameters.array(found[name]) for found in held]) for name in plan.tensors}
    network.assign({**network.weights(), **{plan.tensors[name]: value for name, value in weights.items()}})
    return network


def load_tuned(path: str | Path, *, base: nn.Cell) -> TunedNetwork:
    """The network with knobs whose `save` wrote the file.

    base  a network of the same structure, which is copied; with differences alone, the one they are from
    """
    tensors, plan, wanted = retrofitted.load(path)
    copied = parameters.copied(base)
    held = parameters.held(copied)
    tensors, plan, wrapper = retrofitted.unwrapped(tensors, plan, held)
    found = parameters.places(copied, parameters.kept(base))
    places = retrofit.check_places(plan, found, path)
    if wanted:
        retrofitted.check_base(parameters.digest(copied, wrapper), wanted, path)
    names = {place.name for place in places}
    left = {p.name: f"{p.kind}: not tunable in {path}" for p in found if p.name not in names}
    network = TunedNetwork(copied, places, left, plan, 0)
    network.assign(tensors, path)
    return network


def _sample(value, n):
    """Inputs of the sample n alone, its axis kept: every tensor in tuples, lists and dictionaries."""
    if isinstance(value, dict):
        found = {}
        for key in value:
            found[key] = _sample(value[key], n)
        return found
    if isinstance(value, (tuple, list)):
        parts = []
        for part in value:
            parts.append(_sample(part, n))
        return tuple(parts)
    if isinstance(value, ms.Tensor):
        return value[n : n + 1]
    return value


def _joined(values):
    """The outputs of single samples as one output; ValueError, which a graph can raise, unless each has one row."""
    first = values[0]
    if isinstance(first, dict):
        found = {}
        for key in first:
            parts = []
            for value in values:
                parts.append(value[key])
            found[key] = _joined(parts)
        return found
    if isinstance(first, (tuple, list)):
        found = []
        for index in range(len(first)):
            parts = []
            for value in values:
                parts.append(value[index])
            found.append(_joined(parts))
        return tuple(found)
    if first.ndim == 0 or first.shape[0] != 1:
        raise ValueError("with omega per sample the network's outputs must have one row per sample")
    return _ops.concat(values, 0)
