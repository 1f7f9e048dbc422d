"""Recipes: one YAML file says everything about a training run (DESIGN, "A recipe").

A recipe may inherit from another (`base:`, relative to its own folder; its own values win, mappings
are merged key by key, lists are replaced). It is validated before anything heavy starts, and the
resolved recipe is stored beside the run and in the weights.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from tunable_core.degradations import Degradation, scale_of
from tunable_core.documents import DEPTH, check_depth, read_yaml
from tunable_core.errors import RecipeError, nearest, shown
from tunable_core.initial import Initial
from tunable_core.judges import DISCRIMINATOR, HOW, VGG, Discriminator
from tunable_core.layouts import count, layout
from tunable_core.networks import NetworkSpec
from tunable_core.objectives import CONV5_4_SIZE, RELU3_3_SIZE, UNSHARP_SIZE
from tunable_core.optimizers import KIND, Adam, Optimizer, with_kind
from tunable_core.sampling import Fixed, Sampler, Uniform, named
from tunable_core.schedule import Constant, Schedule
from tunable_core.schema import MOST, Place, Section, check_path

MOST_BYTES = 2**17  # of a recipe's file; the longest of this project has 2,000
MOST_BASES = 20  # recipes that inherit from each other
MOST_PARAMETERS = 2**30  # numbers that a network holds: 4 GiB, and three times as much in training
MOST_JUDGING = 2**26  # those of a discriminator, which `verify` makes of the recipe in a file: 256 MiB
MOST_PIXELS = 2**26  # of the clean pictures of a batch: 0.8 GB as floats

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Objective(Section):
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)
    weight: Weight = 1.0  # lambda_i of Eq. 7


class _Distance(_Objective):
    distance: Literal["l1", "l2", "charbonnier"] = "l1"


class Reconstruction(_Distance):
    """Distance of the restored picture to the clean one (SPEC 3, `rec`)."""

    kind: Literal["rec"]


class NoisePreservation(_Distance):
    """Distance to the clean picture with part of its noise left in (Eq. 9, `noise`)."""

    kind: Literal["noise"]
    nu: float = Field(0.9, ge=0, le=1)  # noise kept at most
    residual: Literal["keep", "remove"] = "keep"  # more omega: keep more noise, or remove more


class Sharpening(_Distance):
    """Distance to the target of another objective, of kind `noise`, sharpened (section 4.1.2, `blur`)."""

    kind: Literal["blur"]
    noise_objective: str  # the name of that other one
    gamma: float = Field(8.0, ge=0, allow_inf_nan=False)  # strongest sharpening


class Perceptual(_Distance):
    """rec_weight rec + vgg_weight vgg + adv_weight adv (section 4.1.3, `gan`); `distance` is that of `rec`.

    vgg is the L1 distance of VGG-19's conv5_4, adv says how much more real than the restored pictures the recipe's
    `discriminator` finds the clean ones.
    """

    kind: Literal["gan"]
    rec_weight: Weight = 0.01
    vgg_weight: Weight = 1.0
    adv_weight: Weight = 0.005


class Style(_Objective):
    """gram_weight gram + vgg_weight vgg + tv_weight tv + uv_weight uv (section 4.2, `style`).

    image  a picture in the style, shrunk to at most `size` pixels along its longer side
    """

    kind: Literal["style"]
    image: Place
    size: int = Field(512, ge=RELU3_3_SIZE, le=2**16)
    gram_weight: Weight = 1.0
    vgg_weight: Weight = 1.0
    tv_weight: Weight = 1.0
    uv_weight: Weight = 1.0


Objective = Annotated[Reconstruction | NoisePreservation | Sharpening | Perceptual | Style, Field(discriminator="kind")]


def noise_place(objectives: list[Objective], spec: Sharpening) -> int:
    """The place of the objective that `spec.noise_objective` names; ValueError where it is none of kind `noise`."""
    places = {objective.name: i for i, objective in enumerate(objectives) if objective.kind == "noise"}
    if spec.noise_objective not in places:
        known = ", ".join(places) or "there is none"
        raise ValueError(
            f"objective {spec.name}: noise_objective must name one of kind noise ({known}), not "
            f"{spec.noise_objective!r}{nearest(spec.noise_objective, places)}"
        )
    return places[spec.noise_objective]


class Omega(Section):
    """How training draws omega."""

    sampler: Annotated[Sampler, BeforeValidator(named)] = Uniform()
    per: Literal["sample", "batch"] = "sample"


class Loss(Section):
    """`sum` divides each sample's loss by max(sum_i omega_i, 1e-3), so that none fades near omega = 0."""

    normalise: Literal["none", "sum"] = "none"


class Data(Section):
    """Where photographs come from and how batches are made; `bundled` means an installed dependency's."""

    train: list[Place] = Field(min_length=1)
    validation: list[Place] = Field([], alias="validate")
    recursive: bool = False  # whether folders are taken with all folders in them
    patch: int = Field(64, ge=1, le=2**13)  # pixels of the degraded picture along each side
    batch: int = Field(16, ge=1, le=2**20)
    flip: bool = True  # random flips and transposition
    degradation: list[Degradation] = Field([], max_length=32)
    cache_gib: float = Field(2.0, ge=0)  # memory for decoded pictures
    workers: int = Field(1, ge=1, le=256)  # threads that prepare batches ahead

    @field_validator("train", "validation", mode="before")
    @classmethod
    def _one_or_many(cls, value):
        return [value] if isinstance(value, str) else value


class Validation(Section):
    """What is measured at every checkpoint: the first so many pictures of `data.validate`, their central crops."""

    pictures: int = Field(4, ge=1)
    size: int = Field(256, ge=8)  # pixels along each side, at most
    sigma: float = Field(15.0, ge=0, allow_inf_nan=False)  # noise, 1/255
    rho: float = Field(2.0, ge=0, allow_inf_nan=False)  # blur, pixels, where training blurs


class Checkpoint(Section):
    """A checkpoint every so many steps; the newest `keep` stay."""

    every: int = Field(1000, ge=1, le=MOST)
    keep: int = Field(3, ge=1, le=MOST)


class Recipe(Section):
    """A complete, valid recipe. The order of `objectives` is the order of omega; their number is p."""

    task: Literal["denoise", "denoise_real", "denoise_deblur", "super_resolution", "style_transfer"]
    network: NetworkSpec
    objectives: list[Objective] = Field(min_length=1, max_length=16)
    omega: Omega = Omega()
    loss: Loss = Loss()
    initial: Initial = Initial()
    vgg: VGG | None = None  # for objectives of kind gan and style
    discriminator: Discriminator = Discriminator()  # for those of kind gan
    data: Data
    optimizer: Annotated[Optimizer, BeforeValidator(with_kind)] = Adam()
    schedule: Annotated[Schedule, BeforeValidator(named)] = Constant()
    steps: int = Field(ge=1, le=MOST)
    checkpoint: Checkpoint = Checkpoint()
    validation: Validation = Validation()
    seed: int = Field(0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _consistent(self):
        names = [objective.name for objective in self.objectives]
        if len(set(names)) != len(names):
            raise ValueError(f"objectives need different names, not {', '.join(names)}")
        if self.adversarial and DISCRIMINATOR in names:
            raise ValueError(f"no objective may be named {DISCRIMINATOR!r}: the log has such a column already")
        self.omega.sampler.check(len(names))
        if not self.network.tunable and not isinstance(self.omega.sampler, Fixed):
            raise ValueError("a plain network (network.tunable: false) needs omega.sampler {kind: fixed, value: [...]}")
        self._check_sizes()
        return self

    def _check_sizes(self) -> None:
        shrunk, enlarged = scale_of(self.data.degradation), self.network.scale
        if shrunk != enlarged:
            raise ValueError(
                f"data.degradation shrinks pictures by {shrunk} and the network {self.network.name} enlarges them by "
                f"{enlarged}; they must be equal"
            )
        size, batch = self.data.patch * enlarged, self.data.batch
        if batch * size**2 > MOST_PIXELS:
            raise ValueError(
                f"data.batch {batch} of clean patches of {size}x{size} pixels has {batch * size**2} in all; "
                f"the limit is {MOST_PIXELS}"
            )
        judged = ((name, shape) for name, shape, *_ in (self.discriminator.specs() if self.adversarial else ()))
        network = layout(self.network, self.network_objectives)
        for what, held, most in (
            ("network", network, MOST_PARAMETERS),
            ("discriminator", judged, MOST_JUDGING),
        ):
            if count(held, most) > most:
                raise ValueError(f"the {what} would hold more than {most} parameters, the limit")
        for spec in self.objectives:
            if spec.kind in ("noise", "blur") and enlarged > 1:
                raise ValueError(
                    f"objective {spec.name} of kind {spec.kind} mixes clean and degraded pictures, but the network "
                    f"enlarges {enlarged} times"
                )
            if spec.kind == "blur":
                noise_place(self.objectives, spec)
            if spec.kind in ("gan", "style") and self.vgg is None:
                raise ValueError(f"objective {spec.name} needs VGG-19, and vgg is missing; {HOW}")
            least = self._least(spec)
            if size < least:
                raise ValueError(f"objective {spec.name} needs clean patches of at least {least} pixels, not {size}")

    def _least(self, spec: Objective) -> int:
        """Pixels that an objective needs along each side of the restored picture."""
        if spec.kind == "blur":
            return UNSHARP_SIZE // 2 + 1  # as far as its reflected borders go
        if spec.kind == "gan":
            return max(CONV5_4_SIZE, self.discriminator.least)
        return RELU3_3_SIZE if spec.kind == "style" else 1

    @property
    def num_objectives(self) -> int:
        return len(self.objectives)

    @property
    def adversarial(self) -> bool:
        """Whether a discriminator is trained beside the network."""
        return any(objective.kind == "gan" for objective in self.objectives)

    @property
    def network_objectives(self) -> int:
        """What the network is built with: p, or 0 for a plain network."""
        return self.num_objectives if self.network.tunable else 0

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain values that `parse` accepts again, without the judges that it has no use for."""
        unused = {name for name, used in (("vgg", self.vgg), ("discriminator", self.adversarial)) if not used}
        return self.model_dump(mode="json", by_alias=True, exclude=unused)


def parse(values: dict[str, Any], source: str = "recipe") -> Recipe:
    """Validate `values`, or raise RecipeError naming the first key at fault."""
    try:
        check_depth(values)
    except ValueError as error:
        raise RecipeError(f"{source}: {error}") from None
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = location(values, first)
        raise RecipeError(f"{source}: {where + ': ' if where else ''}{_message(first)}") from None


def location(values: Any, error: dict[str, Any]) -> str:
    """The dotted path of a pydantic error as `--set` takes it, without the kinds and names that pydantic adds."""
    parts, place = [], values
    for part in error["loc"]:
        if place == part or isinstance(place, dict) and part not in place and part in _tags(place):
            continue
        parts.append(str(part))
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            place = None
    if error["type"].startswith("union_tag") and error["ctx"]["discriminator"] == "'name'":  # a network
        parts.append("name")
    return ".".join(parts)


def _tags(place: dict) -> tuple:
    """What tells the members of a union apart: an objective's or optimizer's kind, a network's name."""
    return place.get("kind", KIND), place.get("name")


def _message(error: dict[str, Any]) -> str:
    """What pydantic found, with the nearest valid word where a word was wrong, and what was received."""
    kind, received = error["type"], error["input"]
    if kind == "value_error":
        return error["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return "is missing"
    if kind in ("union_tag_invalid", "literal_error"):
        expected = error["ctx"]["expected" if kind == "literal_error" else "expected_tags"]
        known = re.findall(r"'([^']*)'", expected)
        word = received if kind == "literal_error" else error["ctx"]["tag"]
        what = "value" if kind == "literal_error" or error["ctx"]["discriminator"] == "'name'" else "kind"
        return f"unknown {what} {shown(word)}{nearest(str(word), known)}; known: {', '.join(known)}"
    if kind == "union_tag_not_found" and error["ctx"]["discriminator"] == "'name'":
        return "is missing"
    if kind in ("union_tag_not_found", "model_attributes_type"):
        return f"wants keys, one of them `kind`, not {shown(received)}"
    if kind in ("too_short", "too_long"):
        return error["msg"].replace(" after validation", "")
    return f"{error['msg']}, not {shown(received)}"


def load_recipe(path: str | Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe with its bases, apply `a.b=value` overrides, validate."""
    values = _read(Path(path))
    for override in overrides or ():
        _override(values, override)
    return parse(values, str(path))


def expand(path: str) -> str:
    """Expand `${NAME}` in a path; an unset variable is a RecipeError."""

    def value(match):
        name = match.group(1)
        if name not in os.environ:
            raise RecipeError(f"path {path!r} needs the environment variable {name}, which is not set")
        return os.environ[name]

    return os.path.expanduser(re.sub(r"\$\{(\w+)\}", value, path))


def _read(path: Path) -> dict[str, Any]:
    """The values of a recipe, merged over those of its bases."""
    seen, layers = [], []
    while path is not None:
        path = _resolved(path)
        if path in seen:
            raise RecipeError(f"recipe {path} inherits from itself")
        if len(seen) > MOST_BASES:
            raise RecipeError(f"recipe {seen[0]} inherits from more than {MOST_BASES} others")
        seen.append(path)
        values = _read_one(path)
        layers.append(values)
        path = _base(path, values.pop("base", None))
    merged = layers.pop()
    while layers:
        merged = _merge(merged, layers.pop())
    return merged


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; NUL
        raise RecipeError(f"cannot read recipe {path}: {error}") from None


def _base(path: Path, base: Any) -> Path | None:
    if base is None:
        return None
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base must be a path relative to this file, not {shown(base)}")
    try:
        return path.parent / check_path(base)
    except ValueError as error:
        raise RecipeError(f"{path}: base: {error}") from None


def _read_one(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise RecipeError(f"recipe {path} has more than {MOST_BYTES} bytes")
        values = read_yaml(text.decode("utf-8"))
    except OSError as error:
        raise RecipeError(f"cannot read recipe {path}: {error.strerror}") from None
    except ValueError as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path} must hold a mapping of keys, not {type(values).__name__}")
    return values


def _merge(below: dict, above: dict) -> dict:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        # another kind of a thing replaces it whole: keys of the old kind would not fit
        same = both and all(value.get(tag, merged[key].get(tag)) == merged[key].get(tag) for tag in ("kind", "name"))
        merged[key] = _merge(merged[key], value) if same else value
    return merged


def _override(values: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise RecipeError(f"--set wants KEY=VALUE such as data.batch=8, not {shown(text)}")
    *parents, last = path.split(".")
    if len(parents) >= DEPTH:
        raise RecipeError(f"--set {shown(text)}: a key of at most {DEPTH} parts is wanted, not of {len(parents) + 1}")
    place: Any = values
    for depth, key in enumerate(parents):
        if isinstance(place, dict):
            place = place.setdefault(key, {})
        elif _holds(place, key):
            place = place[int(key)]
        else:
            raise RecipeError(f"--set {text}: nothing at {'.'.join(parents[: depth + 1])}")
    try:
        parsed = read_yaml(value)
    except ValueError as error:
        raise RecipeError(f"--set {text}: {shown(value)} is not a YAML value: {error}") from None
    if isinstance(place, dict):
        place[last] = parsed
    elif _holds(place, last):
        place[int(last)] = parsed
    else:
        raise RecipeError(f"--set {text}: nothing at {path}")


def _holds(place: Any, key: str) -> bool:
    """Whether `key` counts an item of the list `place`."""
    return isinstance(place, list) and key.isdecimal() and len(key) < 9 and int(key) < len(place)
