"""How a network with knobs is made: of one network, of several, or from a file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import nn

from torch_impl import parameters
from torch_impl.layers import Tunable
from torch_impl.retrofit.network import TunedNetwork
from tunable import retrofit
from tunable.weights import retrofitted


def make_tunable(
    network: nn.Module,
    num_objectives: int,
    *,
    where: retrofit.Where = None,
    phi: str = "base",
    train: str = "all",
    rank: int = 0,
    differences: str = "full",
    anchor: Sequence[float] = (),
    bump: bool = False,
    seed: int = 0,
) -> TunedNetwork:
    """Give a network knobs. Until it is trained, every omega gives exactly the function of `network`.

    Args:
        network: the network, which is copied and stays as it is.
        num_objectives: p, how many knobs it gets, at least 1.
        where: what becomes tunable: a pattern of names ("body.*", "*.scale"), a class of layers, a predicate
            (name, layer) -> bool, or a list of these, one of which must hold. None means convolutions, transposed
            convolutions and linear layers. Norms and free parameters become tunable only when asked for.
        phi: base: differences from the given kernels, which are zero at first; affine or se: p equal kernels, whose
            weights sum to one at first (with affine to within rounding).
        train: all, or differences: the given weights are frozen, and the file holds the differences alone.
        rank: rank of the differences as matrices (first axis, the others); 0 for any.
        differences: full, or scale with train='differences': each multiplies the rows of a kernel (first axis) by
            numbers; biases and other vectors keep full ones.
        anchor: omega* (p,), at which the network is the given one to the bit, whatever the differences have become;
            () where that is omega = 0. With phi base, as is `bump`.
        bump: whether each pair of knobs has a difference too, weighed by the product of the two.
        seed: seed of what starts at random: phi se, and one factor of a low rank.

    Returns:
        The network with knobs. Its `left` says of every layer and free parameter that is not tunable why.

    Raises:
        TunableError: for a value out of range, something asked for by name that cannot become tunable, or where nothing
            is left to become tunable.
    """
    copied = parameters.copied(network)
    retrofit.check_ordinary(network, (Tunable, TunedNetwork), copied.modules())
    places, left = retrofit.chosen(parameters.places(copied, parameters.kept(network)), where)
    planned = retrofit.plan(places, num_objectives, phi, train, rank, differences, anchor, bump)
    return TunedNetwork(copied, places, left, planned, seed)


def from_endpoints(*networks: nn.Module) -> TunedNetwork:
    """Make one network of several, with a knob for each: omega interpolates their weights (DNI).

    All parameters become tunable, norms included, with phi `identity`: sum_i omega_i W_i. The unit vectors give the
    networks themselves.

    Args:
        networks: two or more networks of the same structure, which are copied.

    Returns:
        The network with knobs, in the order of the networks.

    Raises:
        TunableError: unless there are two or more networks with equal names, shapes and running statistics.
    """
    kept = {name: why for network in networks for name, why in parameters.kept(network).items()}
    copies = [parameters.copied(network) for network in networks]
    endpoints = [parameters.entries(network) for network in copies]
    retrofit.check_endpoints(
        [{name: each.shape for name, each in entries.items()} for entries in endpoints],
        [{n: parameters.array(v) for n, v in parameters.statistics(network).items()} for network in copies],
    )
    first = copies[0]
    retrofit.check_ordinary(first, (Tunable, TunedNetwork), first.modules())
    places, left = retrofit.chosen(parameters.places(first, kept), "*")
    plan = retrofit.interpolation(places, left, len(copies))
    network = TunedNetwork(first, places, left, plan, 0)
    weights = {name: np.stack([parameters.array(entries[name]) for entries in endpoints]) for name in plan.tensors}
    network.assign({**network.weights(), **{plan.tensors[name]: value for name, value in weights.items()}})
    return network


def load_tuned(path: str | Path, *, base: nn.Module) -> TunedNetwork:
    """Make a network with knobs again from the file that its `save` wrote.

    Args:
        path: the file (.safetensors).
        base: a network of the same structure, which is copied. Where the file holds differences alone, it must be the
            network from which they are.

    Returns:
        The network with knobs.

    Raises:
        CheckpointError: for a file that is missing, damaged or of another kind, or that does not fit `base`.
    """
    tensors, plan, digest = retrofitted.load(path)
    tensors, plan, wrapper = retrofitted.unwrapped(tensors, plan, parameters.entries(parameters.copied(base)))
    network = planned(base, plan.model_copy(update={"base": digest}), path, wrapper)
    network.assign(tensors, path)
    return network


def planned(network: nn.Module, plan: retrofit.Plan, source: str | Path, wrapper: str = "") -> TunedNetwork:
    """Give a network knobs as a plan says.

    Args:
        network: the network, which is copied.
        plan: of a file.
        source: what says so, for messages.
        wrapper: the prefix that the names of its parameters had when the digest of the base was made.

    Raises:
        CheckpointError: where the network does not fit the plan, or is not the base of its differences.
    """
    copied = parameters.copied(network)
    candidates = parameters.places(copied, parameters.kept(network))
    places = retrofit.check_places(plan, candidates, source)
    if plan.base:
        retrofitted.check_base(parameters.digest(copied, wrapper), plan.base, source)
    names = {place.name for place in places}
    left = {p.name: f"{p.kind}: not tunable in {source}" for p in candidates if p.name not in names}
    return TunedNetwork(copied, places, left, plan.model_copy(update={"base": ""}), 0)
