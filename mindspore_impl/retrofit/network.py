"""The network with knobs."""

import math
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops, parameters
from mindspore_impl.retrofit.kernels import _Layer
from mindspore_impl.retrofit.samples import _joined, _sample
from mindspore_impl.retrofit.substitution import _put, _running, _taken_out
from tunable import retrofit
from tunable.errors import OmegaError
from tunable.weights import retrofitted


class _BlockedGradient(nn.Cell):
    """Gives x, and passes its gradient. The gradient in omega, which a parameter cuts off, is NaN instead of zero."""

    def construct(self, x: ms.Tensor, omega: ms.Tensor):
        return x

    def bprop(self, x: ms.Tensor, omega: ms.Tensor, out: ms.Tensor, dout: ms.Tensor):
        return dout, _ops.full_like(omega, math.nan)


class TunedNetwork(nn.Cell):
    """A network with knobs, called as tuned(x, omega), with one input or several: what `make_tunable` returns.

    `make_tunable`, `from_endpoints` and `load_tuned` construct it.

    Attributes:
        network: a copy of the given network. Its tunable parameters are the base kernels with phi `base`; another phi
            does not use them.
        num_objectives: p.
        plan: what is tunable, and how.
        left: of every layer and free parameter that is not tunable, by name, its kind and why not.
        omega: the parameter (p,) that holds omega while the network runs. The gradient in it is the gradient in omega,
            summed over samples; the gradient in the input omega is NaN.
    """

    def __init__(
        self, network: nn.Cell, places: list[retrofit.Place], left: dict[str, str], plan: retrofit.Plan, seed: int
    ) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        self.num_objectives = plan.num_objectives
        self.plan = plan
        self.left = left
        given = parameters.entries(network)
        self.omega = ms.Parameter(
            ms.Tensor(np.zeros(plan.num_objectives, np.float32)), name="tuned_omega", requires_grad=False
        )
        self._blocked_gradient = _BlockedGradient()
        self.layers = nn.CellList(
            [_Layer(place, given, plan, seed, self.omega) for place in places if place.tensors], auto_prefix=False
        )
        self._trained = {name: each.value.requires_grad for name, each in given.items()}
        for name in retrofit.frozen(plan, given):
            given[name].value.requires_grad = False
        kernels = {n: k for layer in self.layers for n, k in zip(layer.names.values(), layer.kernels, strict=True)}
        self._branches = _put(network, kernels)

    def __call__(self, *inputs: Any, omega: ms.Tensor | None = None, **options: Any) -> Any:
        """Check omega, then run the network as `construct` says.

        Args:
            inputs: what the network takes, then omega, unless it is given by name.
            omega: (p,), or (N, p) for one per sample.
            options: what the network takes by name.

        Returns:
            What the network returns.

        Raises:
            OmegaError: for a wrong omega, and for one per sample where the network mixes samples (batch norm in
                training).
        """
        # A compiled graph raises Python's own exceptions only.
        if omega is None:
            if not inputs:
                raise OmegaError(f"omega, the last input, is missing: a tensor ({self.num_objectives},)")
            inputs, omega = inputs[:-1], inputs[-1]
        knobs = self._checked(omega)
        retrofit.check_kept(self._branches)
        if knobs.ndim == 2:
            if parameters.mixes_samples(self.network):
                raise OmegaError(
                    f"omega {tuple(knobs.shape)} is one per sample, but a batch norm in training mixes the samples: "
                    f"use one omega ({self.num_objectives},) for the batch, or put the batch norms in eval mode"
                )
            retrofit.check_rows(knobs.shape[0], [*inputs, *options.values()], ms.Tensor)
            if not knobs.shape[0]:
                raise OmegaError("omega has no rows: MindSpore computes with no empty batch")
        with self._alone():
            return super().__call__(*inputs, knobs, **options)

    def construct(self, *inputs: Any, **options: Any) -> Any:
        """Run the network at an omega.

        With omega (N, p) the samples are run one by one: N must be the first axis of every tensor of the inputs, and
        of the outputs, which may be tensors, tuples, lists and dictionaries.

        Args:
            inputs: what the network takes, then omega, (p,) or (N, p).
            options: what the network takes by name.

        Returns:
            What the network returns.

        Raises:
            ValueError: where N is not the first axis of an output.
        """
        omega = inputs[-1]
        if omega.ndim == 1:
            return self._at(omega, inputs[:-1], options)
        outputs = []
        for n in range(omega.shape[0]):
            outputs.append(self._at(omega[n], _sample(inputs[:-1], n), _sample(options, n)))
        return _joined(outputs)

    def _at(self, omega: ms.Tensor, inputs: tuple[Any, ...], options: dict[str, Any]):
        first = self._blocked_gradient(_ops.depend(inputs[0], _ops.assign(self.omega, omega)), omega)
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

    def _checked(self, omega: Any, axes: tuple[int, ...] = (1, 2)) -> ms.Tensor:
        shapes = " or ".join(f"({'N, ' * (n - 1)}{self.num_objectives}{',' * (n == 1)})" for n in axes)
        if not isinstance(omega, ms.Tensor):
            raise OmegaError(f"omega, the last input, must be a tensor {shapes}, not {type(omega).__name__}")
        if omega.ndim not in axes or omega.shape[-1] != self.num_objectives or omega.dtype != ms.float32:
            raise OmegaError(f"omega must be float32 {shapes}, not {omega.dtype} of shape {tuple(omega.shape)}")
        return omega

    def fold(self, omega: ms.Tensor) -> nn.Cell:
        """Make the ordinary network equal to this one at one omega.

        Args:
            omega: (p,).

        Returns:
            A network of the given network's class, with its names of parameters.

        Raises:
            OmegaError: for an omega of another shape.
        """
        omega = self._checked(omega, (1,))
        retrofit.check_kept(self._branches)
        with self._alone(), ops.running("pynative"):
            folded = _taken_out(parameters.copied(self.network))
            _ops.assign(self.omega, omega)
            values = {
                full: kernels.value().asnumpy()
                for layer in self.layers
                for full, kernels in zip(layer.names.values(), layer.kernels, strict=True)
            }
            for name, each in parameters.entries(folded).items():
                each.value.requires_grad = self._trained[name]
                if name in values:
                    parameters.set_value(each, values[name])
        return folded

    @ops.alone()
    def weights(self) -> dict[str, np.ndarray]:
        """Return every tensor of the file by name, float32, or float64 where the network's tensors are.

        `save` says what the file holds.
        """
        return {
            name: retrofit.stacked([parameters.array(part) for part in parts]) for name, parts in self._stored().items()
        }

    @ops.alone()
    def assign(self, tensors: dict[str, np.ndarray], source: str | Path = "weights") -> None:
        """Set the weights to what `weights` returned.

        Args:
            tensors: arrays by name.
            source: where they come from, for messages.

        Raises:
            CheckpointError: unless names and shapes are exactly what `weights` gives.
        """
        stored = self._stored()
        retrofitted.check_tensors(tensors, retrofit.specs(stored), source)
        for name, parts in stored.items():
            for part, value in zip(parts, retrofit.unstacked(tensors[name], len(parts)), strict=True):
                parameters.set_value(part, value)

    def _stored(self) -> dict[str, list[retrofit.Entry]]:
        network = self.network
        layers = [layer.parts() for layer in self.layers]
        return retrofit.stored(self.plan, layers, parameters.entries(network), parameters.statistics(network))

    @ops.alone()
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
        weights, base = self.weights(), parameters.digest(self.network)
        if builder is None:
            retrofitted.save(path, weights, self.plan, base)
        else:
            retrofitted.save_built(path, weights, self.plan, base, builder, arguments or {}, objectives)
