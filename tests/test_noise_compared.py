"""tools/noise_compared.py: noise that is known is described as what it is."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tunable.data.filters import smooth_noise
from tunable.images.pictures import write

ROOT = Path(__file__).parent.parent
PROGRAM = ROOT / "tools" / "noise_compared.py"


def test_noise_of_pairs_and_of_a_recipe(tmp_path):
    """Grey noise has no chroma, smooth noise is shared by neighbours, and the demo's is white and coloured."""
    rng, folders = np.random.default_rng(0), [tmp_path / "clean", tmp_path / "noisy"]
    white = np.repeat(rng.standard_normal((1, 96, 96)), 3, 0)
    for name, noise in (("grey", white), ("smooth", smooth_noise(white, 1.0))):
        for folder, amount in zip(folders, (0, 8 / 255), strict=True):
            folder.mkdir(exist_ok=True)
            write(folder / f"{name}.png", np.float32(0.5 + amount * noise.transpose(1, 2, 0)))
    words = ["--recipe", ROOT / "tunable" / "demo.yaml", "--clean", folders[0], "--noisy", folders[1], "--patches", 24]
    words += ["--out", tmp_path / "noise.csv"]
    done = subprocess.run([sys.executable, PROGRAM, *map(str, words)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    assert "| within the pairs' range | 0% | 0% |" in done.stdout  # both are at the ends of the pairs' range
    rows = {row["picture"]: row for row in csv.DictReader((tmp_path / "noise.csv").read_text().splitlines())}
    values = {
        name: {key: float(x) for key, x in row.items() if key not in ("of", "picture")} for name, row in rows.items()
    }
    grey, smooth = values["grey"], values["smooth"]
    assert grey["luma"] == pytest.approx(8, rel=0.05) and smooth["luma"] == pytest.approx(8, rel=0.1)
    assert grey["blue"] < 0.1 and abs(grey["luma_1"]) < 0.05
    # White noise under a Gaussian of deviation s: exp(-d^2 / (4 s^2)) of it is shared d pixels apart.
    for apart in (1, 2, 4):
        assert smooth[f"luma_{apart}"] == pytest.approx(np.exp(-(apart**2) / 4), abs=0.08)
    demo = [value for name, value in values.items() if name.startswith("patch")]
    assert len(demo) == 24 and all(5 * 0.6 < row["luma"] < 30 and row["blue"] > 3 for row in demo)
