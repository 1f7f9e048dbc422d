"""A complete recipe: every section, and what must hold between them."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from tunable.data.degradations import Degradation, scale_of
from tunable.data.steps import Enlargements
from tunable.errors import RecipeError, shown
from tunable.objectives import Objective
from tunable.objectives.adversarial import Perceptual
from tunable.objectives.features import FeatureDistance
from tunable.objectives.restoration import ResiduePreservation, Sharpening
from tunable.objectives.targets import noise_place, shared_targets
from tunable.omega import MOST_SHARES, count_shares
from tunable.parameters.layouts import count, layout, misfit, rank_misfit
from tunable.parameters.starts import Initial
from tunable.specs.discriminator import DISCRIMINATOR, Discriminator
from tunable.specs.documents import check_depth
from tunable.specs.feature_network import HOW, LAYERS, VGG
from tunable.specs.networks import NetworkSpec
from tunable.specs.optimizers import Adam, Optimizer, with_kind
from tunable.specs.precision import Precision
from tunable.specs.samplers import Condition, Fixed, Mixture, Sampler, Uniform, named
from tunable.specs.schedules import Constant, Schedule
from tunable.specs.schema import MOST, Place, Section
from tunable.specs.stages import Stage
from tunable.specs.validation import first_fault

MOST_PARAMETERS = 2**30  # numbers that a network holds: 4 GiB, and three times as much in training
MOST_DISCRIMINATOR = 2**26  # a discriminator's parameters: `verify` builds it from the recipe in a file; 256 MiB
MOST_PIXELS = 2**26  # of the clean pictures of a batch: 0.8 GB as floats
BUNDLED = "bundled"  # in the place of a folder: photographs of an installed dependency


class Omega(Section):
    """How training draws omega."""

    sampler: Annotated[Sampler, BeforeValidator(named)] = Uniform()
    per: Literal["sample", "batch"] = "sample"


class Loss(Section):
    """`sum` divides each sample's loss by max(sum_i omega_i, 1e-3), so that none fades near omega = 0.

    With `combine: losses` omega weighs distances to the objectives' targets, with `targets` the targets themselves.
    """

    normalise: Literal["none", "sum"] = "none"
    combine: Literal["losses", "targets"] = "losses"


class Data(Section):
    """Where photographs come from and how batches are made; `bundled` means an installed dependency's."""

    train: list[Place] = Field(min_length=1)  # clean pictures
    degraded: list[Place] = []  # their degraded partners, a folder for each of `train`; empty: `degradation` makes them
    validation: list[Place] = Field(default=[], alias="validate")
    validation_degraded: list[Place] = Field(default=[], alias="validate_degraded")  # likewise
    recursive: bool = False  # whether folders are taken with all folders in them
    patch: int = Field(default=64, ge=1, le=2**13)  # pixels of the degraded picture along each side
    batch: int = Field(default=16, ge=1, le=2**20)
    flip: bool = True  # random flips and transposition
    shrink: Enlargements = (1.0, 1.0)  # by how many times pictures are shrunk first; below 1 counts as 1
    enlarge: Enlargements = (1.0, 1.0)  # how many times as large as in the picture; below 1 counts as 1
    degradation: list[Degradation] = Field(default=[], max_length=32)
    cache_gib: float = Field(default=2.0, ge=0)  # memory for decoded pictures
    workers: int = Field(default=1, ge=1, le=256)  # threads that prepare batches ahead
    processes: bool = False  # whether they are processes instead

    @field_validator("train", "degraded", "validation", "validation_degraded", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _paired(self) -> Self:
        for key, clean, partners in (
            ("degraded", self.train, self.degraded),
            ("validate_degraded", self.validation, self.validation_degraded),
        ):
            if partners and len(partners) != len(clean):
                raise ValueError(
                    f"{key} wants a folder for each folder of clean pictures: {len(clean)}, not {len(partners)}"
                )
            if partners and BUNDLED in clean:
                raise ValueError(f"{key} has no partners of the bundled photographs")
        if self.degraded and max(self.shrink[1], self.enlarge[1]) > 1:
            raise ValueError("degraded pictures are given, and resizing would change how: shrink and enlarge want 1")
        if self.degraded and self.degradation:
            raise ValueError("degraded pictures are given, so nothing may stand in degradation")
        return self


class Validation(Section):
    """What is measured at every checkpoint: the first so many pictures of `data.validate`, their central crops.

    The settings are those of a grid over sum omega_i = 1, with so many points along each edge; 2: the unit vectors.
    """

    pictures: int = Field(default=4, ge=1)
    size: int = Field(default=256, ge=8)  # pixels along each side, at most
    points: int = Field(default=2, ge=2, le=101)
    sigma: float = Field(default=15.0, ge=0, allow_inf_nan=False)  # noise, 1/255
    rho: float = Field(default=2.0, ge=0, allow_inf_nan=False)  # blur, pixels, where training blurs


class Checkpoint(Section):
    """A checkpoint every so many steps; the newest `keep` stay."""

    every: int = Field(default=1000, ge=1, le=MOST)
    keep: int = Field(default=3, ge=1, le=MOST)


class Guard(Section):
    """What keeps a run from ruin (tunable.training.guards)."""

    skip: int = Field(default=10, ge=1, le=MOST)  # a run stops when so many steps in a row were not finite
    spike: float = Field(default=10.0, gt=1)  # a loss so many times the median of those before drops no checkpoint


class Recipe(Section):
    """A complete, valid recipe. The order of `objectives` is the order of omega; their number is p."""

    task: Literal["denoise", "denoise_real", "denoise_deblur", "super_resolution", "style_transfer"]
    network: NetworkSpec
    objectives: list[Objective] = Field(min_length=1, max_length=16)
    omega: Omega = Omega()
    loss: Loss = Loss()
    initial: Initial = Initial()
    vgg: VGG | None = None  # for objectives of kind gan, features and style
    discriminator: Discriminator = Discriminator()  # for objectives of kind gan
    data: Data
    optimizer: Annotated[Optimizer, BeforeValidator(with_kind)] = Adam()
    schedule: Annotated[Schedule, BeforeValidator(named)] = Constant()
    precision: Annotated[Precision, BeforeValidator(named)] = Precision()
    steps: int = Field(ge=1, le=MOST)
    stages: list[Stage] = Field(default=[], max_length=16)  # whose steps add up to `steps`; []: one, in which all moves
    checkpoint: Checkpoint = Checkpoint()
    validation: Validation = Validation()
    guard: Guard = Guard()
    seed: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [objective.name for objective in self.objectives]
        if len(set(names)) != len(names):
            raise ValueError(f"objectives need different names, not {', '.join(names)}")
        columns = ["step", "learning_rate", "loss", *([DISCRIMINATOR] if self.adversarial else [])]
        if taken := [name for name in names if name in columns]:
            raise ValueError(f"no objective may be named {taken[0]!r}: the log has such a column already")
        if self.loss.combine == "targets":
            shared_targets(self.objectives)
        self.omega.sampler.check(len(names), self.steps)
        if not self.network.tunable and not isinstance(self.omega.sampler, Fixed):
            raise ValueError("a plain network (network.tunable: false) needs omega.sampler {kind: fixed, value: [...]}")
        if self.initial.freeze:
            self._check_frozen()
        self._check_parts()
        settings = count_shares(self.validation.points - 1, len(names))
        if settings > MOST_SHARES:
            raise ValueError(
                f"validation.points {self.validation.points} means {settings} settings of {len(names)} objectives; the "
                f"limit is {MOST_SHARES}"
            )
        self._check_sizes()
        self._check_stages()
        self._check_conditions()
        return self

    def _check_frozen(self) -> None:
        if self.initial.weights is None or not self.network.tunable or self.network.phi != "base":
            raise ValueError(
                "initial.freeze keeps the base kernels that initial.weights gives to a tunable network of phi base; "
                f"here initial.weights is {shown(self.initial.weights)}, network.tunable "
                f"{str(self.network.tunable).lower()}, network.phi {self.network.phi}"
            )
        if self.network.strategy:
            raise ValueError("initial.freeze is for tunable layers; stages say what of a control strategy is frozen")
        if self.optimizer.weight_decay:
            raise ValueError(
                f"initial.freeze wants optimizer.weight_decay 0, not {self.optimizer.weight_decay:g}: a decay would "
                "move what is frozen"
            )

    def _check_conditions(self) -> None:
        if not isinstance(self.omega.sampler, Condition):
            return
        kinds = [step.kind for step in self.data.degradation]
        known = set(kinds) <= {"gaussian_noise", "gaussian_blur"} and len(kinds) == len(self.objectives)
        if not known or self.omega.per != "sample" or self.stages or self.residues:
            raise ValueError(
                "omega.sampler condition wants gaussian_blur and gaussian_noise in data.degradation, one per knob, "
                f"omega.per sample, no stages and no residues; received {', '.join(kinds) or 'no degradation'}"
            )

    def _check_stages(self) -> None:
        steps = sum(stage.steps for stage in self.stages)
        if self.stages and steps != self.steps:
            raise ValueError(f"the stages have {steps} steps in all, and steps is {self.steps}: they must be equal")
        names = [name for name, _ in layout(self.network, self.network_objectives)] if self.stages else []
        for place, stage in enumerate(self.stages):
            if stage.omega is not None and len(stage.omega) != self.num_objectives:
                raise ValueError(
                    f"stages.{place}.omega has {len(stage.omega)} values for {self.num_objectives} objectives: "
                    f"{shown(stage.omega)}"
                )
            try:
                if names:  # one's own network is built to know
                    stage.trained(names)
            except ValueError as error:
                raise ValueError(f"stages.{place}: {error}") from None

    def _check_parts(self) -> None:
        parts = self.optimizer.accumulate
        if self.data.batch % parts:
            raise ValueError(
                f"optimizer.accumulate wants a number of equal parts of data.batch {self.data.batch}, not {parts}"
            )
        if parts > 1 and self.adversarial:
            raise ValueError(
                f"optimizer.accumulate must be 1 with objectives of kind gan, not {parts}: their loss and the norms of "
                "the discriminator join the samples of the whole batch"
            )

    def _check_sizes(self) -> None:
        shrunk, enlarged = scale_of(self.data.degradation), self.network.scale
        if shrunk != enlarged and not self.data.degraded:
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
        discriminator = ((name, shape) for name, shape, *_ in (self.discriminator.specs() if self.adversarial else ()))
        fault = misfit(self.network, self.network_objectives)
        if fault:
            raise ValueError(f"network.{fault}")
        if self.network.name == "import" and (self.optimizer.average or self.initial.freeze):
            raise ValueError("optimizer.average and initial.freeze are for networks of this package")
        network = layout(self.network, self.network_objectives)
        for what, shapes, most in (
            ("network", network, MOST_PARAMETERS),
            ("discriminator", discriminator, MOST_DISCRIMINATOR),
        ):
            if count(shapes, most) > most:
                raise ValueError(f"the {what} would hold more than {most} parameters, the limit")
        fault = rank_misfit(self.network, self.network_objectives)
        if fault:
            raise ValueError(f"network.{fault}")
        for spec in self.objectives:
            if enlarged > 1 and not spec.enlarges:
                raise ValueError(
                    f"objective {spec.name} of kind {spec.kind} mixes clean and degraded pictures, but the network "
                    f"enlarges {enlarged} times"
                )
            if isinstance(spec, FeatureDistance | Perceptual) and enlarged == 1:
                for key in ("grid_weight", "shrunk_weight"):
                    if getattr(spec, key):
                        raise ValueError(f"objective {spec.name} has a {key}, but the network does not enlarge")
            if isinstance(spec, Sharpening):
                noise_place(self.objectives, spec)
            kinds = [step.kind for step in self.data.degradation]
            if isinstance(spec, ResiduePreservation) and kinds.count(spec.of) != 1:
                raise ValueError(
                    f"objective {spec.name} wants the residue of {spec.of}, which must stand in data.degradation once, "
                    f"not {kinds.count(spec.of)} times ({', '.join(kinds) or 'nothing is degraded'})"
                )
            if spec.kind in self.feature_layers and self.vgg is None:
                raise ValueError(f"objective {spec.name} needs VGG's features, and vgg is missing; {HOW}")
            least = max(spec.least, self.discriminator.least) if spec.kind == "gan" else spec.least
            if size < least:
                raise ValueError(
                    f"objective {spec.name} needs clean patches of at least {least} pixels, not {size}: "
                    f"data.patch must be {-(-least // enlarged)} or more"
                )

    def in_float32(self) -> Self:
        """Return the recipe in full precision and with whole batches, as certificates judge it."""
        whole = self.optimizer.model_copy(update={"accumulate": 1})
        return self.model_copy(update={"precision": Precision(), "optimizer": whole, "stages": []})

    @property
    def beginnings(self) -> tuple[int, ...]:
        """How many steps come before each stage; (0,) for a recipe that names none."""
        steps = [stage.steps for stage in self.stages[:-1]]
        return tuple(sum(steps[:place]) for place in range(len(steps) + 1))

    def stage_at(self, step: int) -> int:
        """Return the index of the stage of a step, counted from 0; the last one after the last step."""
        return max(place for place, first in enumerate(self.beginnings) if first <= step)

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0; the schedule begins anew in every stage."""
        rate, done, steps = self.optimizer.learning_rate, 0, self.steps
        if self.stages:
            stage = self.stages[self.stage_at(step)]
            rate = stage.learning_rate or rate
            done, steps = self.beginnings[self.stage_at(step)], stage.steps
        return rate * self.schedule.factor(step - done, steps)

    def omega_at(self, step: int) -> list[float] | None:
        """Return the one omega (p,) of the stage of a step, counted from 0; None where omega is drawn."""
        return self.stages[self.stage_at(step)].omega if self.stages else None

    def trained_at(self, stage: int, names: Iterable[str]) -> list[str]:
        """Return the parameters that a stage trains, of all names; RecipeError where its patterns match none."""
        try:
            return self.stages[stage].trained(names) if self.stages else list(names)
        except ValueError as error:
            raise RecipeError(f"stages.{stage}: {error}") from None

    @property
    def drawn(self) -> Sampler:
        """How omega is drawn over all stages."""
        parts = [
            self.omega.sampler if stage.omega is None else Fixed(kind="fixed", value=stage.omega)
            for stage in self.stages
        ]
        if not parts:
            return self.omega.sampler
        return Mixture(kind="mixture", weights=[float(stage.steps) for stage in self.stages], of=parts)

    @property
    def num_objectives(self) -> int:
        """p, the number of objectives."""
        return len(self.objectives)

    @property
    def shared_targets(self) -> tuple[tuple[int, ...], ...]:
        """Places of objectives that share the mean of their targets, a tuple for each mean; () for combine: losses."""
        return shared_targets(self.objectives) if self.loss.combine == "targets" else ()

    @property
    def residues(self) -> frozenset[str]:
        """Kinds of the degradations whose residues objectives want."""
        return frozenset(spec.of for spec in self.objectives if isinstance(spec, ResiduePreservation))

    @property
    def features(self) -> VGG:
        """The VGG of objectives of kind gan, features and style; a recipe without one has no such objective."""
        if self.vgg is None:
            raise RecipeError(f"vgg is missing; {HOW}")
        return self.vgg

    @property
    def adversarial(self) -> bool:
        """Whether a discriminator is trained beside the network."""
        return any(objective.kind == "gan" for objective in self.objectives)

    @property
    def perceptual(self) -> bool:
        """Whether VGG stands between network and loss."""
        return bool(self.feature_layers)

    @property
    def feature_layers(self) -> dict[str, str]:
        """The layer of VGG that objectives read, by their kind: `gan`, `style` and `features`, those that it has."""
        kinds = {spec.kind for spec in self.objectives}
        layers = self.vgg.layers if self.vgg else LAYERS["vgg19"]
        return {kind: layer for kind, layer in layers.items() if kind in kinds}

    @property
    def network_objectives(self) -> int:
        """What the network is built with: p, or 0 for a plain network."""
        return self.num_objectives if self.network.tunable else 0

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as plain values that `parse` accepts again, without what its objectives do not use."""
        sections = (("vgg", self.perceptual), ("discriminator", self.adversarial), ("stages", self.stages))
        unused = {name for name, used in sections if not used}
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
        raise RecipeError(f"{source}: {first_fault(error, values)}") from None
