"""The models that ship with the package and are found by name, each with a card that says what it is and is not."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tunable.errors import CheckpointError, OmegaError, nearest, shown
from tunable.models import hub


@dataclass(frozen=True)
class Shipped:
    """A model that ships.

    Attributes:
        name: by which it is found.
        purpose: what it is for, in a few words.
        omega: (p,), the setting that is taken where none is asked for; () for a model that has none.
        presets: settings (p,) that have a name.
        shares: whether the knobs are the shares of a mixture: one that is not named is 0, and a sweep shows mixtures.
    """

    name: str
    purpose: str
    omega: tuple[float, ...] = ()
    presets: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    shares: bool = False

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
    for model in [
        Shipped(
            "photo",
            "cleans photographs as cameras make them, with knobs for strength, colour noise and detail",
            (1.0, 1.0, 0.0),
            {"natural": (0.8, 1.0, 0.2), "clean": (1.0, 1.0, 0.0), "grain": (0.4, 1.0, 0.2)},
        ),
        Shipped(
            "deblur",
            "sharpens photographs that are slightly out of focus, and cleans them",
            (1.0, 1.0, 1.0),
            {"natural": (0.8, 1.0, 0.7), "sharp": (1.0, 1.0, 1.0), "clean": (1.0, 1.0, 0.0)},
        ),
        Shipped(
            "denoise",
            "removes white Gaussian noise of unknown strength, sigma 0 to 55",
            (1.0, 0.0),
            {"natural": (0.8, 0.2), "clean": (1.0, 0.0), "grain": (0.5, 0.5)},
        ),
        Shipped(
            "styles",
            "repaints photographs in the styles of three paintings, and in mixtures of them",
            (1.0, 0.0, 0.0),
            {
                "wave": (1.0, 0.0, 0.0),
                "composition": (0.0, 1.0, 0.0),
                "auvers": (0.0, 0.0, 1.0),
                "mixed": (1.0, 1.0, 1.0),
            },
            shares=True,
        ),
        Shipped(
            "upscale4",
            "enlarges photographs four times, with a knob from faithful to sharp",
            (0.5,),
            {"faithful": (0.0,), "natural": (0.5,), "sharp": (1.0,)},
        ),
    ]
}


def shipped(model: str | Path) -> Shipped | None:
    """Return the model that ships under a name; None where it is a path. A file or folder of that name is one."""
    return None if os.path.lexists(model) else MODELS.get(str(model))


def default_omega(model: str | Path) -> tuple[float, ...]:
    """Return the setting (p,) of a model that ships where none is asked for; () for any other."""
    known = shipped(model)
    return known.omega if known else ()


def unnamed_omega(model: str | Path) -> tuple[float, ...]:
    """Return where the knobs (p,) of a model that ships stand that a setting does not name; () for any other."""
    known = shipped(model)
    return (0.0,) * len(known.omega) if known and known.shares else default_omega(model)


def sweep_start(model: str | Path) -> tuple[float, ...]:
    """Return what `tunable.omega.sweep` takes as `start` for a model: () where it shows mixtures, or has no default."""
    known = shipped(model)
    return () if known and known.shares else default_omega(model)


def find(model: str | Path) -> str | Path:
    """Return the file that a user names: a path, the name of a model that ships, or a model on the Hugging Face hub.

    Args:
        model: a path, which need not exist; a folder, such as that of a run, which holds model.safetensors; a name,
            before which a file or folder of that name goes; or what `tunable.models.hub.fetch` takes.

    Returns:
        The path of the weights file, or what was given.

    Raises:
        CheckpointError: for a word that is no file and no name, if nothing in it looks like a path; for a folder
            without a model; and for what cannot be fetched.
        TunableError: where the hub's package is not installed.
    """
    if hub.is_hub_id(model):
        return hub.fetch(str(model))
    known = shipped(model)
    if known:
        return known.path
    if os.path.isdir(model):
        inside = Path(model) / hub.FILE
        if not inside.is_file():
            raise CheckpointError(f"{model} is a folder without {hub.FILE}: name a weights file, or a run's folder")
        return inside
    if re.fullmatch(r"[\w-]+", str(model)) and not os.path.lexists(model):
        hint = nearest(str(model), MODELS) or f"; known: {', '.join(MODELS)}"
        raise CheckpointError(f"no such weights file: {model}, and no model that ships has this name{hint}")
    return model


def preset_of(model: str | Path, preset: str) -> np.ndarray:
    """Return the setting (p,) that a model which ships has under a name.

    Raises:
        OmegaError: for another name, or a model without any.
    """
    known = shipped(model)
    presets = known.presets if known else {}
    if preset not in presets:
        listed = ", ".join(presets)
        raise OmegaError(
            f"{model} has no preset {shown(preset)}"
            + (
                f"{nearest(preset, presets)}; its presets are {listed}"
                if listed
                else ": only models that ship have any"
            )
        )
    return np.array(presets[preset], np.float32)
