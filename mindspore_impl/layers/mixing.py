"""The kernels of all layers of a network, mixed at once: in a number of operators that does not grow with the layers.

Where phi has no parameters (`identity`, `base`) all layers have one alpha: kernels and biases, whatever their shapes,
are concatenated and mixed by one product. With a phi of its own (`affine`, `se`) every layer has another alpha: layers
of equal shapes are stacked. So are those with differences of low rank or scale.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import mindspore as ms

from mindspore_impl import ops
from mindspore_impl.layers.phi import alphas_of, linear_layers
from mindspore_impl.layers.tunable import Kernels, Mixed, Tunable

_numbers = itertools.count(1)


@ms.jit_class
class Mixing:
    """Mixes the kernels of a network's layers, which then take what `at` returns in the place of omega.

    Args:
        layers: the tunable layers. Those of another phi, anchor or bump than the first go on mixing their own kernels.
    """

    def __init__(self, layers: Iterable[Tunable]) -> None:
        given = list(layers)
        self.layers: tuple[Any, ...] = tuple(layer for layer in given if _map_of(layer) == _map_of(given[0]))
        alike: dict[tuple, list[int]] = {}
        for place, layer in enumerate(self.layers):
            if linear_layers(layer.phi) or layer.differences != "full":
                alike.setdefault(_shapes(layer), []).append(place)
        # The places of layers of equal shapes, what their phi consists of, and of every layer its group and seat there.
        self.groups = tuple(tuple(places) for places in alike.values())
        self.stages = tuple(
            tuple(zip(*(linear_layers(self.layers[place].phi) for place in places), strict=True))
            for places in self.groups
        )
        seats = {place: (g, k) for g, places in enumerate(self.groups) for k, place in enumerate(places)}
        self.seats = tuple(seats.get(place, (0, 0)) for place in range(len(self.layers)))
        self._number = next(_numbers)
        for place, layer in enumerate(self.layers):
            layer._place = (self._number, place)

    def at(self, omega: ms.Tensor) -> Mixed:
        """Mix the kernels for one call of the network, omega (p,) or (N, p)."""
        beside = [layer.beside(omega) for layer in self.layers]
        if len(self.stages) > 0 and len(self.stages[0]) > 0:
            parts = self._with_their_alphas(omega, beside)
        else:
            parts = self._with_one_alpha(omega, beside)
        return self._number, parts, omega

    def _with_one_alpha(self, omega: ms.Tensor, beside: list[bool]) -> tuple[Kernels, ...]:
        parts, tensors, factored, done = (), (), (), 0
        alpha = self.layers[0].alpha(omega)
        for layer, apart in zip(self.layers, beside):  # noqa: B905  a graph knows no strict
            tensors = tensors + _sums(layer, apart)
        sums = ops.aggregate_all(alpha, tensors)
        for places in self.groups:
            group = [self.layers[i] for i in places]
            factored = factored + (() if _any(beside, places) else _kernels_of(group, alpha),)
        for layer, apart, (group, seat) in zip(self.layers, beside, self.seats):  # noqa: B905  a graph knows no strict
            weight, bias = layer.weight, layer.bias
            if not apart and layer.differences == "full":
                weight, done = sums[done], done + 1
            elif not apart:
                weight = factored[group][seat] if len(factored[group]) > 0 else layer.kernel(alpha)
            if bias is not None and not (apart and layer.differences == "full"):
                bias, done = sums[done], done + 1
            parts = parts + ((alpha if apart else None, weight, bias),)
        return parts

    def _with_their_alphas(self, omega: ms.Tensor, beside: list[bool]) -> tuple[Kernels, ...]:
        mixed = ()
        for places, stages in zip(self.groups, self.stages):  # noqa: B905  a graph knows no strict
            alphas, layers = alphas_of(stages, omega), [self.layers[i] for i in places]
            weights, biases = [layer.weight for layer in layers], [layer.bias for layer in layers]
            apart = _any(beside, places)
            if not apart:
                weights = ops.aggregate_each(alphas, weights)
                biases = biases if biases[0] is None else ops.aggregate_each(alphas, biases)
            mixed = mixed + (
                tuple([(alphas[k] if apart else None, weights[k], biases[k]) for k in range(len(places))]),
            )
        return tuple([mixed[group][seat] for group, seat in self.seats])


def _kernels_of(layers: Sequence[Any], alpha: ms.Tensor) -> Sequence[ms.Tensor]:
    """The kernels of layers of equal shapes with differences of low rank or scale."""
    first = layers[0]
    if len(layers) == 1 or first.groups > 1 or first.transposed:
        return [layer.kernel(alpha) for layer in layers]
    weights = [layer.weight for layer in layers]
    if first.differences == "scale":
        return ops.with_scale_each(alpha, weights, [layer.gain for layer in layers])
    return ops.with_low_rank_each(alpha, weights, [layer.up for layer in layers], [layer.down for layer in layers])


def _any(beside: Sequence[bool], places: Sequence[int]) -> bool:
    found = False
    for place in places:
        found = found or beside[place]
    return found


def _sums(layer: Any, apart: bool) -> tuple[ms.Tensor, ...]:
    """Of a layer the parameters that are mixed as they are: all, unless its kernels run beside each other."""
    if layer.differences != "full":
        return () if layer.bias is None else (layer.bias,)
    if apart:
        return ()
    return (layer.weight,) if layer.bias is None else (layer.weight, layer.bias)


def _map_of(layer: Tunable) -> tuple:
    return layer.formulation.phi, layer.formulation.anchor, layer.formulation.bump


def _shapes(layer: Tunable) -> tuple:
    """What is equal of layers that can be stacked."""
    parameters = tuple((name, tuple(value.shape)) for name, value in layer.parameters_and_names())
    return parameters, getattr(layer, "groups", 1), getattr(layer, "transposed", False)
