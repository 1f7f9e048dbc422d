"""Mutants of make_tunable, its folds, files and threads, all given to what it does: kind -> name -> fault."""

import numpy as np

from parity_tests.mutants.tensors import eleven_bits, of_first_kernel, reversed_along, rolled
from parity_tests.mutants.ways import each, given, replaced, returned

SUM, PRODUCT = "ops:displaced", "ops:low_rank"
FOLD, WEIGHTS, ASSIGN = (f"retrofit:TunedNetwork.{name}" for name in ("fold", "weights", "assign"))
ROWS = ("running_mean", "running_var")


def detached_phi(phi, a):
    if hasattr(phi, "register_forward_hook"):
        phi.register_forward_hook(lambda module, inputs, alpha: alpha.detach())
    return phi


def all_trained(network, a):
    """None of it frozen."""
    for value in a.twin.module("parameters").entries(network).values():
        value.value.requires_grad = True
    return network


def all_frozen(network, a):
    for value in a.twin.module("parameters").entries(network).values():
        value.value.requires_grad = False
    return network


def in_training(network, a):
    return network.train() if a.twin.name == "torch" else network.set_train()


def one_ulp_off(tensors, a):
    return {name: np.nextafter(value, np.inf, dtype=value.dtype) for name, value in tensors.items()}


def without_statistics(tensors, a):
    return {name: value * 0 + name.endswith("var") if name.endswith(ROWS) else value for name, value in tensors.items()}


def half_of_the_start(start, a):
    return {name: value * np.float32(0.5) for name, value in start.items()}


def product_from_the_start(start, a):
    return {**start, "up": start["up"] + np.float32(0.01)}


def zeros_from_the_start(start, a):
    return {name: value * 0 for name, value in start.items()}


class OfAllThreads:
    """As a ContextVar, but one for all threads."""

    def __init__(self, value=None):
        self.value = value

    def get(self):
        return self.value

    def set(self, value):
        before, self.value = self.value, value
        return before

    def reset(self, before):
        self.value = before


def shared(twin, monkeypatch):
    """What one thread runs at, all see."""
    replaced("retrofit:_running", OfAllThreads())(twin, monkeypatch)


KERNELS = {
    "omega ignored": given(SUM, alpha=lambda a: a.alpha * 0),
    "knobs in reverse order": given(SUM, alpha=lambda a: reversed_along(a.alpha, 0)),
    "differences of the next knob": given(SUM, differences=lambda a: rolled(a.differences)),
    "differences of the first knob for all": given(SUM, differences=lambda a: of_first_kernel(a.differences)),
    "base forgotten": returned(SUM, lambda y, a: y - a.base),
    "base twice": returned(SUM, lambda y, a: y + a.base),
    "differences of eleven bits": given(SUM, differences=lambda a: eleven_bits(a.differences)),
    "a start that is not zero": returned("retrofit:retrofit.low_rank_start", product_from_the_start),
    "a start that never learns": returned("retrofit:retrofit.low_rank_start", zeros_from_the_start),
    "ranks of the other knob": given(PRODUCT, alpha=lambda a: reversed_along(a.alpha, 0)),
    "products of the next knob's factor": given(PRODUCT, up=lambda a: rolled(a.up)),
    "phi whose weights do not sum to one": returned("retrofit:retrofit.phi_start", half_of_the_start),
    "phi without a gradient": each(
        torch=returned("retrofit:make_phi", detached_phi),
        mindspore=returned("retrofit:_Phi.alpha", lambda alpha, a: a.twin.constant(alpha)),
    ),
    "the base trained with differences alone": returned("retrofit:retrofit.frozen", lambda names, a: []),
    "where ignored": given("retrofit:retrofit.chosen", where=lambda a: None),
    "kernels kept elsewhere unseen": returned("parameters:kept", lambda result, a: {}),
    "samples in reverse order": given("retrofit:_joined", values=lambda a: list(a.values)[::-1]),
    "first sample for all": given("retrofit:_sample", n=lambda a: 0),
    "batch norms in training unseen": returned("parameters:mixes_samples", lambda result, a: False),
}

FOLDS_AND_FILES = {
    "folded at another omega": given(FOLD, omega=lambda a: 1 - a.omega),
    "folded at zero": given(FOLD, omega=lambda a: a.omega * 0),
    "folded with nothing frozen": returned(FOLD, all_trained),
    "folded with all frozen": returned(FOLD, all_frozen),
    "folded in training": returned(FOLD, in_training),
    "folded in place": returned(FOLD, lambda network, a: a.self.network),
    "weights a bit off": returned(WEIGHTS, one_ulp_off),
    "weights without running statistics": returned(WEIGHTS, without_statistics),
    "stacked from the end": returned("retrofit:retrofit.stacked", lambda value, a: value[::-1].copy()),
    "arrays of float32 whatever they were": returned("parameters:array", lambda value, a: value.astype(np.float32)),
    "any base fits": returned("parameters:digest", lambda digest, a: "0" * 64),
    "a tensor too few": returned("retrofit:retrofit.specs", lambda specs, a: specs[:-1]),
}

THREADS = {
    "all threads at the omega of one": each(torch=shared),
    "a wrapper's names": each(torch=replaced("parameters:_unwrapped", lambda module: module)),
}

RETROFIT = {
    "make_tunable": KERNELS,
    "tuned files": FOLDS_AND_FILES,
    "tuned threads": THREADS,
}
