"""The tensors of a layer as functions of omega, which start from the given weights."""

import mindspore as ms
import numpy as np
from mindspore import nn
from mindspore import ops as _ops

from mindspore_impl import ops, parameters
from mindspore_impl.layers.phi import make_phi, steps
from tunable import retrofit
from tunable.specs.formulations import Formulation


@ms.jit_class  # not a cell: a graph that calls a cell from a property brings MindSpore down
class _Phi:
    """phi as a function: `make_phi`'s cell, whose parameters it shares, cannot be called from a property."""

    def __init__(self, form: str, cell: nn.Cell) -> None:
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

    Parameters: for phi `base` `differences` (m, *shape) from the given tensor, or their factors `up` (m, rows, rank)
    and `down` (m, rank, columns), rows being the first axis of the tensor, or `gain` (m, rows), by which rows are
    scaled; for another phi `kernels` (p, *shape).
    """

    def __init__(
        self, name: str, given: retrofit.Entry, plan: retrofit.Plan, seed: int, phi: _Phi | None, omega: ms.Parameter
    ) -> None:
        value, p, m = given.value.asnumpy(), plan.num_objectives, plan.num_differences
        self.base = plan.phi == "base"
        self.low_rank = retrofit.is_low_rank(given.shape, plan.rank)
        self.scaled = retrofit.is_scaled(given.shape, plan)
        self.products = plan.products
        self.anchor = ms.Tensor(np.array(plan.anchor, np.float32)) if plan.anchor else None  # omega is given so
        if self.scaled:
            self.gain = _parameter(np.zeros((m, len(value))), given.value, f"{name}.gain")
        elif self.low_rank:
            start = retrofit.low_rank_start(name, given.shape, m, plan.rank, seed)
            self.up = _parameter(start["up"], given.value, f"{name}.up")
            self.down = _parameter(start["down"], given.value, f"{name}.down")
        elif self.base:
            self.differences = _parameter(np.zeros((m, *value.shape)), given.value, f"{name}.differences")
        else:
            self.kernels = _parameter(np.repeat(value[None], p, 0), given.value, f"{name}.kernels")
        self.given = given.value
        self.file_shape = given.shape
        self.phi = phi
        self.omega = omega

    def value(self) -> ms.Tensor:
        """The tensor at omega."""
        omega = self.omega * 1  # a copy: what is differentiated must not see the next omega
        if self.phi is not None:
            return ops.aggregate(self.phi.alpha(omega), self.kernels)
        anchor = None if self.anchor is None else self.anchor.astype(omega.dtype)
        weights = steps(omega, self.products, anchor)
        if self.scaled:
            scales = 1 + ops.aggregate(weights, self.gain)
            return self.given * scales.reshape((-1,) + (1,) * (self.given.ndim - 1))
        if self.low_rank:
            return self.given + ops.low_rank(weights, self.up, self.down).reshape(self.given.shape)
        return ops.displaced(self.given, weights, self.differences)

    def parts(self) -> dict[str, retrofit.Entry]:
        """Its parameters by name, as files hold them."""
        names = ("up", "down") if self.low_rank else ("differences",) if self.base else ("kernels",)
        names = ("gain",) if self.scaled else names
        tensors = {name: getattr(self, name) for name in names}
        return {
            name: retrofit.Entry(
                value, tuple(value.shape) if self.low_rank or self.scaled else (len(value), *self.file_shape)
            )
            for name, value in tensors.items()
        }


class _Layer(nn.Cell):
    """The tensors of a layer that share a phi: it holds their parameters.

    Attributes:
        kernels: the functions of omega, in the order of `names`.
        names: the names of the tensors in the network, by their names in the layer.
    """

    def __init__(
        self,
        place: retrofit.Place,
        given: dict[str, retrofit.Entry],
        plan: retrofit.Plan,
        seed: int,
        omega: ms.Parameter,
    ) -> None:
        super().__init__(auto_prefix=False)
        self.name = place.name
        self.names = dict(place.tensors)
        self.phi = None
        if plan.phi != "base":
            self.phi = make_phi(Formulation(plan.phi), plan.num_objectives)
            parts = parameters.entries(self.phi)
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
            self.name, self.names, kernels, {} if self.phi is None else parameters.entries(self.phi)
        )


def _parameter(value: np.ndarray, like: ms.Parameter, name: str) -> ms.Parameter:
    return ms.Parameter(ms.Tensor(np.ascontiguousarray(value)).astype(like.dtype), name=name)
