"""tools/studies.py: every row is a recipe that can be read, and networks of any p are asked for the same pictures."""

import sys
from pathlib import Path

import pytest

from tunable.backends.registry import installed
from tunable.specs.reading import load_recipe

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))  # as for a program that lies there

if "torch" not in installed():
    pytest.skip("torch, which trains, is not installed", allow_module_level=True)

import studies  # noqa: E402
import studies_report  # noqa: E402
from reproduction.printed import LINE  # noqa: E402

from tunable.reports import tables  # noqa: E402


def recipe_of(step):
    return load_recipe(step.words[1], list(step.words[3::2]))


def test_every_row_is_a_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("TUNABLE_DATA", str(tmp_path))
    steps = studies.steps_of(1)
    assert set(studies.rows([])) == set(steps) - set(studies_report.REUSED)
    for row, step in steps.items():
        recipe = recipe_of(step)
        assert recipe.steps == int(row.rpartition(", ")[2].removesuffix(" steps"))
        assert recipe.seed == (101 if row.startswith("plain, keeping") else 1)
        assert recipe.network.tunable != row.startswith("plain")
    assert recipe_of(steps["one ω per batch, 500 steps"]).omega.per == "batch"
    assert recipe_of(steps["annealed, 500 steps"]).omega.sampler.over == 250


@pytest.mark.parametrize("p", studies_report.OBJECTIVES)
def test_every_p_is_asked_for_the_same_picture(p):
    """At each setting the mean of the p targets keeps 0.9 ω₂ of the noise, by the recipe's own numbers."""
    row = studies_report.at_budget("low rank 4" if p == 2 else f"p = {p}", 500)
    specs = recipe_of(studies.steps_of(0)[row]).objectives
    kept = [0.0 if spec.kind == "rec" else spec.nu for spec in specs]
    for omega in LINE:
        shares = studies.given(row, omega)
        assert sum(shares) == pytest.approx(1)
        assert sum(a * b for a, b in zip(shares, kept, strict=True)) == pytest.approx(0.9 * omega[1])


def test_an_unknown_row_is_one_line():
    with pytest.raises(
        SystemExit, match="error: there is no row 'lawz' here; there are: plain, restoring, 250 steps; "
    ):
        studies.rows(["lawz"])


def test_gaps_are_of_common_seeds(tmp_path, monkeypatch):
    """A row of two seeds beside one of a single seed: 30 and 33 dB over two levels are 31.5, which is 2 above 29.5."""
    monkeypatch.setattr(studies_report, "TABLE1", tmp_path / "none")
    for method, seed, values in (("line", 0, (30, 33)), ("line", 1, (50, 50)), ("corners", 0, (29, 30))):
        place = {"method": method, "seed": seed, "set": "CBSD68", "omega": LINE[0], "psnr": 1}
        text = tables.to_csv([place | {"psnr_eta": value} for value in values])
        (tmp_path / f"{method}, seed {seed}.csv").write_text(text)
    results = studies_report.Results(tmp_path)
    assert results.gaps("line", "corners", "CBSD68", LINE[0]) == [2.0]
    assert results.at("line", "CBSD68", LINE[0]) == {0: 31.5, 1: 50.0}
