"""A sheet of a validation's first picture at every setting, as TensorBoard shows it."""

import math

import numpy as np

from tunable.backends.model import Model
from tunable.evaluation.measuring import validation_samples, validation_settings
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, to_levels, to_network
from tunable.images.tiling import run_tiled
from tunable.omega import format_omega
from tunable.specs.recipe import Recipe

MOST = 12  # settings on a sheet; of more, as many that lie evenly


def sweep_sheet(model: Model, recipe: Recipe, max_pixels: int | None = None) -> np.ndarray | None:
    """Restore the first picture of a validation at its settings.

    Args:
        model: being trained.
        recipe: of the run.
        max_pixels: as `tunable.images.pictures.read_picture`.

    Returns:
        A labelled row of the degraded picture, the restored ones and the clean one, uint8 (H, W, 3); of a network that
        enlarges without the degraded one, which is smaller. None where the recipe validates on no picture.
    """
    sample = next(validation_samples(recipe, max_pixels), None)
    if sample is None:
        return None
    settings = validation_settings(recipe) if model.objectives else [None]
    places = np.linspace(0, len(settings) - 1, min(len(settings), MOST)).round().astype(int)
    pictures = {} if recipe.network.scale > 1 else {"degraded": sample.degraded}
    degraded = to_network(sample.degraded)
    for omega in (settings[place] for place in places):
        restored = from_network(run_tiled(model, degraded, omega, whole=math.inf))
        pictures["restored" if omega is None else format_omega(omega)] = restored
    if recipe.task != "style_transfer":
        pictures["clean"] = sample.clean
    return to_levels(contact_sheet([[*pictures.values()]], [*pictures]))
