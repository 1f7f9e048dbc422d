"""VGG, the discriminator, the objectives that judge by them (gan, style), and adversarial training, twin by twin."""

import numpy as np
import pytest
from PIL import Image

from parity_tests.recipes import make_recipe
from tunable import oracle
from tunable.data.patches import Batch
from tunable.parameters.starts import starting_weights
from tunable.specs.discriminator import Discriminator
from tunable.specs.feature_network import LAYERS, VGG
from tunable.tolerances import TOLERANCES, joint_error, relative_error
from tunable.weights import vgg

NETWORK, LOSS = TOLERANCES["network"].limit, TOLERANCES["loss"].limit
GRADIENT = TOLERANCES["gradients"].limit
WIDTH, RATE, REC = 4, 1e-3, {"name": "rec", "kind": "rec"}
STYLES = {"relu1_1": 0.3, "relu1_2": 2.0, "relu3_3": 0.7}
READING = {"layers": ("style", {"gram": STYLES}), "units": ("gan", {"layer": "units"})}  # a recipe by other layers


def make_recipes(folder):
    """gan, features: x2 super-resolution, that objective beside another; style: two styles, one picture shrunk."""
    rng, style_files = np.random.default_rng(2), []
    for name, size in (("a", (20, 31)), ("b", (50, 26))):
        style_files.append(str(folder / f"{name}.png"))
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(style_files[-1])
    judges = {"vgg": {"seed": 1, "width": WIDTH}, "steps": 4}
    parts = {"rec_weight": 0.3, "vgg_weight": 0.9, "grid_weight": 7, "shrunk_weight": 5}
    gan = {"name": "gan", "kind": "gan", "weight": 0.7, "adv_weight": 0.4, **parts}
    features = {"name": "features", "kind": "features", **parts}
    enlarging = {
        "task": "super_resolution",
        "network": {"name": "resnet", "channels": 6, "blocks": 1, "upscale": 2},
        "data": {"train": "bundled", "patch": 16, "batch": 3, "degradation": [{"kind": "bicubic", "scale": 2}]},
        **judges,
    }
    first = {"name": "first", "kind": "style", "image": style_files[0], "gram_weight": 3.0, "vgg_weight": 0.4}
    second = {"name": "second", "kind": "style", "image": style_files[1], "size": 32, "tv_weight": 0.6, "uv_weight": 2}
    return {
        "gan": make_recipe(
            objectives=[REC, gan],
            discriminator={"channels": 4, "scales": 3, "hidden": 7, "optimizer": {"learning_rate": 2 * RATE}},
            **enlarging,
        ),
        "features": make_recipe(objectives=[REC, features], **enlarging),
        "style": make_recipe(
            task="style_transfer",
            network={"name": "style_unet", "channels": 4, "scales": 1, "blocks": [1, 1, 1]},
            objectives=[first, second],
            data={"train": "bundled", "patch": 20, "batch": 3},
            **judges,
        ),
    }


@pytest.fixture
def recipes(tmp_path):
    return make_recipes(tmp_path)


@pytest.fixture
def shallow(recipes, monkeypatch):
    """The recipes, as they compile in half the time: two or three convolutions of VGG, one scale, fewer blocks.

    The discriminator, whose optimizer no mode compiles, learns without Adam: at one scale that amplifies rounding.
    """
    monkeypatch.setitem(LAYERS["vgg19"], "style", "relu1_2")
    gan, style = (recipes[name].to_dict() for name in ("gan", "style"))
    gan["vgg"]["layer"] = "conv2_1"  # the third, beyond the first halving
    gan["discriminator"]["scales"] = 1
    gan["discriminator"]["optimizer"] = {"kind": "sgd", "learning_rate": 2 * RATE, "momentum": 0.9}
    style["network"]["blocks"] = [1, 0, 1]
    return {"gan": make_recipe(**gan), "style": make_recipe(**style)}


def discriminator(twin, settings, seed=0):
    """The twin's discriminator at its start."""
    networks = twin.module("networks")
    network = networks.Discriminator(widths=settings.widths(), hidden=settings.hidden)
    networks.initialise(network, seed)
    return network


def like(twin):
    return twin.parameters({"like": np.zeros(1)})["like"]


def draw(rng):
    """Restored pictures and a sample of 20x20 pixels; for a network that enlarges, half as many go in."""
    clean, restored = rng.uniform(size=(2, 3, 3, 20, 20)).astype(np.float32)
    return restored, {"clean": clean, "degraded": clean}


def batch_of(recipe, rng, index=0):
    clean = rng.uniform(size=(3, 3, 20, 20)).astype(np.float32)
    degraded = clean if recipe.network.scale == 1 else rng.uniform(size=(3, 3, 10, 10)).astype(np.float32)
    return Batch(index, {"clean": clean, "degraded": degraded}, rng.uniform(size=(3, 2)).astype(np.float32))


@pytest.mark.parametrize("size", [(16, 16), (37, 22)])
@pytest.mark.parametrize(
    ("network", "layer"),
    [(network, layer) for network, layers in LAYERS.items() for layer in layers.values()],
)
def test_features(twin, rng, network, layer, size):
    """Any size; an odd row or column is dropped where a stage halves."""
    weights = vgg.weights(VGG(network=network, seed=4, width=WIDTH))
    x = rng.uniform(size=(2, 3, *size)).astype(np.float32)
    network = twin.module("networks").VGG(weights, layer, like=like(twin))
    result = twin.array(network(*twin.tensors([x])))
    halved = 4 if layer == "relu3_3" else 16
    assert result.shape == (2, (4 if layer == "relu3_3" else 8) * WIDTH, size[0] // halved, size[1] // halved)
    assert relative_error(result, oracle.features(x, weights, layer)) <= NETWORK
    assert (result.min() >= 0) == (layer == "relu3_3")  # relu3_3 comes after its ReLU, conv5_4 before it


@pytest.mark.parametrize("scales", [1, 4, 5])
def test_discriminator(twin, rng, scales):
    """Parameters as tunable declares them, their start to the bit, scores as the oracle's; any size."""
    settings = Discriminator(channels=4, scales=scales, hidden=5)
    network = discriminator(twin, settings, seed=3)
    assert twin.module("networks").parameter_specs(network) == settings.specs()
    start = starting_weights(settings.specs(), 3)
    for name, value in twin.backend.parameters(network).items():
        np.testing.assert_array_equal(value, start[name])
    for size in ((32, 32), (45, 38)):
        x = rng.uniform(size=(3, 3, *size)).astype(np.float32)
        result = twin.array(network(*twin.tensors([x])))
        assert result.shape == (3,) and np.ptp(result) > 0
        assert relative_error(result, oracle.realness(x, settings, start)) <= LOSS


def test_relativistic_written_numbers(twin):
    """Means 2 and 0: (softplus(1) + softplus(2)) / 2 and (softplus(3) + softplus(2)) / 2; far from 0 too."""
    relativistic = twin.module("objectives").relativistic
    high, low = twin.tensors([np.array([1.0, 3.0]), np.array([0.0, 0.0])])
    expected = [np.log1p(np.exp(np.array(pair, np.float64))).mean() for pair in ((1, 2), (3, 2))]
    np.testing.assert_allclose(twin.array(relativistic(high, low)), expected, rtol=1e-6)
    expected = [np.log1p(np.exp(np.array(pair, np.float64))).mean() for pair in ((-2, -1), (-2, -3))]
    np.testing.assert_allclose(twin.array(relativistic(low, high)), expected, rtol=2e-6)
    far, near = twin.tensors([np.array([400.0]), np.array([0.0])])
    np.testing.assert_allclose(twin.array(relativistic(far, near)), [400], rtol=1e-6)
    np.testing.assert_allclose(twin.array(relativistic(near, far)), [0], atol=1e-30)


def test_gram_written_numbers(twin):
    """Two channels of two pixels: (1, 2) and (3, -1) -> [[5, 1], [1, 10]] / 4."""
    (x,) = twin.tensors([np.array([[[[1, 2]], [[3, -1]]]])])
    np.testing.assert_allclose(twin.array(twin.module("objectives").gram(x)), [[[1.25, 0.25], [0.25, 2.5]]])


@pytest.mark.parametrize("name", ["gan", "units", "features", "style", "layers"])
def test_objectives(twin, recipes, rng, name):
    """Values as the oracle's; the gradient by the oracle's differences along itself and along random directions."""
    kind, layers = READING.get(name, (name, {}))
    recipe = make_recipe(**(values := recipes[kind].to_dict()) | {"vgg": values["vgg"] | layers})
    judge = discriminator(twin, recipe.discriminator, recipe.seed) if kind == "gan" else None
    loss = twin.module("objectives").make_loss(recipe, like(twin), judge)
    restored, sample = draw(rng)
    omega = rng.uniform(size=(3, 2)).astype(np.float32)
    terms = []

    def value(restored, clean, omega):
        total, parts = loss(restored, {"clean": clean, "degraded": clean}, omega)
        terms.append(parts)
        return total

    result, (gradient, in_clean, _) = twin.differentiate(value, [restored, sample["clean"], omega])
    true, true_terms = oracle.multi_loss(recipe, restored, sample, omega)
    assert relative_error(result, true) <= LOSS
    assert relative_error(twin.array(terms[0]), true_terms) <= LOSS
    assert not in_clean.any()
    size = np.linalg.norm(gradient)
    for direction in (gradient.astype(np.float64), *rng.standard_normal((3, *gradient.shape))):
        direction = direction / np.linalg.norm(direction)
        ends = [oracle.multi_loss(recipe, restored + step * direction, sample, omega)[0] for step in (-1e-6, 1e-6)]
        assert abs((ends[1] - ends[0]) / 2e-6 - np.sum(gradient * direction)) <= GRADIENT * size


def test_styles_share_their_pass_of_vgg(twin, recipes, rng, monkeypatch):
    """Each picture passes VGG once for all styles, and every style's term is what the style alone says."""
    recipe, network = recipes["style"], twin.module("networks").VGG
    forward, seen = "forward" if twin.name == "torch" else "construct", []
    loss = twin.module("objectives").make_loss(recipe, like(twin))
    passed = getattr(network, forward)
    monkeypatch.setattr(network, forward, lambda self, x: seen.append(x.shape) or passed(self, x))
    restored, sample = draw(rng)
    sampled = dict(zip(sample, twin.tensors(sample.values()), strict=True))
    (x,), (omega,) = twin.tensors([restored]), twin.tensors([np.ones((3, 2))])
    _, terms = loss(x, sampled, omega)
    assert len(seen) == 2
    alone = [twin.array(style(x, sampled, omega[:, :1])).mean() for style in loss.objectives[0].styles]
    assert alone[0] != alone[1] and relative_error(twin.array(terms), np.array(alone)) <= 1e-6


def test_judges_beside_a_mean_of_targets(twin, recipes, rng):
    """A style stays a loss of its own between two objectives that share a target."""
    values = recipes["style"].to_dict()
    full = {"name": "noise", "kind": "noise", "residual": "full", "nu": 0.7, "weight": 1.3}
    values["objectives"] = [{"name": "rec", "kind": "rec", "weight": 0.6}, values["objectives"][0], full]
    recipe = make_recipe(**values | {"loss": {"combine": "targets"}})
    loss = twin.module("objectives").make_loss(recipe, like(twin))
    restored, clean, degraded = rng.uniform(size=(3, 3, 3, 20, 20)).astype(np.float32)
    sample, omega = {"clean": clean, "degraded": degraded}, rng.uniform(size=(3, 3)).astype(np.float32)
    sampled = dict(zip(sample, twin.tensors(sample.values()), strict=True))
    value, terms = loss(*twin.tensors([restored]), sampled, *twin.tensors([omega]))
    true, true_terms = oracle.multi_loss(recipe, restored, sample, omega)
    assert relative_error(twin.array(value), true) <= LOSS
    assert relative_error(twin.array(terms), true_terms) <= LOSS
    assert true_terms[0] == true_terms[2] != true_terms[1]


def test_the_parts_of_the_objectives(twin, recipes, rng):
    """Each weight alone moves its own part, by what the oracle says: none is mixed up with another."""
    restored, sample = draw(rng)
    for name, parts in (
        ("gan", ("rec", "vgg", "adv", "grid", "shrunk")),
        ("features", ("rec", "vgg", "grid", "shrunk")),
        ("style", ("gram", "vgg", "tv", "uv")),
    ):
        values = recipes[name].to_dict()
        for part in parts:
            for weight in parts:
                values["objectives"][1][f"{weight}_weight"] = float(weight == part)
            recipe = make_recipe(**values)
            judge = discriminator(twin, recipe.discriminator, recipe.seed) if name == "gan" else None
            loss = twin.module("objectives").make_loss(recipe, like(twin), judge)
            sampled = dict(zip(sample, twin.tensors(sample.values()), strict=True))
            _, terms = loss(*twin.tensors([restored]), sampled, *twin.tensors([np.ones(2)]))
            true = oracle.objective(recipe, 1, restored, sample, np.ones(2)).mean()
            assert true > 0 and relative_error(twin.array(terms)[1], true) <= LOSS, part


def test_adversarial_terms_join_the_samples(twin, recipes, rng):
    """A sample that asks for fidelity alone is pulled by its neighbours' wish for perception, but not by its own omega.

    Its gradient comes from `rec` alone where nobody asks for perception, and changes where the others do.
    """
    recipe = recipes["gan"]
    loss = twin.module("objectives").make_loss(recipe, like(twin), discriminator(twin, recipe.discriminator))
    restored, sample = draw(rng)

    def gradient_of_the_first(others):
        omega, sampled = (
            twin.tensors([[[1, 0], others, others]]),
            dict(zip(sample, twin.tensors(sample.values()), strict=True)),
        )

        def value(y):
            return loss(y, sampled, *omega)[0]

        return twin.differentiate(value, [restored])[1][0][0]

    alone, beside = gradient_of_the_first([1, 0]), gradient_of_the_first([0, 1])
    signs = np.sign(restored[0] - sample["clean"][0])
    np.testing.assert_allclose(alone, signs / restored.size, rtol=1e-4)
    assert relative_error(beside, alone) > 1e-3


def start(backend, recipe):
    network = backend.build(recipe.network, recipe.network_objectives)
    backend.assign(network, starting_weights(backend.specs(network), recipe.seed, recipe.initial))
    return network, backend.trainer(network, recipe)


def steps(backend, recipe, count, trainer=None):
    """Loss, terms and discriminator's loss of some steps, and the state after them."""
    rng = np.random.default_rng(8)
    network, trainer = start(backend, recipe) if trainer is None else (None, trainer)
    taken = [trainer.step(batch_of(recipe, rng, index), RATE) for index in range(count)]
    numbers = [
        [report.loss, *report.terms, *([report.discriminator] if recipe.adversarial else [])] for report in taken
    ]
    return np.array(numbers), trainer.state(), network and backend.parameters(network)


@pytest.mark.parametrize("name", ["gan", "style"])
def test_steps_of_the_twins(twins, recipes, name):
    """Three steps from one start: loss, terms, discriminator's loss; in eager and PyNative."""
    check_steps(recipes[name], twins[0].backend, [twins[1].backend])


@pytest.mark.parametrize("name", ["gan", "style"])
def test_compiled_steps_of_the_twins(twins, shallow, name):
    """The same in the compiled graph of either framework."""
    check_steps(shallow[name], twins[0].backend, [twins[1].in_mode("graph"), twins[0].in_mode("compile")])


def check_steps(recipe, eager, others):
    first, _, _ = steps(eager, recipe, 3)
    for backend in others:
        numbers, _, _ = steps(backend, recipe, 3)
        assert max(map(relative_error, numbers, first)) <= LOSS


def test_the_discriminators_step(twin, recipes, rng):
    """Its loss before the step is the oracle's, and plain gradient descent moves it along the oracle's slope.

    A compiled graph does the same: test_steps_of_the_twins, whose second loss follows from the first step.
    """
    values = recipes["gan"].to_dict()
    values["discriminator"]["optimizer"] = {"kind": "sgd", "learning_rate": 0.5}
    values["optimizer"]["learning_rate"] = RATE
    recipe = make_recipe(**values)
    backend = twin.backend
    network, trainer = start(backend, recipe)
    batch = batch_of(recipe, rng)
    restored = backend.run(network, batch.sample["degraded"], batch.omega)
    before = {k: v for k, v in trainer.state().items() if k.startswith("discriminator.weights.")}
    report = trainer.step(batch, RATE)
    tensors = {name.removeprefix("discriminator.weights."): value for name, value in before.items()}
    assert tensors.keys() == {spec.name for spec in recipe.discriminator.specs()}
    assert relative_error(report.discriminator, oracle.discriminator_loss(recipe, restored, batch.sample)) <= LOSS
    after = trainer.state()
    slope = {
        name: (tensors[name] - after[f"discriminator.weights.{name}"].astype(np.float64)) / 0.5 for name in tensors
    }
    size = np.sqrt(sum(np.sum(value**2) for value in slope.values()))
    assert size > 0
    ends = []
    for step in (-1e-5, 1e-5):
        moved = {name: tensors[name] + step * value / size for name, value in slope.items()}
        ends.append(oracle.discriminator_loss(recipe, restored, batch.sample, moved))
    assert (ends[1] - ends[0]) / 2e-5 == pytest.approx(size, rel=1e-4)  # moves of 1e-2 in weights held to 1e-8


@pytest.mark.parametrize("whose", ["network", "discriminator"])
def test_both_move_or_neither(twin, shallow, rng, monkeypatch, whose):
    """The network's gradients overflow in float16, or one of the discriminator's is no number; its loss is sound."""
    recipe = shallow["gan"]
    if whose == "network":
        fixed = {"kind": "float16", "loss_scale": {"kind": "static", "scale": 2.0**24}}
        recipe = make_recipe(**{**recipe.to_dict(), "precision": fixed})
    else:
        judge = twin.module("adversary").Adversary.judge

        def overflowing(*inputs):
            loss, (first, *others) = judge(*inputs)
            return loss, (first * np.inf, *others)

        monkeypatch.setattr(twin.module("adversary").Adversary, "judge", overflowing)
    network, trainer = start(twin.backend, recipe)
    before, state = twin.backend.parameters(network), trainer.state()
    report = trainer.step(batch_of(recipe, rng), RATE)
    assert not report.taken and np.isfinite([report.loss, report.discriminator]).all()
    for found, expected in ((twin.backend.parameters(network), before), (trainer.state(), state)):
        assert all(np.array_equal(found[name], value) for name, value in expected.items())


def test_the_networks_step_leaves_the_discriminator(twin, recipes, rng):
    """`gradients` moves nothing, and no gradient of the discriminator's own is reported."""
    recipe = recipes["gan"]
    network, trainer = start(twin.backend, recipe)
    before = trainer.state()
    report = trainer.gradients(batch_of(recipe, rng))
    assert report.gradients.keys() == twin.backend.parameters(network).keys()
    after = trainer.state()
    assert all(np.array_equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("which", [0, 1])
def test_adversarial_state_continues(twin, recipes, shallow, which):
    """Weights and state given to a fresh trainer: the next step has the same bits; without the discriminator's, not.

    A compiled trainer is given its own: a fresh one would be compiled again.
    """
    backend = twin.in_mode(twin.backend.modes[which])
    recipe = (recipes if backend.mode == twin.backend.mode else shallow)["gan"]
    network, trainer = start(backend, recipe)
    adversary = {name: value for name, value in trainer.state().items() if name.startswith("discriminator.")}
    rng = np.random.default_rng(8)
    for index in range(2):
        trainer.step(batch_of(recipe, rng, index), RATE)
    batch, weights, state = batch_of(recipe, rng, 2), backend.parameters(network), trainer.state()
    expected, after = trainer.step(batch, RATE), trainer.state()
    reports = []
    for forget in (False, True):
        other, again = start(backend, recipe) if backend.mode == twin.backend.mode else (network, trainer)
        backend.assign(other, weights)
        again.load_state({**state, **adversary} if forget else state)
        reports.append(again.step(batch, RATE))
        if not forget:
            assert joint_error(again.state(), after) == 0
    assert reports[0].discriminator == expected.discriminator and reports[0].loss == expected.loss
    assert reports[1].discriminator != expected.discriminator
