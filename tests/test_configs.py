"""The recipes that ship: all load, the paper's says what the paper says and trains, the demo's follows the defaults."""

from pathlib import Path

import pytest
import yaml

import tunable
from parity_tests.twins import get_twin
from tunable.backends.registry import requested
from tunable.data.patches import BUNDLED_TEST, bundled
from tunable.specs.networks import NAFNetSpec, SwinIRSpec
from tunable.specs.reading import load_recipe
from tunable.training.loop import train

ROOT = Path(__file__).parent.parent
DEMO = Path(tunable.__file__).parent / "demo.yaml"
RECIPES = [*sorted((ROOT / "configs").glob("*/*.yaml")), DEMO]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_loads(path):
    other = {
        "style_transfer/mini": 3,
        "style_transfer/paintings": 3,
        "style_transfer/paper": 3,
        "knobs_compared/colour": 4,
        "knobs_compared/residues": 3,
    }
    assert load_recipe(path).num_objectives == other.get(f"{path.parent.name}/{path.stem}", 2)


def test_the_papers_settings():
    recipe = load_recipe(ROOT / "configs" / "denoise" / "paper.yaml")
    assert (recipe.network.channels, recipe.network.blocks, recipe.network.phi) == (64, 16, "affine")
    assert (recipe.optimizer.learning_rate, recipe.schedule.kind, recipe.steps) == (1e-4, "constant", 500_000)
    assert (recipe.data.batch, recipe.data.patch) == (16, 64)
    assert recipe.data.degradation[0].sigma == (5, 30)
    assert (recipe.omega.sampler.kind, recipe.omega.per, recipe.loss.normalise) == ("uniform", "sample", "none")
    assert [(spec.kind, spec.weight, spec.distance) for spec in recipe.objectives] == [
        ("rec", 1, "l1"),
        ("noise", 1, "l1"),
    ]
    assert (recipe.objectives[1].nu, recipe.objectives[1].residual) == (0.9, "keep")


def test_the_papers_joint_task():
    joint = load_recipe(ROOT / "configs" / "denoise_deblur" / "paper.yaml")
    alone = load_recipe(ROOT / "configs" / "denoise" / "paper.yaml")
    for section in ("network", "omega", "loss", "initial", "optimizer", "schedule", "steps"):
        assert getattr(joint, section) == getattr(alone, section), section
    blur, noise = joint.data.degradation
    assert (blur.kind, blur.sigma, blur.size, noise) == ("gaussian_blur", (0, 4), 21, alone.data.degradation[0])
    assert (joint.data.patch, joint.data.batch) == (64, 16)
    first, second = joint.objectives
    assert (first.kind, first.nu, first.residual, first.weight) == ("noise", 0.9, "remove", 1)
    assert (second.kind, second.gamma, second.noise_objective, second.weight) == ("blur", 8, first.name, 1)


def test_swinirs_own_settings():
    """Table 2a: SwinIR's network and schedule, the tunable paper's objectives and phi."""
    recipe, alone = (load_recipe(ROOT / "configs" / task / "paper.yaml") for task in ("denoise_swinir", "denoise"))
    for section in ("task", "objectives", "omega", "loss", "initial"):
        assert getattr(recipe, section) == getattr(alone, section), section
    assert recipe.network == SwinIRSpec(phi="affine")  # its defaults are the published network's
    assert recipe.network.depths == recipe.network.heads == [6] * 6 and recipe.network.channels == 180
    assert (recipe.data.patch, recipe.data.batch, recipe.data.degradation[0].sigma) == (128, 8, (15, 50))
    rates = [recipe.optimizer.learning_rate * recipe.schedule.factor(at, recipe.steps) for at in (0, 799_999, 800_000)]
    assert rates == [2e-4, 2e-4, 1e-4] and (recipe.optimizer.kind, recipe.steps) == ("adam", 1_600_000)
    assert recipe.schedule.factor(recipe.steps - 1, recipe.steps) == 1 / 16


def test_nafnets_own_settings():
    """Table 2b: NAFNet's network, optimizer and schedule; the noise of a sensor in the place of SIDD's."""
    recipe, alone = (load_recipe(ROOT / "configs" / task / "paper.yaml") for task in ("denoise_real_nafnet", "denoise"))
    for section in ("objectives", "omega", "loss", "initial"):
        assert getattr(recipe, section) == getattr(alone, section), section
    assert recipe.task == "denoise_real" and recipe.network == NAFNetSpec(phi="affine")
    assert (recipe.network.encoder, recipe.network.middle, recipe.network.decoder) == ([2, 2, 4, 8], 12, [2] * 4)
    optimizer = recipe.optimizer
    assert (optimizer.kind, optimizer.learning_rate, optimizer.weight_decay) == ("adamw", 1e-3, 0)
    assert (optimizer.beta1, optimizer.beta2, optimizer.clip_norm) == (0.9, 0.9, 0.01)
    assert optimizer.learning_rate * recipe.schedule.factor(recipe.steps, recipe.steps) == pytest.approx(1e-7)
    assert (recipe.data.patch, recipe.data.batch, recipe.data.degradation[0].kind) == (256, 32, "poisson_gaussian")


FEATURES = ["vgg={seed: 0, width: 8}", "discriminator.channels=8", "data.validate=bundled", "validation.size=32"]
SMALLER = {  # parity_tests/test_full_size.py has the full ones
    "denoise": ["network.blocks=2"],
    "denoise_deblur": ["network.blocks=1"],
    "denoise_swinir": ["network.depths=[2]", "network.heads=[6]", "network.channels=60"],
    "denoise_real_nafnet": ["network.middle=1", "network.encoder=[1]", "network.decoder=[1]"],
    "super_resolution": [*FEATURES, "network.blocks=2", "network.channels=16"],
    "super_resolution_swinir": [*FEATURES, "network.depths=[1]", "network.heads=[6]", "network.channels=60"],
    "style_transfer": [*FEATURES, "network.blocks=[1, 1, 1]", "network.channels=8"],
}


@pytest.mark.thorough
@pytest.mark.parametrize("backend", requested())
@pytest.mark.parametrize("task", SMALLER)
def test_the_papers_recipe_trains(task, backend, tmp_path):
    """In the mode that costs no compilation, but for one task, which is trained in MindSpore's default mode.

    As graphs, parity_tests/test_training.py and test_perceptual.py train each kind of network and objective.
    """
    small = ["steps=2", "data.train=bundled", "data.batch=2", "data.patch=16", "data.workers=1", *SMALLER[task]]
    if task == "style_transfer":
        small += [f"objectives.{i}.image={bundled(BUNDLED_TEST)[0]}" for i in range(3)]
    recipe = load_recipe(ROOT / "configs" / task / "paper.yaml", small)
    twin = get_twin(backend)
    compiled = task == "denoise_deblur" and backend == "mindspore"
    model = train(recipe, twin.in_mode("graph") if compiled else twin.backend, tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    assert model.objectives == tuple(spec.name for spec in recipe.objectives)
    rows = (tmp_path / "metrics.csv").read_text(encoding="utf-8").splitlines()[1:]
    losses = [float(row.split(",")[2]) for row in rows]
    assert len(losses) == 2 and losses[0] != losses[1]


def test_the_demo_follows_the_defaults():
    defaults = yaml.safe_load((ROOT / "configs" / "defaults.yaml").read_text(encoding="utf-8"))
    demo = yaml.safe_load(DEMO.read_text(encoding="utf-8"))
    assert (demo["omega"], demo["loss"]) == (defaults["omega"], defaults["loss"])
