"""What every tunable layer shares: phi, the number of kernels, its parameter specs, its start."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

from torch_impl import ops
from torch_impl.layers.phi import make_phi
from tunable.docstrings import inherit_arguments
from tunable.errors import TunableError
from tunable.omega import check_tensor
from tunable.parameters.specs import ParameterSpec
from tunable.parameters.starts import starting_weights
from tunable.specs.formulations import Formulation

_Ordinary = TypeVar("_Ordinary", bound=nn.Module)

Kernels = tuple[Any, Any, Any]  # alpha or None, weight, bias or None, as `Tunable.at` returns them
Mixed = tuple[Any, ...]  # what layers.mixing has mixed for all layers of a network; omega is the last


class Tunable(nn.Module):
    """Base of the tunable layers, whose kernels are stacked on the first axis and aggregated by phi(omega) (Eqs. 3, 6).

    Attributes:
        kind: the layer's name in the oracle.
        inputs: what a call takes, by name and in order. In the place of omega it also takes what `layers.mixing` has
            mixed for all layers of a network.
    """

    kind = ""
    inputs: tuple[str, ...] = ("x", "omega")

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inherit_arguments(cls)

    def __init__(self, num_objectives: int, formulation: Formulation) -> None:
        super().__init__()
        if num_objectives < 1:
            raise TunableError(f"a tunable layer needs num_objectives >= 1, not {num_objectives}")
        misfit = formulation.misfit(num_objectives)
        if misfit:
            raise TunableError(misfit)
        self.num_objectives = num_objectives
        self.formulation = formulation
        self.differences = formulation.differences
        self.phi = make_phi(formulation, num_objectives)
        self.num_kernels = formulation.num_kernels(num_objectives)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True):
        # Kernels have an axis more than `channels_last` knows. Their sum is laid out anew in every call, so they keep
        # their order: in one dimension, a change of dtype or device reaches them and one of memory format does not.
        return super()._apply(lambda tensor: fn(tensor.flatten()).reshape(tensor.shape), recurse)

    def __call__(self, *inputs, **keywords) -> torch.Tensor:
        """Run the layer once the shape of omega is checked.

        Args:
            inputs: x (N, ...) and omega, (p,), (N, p), or a map (N, p, *size) of the output's pixels; omega alone where
                `inputs` names nothing else.
            keywords: any of these by name.

        Raises:
            OmegaError: for an omega that is missing, or of another shape.
        """
        if not torch.compiler.is_compiling():  # a comparison of sizes would fix those that a graph leaves open
            self._check(*inputs, **keywords)
        return super().__call__(*inputs, **keywords)

    def alpha(self, omega: torch.Tensor) -> torch.Tensor:
        """Return the weights of the kernels, alpha = phi(omega) (Eq. 6), in the precision of the parameters.

        Args:
            omega: (p,), (N, p), or a map (N, p, *size), of which phi is taken pixel by pixel.

        Returns:
            alpha, (k,), (N, k) or (N, k, *size); mixed precision does not round it.
        """
        with ops.no_autocast(omega):
            return self.phi(omega) if omega.ndim < 3 else ops.channels_first(self.phi(ops.channels_last(omega)))

    def at(self, omega: Any) -> Kernels:
        """Return what the layer computes with: alpha, weight and bias.

        Where alpha is not None the weights still stand one behind the other, to be mixed by it. Else weight and bias
        are those at omega, or of every sample. The bias of differences of low rank or scale always is.

        Args:
            omega: (p,), (N, p), a map, or what a network has mixed.
        """
        if isinstance(omega, tuple):
            parts, omega = omega
            if self in parts:
                return parts[self]
        return self._unmixed(omega)

    def _unmixed(self, omega: torch.Tensor) -> Kernels:
        """What `at` returns where no network has mixed."""
        return self.alpha(omega), self.weight, self.bias

    def beside(self, omega: torch.Tensor) -> bool:
        """Return whether the layer runs its kernels beside each other at omega, and mixes none."""
        return False

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the layer's own parameters by local name, as ParameterSpec explains them.

        Raises:
            TunableError: in this base, which has no parameters of its own.
        """
        raise TunableError(f"{type(self).__name__} declares no parameters")

    def specs(self, prefix: str = "") -> list[ParameterSpec]:
        """Return the spec of every parameter of the layer, phi's included.

        Args:
            prefix: what stands before each name, such as "body.0.".
        """
        roles = self.roles()
        specs = []
        for name, value in self.named_parameters():
            role, fan_in = roles.get(name, ("phi", value.shape[-1] if value.ndim == 2 else self.num_objectives))
            phi = self.formulation.phi if self.stacked(name) else ""
            specs.append(ParameterSpec(prefix + name, tuple(value.shape), role, fan_in, phi))
        return specs

    def stacked(self, name: str) -> bool:
        """Return whether a parameter holds one value for each kernel on its first axis, as all do here."""
        return True

    def start(self, seed: int | None) -> None:
        """Give the layer its default starting weights (tunable.parameters.starts).

        Args:
            seed: their seed; None draws one from the framework's generator.
        """
        drawn = starting_weights(self.specs(), ops.fresh_seed() if seed is None else seed)
        with torch.no_grad():
            for name, value in self.named_parameters():
                value.copy_(torch.from_numpy(drawn[name]))

    def mixed_into(self, ordinary: _Ordinary, omega: torch.Tensor) -> _Ordinary:
        """Give an ordinary layer this layer's weight and bias at one omega.

        Args:
            ordinary: a layer of this layer's sizes; it is changed in place.
            omega: (p,).

        Returns:
            The ordinary layer.

        Raises:
            OmegaError: for an omega of another shape.
        """
        check_tensor(omega, self.num_objectives, dims=(1,))
        ordinary = ordinary.to(omega.device, self.get_parameter("weight").dtype)
        with torch.no_grad():
            weight, bias = self.mixed(self.alpha(omega))
            ordinary.get_parameter("weight").copy_(weight)
            if bias is not None:
                ordinary.get_parameter("bias").copy_(bias)
        return ordinary

    def mixed(self, alpha: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return weight and bias at alpha (k,), or those of every sample at alpha (N, k); without a bias None."""
        weight, bias = self.get_parameter("weight"), self._parameters.get("bias")
        return ops.aggregate(alpha, weight), None if bias is None else ops.aggregate(alpha, bias)

    def fold(self, omega: torch.Tensor) -> nn.Module | nn.Parameter:
        """Return the ordinary layer, or parameter, that equals this one at omega (p,).

        Raises:
            OmegaError: for an omega of another shape.
            TunableError: in this base, which has no ordinary form.
        """
        raise TunableError(f"{type(self).__name__} has no ordinary form")

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {}

    def pixels(self, x: torch.Tensor) -> tuple[int, ...]:
        """Return the size of the maps that the layer takes for an input x, its output's; () where it takes none."""
        return ()

    def _check(self, *inputs, **keywords) -> None:
        named = dict(zip(self.inputs, inputs, strict=False)) | keywords
        omega, x = named.get("omega"), named.get("x")
        if isinstance(omega, tuple):
            return  # the network has checked it
        size = self.pixels(x) if x is not None and getattr(omega, "ndim", 0) > 2 else None
        check_tensor(omega, self.num_objectives, None if x is None else len(x), size=size)
