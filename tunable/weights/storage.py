"""The weights file: one `*.safetensors` for both frameworks (docs/design.md, "The weights file").

Tensor names and shapes are equal in both twins, so nothing is mapped. The header (safetensors metadata) says what the
network is, so that one file is enough to restore a picture. Pickle is never read.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, ValidationError, field_validator
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialised  # pyright: ignore[reportUnknownVariableType]  # its arrays have no type

from tunable.arrays import Tensors
from tunable.errors import CheckpointError, RecipeError, nearest, shown
from tunable.files import atomic
from tunable.images.pictures import MAX_PIXELS
from tunable.parameters.layouts import Parameter, layout, misfit
from tunable.parameters.specs import ParameterSpec
from tunable.specs.documents import is_mapping, read_json
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe, parse
from tunable.specs.schema import Section
from tunable.specs.validation import first_fault
from tunable.trained import MOST, Part, parts_of, parts_of_recipe
from tunable.version import __version__
from tunable.weights.run_state import STATE_FORMAT, RunState

FORMAT = "tunable-convolutions/1"
WEIGHTS = "weights."  # how the names of a network's tensors begin there
AVERAGES = "state.average."  # and those of their averages, where the run makes any
MOST_HEADER = 2**24  # bytes of a header in JSON: as many as 100,000 tensors need
FAMILY = FORMAT.partition("/")[0]  # how all formats of this project begin
MADE_TUNABLE = f"{FAMILY}/tuned/1"  # of the files that make_tunable's networks write without a builder
DIGEST = "digest"  # the metadata that holds what `digest` found when the file was written

_Finite = Annotated[float, Field(allow_inf_nan=False)]
_OTHERS_HINT = " (weights of other programs: tunable convert)"
_TUNED_HINT = " (make_tunable wrote it without save(..., builder=...), which says what makes its network)"


def _is_a_name(name: str) -> str:
    """An objective's, or ValueError: recipes take letters, digits and "_"; programs that convert weights took any."""
    if not name.isprintable():
        raise ValueError(f"the name of an objective must be printable, which {shown(name)} is not")
    return name


_Name = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_is_a_name)]
_Side = Annotated[int, Field(ge=1, le=MAX_PIXELS)]


class _Stored(Section):
    """The header as JSON values."""

    network: NetworkSpec
    objectives: list[_Name] = Field(max_length=1000)
    omega_range: list[tuple[_Finite, _Finite]] = Field(max_length=1000)
    recipe: dict[str, Any]
    writer: str
    folded_at: Annotated[list[_Finite], Field(max_length=1000)] | None = None
    size: tuple[_Side, _Side] | None = None
    history: list[dict[str, str]] = []
    step: int | None = Field(None, ge=0)
    part: Literal["heads", "planes", "trunk", "tail"] | None = None
    trained: Annotated[list[Part], Field(min_length=1, max_length=MOST)] | None = None

    @field_validator("size")
    @classmethod
    def _a_picture(cls, size: tuple[int, int] | None) -> tuple[int, int] | None:
        if size and math.prod(size) > MAX_PIXELS:
            raise ValueError(f"a picture of {size[0]}x{size[1]} pixels exceeds the limit, {MAX_PIXELS}")
        return size


@dataclass(frozen=True)
class UnreadRecipe:
    """A recipe that this version does not accept, most often because another version wrote it.

    The network runs without it, and a file that is made of this one holds it unchanged.

    Attributes:
        values: the recipe as it stands in the file.
        reason: what this version does not accept, in one line that names the file and the key.
    """

    values: dict[str, Any]
    reason: str = field(compare=False)


@dataclass(frozen=True)
class Header:
    """What a weights file says of itself.

    Attributes:
        network: the network's name and arguments.
        objectives: their names in omega's order, p of them; () for a plain network.
        omega_range: the trained range, one (low, high) per objective.
        recipe: the complete recipe that the network was trained with; None where the file names none.
        unread: instead of `recipe`, one that this version does not accept.
        part: what of the network an exported graph holds: `heads`, `trunk` or `tail`; None, or `planes`, for all of it.
        folded_at: omega (p,) at which a plain network was folded; None for one that was not folded.
        writer: the program and version that wrote the file.
        size: height and width in pixels that an exported graph is fixed to; None for any size.
        history: the facts of all frameworks and machines that trained, each with the step `from` which it did; or ().
        step: the step after which a run's checkpoint was written; None for finished weights.
        trained: where omega was in training (tunable.trained); None where that is unknown.
    """

    network: NetworkSpec
    objectives: tuple[str, ...] = ()
    omega_range: tuple[tuple[float, float], ...] = ()
    recipe: Recipe | None = None
    writer: str = f"tunable-convolutions {__version__}"
    size: tuple[int, int] | None = None
    history: tuple[dict[str, str], ...] = ()
    step: int | None = None
    trained: tuple[Part, ...] | None = None
    folded_at: tuple[float, ...] | None = None
    unread: UnreadRecipe | None = None
    part: str | None = None

    @property
    def num_objectives(self) -> int:
        """p, the length of omega; 0 for a plain network."""
        return len(self.objectives)

    @property
    def recipe_values(self) -> dict[str, Any]:
        """The recipe as plain values, whether this version accepts it or not; {} where the file names none."""
        if self.unread:
            return self.unread.values
        return self.recipe.to_dict() if self.recipe else {}

    def known_recipe(self) -> Recipe | None:
        """Return the recipe that the network was trained with; None where the file names none.

        Raises:
            RecipeError: for a recipe that this version does not accept.
        """
        if self.unread:
            raise RecipeError(self.unread.reason)
        return self.recipe

    @classmethod
    def of(cls, recipe: Recipe, step: int | None = None, history: Sequence[dict[str, str]] = ()) -> "Header":
        """Make the header of weights trained with `recipe`.

        Only a history of several parts is kept: an undisturbed run has the same header on every machine.
        """
        names = tuple(objective.name for objective in recipe.objectives) if recipe.network.tunable else ()
        history = tuple(history) if len(history) > 1 else ()
        ranges = recipe.drawn.span(len(names)) if names else ()
        trained = parts_of(recipe.drawn) if names else None
        return cls(recipe.network, names, ranges, recipe, history=history, step=step, trained=trained)

    def to_metadata(self) -> dict[str, str]:
        """Return the metadata of a weights file, every value as JSON."""
        values = {
            "network": self.network.model_dump(mode="json", by_alias=True),
            "objectives": self.objectives,
            "omega_range": self.omega_range,
            "recipe": self.recipe_values,
            "writer": self.writer,
            **{key: value for key in ("folded_at", "size", "history", "step", "part") if (value := getattr(self, key))},
        }
        if self.trained:
            values["trained"] = [part.model_dump(exclude_defaults=True) for part in self.trained]
        return {"format": FORMAT, **{key: json.dumps(value) for key, value in values.items()}}

    @classmethod
    def from_metadata(
        cls, metadata: dict[str, str] | None, source: str | Path, kind: str = "a weights file"
    ) -> "Header":
        """Read the header from a file's metadata.

        Args:
            metadata: of the file.
            source: the file, for messages.
            kind: what the file should be, for messages.

        Raises:
            CheckpointError: for a file of another format, and for a damaged header.
        """
        metadata = metadata or {}
        format = metadata.get("format")
        if format != FORMAT:
            raise CheckpointError(
                f"{source} is not {kind} of this project: format {format!r}, wanted {FORMAT!r}"
                + (_TUNED_HINT if format == MADE_TUNABLE else _OTHERS_HINT)
            )
        values: dict[str, Any] = {}
        try:
            kept = {key: field for key, field in _Stored.model_fields.items() if field.is_required() or key in metadata}
            values = _with_folded_at({key: read_json(metadata[key]) for key in kept})
            stored = _Stored.model_validate(values)
        except ValidationError as error:
            raise CheckpointError(f"{source} has a damaged header: {first_fault(error, values)}") from None
        except KeyError as error:
            raise CheckpointError(f"{source} has a damaged header: it lacks {error}") from None
        except ValueError as error:
            raise CheckpointError(f"{source} has a damaged header: not JSON: {error}") from None
        names, ranges = tuple(stored.objectives), tuple(stored.omega_range)
        trained = tuple(stored.trained) if stored.trained else parts_of_recipe(stored.recipe) if names else None
        recipe, unread = _read_recipe(stored.recipe, source)
        folded_at = None if stored.folded_at is None else tuple(stored.folded_at)
        header = cls(
            stored.network, names, ranges, recipe, stored.writer, stored.size, tuple(stored.history), stored.step,
            trained, folded_at, unread, stored.part,
        )  # fmt: skip
        if len(ranges) != len(names) or len(set(names)) != len(names) or header.network.tunable != bool(names):
            raise CheckpointError(
                f"{source} has a damaged header: {len(ranges)} ranges, objectives {shown(names)}, "
                f"tunable {header.network.tunable}"
            )
        if header.part and not names:
            raise CheckpointError(f"{source} has a damaged header: part {header.part!r}, but no objectives")
        for what, count in ((f"{len(names)} objectives", len(names)), ("folded_at", len(folded_at or ()))):
            if recipe and count and count != recipe.num_objectives:
                raise CheckpointError(
                    f"{source} has a damaged header: {what}, trained by a recipe of {recipe.num_objectives}"
                )
        return header


def _with_folded_at(values: dict[str, Any]) -> dict[str, Any]:
    """The values of a header with `folded_at` in its own place; earlier versions wrote it into the recipe."""
    recipe = values["recipe"]
    if not is_mapping(recipe) or "folded_at" not in recipe:
        return values
    rest = {key: value for key, value in recipe.items() if key != "folded_at"}
    return {"folded_at": recipe["folded_at"], **values, "recipe": rest}


def _read_recipe(values: dict[str, Any], source: str | Path) -> tuple[Recipe | None, UnreadRecipe | None]:
    """A recipe as it stands in a file: accepted or unread; neither where the file names none."""
    if not values:
        return None, None
    try:
        return parse(values, f"the recipe in {source}"), None
    except RecipeError as error:
        return None, UnreadRecipe(values, str(error))


def save(path: str | Path, tensors: Tensors, header: Header) -> None:
    """Write float32 tensors, by name, and a header as a weights file, atomically."""
    save_tensors(path, tensors, header.to_metadata())


def save_tensors(path: str | Path, tensors: Tensors, metadata: dict[str, str]) -> None:
    """Write any safetensors file atomically, `digest` among its metadata; equal content makes equal files."""
    metadata = {**metadata, DIGEST: digest(tensors, metadata)}
    content = serialised({name: np.ascontiguousarray(value) for name, value in tensors.items()}, metadata)
    size = int.from_bytes(content[:8], "little")
    # The library writes metadata in an order that changes from call to call.
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors stay aligned
    with atomic(path) as temporary, open(temporary, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.write(memoryview(content)[8 + size :])


def digest(tensors: Tensors, metadata: dict[str, str] | None = None) -> str:
    """Return the SHA-256 of metadata but for DIGEST, and of names, types, shapes and values in the order of names."""
    facts = {key: value for key, value in (metadata or {}).items() if key != DIGEST}
    sha = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        value = np.ascontiguousarray(tensors[name])
        sha.update(f"{name} {value.dtype.str} {value.shape}".encode())
        sha.update(value.tobytes())
    return sha.hexdigest()


def load(path: str | Path) -> tuple[Tensors, Header]:
    """Read tensors (float16 as float32) and header of a weights file or a checkpoint. Raises CheckpointError."""
    tensors, metadata = load_tensors(path)
    if metadata.get("format") == STATE_FORMAT:
        return _weights_of_run(tensors, metadata, path)
    halves = {name: value.astype(np.float32) for name, value in tensors.items() if value.dtype == np.float16}
    return {**tensors, **halves}, Header.from_metadata(metadata, path)


def last_weights(path: str | Path) -> Tensors:
    """Read the last weights of a checkpoint of a run that averages them, where `load` takes the averages.

    Raises:
        CheckpointError: for a file that cannot be read, or that holds no averages beside the weights.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != STATE_FORMAT or not any(name.startswith(AVERAGES) for name in tensors):
        raise CheckpointError(
            f"{path} has one set of weights: the last ones are picked from a checkpoint of a run that averages them, "
            "and after its end are model_last.safetensors"
        )
    return {name.removeprefix(WEIGHTS): value for name, value in tensors.items() if name.startswith(WEIGHTS)}


def _weights_of_run(tensors: Tensors, metadata: dict[str, str], path: str | Path) -> tuple[Tensors, Header]:
    state = RunState.of(metadata, path)
    try:
        header = Header.of(parse(state.recipe, str(path)), state.step, state.history)
    except RecipeError as error:
        raise CheckpointError(f"{error}; it takes the version that made it to read it") from None
    kind = AVERAGES if any(name.startswith(AVERAGES) for name in tensors) else WEIGHTS  # the averages are the result
    return {name.removeprefix(kind): value for name, value in tensors.items() if name.startswith(kind)}, header


def check_header(path: str | Path) -> None:
    """Raise ValueError where the header of a safetensors file, which names its tensors, is longer than MOST_HEADER."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if MOST_HEADER < size < Path(path).stat().st_size:
        raise ValueError(f"its header has {size} bytes, the limit is {MOST_HEADER}")


def load_tensors(path: str | Path) -> tuple[Tensors, dict[str, str]]:
    """Read any safetensors file: its tensors and its metadata. Raises CheckpointError.

    It is raised, too, for a file of this project that is not what was written; earlier versions wrote no digest.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"no such weights file: {path}")
    try:
        check_header(path)
        opened: Any = safe_open(path, framework="numpy")
        with opened as file:
            tensors: Tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            for name, value in tensors.items():
                if value.dtype.kind == "V":  # a type that numpy lacks, and that another package has taught it
                    raise TypeError(f"tensor {name!r} is {value.dtype}")
            metadata: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:  # the last: 8-bit floats
        hint = "" if Path(path).suffix.lower() == ".safetensors" else _OTHERS_HINT
        raise CheckpointError(
            f"{path} is not a readable safetensors file: {' '.join(str(error).split())}{hint}"
        ) from None
    recorded, ours = metadata.get(DIGEST), metadata.get("format", "").startswith(FAMILY)  # others may mean another
    if ours and recorded is not None and recorded != digest(tensors, metadata):
        raise CheckpointError(f"{path} is damaged: its content is not what its digest says")
    if ours and recorded is None and any(re.fullmatch("[0-9a-f]{64}", value) for value in metadata.values()):
        raise CheckpointError(f"{path} is damaged: its digest stands under another name")
    return tensors, metadata


def check_network(tensors: Tensors, header: Header, source: str | Path = "weights") -> None:
    """Raise CheckpointError unless `tensors` are exactly what the header's network holds, which is not built for it."""
    if fault := misfit(header.network, header.num_objectives):
        raise CheckpointError(f"{source} has a damaged header: network.{fault}")
    if header.network.name != "import":  # one's own is built to know
        check_tensors(tensors, layout(header.network, header.num_objectives), source)


def check_tensors(tensors: Tensors, specs: Iterable[ParameterSpec | Parameter], source: str | Path = "weights") -> None:
    """Raise CheckpointError unless `tensors` are exactly what a network holds.

    Names, shapes, type (float32) and values (finite) are checked; the message names the tensor.

    Args:
        tensors: arrays by name.
        specs: name and shape first; no more of them are asked for than there are tensors, but one.
        source: where the tensors come from, for messages.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape, *_ in specs:
        shapes[name] = tuple(shape)
        if name not in tensors:
            raise CheckpointError(f"{source} lacks tensor {name!r}{nearest(name, tensors.keys() - shapes.keys())}")
    for name, value in tensors.items():
        if name not in shapes:
            raise CheckpointError(f"{source} has a tensor {name!r} that the network does not")
        if tuple(value.shape) != tuple(shapes[name]):
            raise CheckpointError(
                f"{source}: tensor {name!r} has shape {value.shape}, the network wants {shapes[name]}"
            )
        if value.dtype != np.float32:
            raise CheckpointError(f"{source}: tensor {name!r} is {value.dtype}, the network wants float32")
        if not np.isfinite(value).all():
            raise CheckpointError(f"{source}: tensor {name!r} has values that are not finite")
