"""The package as a user installs it: a wheel, made from the source archive, and used outside the tree."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tunable.errors import RecipeError
from tunable.models import MODELS
from tunable.specs.reading import load_recipe, shipped_recipes

ROOT = Path(__file__).parent.parent
SOURCES = ("tunable", "torch_impl", "mindspore_impl", "configs", "setup.py", "pyproject.toml", "README.md")
BUNDLED = ["data.train=bundled", "data.validate=bundled"]
SMALLEST = [*BUNDLED, "steps=2", "network.channels=4", "network.blocks=1", "data.batch=2", "data.workers=1"]

pytestmark = pytest.mark.thorough


def run(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """run(program) by a Python that sees the installed wheel before any other copy of the package."""
    place = tmp_path_factory.mktemp("installed")
    tree, site, outside = place / "tree", place / "site", place / "outside"
    tree.mkdir()
    outside.mkdir()
    for name in SOURCES:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tree / name)
    run(sys.executable, "-W", "ignore", "setup.py", "-q", "sdist", cwd=tree)
    (archive,) = (tree / "dist").iterdir()
    pip = (sys.executable, "-m", "pip", "-q", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(place), str(archive))
    (wheel,) = place.glob("*.whl")
    run(*pip, "install", "--no-deps", "--target", str(site), str(wheel))
    variables = {**os.environ, "PYTHONPATH": str(site)}
    return lambda *words: run(sys.executable, *words, cwd=outside, env=variables)


def test_the_wheel_holds_every_recipe(installed):
    lines = ["from tunable.specs.reading import shipped_recipes", "print(*shipped_recipes().items(), sep='\\n')"]
    lines = installed("-c", "; ".join(lines)).splitlines()
    assert len(lines) == len(shipped_recipes())
    for line, name in zip(lines, shipped_recipes(), strict=True):
        assert line.startswith(f"({name!r}, ") and f"/site/tunable/configs/{name}.yaml" in line


def test_the_wheel_holds_every_model_and_its_card(installed):
    program = "from tunable.models import MODELS; print(*(f'{m.path} {m.card}' for m in MODELS.values()), sep='\\n')"
    lines = installed("-c", program).splitlines()
    assert len(lines) == len(MODELS)
    for line in lines:
        for path in map(Path, line.split()):
            assert path.parent.parent.parent.name == "site" and path.stat().st_size > 1000


def test_the_wheel_says_that_it_is_typed(installed):
    """Type checkers read the annotations of a package that holds `py.typed`."""
    for package in ("tunable", "torch_impl", "mindspore_impl"):
        program = f"import importlib.util; print(importlib.util.find_spec({package!r}).submodule_search_locations[0])"
        folder = Path(installed("-c", program).strip())
        assert folder.parent.name == "site" and (folder / "py.typed").is_file(), package


def test_a_recipe_trains_by_its_name(installed, tmp_path, backend):
    settings = [f"--set={setting}" for setting in SMALLEST]
    out = str(tmp_path / "run")
    installed("-m", "tunable", "train", "denoise/mini", "--backend", backend.name, "--out", out, *settings)
    assert (tmp_path / "run" / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["denoise/mini", "denoise/mini.yaml"])
def test_a_clone_knows_the_same_names(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert load_recipe(name) == load_recipe(ROOT / "configs" / "denoise" / "mini.yaml")


def test_a_file_goes_before_a_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "denoise" / "mini").mkdir(parents=True)
    assert load_recipe("denoise/mini").steps == 2000  # a folder is no recipe
    (tmp_path / "denoise" / "mini.yaml").write_text(f"base: {shipped_recipes()['denoise/mini']}\nsteps: 7\n")
    assert load_recipe("denoise/mini.yaml").steps == 7


def test_a_base_by_its_name(tmp_path, refused):
    (tmp_path / "mine.yaml").write_text("base: denoise/mini\nsteps: 7\n")
    mine, shipped = load_recipe(tmp_path / "mine.yaml"), load_recipe("denoise/mini")
    assert mine.steps == 7 and mine.network == shipped.network and mine.objectives == shipped.objectives
    (tmp_path / "mine.yaml").write_text("base: denoise/mini.yaml\n")
    assert load_recipe(tmp_path / "mine.yaml").steps == shipped.steps
    (tmp_path / "denoise").mkdir()
    (tmp_path / "denoise" / "mini.yaml").write_text("base: nothing\n")  # a file goes before a name
    with refused(RecipeError, "nothing"):
        load_recipe(tmp_path / "mine.yaml")


def test_an_unknown_name(refused, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with refused(RecipeError, "cannot read recipe denoise/mni", "did you mean 'denoise/mini'?"):
        load_recipe("denoise/mni")


def test_the_help_lists_the_names(tunable):
    assert set(shipped_recipes()) <= set(tunable("train", "--help")[1].replace(",", " ").replace(".\n", " ").split())
