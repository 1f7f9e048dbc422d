"""The tensors of a layer as functions of omega, which start from the given weights."""

from collections.abc import Callable

import torch
from torch import nn

from torch_impl import ops, parameters
from torch_impl.layers.phi import make_phi, steps
from tunable import retrofit
from tunable.specs.formulations import Formulation


class _Kernels(nn.Module):
    """One tensor of a layer as a function of alpha.

    Parameters: for phi `base` `differences` (m, *shape) from the given tensor, or their factors `up` (m, rows, rank)
    and `down` (m, rank, columns), rows being the first axis of the tensor, or `gain` (m, rows), by which rows are
    scaled; for another phi `kernels` (p, *shape).
    """

    def __init__(self, name: str, given: retrofit.Entry, plan: retrofit.Plan, seed: int) -> None:
        super().__init__()
        value, p, m = given.value.detach(), plan.num_objectives, plan.num_differences
        self.base = plan.phi == "base"
        self.low_rank = retrofit.is_low_rank(given.shape, plan.rank)
        self.scaled = retrofit.is_scaled(given.shape, plan)
        if self.scaled:
            self.gain = nn.Parameter(value.new_zeros(m, len(value)))
        elif self.low_rank:
            start = retrofit.low_rank_start(name, given.shape, m, plan.rank, seed)
            self.up = nn.Parameter(torch.from_numpy(start["up"]).to(value))
            self.down = nn.Parameter(torch.from_numpy(start["down"]).to(value))
        elif self.base:
            self.differences = nn.Parameter(value.new_zeros(m, *value.shape))
        else:
            self.kernels = nn.Parameter(value.expand(p, *value.shape).clone())
        self.shape = given.shape

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True):
        # As in layers.tunable: a memory format is one for the tensor, which has an axis less.
        return super()._apply(lambda tensor: fn(tensor.flatten()).reshape(tensor.shape), recurse)

    def value(self, given: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """The tensor at alpha (p,), with phi `base` at the weights of its differences (m,)."""
        if self.scaled:
            scales = 1 + ops.aggregate(alpha, self.gain)
            return given * scales.reshape(-1, *(1 for _ in given.shape[1:]))
        if self.low_rank:
            return given + ops.low_rank(alpha, self.up, self.down).reshape(given.shape)
        if self.base:
            return ops.displaced(given, alpha, self.differences)
        return ops.aggregate(alpha, self.kernels)

    def parts(self) -> dict[str, retrofit.Entry]:
        """Its parameters by name, as files hold them."""
        return {
            name: retrofit.Entry(
                value, tuple(value.shape) if self.low_rank or self.scaled else (len(value), *self.shape)
            )
            for name, value in self.named_parameters()
        }


class _Layer(nn.Module):
    """The tensors of a layer that share a phi.

    Attributes:
        kernels: the functions of omega, by the names of their tensors in the layer.
        names: the names of the tensors in the network, by their names in the layer.
    """

    def __init__(self, place: retrofit.Place, given: dict[str, retrofit.Entry], plan: retrofit.Plan, seed: int) -> None:
        super().__init__()
        self.name = place.name
        self.names = dict(place.tensors)
        self.phi = None if plan.phi == "base" else make_phi(Formulation(plan.phi), plan.num_objectives)
        self.products = plan.products
        like = given[next(iter(self.names.values()))].value
        self.anchor = ops.Exact(plan.anchor).to(like.device) if plan.anchor else None
        if self.phi is not None:
            parts = parameters.entries(self.phi)
            start = retrofit.phi_start(
                retrofit.below(place.name, "phi"), plan.phi, {local: each.shape for local, each in parts.items()}, seed
            )
            for local, each in parts.items():
                parameters.set_value(each, start[local])
            self.phi.to(like)
        self.kernels = nn.ModuleDict(
            {
                local: _Kernels(retrofit.below(place.name, local), given[full], plan, seed)
                for local, full in self.names.items()
            }
        )

    def values(self, given: dict[str, torch.Tensor], omega: torch.Tensor) -> dict[str, torch.Tensor]:
        """Its tensors at omega (p,), by name in the network."""
        names, phi = self.names, self.phi
        like = given[next(iter(names.values()))]
        anchor = None if self.anchor is None else self.anchor(omega.dtype).to(like)  # rounded as omega was
        omega = omega.to(like)
        alpha = steps(omega, self.products, anchor) if phi is None else phi(omega)
        kernels = self.kernels._modules
        # torch's stubs do not say which modules a container holds.
        return {
            full: kernels[local].value(given[full], alpha)  # pyright: ignore[reportCallIssue]
            for local, full in names.items()
        }

    def parts(self) -> retrofit.LayerParts:
        """What files hold of it."""
        kernels = {
            local: kernels.parts()  # pyright: ignore[reportCallIssue]
            for local, kernels in self.kernels.items()
        }
        return retrofit.LayerParts(
            self.name, self.names, kernels, {} if self.phi is None else parameters.entries(self.phi)
        )
