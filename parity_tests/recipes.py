"""The small recipe that tests, and checks of mutants, train and judge with."""

from tunable_core.recipe import Recipe, parse

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
