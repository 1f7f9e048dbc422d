"""Faults of a twin that a certificate must see: name -> fault, the first stage that is red, others that must be."""

from collections.abc import Iterable

import numpy as np
import pytest

from parity_tests.mutants.layers import CONVOLUTION_FAULTS, PHI_FAULTS
from parity_tests.mutants.networks import FOLDING_FAULTS, WEIGHTS_FAULTS
from parity_tests.mutants.tensors import leaky
from parity_tests.mutants.ways import both, given, replaced, returned
from tunable.backends.protocol import StepReport
from tunable.backends.registry import requested
from tunable.specs.recipe import Recipe

CONV, RUN = "ops:conv", "twin.backend:run"
GRADIENTS, STATE, STEP = (f"training:Trainer.{name}" for name in ("gradients", "state", "step"))


def _in_recipe(change):
    """The trainer is given a recipe whose values change(values) has changed in place."""

    def recipe(a):
        values = a.recipe.to_dict()
        change(values)
        return Recipe.model_validate(values)

    return given("training:Trainer.__init__", recipe=recipe)


def _optimizer(name, value):
    return _in_recipe(lambda values: values["optimizer"].update({name: value}))


def one_nan(output, a):
    output[0, 0, 0, 0] = np.nan
    return output


def nan_gradient(report, a):
    report.gradients["tail.bias"][0] = np.nan
    return report


def long_gradients(report, a):
    """By 1.5e-4: no tensor alone is beyond its limit, all together they are, whatever the model's own gap."""
    longer = {name: value * (1 + 1.5e-4) for name, value in report.gradients.items()}
    return report._replace(gradients=longer)


def moment_undecayed(state, a):
    """The state, as it would be saved, has a second moment that is a thousandth too large."""
    return {name: value * (1.001 if name.startswith("second.") else 1) for name, value in state.items()}


def lambda_squared(values):
    for objective in values["objectives"]:
        objective["weight"] **= 2


def residual_removed(values):
    values["objectives"][1]["residual"] = "remove"


def loss_normalised(values):
    values["loss"]["normalise"] = "sum"


FAULTS = {
    "kernels swapped": (CONVOLUTION_FAULTS["kernels in reverse order"], "layer", {"network", "gradients"}),
    "omega ignored": (CONVOLUTION_FAULTS["omega ignored"], "layer", {"control: omega matters", "network"}),
    "omega of another sample": (CONVOLUTION_FAULTS["omega of the next sample"], "layer", {"network"}),
    "bias dropped": (CONVOLUTION_FAULTS["bias dropped"], "layer", {"folded", "network"}),
    "bias not mixed": (CONVOLUTION_FAULTS["bias not mixed"], "layer", {"folded", "network"}),
    "kernel transposed": (CONVOLUTION_FAULTS["kernel with its axes exchanged"], "layer", {"folded", "network"}),
    "phi gets no gradient": (
        given(CONV, alpha=lambda a: a.twin.constant(a.alpha) + a.alpha * 0),
        "gradients",
        {"gradient", "training"},
    ),
    "phi transposed": (PHI_FAULTS["matrix transposed"], "layer", {"network"}),
    "padding shifted": (
        # the picture moves by one row
        both(
            given(CONV, padding=lambda a: (a.padding[0] + 1, *a.padding[1:])),
            returned(CONV, lambda y, a: y[:, :, :-2]),
        ),
        "layer",
        {"folded", "network"},
    ),
    "wrong activation": (
        # a leak of a hundredth: every layer is right, the network is not
        replaced("framework:relu", leaky),
        "layer output",
        {"network"},
    ),
    "fold at another omega": (FOLDING_FAULTS["at another omega"], "folded", set()),
    "weights in half precision": (WEIGHTS_FAULTS["half precision"], "weights", {"network"}),
    "one output not finite": (returned(RUN, one_nan), "network", {"folded", "control: omega matters"}),
    "one gradient not finite": (returned(GRADIENTS, nan_gradient), "gradients", {"gradient"}),
    "lambda squared": (_in_recipe(lambda_squared), "loss", {"gradients", "training"}),
    "noise removed, not kept": (_in_recipe(residual_removed), "loss", {"gradients", "training"}),
    "loss normalised": (_in_recipe(loss_normalised), "loss", {"gradients", "training"}),
    "eps x 10": (_optimizer("eps", 1e-7), "optimizer", set()),
    "output off by five millionths": (returned(RUN, lambda y, a: y * np.float32(1 + 5e-6)), "network", set()),
    "gradients too long": (returned(GRADIENTS, long_gradients), "gradients", set()),
    "moment off in the saved state": (returned(STATE, moment_undecayed), "optimizer", set()),
    "count of steps stands still": (
        returned(STATE, lambda state, a: {**state, "step": np.ones(1, np.float32)}),
        "optimizer",
        set(),
    ),
    "beta1 wrong": (_optimizer("beta1", 0.89), "optimizer", {"training"}),
    "beta2 wrong": (_optimizer("beta2", 0.99), "optimizer", {"training"}),
    "nothing moves": (
        replaced(STEP, lambda self, batch, rate: StepReport(0.1, np.zeros(2))),
        "control: weights move",
        {"training"},
    ),
}


def cases(names: Iterable[str] = FAULTS):
    """Framework and fault: in torch all, in MindSpore one for each stage; its others are left to `make mutants`."""
    for backend in requested():
        planted = set()
        for name in names:
            stage = FAULTS[name][1]
            rest = backend == "mindspore" and stage in planted
            planted.add(stage)
            marks = [pytest.mark.mutant, pytest.mark.rest] if rest else []
            yield pytest.param(backend, name, id=f"{backend}-{name}", marks=marks)
