"""Packs: the float64 truth of one network in a file, so that another machine is judged without the framework that
computed it.

A pack holds the inputs, every omega, and for each the truth's layer outputs, network output, loss and gradients, then
its training steps, the model's gaps (of which limits are made), and the facts of the machine that recorded it. An
optimizer needs nothing of it, for numpy is its truth. Of a tensor of more than `size` values it holds a sketch: `size`
sums, each of the values that fall to it by their place, with signs that fall likewise. Every value enters one sum, and
the sketch of a - b is as long as a - b itself to within 1 / sqrt(2 size), so that errors are measured on sketches as on
tensors (M. Charikar et al., "Finding frequent items in data streams", 2002).
"""

import json
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, TypeAdapter

from tunable.backends.protocol import LossReport
from tunable.certificate.inputs import Inputs
from tunable.certificate.programs import Reading, Result, Tensors, Training, Weights
from tunable.certificate.truth import Exact
from tunable.errors import CheckpointError, RecipeError
from tunable.specs.documents import read_json
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe, parse
from tunable.specs.schema import Section
from tunable.tolerances import TOLERANCES
from tunable.version import __version__
from tunable.weights import storage

FORMAT, EARLIER = "tunable-convolutions-pack/2", "tunable-convolutions-pack/1"
SECTIONS = ("task", "network", "objectives", "loss", "optimizer", "vgg", "discriminator")  # of the recipe
# What an earlier pack holds of its training steps, which were judged by every weight, and their gaps: not used now.
EARLIER_TENSORS = ("losses", "state", "weight", "exempt", "resting")
EARLIER_GAPS = ("optimizer state", "steps: loss", "steps: weights")
NUMBERS = 400_000  # float64 numbers that a pack may hold, about: 3 MB
SIZES = (16, 64)  # of a sketch, at least and at most: errors are then known to 18 and to 9 %


class _Stored(Section):
    """A pack's metadata, each value JSON."""

    weights: str
    network: NetworkSpec
    recipe: dict
    size: int = Field(ge=1, le=4096)
    gaps: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]
    zeros: dict[str, str]
    facts: dict[str, dict[str, str]]
    writer: str


@dataclass
class Pack:
    """A truth that was recorded, asked as `Exact` is.

    Attributes:
        tensors: what was recorded, by name.
        stored: the pack's metadata.
        inputs: what every program was given.
        recipe: of the weights file; None where it names none.
        earlier: whether an earlier version wrote the pack, whose training steps are not used.
        name: what rows call it.
    """

    tensors: Tensors
    stored: _Stored
    inputs: Inputs
    recipe: Recipe | None
    earlier: bool = False
    name: str = "pack"

    @property
    def gaps(self) -> dict[str, float]:
        """Return the model's gap at every stage whose limit follows it."""
        return self.stored.gaps

    @property
    def zeros(self) -> dict[str, str]:
        """Return the parameters whose true gradient is zero at every omega, with the reason."""
        return self.stored.zeros

    @property
    def references(self) -> Tensors:
        """Return, for every stage, the distance of PyTorch's float32 from the truth at every setting."""
        return self._under("reference/")

    def read(self, inputs: Inputs, index: int, omega: np.ndarray) -> Reading:
        """Return the truth at a setting, as it was recorded.

        Args:
            inputs: the pack's own; they are not looked at.
            index: the place of the setting among `Inputs.settings`.
            omega: the setting, which is not looked at.
        """
        report = None
        if self.recipe:
            gradients = {name: value[index] for name, value in self._under("gradient/").items()}
            report = LossReport(float(self.tensors["loss"][index]), self.tensors["terms"][index], gradients)
        mixed = self._under("mixed/layer/") if index == len(self.inputs.omegas) else {}
        layers = {n: mixed[n] if n in mixed else value[index] for n, value in self._under("layer/").items()}
        return Reading(layers, self.tensors["output"][index], report, {})

    def train(self, inputs: Inputs) -> Training | None:
        """Return the truth of the training steps; None where an earlier version recorded them otherwise."""
        if self.earlier:
            return None
        recorded = self._under("training/")
        return Training(recorded["losses"], recorded.get("discriminator", np.zeros(0)), recorded["output"], {})

    def reduced(self, result: Result) -> Result:
        """Return a program's result with a sketch in place of every tensor, as the pack holds the truth."""
        return result.reduced(self._sketch)

    def _sketch(self, value: np.ndarray) -> np.ndarray:
        return sketch(value, self.stored.size)

    def _under(self, prefix: str) -> Tensors:
        """In the order of `names`, which the file itself does not keep."""
        return {name.removeprefix(prefix): self.tensors[name] for name in self.tensors if name.startswith(prefix)}


class Recorder:
    """Stands before an `Exact`, asked as that is, and notes what it answers.

    Args:
        exact: the truth.
        inputs: of the certificate.
        weights: the weights file.
    """

    def __init__(self, truth: Exact, inputs: Inputs, weights: Weights) -> None:
        self._truth, self._inputs, self._weights = truth, inputs, weights
        room = NUMBERS // ((len(inputs.omegas) + 1) * 2 * len(weights.tensors))
        self.size = int(np.clip(room, *SIZES))
        self._rows: dict[str, list[np.ndarray]] = {}
        self._tensors: Tensors = {f"inputs/{name}": value for name, value in inputs._asdict().items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._truth, name)

    def read(self, inputs: Inputs, index: int, omega: np.ndarray) -> Reading:
        """Return the truth at setting `index` of the inputs, and note it."""
        reading = self._truth.read(inputs, index, omega)
        noted = reading.reduced(partial(sketch, size=self.size))
        values = {"output": noted.output, **{f"layer/{name}": value for name, value in noted.layers.items()}}
        if noted.report:
            values |= {"loss": np.asarray(noted.report.loss, np.float64), "terms": noted.report.terms}
            values |= {f"gradient/{name}": value for name, value in noted.report.gradients.items()}
        for name, value in values.items():
            self._rows.setdefault(name, []).append(value)
        return reading

    def train(self, inputs: Inputs) -> Training:
        """Return the truth of the training steps, and note it."""
        training = self._truth.train(inputs)
        noted = training.reduced(partial(sketch, size=self.size))
        self._tensors |= {"training/losses": noted.losses, "training/output": noted.output}
        if noted.discriminator.size:
            self._tensors["training/discriminator"] = noted.discriminator
        return training

    def write(self, path: str | Path, recipe: Recipe | None, facts: dict[str, dict[str, str]]) -> None:
        """Write the pack atomically.

        Args:
            path: the file.
            recipe: of the weights file; None where it names none.
            facts: of the machine and of the framework that computed the truth.

        Raises:
            TunableError: for a file that cannot be written.
        """
        tensors = dict(self._tensors)
        for name, rows in self._rows.items():
            if rows[-1].shape != rows[0].shape:  # a free parameter has a value for every sample, or one for all
                tensors["mixed/" + name] = rows.pop()
            tensors[name] = np.stack(rows)
        tensors |= {f"reference/{stage}": errors for stage, errors in self.references.items()}
        whole = recipe.to_dict() if recipe else {}
        sections = {key: whole[key] for key in whole if key in SECTIONS}
        if whole:  # a network that enlarges wants to know by how much pictures are shrunk
            sections["data"] = {"train": "bundled", "degradation": whole["data"].get("degradation", [])}
        stored = _Stored(
            weights=storage.digest(self._weights.tensors),
            network=self._weights.header.network,
            recipe={**sections, "steps": len(self._inputs.steps)} if sections else {},
            size=self.size,
            gaps={stage: gap for stage, gap in self.gaps.items() if TOLERANCES[stage].most},
            zeros=self.zeros,
            facts=facts,
            writer=f"tunable-convolutions {__version__}",
        )
        metadata = {key: json.dumps(value) for key, value in stored.model_dump(mode="json").items()}
        metadata |= {"format": FORMAT, "names": json.dumps(list(tensors))}
        storage.save_tensors(path, tensors, metadata)


def read_pack(path: str | Path, weights: Weights) -> Pack:
    """Read a pack, and check that it was recorded from these weights.

    Args:
        path: the pack.
        weights: the weights file that is judged.

    Raises:
        CheckpointError: for a file that is missing, damaged or no pack, and for a pack of other weights.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no such pack: {path}")
    tensors, metadata = storage.load_tensors(path)
    received = metadata.get("format", "")
    if received not in (FORMAT, EARLIER):
        kind, _, version = received.rpartition("/")
        newer = kind == FORMAT.rpartition("/")[0] and version.isdigit()
        what = "is a pack of a newer version of this program" if newer else "is not a pack that --record wrote"
        raise CheckpointError(f"{path} {what}: format {received or None!r}, wanted {FORMAT!r}")
    if storage.DIGEST not in metadata:
        raise CheckpointError(f"{path} is damaged: it lacks its digest; record it again")
    try:
        stored = _Stored.model_validate({key: read_json(metadata[key]) for key in _Stored.model_fields})
        names = TypeAdapter(list[str]).validate_python(read_json(metadata["names"]))
        if received == EARLIER:
            names = [name for name in names if name.partition("/")[0] not in EARLIER_TENSORS]
            gaps = {stage: gap for stage, gap in stored.gaps.items() if stage not in EARLIER_GAPS}
            stored = stored.model_copy(update={"gaps": gaps})
        tensors = {name: tensors[name] for name in names}
        inputs = Inputs(**{name: tensors["inputs/" + name] for name in Inputs._fields})
        recipe = parse(stored.recipe, str(path)) if stored.recipe else None
        unknown = stored.gaps.keys() - {stage for stage, row in TOLERANCES.items() if row.most}
        if unknown:
            raise ValueError(f"gaps of unknown stages: {', '.join(sorted(unknown))}")
    except KeyError as error:
        raise CheckpointError(f"{path} is not a pack that this version can read: it lacks {error}") from None
    except (ValueError, RecipeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path} is not a pack that this version can read: {reason}") from None
    if stored.network != weights.header.network:
        network = stored.network.model_dump(mode="json")
        raise CheckpointError(f"{path} was recorded from another network than {weights.source}: {network}")
    if stored.weights != storage.digest(weights.tensors):
        raise CheckpointError(f"{path} was recorded from other weights than those of {weights.source}")
    pack = Pack(tensors, stored, inputs, recipe, received == EARLIER)
    if fault := _fault(pack, weights):
        raise CheckpointError(f"{path} does not fit its own network: {fault}")
    return pack


def _fault(pack: Pack, weights: Weights) -> str:
    """What of a pack's tensors is not as `Recorder` writes them, so far as reading relies on it; "" when nothing is."""
    tensors, p, scale = pack.tensors, weights.header.num_objectives, weights.header.network.scale
    count, _, height, width = pack.inputs.degraded.shape if pack.inputs.degraded.ndim == 4 else (0,) * 4
    settings, steps = len(pack.inputs.omegas), len(pack.inputs.steps)
    shapes = {
        "inputs/degraded": (count, 3, height, width),
        "inputs/clean": (count, 3, scale * height, scale * width),
        "inputs/omegas": (settings, p),
        "inputs/mixed": (count, p),
        "inputs/steps": (steps, count, p),
    }
    if pack.recipe:
        shapes |= {"loss": (settings + 1,), "terms": (settings + 1, p)}
        if pack.recipe.num_objectives != p or pack.recipe.network.scale != scale:
            return f"its recipe has {pack.recipe.num_objectives} objectives and scale {pack.recipe.network.scale}"
    if "output" not in tensors:
        return "it lacks the output"
    if pack.recipe and not pack.earlier:
        shapes |= {"training/losses": (steps,), "training/output": tensors["output"].shape[1:]}
        if pack.recipe.adversarial:
            shapes["training/discriminator"] = (steps,)
    for name, shape in shapes.items():
        received = tensors[name].shape if name in tensors else None
        if received != shape or 0 in shape:
            return f"{name} has shape {received}, where {shape} is wanted"
    for name, value in tensors.items():
        kind = name.partition("/")[0]
        rows = settings + (f"mixed/{name}" not in tensors)
        if (name == "output" or kind in ("layer", "gradient")) and (value.ndim != 2 or len(value) != rows):
            return f"{name} has shape {value.shape}, where ({rows}, n) is wanted"
        if kind == "reference" and value.shape != (settings + 1,):
            return f"{name} has shape {value.shape}, where ({settings + 1},) is wanted"
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            return f"{name} is {value.dtype}, or not finite, where finite numbers are wanted"
    return ""


def sketch(value: np.ndarray, size: int) -> np.ndarray:
    """Return the values of a tensor in float64 if there are at most `size`, else `size` signed sums of them.

    Args:
        value: a tensor of any shape.
        size: the most values that are kept.

    Returns:
        A tensor of the same shape, or (size,).
    """
    flat = np.asarray(value, dtype=np.float64).ravel()
    if flat.size <= size:
        return flat
    place, sign = _places(flat.size, size)
    return np.bincount(place, weights=flat * sign, minlength=size)


@lru_cache(maxsize=32)
def _places(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The sum that each of `count` values enters, and its sign; written out, for packs must outlive numpy's streams."""
    x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # SplitMix64
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return ((x >> np.uint64(1)) % np.uint64(size)).astype(np.int64), 1.0 - 2.0 * (x & np.uint64(1)).astype(float)
