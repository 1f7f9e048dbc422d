"""README, the pages and --help tell the truth: commands and programs run, links lead somewhere, verbs exist."""

import argparse
import importlib
import re
import runpy
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from safetensors.numpy import save_file

from parity_tests.twins import get_twin
from tunable.backends.registry import installed, requested
from tunable.commands import VERBS, main

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
PAGES.sort(key=lambda path: path != ROOT / "README.md")  # the README's trouble is told first
BLOCK = re.compile(r"```(sh|python|yaml(?=\n# \w+\.yaml\n))\n(.*?)```", re.DOTALL)
FILE = re.compile(r"# (\w+\.(?:py|yaml))\n")  # a block that begins so is a file of the reader's
TEXTS = {str(path.relative_to(ROOT)): path.read_text("utf-8") for path in PAGES}
BLOCKS = {name: BLOCK.findall(text) for name, text in TEXTS.items() if BLOCK.search(text)}
HELP = "--help of every verb"
EXAMPLES = {verb: importlib.import_module(f"tunable.commands.{verb}").EXAMPLES for verb in VERBS}

# Commands that no test runs, by what they begin with, and why.
NOT_RUN = {
    "make install": "it installs from a package index",
    "source .venv/bin/activate": "it is the shell's",
    "pip install": "it installs from a package index",
    "TUNABLE_BACKENDS=torch TUNABLE_DEVICE_TORCH=cuda python -m pytest": "it needs an NVIDIA GPU",
    "TUNABLE_BACKENDS=mindspore TUNABLE_DEVICE_MINDSPORE=ascend python -m pytest": "it needs an Ascend NPU",
    "TUNABLE_BACKENDS=torch python -m pytest": "it runs the tests, and this is one of them",
    "python -m parity_tests.mutants": "it runs for minutes; test_mutants.py does it",
    "torchrun": "it starts several processes; parity_tests/test_ranks.py and test_restore.py do",
    "msrun": "likewise",
    "tunable app": "it serves a page until it is stopped; test_app.py opens it in a browser",
    "tunable train control/": "it trains in two stages; parity_tests/test_stages.py does it with less",
    "tunable convert runs/dni": "it takes what these trained; parity_tests/test_control.py does it",
    "tunable bench": "it times for minutes; test_benchmark.py and test_layer_benchmark.py do it with less",
    "tunable completion bash >": "it writes into the reader's home; test_completion.py asks bash",
    "tunable completion zsh >": "likewise",
    "tunable completion fish >": "likewise",
    "tunable export denoise --format web -o": "it fetches onnxruntime-web by npm; test_web.py does it",
    "tunable demo": "it trains for minutes; test_demo.py does it with less",
}
# What makes a command that takes long take seconds, by what it begins with. It does the same with less.
SMALLER = {
    "tunable train": [
        "--set", "steps=2", "--set", "network.channels=4", "--set", "network.blocks=1", "--set", "data.batch=2",
        "--set", "validation.pictures=1", "--set", "validation.size=16",
    ],
    "tunable evaluate denoise --data my/clean": ["--line", "2", "--no-ssim"],
    "tunable evaluate denoise --data bundled --metrics": ["--sigma", "15", "--line", "2"],
    "tunable evaluate": ["--sigma", "15", "--line", "2", "--no-ssim"],
    "tunable knobs": ["--sigma", "25", "--limit", "1", "--crop", "96"],
    "tunable export denoise --format darktable": ["--size", "64x64"],
    "tunable verify": ["--backends", requested()[0]],
}  # fmt: skip


def commands(text: str) -> list[str]:
    """The commands of a block, without comments; lines that end in a backslash are joined with the next."""
    lines = [" ".join(shlex.split(line, comments=True)) for line in text.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line]


def lines_of(page: str) -> list[str]:
    """The commands of a page in order."""
    return [line for kind, text in BLOCKS[page] if kind == "sh" for line in commands(text)]


# What stands on a page as well is run there.
ELSEWHERE = {line for page in BLOCKS for line in lines_of(page)}
BLOCKS[HELP] = [("sh", "\n".join(line for lines in EXAMPLES.values() for line in lines if line not in ELSEWHERE))]


def reason(line: str) -> str | None:
    """The key of NOT_RUN that a command begins with."""
    return next((beginning for beginning in NOT_RUN if line.startswith(beginning)), None)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A folder with the clone's files that the pages name, the run that README trains, and files that a reader has."""
    for name in requested():
        get_twin(name)  # which has one thread
    at = tmp_path_factory.mktemp("clone")
    results = Path("docs") / "results" / "denoise_mini"
    shutil.copytree(ROOT / "configs", at / "configs")
    shutil.copytree(ROOT / "docs" / "images", at / "docs" / "images")
    shutil.copytree(ROOT / results, at / results, ignore=lambda folder, names: [n for n in names if "." not in n])
    (at / "my" / "photographs").mkdir(parents=True)
    values = np.random.default_rng(0).integers(256, size=(2, 40, 50, 3), dtype=np.uint8)
    for name, value in zip("ab", values, strict=True):
        Image.fromarray(value).save(at / "my" / "photographs" / f"{name}.png")
    for name in ("clean", "noisy"):  # pairs, which need not be noisy to be measured
        shutil.copytree(at / "my" / "photographs", at / "my" / name)
    tifffile.imwrite(at / "scan.tif", values, photometric="rgb")  # two pages
    if "torch" in installed():  # without it no pickle can be read
        foreign_files(at)
    train = next(line for line in lines_of("README.md") if line.startswith("tunable train"))
    with pytest.MonkeyPatch.context() as patch:
        reader(patch, at)
        run(train)
    shutil.copyfile(at / "runs" / "mini" / "model.safetensors", at / "model.safetensors")
    return at


def foreign_files(at: Path) -> None:
    """Write what docs/convert.md converts: tiny networks by the official names of SwinIR."""
    import torch

    from parity_tests.official import state

    save_file(state(), at / "swinir.safetensors")
    first, second = ({name: torch.from_numpy(value) for name, value in state(seed=seed).items()} for seed in (1, 2))
    torch.save({"params": first, "params_ema": second}, at / "both.pth")


def reader(patch, folder: Path) -> None:
    """Stand in a folder as a newcomer does: without the environment variables of this project's makers."""
    patch.chdir(folder)
    patch.syspath_prepend(folder)  # as for a program that lies there
    for name in ("TUNABLE_DATA", "TUNABLE_GOLDEN"):
        patch.delenv(name, raising=False)


def run(line: str) -> None:
    words = shlex.split(line.replace("step-00002000", "step-00000002"))  # the last of a run of SMALLER
    more = next((options for beginning, options in SMALLER.items() if line.startswith(beginning)), [])
    status = main([*words[1:], *more])
    assert status == 0, f"{line}: exit status {status}"


def named_backends(text: str) -> set[str]:
    """The frameworks that a command or a program cannot do without."""
    pairs = re.findall(r"--backend (\w+)|from tunable\.(torch|mindspore) import", text)
    return {name for pair in pairs for name in pair if name} & {"torch", "mindspore"}


NEEDS_TORCH = pytest.mark.skipif("torch" not in installed(), reason="torch is not installed: its pickles are not read")


NEEDS_BOTH = pytest.mark.skipif(
    set(requested()) != {"torch", "mindspore"}, reason="one framework's file is for the other"
)
NEEDS = {"docs/convert.md": [NEEDS_TORCH], "docs/tutorials/two_machines.md": [NEEDS_BOTH]}


@pytest.mark.thorough
@pytest.mark.parametrize("page", [pytest.param(page, marks=NEEDS.get(page, ())) for page in BLOCKS])
def test_commands_and_programs_run(page, clone, tmp_path, monkeypatch):
    """They run in order, in one folder, without environment variables; a command gets the options of SMALLER."""
    folder = tmp_path / "clone"
    runs = "runs" if page == "README.md" else ""
    shutil.copytree(clone, folder, ignore=lambda _, names: [name for name in names if name == runs])
    reader(monkeypatch, folder)
    for number, (language, text) in enumerate(BLOCKS[page]):
        if named := FILE.match(text):
            (folder / named[1]).write_text(text, encoding="utf-8")
            continue
        for part in commands(text) if language == "sh" else [text]:
            if named_backends(part) - set(requested()) or reason(part):
                continue
            if language == "sh":
                assert part.startswith("tunable "), f"{part}: a command that is not run needs its reason in NOT_RUN"
                run(part)
            else:
                path = folder / f"block_{number}.py"  # MindSpore compiles functions from source files only
                path.write_text(part, encoding="utf-8")
                made = runpy.run_path(str(path), run_name="block")
                if "clean" in made:  # a training loop, whose network is folded at the end
                    assert tuple(made["ordinary"](made["clean"]).shape) == tuple(made["clean"].shape)


@pytest.mark.parametrize("verb", VERBS)
def test_examples_of_help_are_parsed(verb):
    """Also the examples that are not run, by the parser of the verb that they stand under."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    importlib.import_module(f"tunable.commands.{verb}").add_arguments(parser)
    assert EXAMPLES[verb]
    for line in EXAMPLES[verb]:
        program, named, *words = shlex.split(line)
        assert (program, named) == ("tunable", verb)
        parser.parse_args(words)


def test_what_is_not_run_stands_on_a_page():
    lines = [line for page in BLOCKS for line in lines_of(page)]
    assert {reason(line) for line in lines} - {None} == set(NOT_RUN)
    assert all(any(line.startswith(beginning) for line in lines) for beginning in SMALLER)


def anchors(text: str) -> set[str]:
    """The names by which a link may call a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.M)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)|`", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    place, missing = (ROOT / page).parent, []
    for target, section in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", TEXTS[page]):
        if "://" in target:
            continue
        path = place / target if target else ROOT / page
        if not path.exists() or (section and section not in anchors(path.read_text("utf-8"))):
            missing.append(f"{target}#{section}")
    assert not missing


@pytest.mark.parametrize(
    "page", sorted(set(TEXTS) - {"docs/glossary.md", *(page for page in TEXTS if "results" in page)})
)
def test_the_glossary_is_linked(page):
    assert "glossary.md)" in TEXTS[page] or page == "CHANGELOG.md"


@pytest.mark.parametrize("page", TEXTS)
def test_verbs_exist(page):
    lines = [line for kind, text in BLOCKS.get(page, []) if kind == "sh" for line in text.splitlines()]
    named = re.findall(r"`tunable ([a-z]+)", TEXTS[page]) + re.findall(r"^tunable ([a-z]+)", "\n".join(lines), re.M)
    assert set(named) <= set(VERBS)


NAMED = re.compile(r"(docs/[\w/]+\.md)(?:, (?P<quote>[\"`])(?P<section>[^\"`\n]+)(?P=quote))?")


def _named() -> set[tuple[str, str]]:
    """(page, section) of every page of docs/ that a source or a page names; "" where no section is named."""
    references = set()
    for path in [*ROOT.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        if ".venv" not in path.parts:
            text = path.read_text("utf-8")
            references |= {(match[1], match["section"] or "") for match in NAMED.finditer(text)}
    return references


def test_what_is_named_is_there():
    """Every named page and section is there, and nothing refers to notes that a clone does not hold."""
    named = _named()
    assert ("docs/method.md", "Objectives") in named
    missing = {page for page, _ in named if not (ROOT / page).is_file()}
    assert not missing
    headings = {page: set(re.findall(r"^#+ (.+)$", (ROOT / page).read_text("utf-8"), re.M)) for page, _ in named}
    assert not {(page, section) for page, section in named if section and section not in headings[page]}
    notes = re.compile(r"\b(?:" + "|".join(("DES" + "IGN", "SP" + "EC", "FAC" + "TS")) + r")\b(?=,| \d|\)|:)")
    for path in [*ROOT.rglob("*.py"), *ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        if ".venv" not in path.parts:
            assert not notes.search(path.read_text("utf-8")), path
