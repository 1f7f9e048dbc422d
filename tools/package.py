"""Build the source archive and the wheel, install the wheel into clean environments, and use it outside the tree.

    python tools/package.py NETWORK.onnx                            # torch, mindspore, onnxruntime, each alone
    python tools/package.py NETWORK.onnx onnxruntime                # one of them
    python3.12 tools/package.py NETWORK.onnx mindspore              # with another Python

NETWORK.onnx is an exported network of two knobs that are called fidelity and noise. The environments are of the Python
that runs this program, with the versions of constraints.txt from pip's index, and are removed in the end. What is used:
a recipe and a model that are in the wheel, every verb's help, and what needs another extra, which is named in one line.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SMALLEST = ["steps=2", "network.channels=4", "network.blocks=1", "data.batch=2", "validation.pictures=1"]
TRAIN = ["train", "denoise/mini", "--out", "run", *(word for one in SMALLEST for word in ("--set", one))]
RESTORE = ["restore", "noisy.jpg", "--strength", "70", "-o"]
TRAINED = [TRAIN, [*RESTORE, "a.png", "--model", "denoise"], [*RESTORE, "b.png", "--model", "run/model.safetensors"]]
FRAMEWORKS = ("torch", "mindspore")
# The extra -> lines of tunable that succeed with it alone, and lines that name the extra that they need.
USES = {
    "torch": (
        TRAINED,
        {
            "onnxruntime": [*RESTORE, "c.png", "--model", "network.onnx"],
            "onnx": ["export", "denoise", "--format", "onnx", "-o", "c.onnx"],
            "mindspore": [*TRAIN, "--backend", "mindspore"],
            "app": ["app"],
        },
    ),
    "mindspore": (
        [*TRAINED, ["export", "denoise", "--format", "mindir", "--size", "32x32", "-o", "c.mindir"]],
        {
            "onnxruntime": [*RESTORE, "c.png", "--model", "network.onnx"],
            "torch": [*TRAIN, "--backend", "torch"],
            "app": ["app"],
        },
    ),
    "onnxruntime": (
        [[*RESTORE, "a.png", "--model", "network.onnx"], ["info", "network.onnx"], ["info", "denoise"]],
        {
            "torch": [*RESTORE, "b.png", "--model", "denoise"],
            "mindspore": [*TRAIN, "--backend", "mindspore"],
            "app": ["app"],
        },
    ),
}
ALWAYS = [["doctor"], ["completion", "bash"], ["info", "--models"]]


class Failed(Exception):
    """A program did not do what it should."""


def call(*words: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess:
    """Run a program in a folder outside the tree, without this process's own path; Failed with another status."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "TUNABLE_BACKENDS")}
    done = subprocess.run([*map(str, words)], cwd=cwd, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != status:
        line = " ".join(map(str, words))
        raise Failed(f"{line}: exit status {done.returncode}, not {status}:\n{done.stdout}{done.stderr}")
    return done


def pip(python: Path | str, *words: str | Path, cwd: Path) -> None:
    """Run pip of an environment."""
    call(python, "-W", "ignore", "-m", "pip", "--quiet", "--disable-pip-version-check", *words, cwd=cwd)


def build(place: Path) -> Path:
    """Make the source archive of the files that git knows, and of it the wheel; return the wheel."""
    tree = place / "tree"
    listed = call("git", "ls-files", "-z", cwd=ROOT).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file() and not name.startswith("docs/results"):
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    # what setuptools puts into the archive is then seen not to depend on what else lies in the tree
    backend = "from setuptools.build_meta import build_sdist; build_sdist('..')"
    pip(sys.executable, "install", "--target", place / "backend", "setuptools>=77", cwd=place)
    call(sys.executable, "-c", f"import sys; sys.path.insert(0, '../backend'); {backend}", cwd=tree)
    (archive,) = place.glob("*.tar.gz")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", place, archive, cwd=place)
    (wheel,) = place.glob("*.whl")
    return wheel


def use(extra: str, wheel: Path, place: Path) -> None:
    """Install the wheel with one extra, and use it."""
    folder = place / extra
    outside = folder / "outside"
    outside.mkdir(parents=True)
    for name in ("noisy.jpg", "network.onnx"):
        shutil.copyfile(place / name, outside / name)
    call(sys.executable, "-m", "venv", folder / "env", cwd=folder)
    binaries = folder / "env" / "bin"
    python, tunable = binaries / "python", binaries / "tunable"
    if extra == "torch":  # of a tenth of the size where no GPU is seen
        call(python, ROOT / "tools" / "install_torch.py", ROOT / "constraints.txt", cwd=folder)
    wanted = f"tunable-convolutions[{extra}] @ {wheel.as_uri()}"
    pip(python, "install", "--no-compile", "--constraint", ROOT / "constraints.txt", wanted, cwd=folder)
    where = call(python, "-c", "import tunable; print(tunable.__file__)", cwd=outside).stdout
    if not where.startswith(str(folder)):
        raise Failed(f"{extra}: another copy of the package was imported: {where}")
    works, wants = USES[extra]
    for words in (*ALWAYS, *works):
        call(tunable, *words, cwd=outside)
    for needed, words in wants.items():
        one_line(call(tunable, *words, cwd=outside, status=2).stderr, needed)
    for name in FRAMEWORKS:
        program = f"from tunable.{name} import TunableConv2d; TunableConv2d(3, 8, 3, num_objectives=2)"
        if name == extra:
            call(python, "-c", program, cwd=outside)
        else:
            said = call(python, "-c", program, cwd=outside, status=1).stderr.splitlines()[-1]
            one_line(said.removeprefix("ModuleNotFoundError: "), name)


def one_line(said: str, extra: str) -> None:
    """Failed unless what was said is one line that names the extra."""
    if not re.fullmatch(rf"tunable.*: pip install 'tunable-convolutions\[{extra}\]'", said.strip()):
        raise Failed(f"wants one line that names the extra {extra}, not:\n{said}")


def main() -> int:
    """Use the wheel in every environment that is asked for, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help=f"One or more of {', '.join(USES)}; none: all.")
    args = parser.parse_args()
    if unknown := set(args.extras) - USES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(USES)}")
    failed, version = 0, ".".join(map(str, sys.version_info[:3]))
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        shutil.copyfile(ROOT / "docs" / "images" / "noisy.jpg", place / "noisy.jpg")
        shutil.copyfile(args.network, place / "network.onnx")
        wheel = build(place)
        for extra in args.extras or USES:
            begun = time.monotonic()
            try:
                use(extra, wheel, place)
            except Failed as error:
                failed += 1
                print(f"FAIL {extra}: {error}", file=sys.stderr)
            else:
                seconds = time.monotonic() - begun
                print(f"ok   {wheel.name}[{extra}] in Python {version}: {seconds:.0f} s", flush=True)
            shutil.rmtree(place / extra)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
