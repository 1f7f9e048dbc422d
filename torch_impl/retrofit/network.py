"""The network with knobs."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import nn

from torch_impl import ops, parameters
from torch_impl.retrofit.kernels import _Layer
from torch_impl.retrofit.samples import _joined, _sample
from torch_impl.retrofit.substitution import (
    _calls,
    _ordinary,
    _outside,
    _Parameters,
    _refuse_elsewhere,
    _running,
    _uses,
)
from tunable import retrofit
from tunable.errors import OmegaError, TunableError
from tunable.weights import retrofitted


class TunedNetwork(nn.Module):
    """A network with knobs, called as tuned(x, omega), with one input or several: what `make_tunable` returns.

    `make_tunable`, `from_endpoints` and `load_tuned` construct it.

    Attributes:
        network: a copy of the given network. Its tunable parameters are the base kernels with phi `base`; another phi
            does not use them.
        num_objectives: p.
        plan: what is tunable, and how.
        left: of every layer and free parameter that is not tunable, by name, its kind and why not.
    """

    def __init__(
        self, network: nn.Module, places: list[retrofit.Place], left: dict[str, str], plan: retrofit.Plan, seed: int
    ) -> None:
        super().__init__()
        self.network = network
        self.num_objectives = plan.num_objectives
        self.plan = plan
        self.left = left
        given = parameters.entries(network)
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

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        # Its class is made anew from the network, by __setstate__.
        return _unsigned, (), *super().__reduce_ex__(protocol)[2:]

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        _sign(self)

    def forward(self, *inputs: Any, omega: torch.Tensor | None = None, **options: Any) -> Any:
        """Run the network at an omega.

        With omega (N, p) the samples are run one by one: N must be the first axis of every tensor of the inputs, and
        of the outputs, which may be tensors, tuples, lists and dictionaries.

        Args:
            inputs: what the network takes, then omega, unless it is given by name.
            omega: (p,), or (N, p) for one per sample.
            options: what the network takes by name.

        Returns:
            What the network returns.

        Raises:
            OmegaError: for a wrong omega, and for one per sample where the network mixes samples (batch norm in
                training).
            TunableError: inside torch.nn.DataParallel, whose copies would not follow omega.
        """
        if getattr(self, "_is_replica", False):
            raise TunableError(
                "torch.nn.DataParallel runs copies, which would not follow omega: "
                "use torch.nn.parallel.DistributedDataParallel"
            )
        if omega is None:
            if not inputs:
                raise OmegaError(f"omega, the last input, is missing: a tensor ({self.num_objectives},)")
            inputs, omega = inputs[:-1], inputs[-1]
        omega = self._checked(omega)
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

    def _checked(self, omega: object, axes: tuple[int, ...] = (1, 2)) -> torch.Tensor:
        shapes = " or ".join(f"({'N, ' * (n - 1)}{self.num_objectives}{',' * (n == 1)})" for n in axes)
        if not isinstance(omega, torch.Tensor):
            raise OmegaError(f"omega, the last input, must be a tensor {shapes}, not {type(omega).__name__}")
        if omega.ndim not in axes or omega.shape[-1] != self.num_objectives or not omega.is_floating_point():
            raise OmegaError(f"omega must be floats {shapes}, not {omega.dtype} of shape {tuple(omega.shape)}")
        return omega

    def _tensors(self, omega: torch.Tensor) -> dict[str, torch.Tensor]:
        """The tunable parameters of the network at omega (p,), by name."""
        if not torch.compiler.is_compiling():
            retrofit.check_kept(self._branches)
        try:
            given = {
                name: dict.__getitem__(holder, local) for holder, names in self._uses for local, name in names.items()
            }
        except KeyError:
            gone = next(name for holder, names in self._uses for local, name in names.items() if local not in holder)
            raise TunableError(
                f"{gone} is no longer a parameter: pruning, say, or a parametrization has put in its place what it "
                "computes. Do that to the network before make_tunable, or to what fold returns"
            ) from None
        kernels = {}
        with ops.no_autocast(next(iter(given.values()))):  # phi too
            for layer in self.layers:
                kernels.update(layer.values(given, omega))  # pyright: ignore[reportCallIssue]
        if not torch.is_grad_enabled() and not torch.compiler.is_compiling() and not ops.is_transformed():
            # Without gradients, too, products of matrices choose their way by this flag of a weight, or of what a view
            # of it is from.
            for name, value in kernels.items():
                if value.ndim <= 2:
                    (value if value._base is None else value._base).requires_grad_(self._trained[name])
        return kernels

    @ops.never_a_graph_of_its_own  # in Python `traced` would be seen by all threads
    def _at(self, omega: torch.Tensor, inputs: Sequence[Any], options: dict[str, Any]):
        kernels = self._tensors(omega)
        if torch.compiler.is_dynamo_compiling():
            for holder, names in self._uses:
                holder.traced = {local: kernels[name] for local, name in names.items()}
            try:
                return self.network(*inputs, **options)
            finally:
                for holder, _ in self._uses:
                    holder.traced = None
        here = {id(holder): {local: kernels[name] for local, name in names.items()} for holder, names in self._uses}
        token = _running.set({**(_running.get() or {}), **here})
        _calls[id(here)] = here
        try:
            return self.network(*inputs, **options)
        finally:
            del _calls[id(here)]
            _running.reset(token)

    def fold(self, omega: torch.Tensor) -> nn.Module:
        """Make the ordinary network equal to this one at one omega.

        Args:
            omega: (p,).

        Returns:
            A network of the given network's class, with its names of parameters.

        Raises:
            OmegaError: for an omega of another shape.
        """
        omega = self._checked(omega, (1,))
        with torch.no_grad():
            kernels = self._tensors(omega)
            folded = _ordinary(parameters.copied(self.network))
            for name, each in parameters.entries(folded).items():
                each.value.requires_grad_(self._trained.get(name, True))  # what was lazy has no entry
                if name in kernels:
                    each.value.copy_(kernels[name])
        return folded

    def weights(self) -> dict[str, np.ndarray]:
        """Return every tensor of the file by name, float32, or float64 where the network's tensors are.

        `save` says what the file holds.
        """
        with _outside():
            return {
                name: retrofit.stacked([parameters.array(part) for part in parts])
                for name, parts in self._stored().items()
            }

    def assign(self, tensors: dict[str, np.ndarray], source: str | Path = "weights") -> None:
        """Set the weights to what `weights` returned.

        Args:
            tensors: arrays by name.
            source: where they come from, for messages.

        Raises:
            CheckpointError: unless names and shapes are exactly what `weights` gives.
        """
        with _outside():
            stored = self._stored()
        retrofitted.check_tensors(tensors, retrofit.specs(stored), source)
        for name, parts in stored.items():
            for part, value in zip(parts, retrofit.unstacked(tensors[name], len(parts)), strict=True):
                parameters.set_value(part, value)

    def _stored(self) -> dict[str, list[retrofit.Entry]]:
        network = self.network
        layers = [layer.parts() for layer in self.layers]  # pyright: ignore[reportCallIssue]
        return retrofit.stored(self.plan, layers, parameters.entries(network), parameters.statistics(network))

    def save(
        self,
        path: str | Path,
        *,
        builder: str | Mapping[str, str] | None = None,
        arguments: Mapping[str, Any] | None = None,
        objectives: Sequence[str] = (),
    ) -> None:
        """Write the weights file, from which `load_tuned` makes this network again.

        The file holds all weights, kernels stacked, and the running statistics of norms; with train='differences' it
        holds the differences and no other weights.

        Args:
            path: the file (.safetensors).
            builder: "module:name" of a class or function that makes the given network, or one for each framework, by
                its name. With it the commands take the file too (--allow-import); it then holds float32.
            arguments: of the builder by name, as JSON can say them; `upscale` and `halo` are as in a recipe.
            objectives: the names of the p knobs, for a file with a builder; () for knob_1, knob_2, ...

        Raises:
            TunableError: for a file that cannot be written, and for what its header cannot hold.
        """
        with _outside():
            weights, base = self.weights(), parameters.digest(self.network)
        if builder is None:
            retrofitted.save(path, weights, self.plan, base)
        else:
            retrofitted.save_built(path, weights, self.plan, base, builder, arguments or {}, objectives)


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

    def forward(self: TunedNetwork, *inputs: Any, omega: torch.Tensor | None = None, **options: Any):
        return TunedNetwork.forward(self, *inputs, omega=omega, **options)

    names = ["self", *(each.name for each in named), "omega"]
    forward.__doc__ = TunedNetwork.forward.__doc__
    forward.__signature__ = inspect.Signature([*(kind(name, kind.POSITIONAL_OR_KEYWORD) for name in names), *rest])
    return type("TunedNetwork", (TunedNetwork,), {"__module__": __name__, "forward": forward})
