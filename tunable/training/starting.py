"""The weights that a run, or a stage of it, begins with, and the averages that it ends with."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from tunable.backends.model import WeightsModel
from tunable.backends.protocol import Trainer
from tunable.parameters.layouts import layout
from tunable.parameters.specs import ParameterSpec
from tunable.parameters.starts import starting_weights
from tunable.specs.control import Strategy
from tunable.specs.reading import expand
from tunable.specs.recipe import Recipe
from tunable.weights import storage
from tunable.weights.conversion import tunable_tensors


def given_weights(recipe: Recipe) -> tuple[dict[str, np.ndarray], storage.Header] | None:
    """The weights of the file that `initial.weights` names, None where a run begins with drawn ones."""
    return None if recipe.initial.weights is None else storage.load(expand(recipe.initial.weights))


def starting(
    recipe: Recipe,
    specs: list[ParameterSpec],
    given: tuple[dict[str, np.ndarray], storage.Header] | None,
    built: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """The weights that a run begins with: drawn, a file's, or what a plain file's become in a tunable network.

    A network of one's own begins as its class built it, or with a file's.
    """
    own = recipe.network.name == "import"
    drawn = built if own else starting_weights(specs, recipe.seed, recipe.initial)
    if given is None or recipe.initial.weights is None:
        return drawn
    (weights, header), source = given, expand(recipe.initial.weights)
    if isinstance(recipe.network, Strategy) and recipe.network.tunable and not header.objectives:
        storage.check_tensors(weights, layout(recipe.network.main, 0), source)
        return {**drawn, **weights}  # its main branch is a plain residual network
    if own or header.network.tunable == recipe.network.tunable or recipe.network.phi != "base":
        storage.check_tensors(weights, specs, source)
        return weights
    storage.check_tensors(weights, layout(recipe.network, 0), source)
    return tunable_tensors([weights], specs, drawn)


def next_stage(model: WeightsModel, trainer: Trainer, recipe: Recipe, stage: int) -> Trainer:
    """Return what trains the next stage: a fresh optimizer, and with averages those of the stage before as weights.

    Args:
        model: the network, which is changed in place where the recipe's optimizer averages weights.
        trainer: of the stage before, after its last step.
        recipe: of the run.
        stage: the index of the stage that begins.
    """
    if recipe.optimizer.average:
        model.backend.assign(model.network, averages_of(trainer))
    return model.backend.trainer(model.network, recipe, stage)


def averages_of(trainer: Trainer) -> dict[str, np.ndarray]:
    """The averages of the weights by name."""
    prefix = storage.AVERAGES.removeprefix("state.")
    return {name.removeprefix(prefix): value for name, value in trainer.state().items() if name.startswith(prefix)}


@contextmanager
def averaged(model: WeightsModel, trainer: Trainer, recipe: Recipe) -> Iterator[None]:
    """The network has the averages of its weights inside, if the run makes any."""
    if not recipe.optimizer.average:
        yield
        return
    weights = model.backend.parameters(model.network)
    model.backend.assign(model.network, averages_of(trainer))
    try:
        yield
    finally:
        model.backend.assign(model.network, weights)
