"""Recipes: inheritance, overrides, and what is refused, each with one line that names the key."""

import pytest
import yaml

from tunable.errors import RecipeError
from tunable.specs.optimizers import SGD, Adam, AdamW
from tunable.specs.reading import expand, load_recipe
from tunable.specs.recipe import Recipe, parse
from tunable.specs.samplers import Beta, Corners, Uniform
from tunable.specs.schedules import Cosine


@pytest.fixture
def write(tmp_path):
    """write("a/b.yaml", values or text) -> its path."""

    def put(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return path

    return put


def test_defaults_are_the_papers(values):
    recipe = parse({key: values[key] for key in ("task", "network", "objectives", "data", "steps")})
    assert (recipe.omega.sampler, recipe.omega.per) == (Uniform(), "sample")
    assert (recipe.optimizer.kind, recipe.optimizer.learning_rate) == ("adam", 1e-4)
    assert recipe.schedule.kind == "constant" and recipe.loss.normalise == "none"
    assert [o.weight for o in recipe.objectives] == [1, 1] and recipe.objectives[1].nu == 0.9
    assert recipe.objectives[1].residual == "keep" and recipe.objectives[0].distance == "l1"


def test_p_is_the_number_of_objectives(values):
    assert (parse(values).num_objectives, parse(values).network_objectives) == (2, 2)
    values["network"]["tunable"] = False
    values["omega"] = {"sampler": {"kind": "fixed", "value": [0.5, 0.5]}}
    assert (parse(values).num_objectives, parse(values).network_objectives) == (2, 0)


def test_round_trip(values):
    values["omega"] = {"sampler": {"kind": "mixture", "weights": [1, 2], "of": ["corners", {"kind": "cube"}]}}
    values["data"]["validate"] = "some/folder"
    values["schedule"] = "cosine"
    recipe = parse(values)
    written = recipe.to_dict()
    assert parse(written) == recipe and parse(yaml.safe_load(yaml.safe_dump(written))) == recipe
    assert written["data"]["validate"] == ["some/folder"] and written["data"]["train"] == ["bundled"]
    assert written["omega"]["sampler"]["of"] == [{"kind": "corners"}, {"kind": "cube"}]
    assert parse(written).to_dict() == written


def test_names_stand_for_sections_without_values(values):
    recipe = parse({**values, "schedule": "cosine", "omega": {"sampler": "corners", "per": "batch"}})
    assert recipe.schedule == Cosine() and recipe.omega.sampler == Corners() and recipe.omega.per == "batch"


def test_optimizers(values):
    """PyTorch's defaults; a kind may be left out or stand alone; a recipe stored when there was only Adam loads."""
    stored = {"kind": "adam", "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    assert parse({**values, "optimizer": stored}).optimizer == Adam(learning_rate=1e-3)
    assert parse({**values, "optimizer": {"clip_norm": 0.1}}).optimizer == Adam(clip_norm=0.1, weight_decay=0)
    assert parse({**values, "optimizer": "adamw"}).optimizer == AdamW(learning_rate=1e-4, weight_decay=0.01)
    sgd = parse({**values, "optimizer": {"kind": "sgd", "learning_rate": 0.1}}).optimizer
    assert sgd == SGD(learning_rate=0.1, momentum=0, nesterov=False, weight_decay=0, clip_norm=None)
    assert (sgd.buffers, SGD(learning_rate=1, momentum=0.5).buffers) == ((), ("momentum",))
    for optimizer in (sgd, AdamW(clip_norm=1)):
        recipe = parse({**values, "optimizer": optimizer.model_dump()})
        assert recipe.optimizer == optimizer and parse(recipe.to_dict()) == recipe


def test_recipes_cannot_be_changed(values):
    recipe = parse(values)
    with pytest.raises(ValueError, match="frozen"):
        recipe.steps = 3
    assert recipe.steps == 10


# --- files


def test_inheritance(write, values):
    write("base.yaml", {**values, "seed": 3, "optimizer": {"learning_rate": 1e-3, "beta1": 0.5}})
    write("tasks/middle.yaml", {"base": "../base.yaml", "optimizer": {"beta2": 0.9}, "steps": 20})
    recipe = load_recipe(
        write(
            "tasks/top.yaml",
            {"base": "middle.yaml", "optimizer": {"beta1": 0.6}, "objectives": [{"name": "only", "kind": "rec"}]},
        )
    )
    assert (recipe.seed, recipe.steps, recipe.network.channels) == (3, 20, 4)
    adam = recipe.optimizer
    assert (adam.learning_rate, adam.beta1, adam.beta2) == (1e-3, 0.6, 0.9)  # mappings are merged key by key
    assert [objective.name for objective in recipe.objectives] == ["only"]  # lists are replaced


def test_another_kind_replaces_the_whole_section(write, values):
    mixture = {"kind": "mixture", "weights": [1], "of": ["cube"]}
    write("base.yaml", {**values, "omega": {"sampler": mixture, "per": "batch"}, "schedule": {"kind": "cosine"}})
    top = {"base": "base.yaml", "omega": {"sampler": {"kind": "beta", "a": 2, "b": 3}}, "schedule": {"warmup": 4}}
    recipe = load_recipe(write("top.yaml", top))
    assert recipe.omega.sampler == Beta(a=2, b=3) and recipe.omega.per == "batch"
    assert recipe.schedule == Cosine(warmup=4)  # no other kind: merged
    named = load_recipe(write("named.yaml", {"base": "base.yaml", "omega": {"sampler": "uniform"}}))
    assert named.omega.sampler == Uniform()
    back = {"base": "named.yaml", "omega": {"sampler": {"kind": "beta", "a": 1, "b": 1}}}
    assert load_recipe(write("back.yaml", back)).omega.sampler == Beta(a=1, b=1)


def test_a_kind_that_is_the_default_replaces_nothing(write, values):
    """`optimizer: {learning_rate: ...}` is Adam, so that a recipe which says so keeps the rate."""
    write("base.yaml", {**values, "optimizer": {"learning_rate": 3e-3}})
    for kind, rate in (("adam", 3e-3), ("adamw", 1e-4)):
        top = {"base": "base.yaml", "optimizer": {"kind": kind, "beta2": 0.9}}
        optimizer = load_recipe(write("top.yaml", top)).optimizer
        assert (optimizer.kind, optimizer.learning_rate, optimizer.beta2) == (kind, rate, 0.9)


def test_overrides(write, values):
    recipe = load_recipe(
        write("r.yaml", values),
        [
            "data.batch=8",
            "objectives.1.nu=0.5",
            "omega.sampler={kind: beta, a: 1, b: 2}",
            "optimizer.learning_rate=1e-3",  # text to YAML 1.1, a number to the recipe
            "data.train=[one, two]",
            "schedule=cosine",
            "steps=7",
            "steps=9",
        ],
    )
    assert (recipe.data.batch, recipe.objectives[1].nu, recipe.optimizer.learning_rate) == (8, 0.5, 1e-3)
    assert recipe.omega.sampler == Beta(a=1, b=2) and recipe.data.train == ["one", "two"]
    assert recipe.schedule == Cosine() and recipe.steps == 9 and recipe.objectives[0].name == "fidelity"


@pytest.mark.parametrize(
    ("override", "fragments"),
    [
        ("steps", ["KEY=VALUE", "'steps'"]),
        ("=3", ["KEY=VALUE", "'=3'"]),
        ("steps=[", ["--set steps=[", "not a YAML value"]),
        ("seed=2024-13-45", ["2024-13-45", "not a YAML value"]),
        ("objectives.7.nu=1", ["nothing at objectives.7"]),
        ("objectives.x=1", ["nothing at objectives.x"]),
        ("steps.more=1", ["nothing at steps.more"]),
        ("data.train.0.x=1", ["nothing at data.train"]),
        ("data.bach=8", ["data: unknown key 'bach'", "did you mean 'batch'"]),
        ("base=other.yaml", ["unknown key 'base'"]),
    ],
)
def test_bad_overrides(override, fragments, write, values, refused):
    with refused(RecipeError, *fragments):
        load_recipe(write("r.yaml", values), [override])


def test_unreadable_files(write, tmp_path, values, refused):
    with refused(RecipeError, "absent.yaml", "No such file"):
        load_recipe(tmp_path / "absent.yaml")
    with refused(RecipeError, "cannot read", str(tmp_path)):
        load_recipe(tmp_path)
    for text in ("steps: [1", "a: b: c", "when: 2024-13-45", "x: !!python/object:os.system {}", "\tsteps: 1"):
        with refused(RecipeError, "bad.yaml", "not valid YAML"):
            load_recipe(write("bad.yaml", text))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    with refused(RecipeError, "binary.yaml", "not valid YAML"):
        load_recipe(tmp_path / "binary.yaml")
    for text, kind in (("- 1\n- 2", "list"), ("hello", "str"), ("", "NoneType")):
        with refused(RecipeError, "must hold a mapping", kind):
            load_recipe(write("other.yaml", text))


def test_bad_bases(write, values, refused):
    with refused(RecipeError, "inherits from itself", "loop.yaml"):
        load_recipe(write("loop.yaml", {"base": "loop.yaml"}))
    write("one.yaml", {"base": "two.yaml"})
    with refused(RecipeError, "inherits from itself"):
        load_recipe(write("two.yaml", {"base": "one.yaml"}))
    with refused(RecipeError, "nowhere.yaml", "No such file"):
        load_recipe(write("r.yaml", {**values, "base": "nowhere.yaml"}))
    with refused(RecipeError, "base must be a path", "[1]"):
        load_recipe(write("r.yaml", {**values, "base": [1]}))


# --- validation


@pytest.mark.parametrize(
    ("path", "value", "fragments"),
    [
        # unknown keys, at every level
        (["stepz"], 3, ["unknown key 'stepz'", "did you mean 'steps'", "known: task, network"]),
        (["network", "chanels"], 3, ["network: unknown key 'chanels'", "did you mean 'channels'"]),
        (["objectives", 1, "nuu"], 1, ["objectives.1: unknown key 'nuu'", "did you mean 'nu'"]),
        (["objectives", 0, "nu"], 1, ["objectives.0: unknown key 'nu'", "known: name, weight"]),
        (["omega"], {"smapler": "cube"}, ["omega: unknown key 'smapler'", "did you mean 'sampler'"]),
        (["omega"], {"sampler": {"kind": "beta", "aa": 1, "b": 1}}, ["omega.sampler: unknown key 'aa'", "'a'"]),
        (["loss"], {"normalize": "sum"}, ["loss: unknown key 'normalize'", "did you mean 'normalise'"]),
        (["initial"], {"strat": "equal"}, ["initial: unknown key 'strat'", "did you mean 'start'"]),
        (["data", "workrs"], 1, ["data: unknown key 'workrs'", "did you mean 'workers'"]),
        (["data", "validation"], "x", ["data: unknown key 'validation'", "did you mean 'validate'"]),
        (["data", "degradation", 0, "sigam"], 1, ["data.degradation.0: unknown key 'sigam'", "did you mean 'sigma'"]),
        (["optimizer"], {"learning_rat": 1}, ["optimizer: unknown key 'learning_rat'", "did you mean 'learning_rate'"]),
        (["optimizer"], {"betas": [0.9, 0.9]}, ["optimizer: unknown key 'betas'", "did you mean 'beta2'"]),
        (["optimizer"], {"kind": "adamw", "clip": 1}, ["optimizer: unknown key 'clip'", "did you mean 'clip_norm'"]),
        (["optimizer"], {"kind": "sgd", "learning_rate": 1, "beta1": 0}, ["unknown key 'beta1'", "known: kind, learn"]),
        (["schedule"], {"kind": "cosine", "warm_up": 1}, ["schedule: unknown key 'warm_up'", "did you mean 'warmup'"]),
        (["checkpoint"], {"evry": 1}, ["checkpoint: unknown key 'evry'", "did you mean 'every'"]),
        # unknown words
        (
            ["objectives", 1, "kind"],
            "nois",
            ["objectives.1: unknown kind 'nois'", "did you mean 'noise'", "rec, noise"],
        ),
        (["objectives", 0, "distance"], "l3", ["objectives.0.distance: unknown value 'l3'", "l1, l2, charbonnier"]),
        (
            ["objectives", 0],
            {"name": "a", "kind": "rec", "distance": "ms_ssim", "space": "chroma"},
            ["objectives.0: distance ms_ssim compares means", "wants space rgb or luma"],
        ),
        (["omega"], {"sampler": "unifrm"}, ["omega.sampler: unknown kind 'unifrm'", "did you mean 'uniform'"]),
        (["omega"], {"per": "sampel"}, ["omega.per: unknown value 'sampel'", "did you mean 'sample'"]),
        (["network", "phi"], "afine", ["network.phi: unknown value 'afine'", "did you mean 'affine'"]),
        (["network", "name"], "resnt", ["network.name: unknown value 'resnt'", "did you mean 'resnet'"]),
        (["optimizer"], "adamm", ["optimizer: unknown kind 'adamm'", "did you mean 'adam'", "adam, adamw, sgd"]),
        (["schedule"], "cosin", ["schedule: unknown kind 'cosin'", "did you mean 'cosine'"]),
        (["task"], "denoize", ["task: unknown value 'denoize'", "did you mean 'denoise'"]),
        (
            ["omega"],
            {"sampler": {"kind": "mixture", "weights": [1], "of": ["cubes"]}},
            ["omega.sampler.of.0: unknown kind 'cubes'", "did you mean 'cube'"],
        ),
        # wrong types and ranges
        (["data", "patch"], "big", ["data.patch:", "valid integer", "'big'"]),
        (["data", "patch"], 0, ["data.patch:", "greater than or equal to 1", "not 0"]),
        (["data", "batch"], 1.5, ["data.batch:", "1.5"]),
        (["data", "train"], [], ["data.train:", "at least 1 item, not 0"]),
        (["data", "train"], 5, ["data.train:", "list", "not 5"]),
        (["data"], 5, ["data: wants keys (train", "not 5"]),
        (["network"], None, ["network: wants keys", "not None"]),
        (["objectives"], [], ["objectives:", "at least 1 item, not 0"]),
        (["objectives", 1], "noise", ["objectives.1: wants keys", "`kind`", "'noise'"]),
        (["objectives", 1], {"name": "x"}, ["objectives.1: wants keys", "`kind`"]),
        (["objectives", 1, "nu"], 2, ["objectives.1.nu:", "less than or equal to 1", "not 2"]),
        (["objectives", 1, "weight"], float("nan"), ["objectives.1.weight:", "finite", "nan"]),
        (["objectives", 1, "weight"], -1, ["objectives.1.weight:", "greater than or equal to 0"]),
        (["objectives", 1, "name"], "1st", ["objectives.1.name:", "'1st'"]),
        (["objectives", 1, "name"], "fidelity", ["different names", "fidelity, fidelity"]),
        (["data", "degradation", 0, "sigma"], [30, 5], ["data.degradation.0.sigma: a range is [low, high]"]),
        (["data", "degradation", 0], {"kind": "gausian_blur", "sigma": 1}, ["unknown kind", "mean 'gaussian_blur'"]),
        (["data", "degradation", 0], {"kind": "gaussian_blur"}, ["data.degradation.0.sigma: is missing"]),
        (["data", "degradation", 0], {"kind": "gaussian_blur", "sigma": 1, "size": 4}, ["0.size: wants an odd", "4"]),
        (["data", "degradation", 0], {"kind": "jpeg", "quality": [90, 20]}, ["0.quality: a range is [low, high]"]),
        (["data", "degradation", 0], {"kind": "bicubic", "scale": 4}, ["shrinks pictures by 4", "resnet", "by 1"]),
        (["objectives", 0], {"name": "b", "kind": "blur"}, ["objectives.0.noise_objective: is missing"]),
        (
            ["objectives", 0],
            {"name": "b", "kind": "blur", "noise_objective": "nois"},
            ["objective b: noise_objective", "kind noise (noise), not 'nois'", "did you mean 'noise'"],
        ),
        (
            ["objectives", 1],
            {"name": "b", "kind": "blur", "noise_objective": "fidelity"},
            ["kind noise (there is none), not 'fidelity'"],
        ),
        (["optimizer"], {"learning_rate": float("inf")}, ["optimizer.learning_rate:", "finite", "inf"]),
        (["optimizer"], {"beta2": 1}, ["optimizer.beta2:", "less than 1"]),
        (["optimizer"], "sgd", ["optimizer.learning_rate: is missing"]),
        (["optimizer"], {"clip_norm": 0}, ["optimizer.clip_norm:", "greater than 0, not 0"]),
        (
            ["optimizer"],
            {"kind": "adamw", "weight_decay": -1},
            ["optimizer.weight_decay:", "greater than or equal to 0"],
        ),
        (["optimizer"], {"kind": "sgd", "learning_rate": 1, "momentum": 1}, ["optimizer.momentum:", "less than 1"]),
        (
            ["optimizer"],
            {"kind": "sgd", "learning_rate": 1, "nesterov": True},
            ["optimizer: nesterov wants a momentum"],
        ),
        (["optimizer"], None, ["optimizer: wants keys", "`kind`", "not None"]),
        (["seed"], -1, ["seed:", "greater than or equal to 0"]),
        (["steps"], None, ["steps:", "not None"]),
        (["schedule"], "multistep", ["schedule.milestones: is missing"]),
        # omega and p
        (["omega"], {"sampler": {"kind": "fixed", "value": [1]}}, ["fixed omega has 1 values for 2 objectives"]),
        (
            ["omega"],
            {"sampler": {"kind": "mixture", "weights": [1], "of": [{"kind": "fixed", "value": [1, 0, 0]}]}},
            ["fixed omega has 3 values for 2 objectives"],
        ),
        (["network", "tunable"], False, ["plain network", "kind: fixed"]),
    ],
)
def test_refused(path, value, fragments, values, refused):
    parse(values)
    *parents, last = path
    place = values
    for key in parents:
        place = place[key]
    place[last] = value
    with refused(RecipeError, "my.yaml: ", *fragments):
        parse(values, "my.yaml")


def test_sharpening_needs_room_for_its_borders(values, refused):
    values["objectives"].append({"name": "blur", "kind": "blur", "noise_objective": "noise"})
    values["data"]["patch"] = 5
    assert parse(values).objectives[2].gamma == 8
    values["data"]["patch"] = 4
    with refused(RecipeError, "objective blur needs clean patches of at least 5 pixels, not 4"):
        parse(values)


@pytest.mark.parametrize("key", ["task", "network", "objectives", "data", "steps"])
def test_what_a_recipe_must_say(key, values, refused):
    del values[key]
    with refused(RecipeError, f"{key}: is missing"):
        parse(values)


@pytest.mark.parametrize("value", [None, [], "steps", 3])
def test_no_mapping(value, refused):
    with refused(RecipeError, "wants keys (task, network", repr(value)):
        parse(value)


def test_the_error_names_the_file(write, values, refused):
    path = write("mine.yaml", {**values, "stepz": 1})
    with refused(RecipeError, f"{path}: unknown key 'stepz'"):
        load_recipe(path)


def test_expand(monkeypatch, refused):
    monkeypatch.setenv("PLACE", "/data")
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NOWHERE", raising=False)
    assert expand("${PLACE}/Kodak") == "/data/Kodak"
    assert expand("~/x") == "/home/me/x" and expand("a/$b") == "a/$b"
    with refused(RecipeError, "'${NOWHERE}/x'", "variable NOWHERE", "not set"):
        expand("${NOWHERE}/x")


def test_every_section_refuses_unknown_keys(values):
    """No section anywhere in the schema lets an unknown key pass, but parts of one's own."""
    schema = Recipe.model_json_schema(by_alias=True)
    sections = {"Recipe": schema, **schema["$defs"]}
    assert len(sections) > 15
    for name, section in sections.items():
        own = "import" in section.get("properties", {})  # other keys are arguments of somebody's own class
        assert section.get("additionalProperties") is own, name


@pytest.mark.parametrize("kind", ["noise", "blur"])
def test_objectives_of_one_size(values, kind):
    """Where the network enlarges, clean and degraded pictures cannot be mixed."""
    values["network"]["upscale"] = 2
    values["data"]["degradation"] = [{"kind": "bicubic", "scale": 2}]
    values["objectives"][1] = {"name": "b", "kind": kind, **({"noise_objective": "b"} if kind == "blur" else {})}
    with pytest.raises(RecipeError, match=f"objective b of kind {kind} mixes clean and degraded pictures"):
        parse(values)
    values["objectives"][1] = {"name": "b", "kind": "rec"}
    assert parse(values).network.scale == 2
