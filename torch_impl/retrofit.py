"""Knobs for any network: layers become tunable where they stand, starting from its weights.

A network is called with the kernels of one omega in the place of its parameters, as by torch.func.functional_call:
nothing of its code has to know of omega, every use of a parameter is reached, and gradients are exact, in omega too.
Only the thread that runs it finds these kernels. All others find the parameters meanwhile, so that any number of
threads may run one network, and nothing has to be put back.
"""

import inspect
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np
import torch
from torch import nn

from torch_impl import ops, parameters
from torch_impl.layers import Tunable
from torch_impl.layers.phi import make_phi
from tunable import retrofit
from tunable.errors import OmegaError, TunableError
from tunable.weights import retrofitted


class _Kernels(nn.Module):
    """One tensor of a layer as a function of alpha.

    Parameters: for phi `base` `differences` (p, *shape) from the given tensor, or their factors `up` (p, rows, rank)
    and `down` (p, rank, columns), rows being the first axis of the tensor; for another phi `kernels` (p, *shape).
    """

    def __init__(self, name: str, given: retrofit.Held, plan: retrofit.Plan, seed: int):
        super().__init__()
        value, p = given.value.detach(), plan.num_objectives
        self.base = plan.phi == "base"
        self.low_rank = retrofit.is_low_rank(given.shape, plan.rank)
        if self.low_rank:
            start = retrofit.low_rank_start(name, given.shape, p, plan.rank, seed)
            self.up = nn.Parameter(torch.from_numpy(start["up"]).to(value))
            self.down = nn.Parameter(torch.from_numpy(start["down"]).to(value))
        elif self.base:
            self.differences = nn.Parameter(value.new_zeros(p, *value.shape))
        else:
            self.kernels = nn.Parameter(value.expand(p, *value.shape).clone())
        self.shape = given.shape

    def _apply(self, fn, recurse=True):
        # As in layers.tunable: a memory format is one for the tensor, which has an axis less.
        return super()._apply(lambda tensor: fn(tensor.flatten()).reshape(tensor.shape), recurse)

    def value(self, given: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """The tensor at alpha (p,)."""
        if self.low_rank:
            return given + ops.low_rank(alpha, self.up, self.down).reshape(given.shape)
        if self.base:
            return ops.displaced(given, alpha, self.differences)
        return ops.aggregate(alpha, self.kernels)

    def parts(self) -> dict[str, retrofit.Held]:
        """Its parameters by name, as files hold them."""
        return {
            name: retrofit.Held(value, tuple(value.shape) if self.low_rank else (len(value), *self.shape))
            for name, value in self.named_parameters()
        }


_running: ContextVar[dict[int, dict[str, torch.Tensor]] | None] = ContextVar("running", default=None)  # in this thread
_calls: dict[int, dict[int, dict[str, torch.Tensor]]] = {}  # in all threads


@contextmanager
def _outside() -> Iterator[None]:
    """This thread finds the parameters themselves, in a hook of a running network too."""
    token = _running.set(None)
    try:
        yield
    finally:
        _running.reset(token)


def _never_a_graph_of_its_own(function):
    """A function that torch.compile takes into a graph of what calls it, or leaves to Python."""
    compiler = torch._C._dynamo.eval_frame
    skip = compiler._FrameExecStrategy(compiler._FrameAction.SKIP, compiler._FrameAction.DEFAULT)
    compiler.set_code_exec_strategy(function.__code__, skip)
    return function


class _Parameters(dict):
    """The parameters of a module by name, in whose places a thread finds the kernels that `_running` holds for them.

    traced  what a compiler, which knows no ContextVar, finds in their places
    """

    def __init__(self, given: dict[str, nn.Parameter]):
        super().__init__(given)
        self.traced = None

    @_never_a_graph_of_its_own
    def __getitem__(self, name: str):
        # What is compiled by itself, a part of a network say, has nothing there; asking the ContextVar cuts its graph.
        if self.traced is not None and torch.compiler.is_dynamo_compiling():
            kernels = self.traced
        else:
            running = _running.get()
            kernels = None if running is None else running.get(id(self))
        return super().__getitem__(name) if kernels is None or name not in kernels else kernels[name]

    def get(self, name: str, default=None):
        return self[name] if name in self else default  # noqa: SIM401  it is this that is meant

    def items(self):
        return [(name, self[name]) for name in self]

    def values(self):
        return [self[name] for name in self]

    def given(self) -> dict[str, nn.Parameter]:
        """The parameters themselves."""
        return dict(super().items())

    def __reduce__(self):
        return _Parameters, (self.given(),)


class _Layer(nn.Module):
    """The tensors of a layer that share a phi.

    kernels  by name in the layer
    names    in the network, by name in the layer
    """

    def __init__(self, place: retrofit.Place, given: dict[str, retrofit.Held], plan: retrofit.Plan, seed: int):
        super().__init__()
        self.name = place.name
        self.names = dict(place.tensors)
        self.phi = None if plan.phi == "base" else make_phi(plan.phi, plan.num_objectives)
        if self.phi is not None:
            parts = parameters.held(self.phi)
            start = retrofit.phi_start(
                retrofit.below(place.name, "phi"), plan.phi, {local: each.shape for local, each in parts.items()}, seed
            )
            for local, each in parts.items():
                parameters.set_value(each, start[local])
            self.phi.to(given[next(iter(self.names.values()))].value)
        self.kernels = nn.ModuleDict(
            {
                local: _Kernels(retrofit.below(place.name, local), given[full], plan, seed)
                for local, full in self.names.items()
            }
        )

    def values(self, given: dict[str, torch.Tensor], omega: torch.Tensor) -> dict[str, torch.Tensor]:
        """Its tensors at omega (p,), by name in the network."""
        names, phi = self.names, self.phi
        omega = omega.to(given[next(iter(names.values()))])
        alpha = omega if phi is None else phi(omega)
        kernels = self.kernels._modules
        return {full: kernels[local].value(given[full], alpha) for local, full in names.items()}

    def parts(self) -> retrofit.LayerParts:
        """What files hold of it."""
        kernels = {local: kernels.parts() for local, kernels in self.kernels.items()}
        return retrofit.LayerParts(
            self.name, self.names, kernels, {} if self.phi is None else parameters.held(self.phi)
        )


class TunedNetwork(nn.Module):
    """A network with knobs, called as tuned(x, omega), with one input or several: what `make_tunable` returns.

    network         the given one; its tunable parameters are the base kernels, or (another phi than `base`) unused
    num_objectives  p
    plan            what is tunable and how
    left            every layer and free parameter that is not tunable -> its kind and why not
    """

    def __init__(
        self, network: nn.Module, places: list[retrofit.Place], left: dict[str, str], plan: retrofit.Plan, seed: int
    ):
        super().__init__()
        self.network = network
        self.num_objectives = plan.num_objectives
        self.plan = plan
        self.left = left
        given = parameters.held(network)
        self.layers = nn.ModuleList(_Layer(place, given, plan, seed) for place in places if place.tensors)
        self._uses, tunable = [], set()
        for module, names in _uses(network, plan.tensors):
            module._parameters = _Parameters(module._parameters)
            module.register_forward_pre_hook(_refuse_elsewhere)
            self._uses.append((module._parameters, names))
            tunable.add(id(module))
        self._branches = retrofit.branches(network, lambda module: module._modules, tunable)
        self._trained = {name: each.value.requires_grad for name, each in given.items()}
        for name in retrofit.frozen(plan, given):
            given[name].value.requires_grad_(False)
        _sign(self)

    def __reduce_ex__(self, protocol):
        # Its class is made anew from the network, by __setstate__.
        return _unsigned, (), *super().__reduce_ex__(protocol)[2:]

    def __setstate__(self, state):
        super().__setstate__(state)
        _sign(self)

    def forward(self, *inputs, omega: torch.Tensor | None = None, **options):
        """inputs, options as the network takes them; omega, the last of inputs unless named, (p,), or (N, p).

        With omega (N, p) the samples are run one by one: N must be the first axis of every tensor of the inputs, and
        of the outputs, which may be tensors, tuples, lists and dictionaries.

        Raises OmegaError for a wrong omega, or where the network mixes samples (batch norm in training).
        """
        if getattr(self, "_is_replica", False):
            raise TunableError(
                "torch.nn.DataParallel runs copies, which would not follow omega: "
                "use torch.nn.parallel.DistributedDataParallel"
            )
        if omega is None:
            if not inputs:
                raise OmegaError(f"omega, the last input, is missing: a tensor ({self.num_objectives},)")
            *inputs, omega = inputs
        self._check(omega)
        if omega.ndim == 1:
            return self._at(omega, inputs, options)
        if parameters.mixes_samples(self.network):
            raise OmegaError(
                f"omega {tuple(omega.shape)} is one per sample, but a batch norm in training mixes the samples: "
                f"use one omega ({self.num_objectives},) for the batch, or put the batch norms in eval mode"
            )
        retrofit.check_rows(len(omega), [*inputs, *options.values()], torch.Tensor)
        if not len(omega):
            return self._at(omega.sum(0), inputs, options)  # any omega: there is no sample
        return _joined([self._at(omega[n], *_sample((inputs, options), n)) for n in range(len(omega))])

    def _check(self, omega, axes: tuple[int, ...] = (1, 2)) -> None:
        wanted = " or ".join(f"({'N, ' * (n - 1)}{self.num_objectives}{',' * (n == 1)})" for n in axes)
        if not isinstance(omega, torch.Tensor):
            raise OmegaError(f"omega, the last input, must be a tensor {wanted}, not {type(omega).__name__}")
        if omega.ndim not in axes or omega.shape[-1] != self.num_objectives or not omega.is_floating_point():
            raise OmegaError(f"omega must be floats {wanted}, not {omega.dtype} of shape {tuple(omega.shape)}")

    def _tensors(self, omega: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tunable parameters of the network at omega (p,), by name."""
        if not torch.compiler.is_compiling():
            retrofit.check_kept(self._branches)
        try:
            given = {name: dict.__getitem__(held, local) for held, names in self._uses for local, name in names.items()}
        except KeyError:
            gone = next(name for held, names in self._uses for local, name in names.items() if local not in held)
            raise TunableError(
                f"{gone} is no longer a parameter: pruning, say, or a parametrization has put in its place what it "
                "computes. Do that to the network before make_tunable, or to what fold returns"
            ) from None
        found = {}
        with ops.no_autocast(next(iter(given.values()))):  # phi too
            for layer in self.layers:
                found.update(layer.values(given, omega))
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling() and not _transformed():
            # Without gradients, too, products of matrices choose their way by this flag of a weight, or of what a view
            # of it is from.
            for name, value in found.items():
                if value.ndim <= 2:
                    (value if value._base is None else value._base).requires_grad_(self._trained[name])
        return found

    @_never_a_graph_of_its_own  # in Python `traced` would be seen by all threads
    def _at(self, omega, inputs, options):
        found = self._tensors(omega)
        if torch.compiler.is_dynamo_compiling():
            for held, names in self._uses:
                held.traced = {local: found[name] for local, name in names.items()}
            try:
                return self.network(*inputs, **options)
            finally:
                for held, _ in self._uses:
                    held.traced = None
        here = {id(held): {local: found[name] for local, name in names.items()} for held, names in self._uses}
        token = _running.set({**(_running.get() or {}), **here})
        _calls[id(here)] = here
        try:
            return self.network(*inputs, **options)
        finally:
            del _calls[id(here)]
            _running.reset(token)

    def fold(self, omega: torch.Tensor) -> nn.Module:
        """The ordinary network equal to this one at omega (p,): of the given network's class, with its names."""
        self._check(omega, (1,))
        with torch.no_grad():
            found = self._tensors(omega)
            folded = _ordinary(parameters.copied(self.network))
            for name, each in parameters.held(folded).items():
                each.value.requires_grad_(self._trained.get(name, True))  # what was lazy has no entry
                if name in found:
                    each.value.copy_(found[name])
        return folded

    def weights(self) -> dict[str, np.ndarray]:
        """Every tensor of the file, float32, or float64 where the network's are: see `save`."""
        with _outside():
            return {
                name: retrofit.stacked([parameters.array(part) for part in parts])
                for name, parts in self._stored().items()
            }

    def assign(self, tensors: dict[str, np.ndarray], source: str | Path = "weights") -> None:
        """Take over what `weights` returned. Raises CheckpointError unless names and shapes are exactly those."""
        with _outside():
            stored = self._stored()
        retrofitted.check_tensors(tensors, retrofit.specs(stored), source)
        for name, parts in stored.items():
            for part, value in zip(parts, retrofit.unstacked(tensors[name], len(parts)), strict=True):
                parameters.set_value(part, value)

    def _stored(self) -> dict[str, list[retrofit.Held]]:
        network = self.network
        layers = [layer.parts() for layer in self.layers]
        return retrofit.stored(self.plan, layers, parameters.held(network), parameters.statistics(network))

    def save(self, path: str | Path) -> None:
        """Write the weights file (.safetensors), from which `load_tuned` makes this network again.

        It holds all weights, kernels stacked, and running statistics of norms; with train='differences' no other
        weights than the differences.
        """
        with _outside():
            retrofitted.save(path, self.weights(), self.plan, parameters.digest(self.network))


def _unsigned() -> TunedNetwork:
    return TunedNetwork.__new__(TunedNetwork)


def _sign(tuned_network: TunedNetwork) -> None:
    tuned_network.__class__ = _signed(tuned_network.network)


def _signed(network: nn.Module) -> type[TunedNetwork]:
    """TunedNetwork whose forward tells the inputs' names, which exporters ask for: the network's own, then omega.

    Those with a default are given by name. Where they cannot be told, TunedNetwork itself.
    """
    kind = inspect.Parameter
    try:
        inputs = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):  # of a class that hides it
        return TunedNetwork
    if any(each.kind == kind.VAR_POSITIONAL or each.name in ("self", "omega") for each in inputs):
        return TunedNetwork
    named = [each for each in inputs if each.default is kind.empty and each.kind < kind.VAR_POSITIONAL]
    rest = [
        each if each.kind == kind.VAR_KEYWORD else each.replace(kind=kind.KEYWORD_ONLY)
        for each in inputs
        if each not in named
    ]

    def forward(self, *inputs, omega=None, **options):
        return TunedNetwork.forward(self, *inputs, omega=omega, **options)

    names = ["self", *(each.name for each in named), "omega"]
    forward.__doc__ = TunedNetwork.forward.__doc__
    forward.__signature__ = inspect.Signature([*(kind(name, kind.POSITIONAL_OR_KEYWORD) for name in names), *rest])
    return type("TunedNetwork", (TunedNetwork,), {"__module__": __name__, "forward": forward})


def make_tunable(
    network: nn.Module,
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
    retrofit.check_ordinary(network, (Tunable, TunedNetwork), copied.modules())
    places, left = retrofit.chosen(parameters.places(copied, parameters.kept(network)), where)
    return TunedNetwork(copied, places, left, retrofit.plan(places, num_objectives, phi, train, rank), seed)


def from_endpoints(*networks: nn.Module) -> TunedNetwork:
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
    retrofit.check_ordinary(first, (Tunable, TunedNetwork), first.modules())
    places, left = retrofit.chosen(parameters.places(first, kept), "*")
    plan = retrofit.interpolation(places, left, len(networks))
    network = TunedNetwork(first, places, left, plan, 0)
    weights = {name: np.stack([parameters.array(found[name]) for found in held]) for name in plan.tensors}
    network.assign({**network.weights(), **{plan.tensors[name]: value for name, value in weights.items()}})
    return network


def load_tuned(path: str | Path, *, base: nn.Module) -> TunedNetwork:
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


def _transformed() -> bool:
    """Whether a transformation of torch.func runs, in which no tensor may be told to require a gradient."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _refuse_elsewhere(module: nn.Module, inputs) -> None:
    """A forward hook of layers whose kernels are in place only where the network runs.

    TunableError in a backward pass that runs them again, and in a thread that the running network has started.
    """
    if torch.compiler.is_dynamo_compiling():
        return
    key, running = id(module._parameters), _running.get()
    if running is not None and key in running:
        return
    if torch._C._current_graph_task_id() != -1:
        raise TunableError(
            f"{type(module).__name__} is run again in the backward pass, where it has not the kernels of omega: inside "
            "a tuned network torch.utils.checkpoint cannot be used; checkpoint(tuned, x, omega) can"
        )
    if any(key in call for call in list(_calls.values())):
        raise TunableError(
            f"{type(module).__name__} is run by itself while its tuned network runs in another thread, whose omega it "
            "would not follow: call tuned(x, omega) in every thread; fold(tuned, omega) gives an ordinary network"
        )


def _ordinary(network: nn.Module) -> nn.Module:
    """The network without what `TunedNetwork` has put into it, in place."""
    for module in network.modules():
        if isinstance(module._parameters, _Parameters):
            module._parameters = module._parameters.given()
        for key in [key for key, hook in module._forward_pre_hooks.items() if hook is _refuse_elsewhere]:
            del module._forward_pre_hooks[key]
    return network


def _uses(network: nn.Module, tunable: Iterable[str]) -> list[tuple[nn.Module, dict[str, str]]]:
    """Every layer that holds tunable parameters, once, and which: attribute -> name in the network."""
    names = {id(value): name for name, value in network.named_parameters() if name in tunable}
    found = []
    for module in network.modules():
        own = {local: names[id(value)] for local, value in module._parameters.items() if id(value) in names}
        if own:
            found.append((module, own))
    return found


def _sample(value, n: int):
    """Inputs of the sample n alone, its axis kept: every tensor in tuples, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        return value[n : n + 1]
    if isinstance(value, dict):
        return {key: _sample(part, n) for key, part in value.items()}
    if isinstance(value, tuple | list):
        parts = [_sample(part, n) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _joined(values: list):
    """The outputs of single samples as one output."""
    first = values[0]
    if isinstance(first, torch.Tensor):
        if first.ndim == 0 or len(first) != 1:
            raise OmegaError(
                f"with omega per sample the network's outputs must have one row per sample, "
                f"but one of a single sample has shape {tuple(first.shape)}"
            )
        return torch.cat(values)
    if isinstance(first, dict):
        return {key: _joined([value[key] for value in values]) for key in first}
    if isinstance(first, tuple | list):
        parts = [_joined(list(part)) for part in zip(*values, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if all(value is None for value in values):
        return None
    raise OmegaError(f"with omega per sample outputs must be tensors, not {type(first).__name__}")
