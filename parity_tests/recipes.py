"""The small recipes that tests, and checks of mutants, train and judge with, and their weights files."""

from tunable.parameters.starts import starting_weights
from tunable.specs.recipe import Recipe, parse
from tunable.weights import storage

_VALUES = {
    "task": "denoise",
    "network": {"name": "resnet", "channels": 6, "blocks": 1},
    "objectives": [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise"}],
    "data": {"train": "bundled", "patch": 12, "batch": 3, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
    "steps": 10,
}


def make_recipe(**sections) -> Recipe:
    """make_recipe(loss={...}, ...): a small valid recipe with some sections replaced."""
    return parse({**_VALUES, **sections})


def write_untrained(path, recipe: Recipe, backend):
    """The weights file of a recipe's network, freshly initialised."""
    specs = backend.specs(backend.build(recipe.network, recipe.network_objectives))
    storage.save(path, starting_weights(specs, 1, recipe.initial), storage.Header.of(recipe))
    return path


def small_recipe(phi: str, p: int = 2) -> Recipe:
    """Of a network that a certificate takes a second for."""
    objectives = [{"name": "a", "kind": "rec", "weight": 0.8}, {"name": "b", "kind": "noise", "weight": 1.3}]
    return make_recipe(network={"name": "resnet", "channels": 5, "blocks": 1, "phi": phi}, objectives=objectives[:p])
