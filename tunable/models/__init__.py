"""The models that ship with the package and are found by name, each with a card that says what it is and is not."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tunable.errors import CheckpointError, nearest


@dataclass(frozen=True)
class Shipped:
    """A model that ships.

    Attributes:
        name: by which it is found.
        purpose: what it is for, in a few words.
        omega: (p,), the setting that is taken where none is asked for; () for a model that has none.
    """

    name: str
    purpose: str
    omega: tuple[float, ...] = ()

    @property
    def path(self) -> Path:
        """Its weights file."""
        return Path(__file__).parent / f"{self.name}.safetensors"

    @property
    def card(self) -> Path:
        """The page that says how it was trained, what it reaches and where it fails."""
        return self.path.with_suffix(".md")


MODELS = {
    model.name: model
    for model in [Shipped("denoise", "removes white Gaussian noise of unknown strength, sigma 0 to 55", (1.0, 0.0))]
}


def shipped(model: str | Path) -> Shipped | None:
    """Return the model that ships under a name; None where it is a path. A file or folder of that name is one."""
    return None if os.path.lexists(model) else MODELS.get(str(model))


def find(model: str | Path) -> str | Path:
    """Return the file that a user names: a path, or the name of a model that ships.

    Args:
        model: a path, which need not exist, or a name. A file or folder of that name goes before the model.

    Returns:
        The path of the model that ships, or what was given.

    Raises:
        CheckpointError: for a word that is no file and no name, if nothing in it looks like a path.
    """
    known = shipped(model)
    if known:
        return known.path
    if re.fullmatch(r"[\w-]+", str(model)) and not os.path.lexists(model):
        hint = nearest(str(model), MODELS) or f"; known: {', '.join(MODELS)}"
        raise CheckpointError(f"no such weights file: {model}, and no model that ships has this name{hint}")
    return model
