"""Trajectories of 200 training steps of both twins, left to themselves.

Correct float32 programs drift apart, as fast as any difference of rounding grows; so their gap is compared with what a
perturbation of the weights by 1e-7 does within one of them.
"""

import numpy as np

from tunable.certificate.truth import perturbed
from tunable.data.patches import Batches
from tunable.parameters.starts import starting_weights
from tunable.tolerances import DRIFT, joint_error, relative_error

STEPS = 200
# Smooth but for few ReLUs: what rounding does at a kink is beside the point. Decay and clipping bite.
SECTIONS = {
    "network": {"name": "resnet", "channels": 8, "blocks": 2},
    "objectives": [
        {"name": "fidelity", "kind": "rec", "distance": "charbonnier"},
        {"name": "noise", "kind": "noise", "distance": "charbonnier"},
    ],
    "data": {"train": "bundled", "patch": 8, "batch": 2, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
}
ADAM = {"kind": "adam", "learning_rate": 1e-4, "weight_decay": 0.01, "clip_norm": 0.1}


class Run:
    """A network being trained in one framework, from the recipe's start.

    seed  of a perturbation of the start, None for none
    """

    def __init__(self, backend, recipe, seed=None):
        self.backend, self.recipe = backend, recipe
        self.network = backend.build(recipe.network, recipe.network_objectives)
        weights = starting_weights(backend.specs(self.network), recipe.seed, recipe.initial)
        backend.assign(self.network, weights if seed is None else perturbed(weights, seed))
        self.trainer = backend.trainer(self.network, recipe)

    def weights(self):
        return self.backend.parameters(self.network)

    def step(self, batch):
        """One step on a batch; returns the loss."""
        return self.trainer.step(batch, self.recipe.optimizer.learning_rate)[0]


def gaps(runs, recipe, steps):
    """(steps, runs - 1, 2): how far each run is from the first, in loss and in weights."""
    batches, rows = Batches(recipe), []
    for index in range(steps):
        (loss, *losses) = [run.step(batches[index]) for run in runs]
        first, *others = [run.weights() for run in runs]
        errors = [joint_error(weights, first) for weights in others]
        rows.append(list(zip([relative_error(other, loss) for other in losses], errors, strict=True)))
    return np.array(rows)


def excess(errors):
    """The twin's gap over its limit, at each step: the first run's gap, measured by the gaps of the others.

    In weights DRIFT times the largest of the perturbed runs; in loss DRIFT times the largest until then, for the gap
    of a single loss is a matter of luck, and never less than its last bit.
    """
    gap, perturbed = errors[:, 0], errors[:, 1:].max(1)
    perturbed[:, 0] = np.maximum(np.maximum.accumulate(perturbed[:, 0]), np.finfo(np.float32).eps)
    return gap / (DRIFT * perturbed)


def show(errors):
    print(" step  loss: twin  perturbed   weights: twin  perturbed")
    for step in (0, 1, 4, 9, 19, 49, 99, 149, 199):
        if step < len(errors):
            (loss, weights), (other_loss, other_weights) = errors[step, 0], errors[step, 1:].max(0)
            print(f"{step + 1:5d}  {loss:10.1e}  {other_loss:9.1e}  {weights:14.1e}  {other_weights:9.1e}")


def graph(twins):
    """Both backends, MindSpore's as it trains."""
    return twins[0].backend, twins[1].in_mode("graph")


def test_free_running(twins, make_recipe):
    """200 Adam steps at 1e-4: each step's gap at most ten times what a perturbation of the weights causes."""
    recipe = make_recipe(**SECTIONS, optimizer=ADAM)
    first, second = graph(twins)
    runs = [Run(first, recipe), Run(second, recipe), *(Run(first, recipe, seed) for seed in range(2))]
    errors = gaps(runs, recipe, STEPS)
    show(errors)
    part = excess(errors).max(0)
    print(f"largest part of what is allowed: loss {part[0]:.2f}, weights {part[1]:.2f}")
    assert np.all(part <= 1)
    assert joint_error(runs[0].weights(), Run(first, recipe).weights()) > 1e-2, "the weights have hardly moved"
