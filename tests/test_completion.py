"""`tunable completion`: what bash offers, asked in bash itself."""

import shutil
import subprocess

import pytest

from tunable.commands import VERBS

ASK = """source {script}
for line in "${{@}}"; do
    read -ra COMP_WORDS <<< "$line"; COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMPREPLY=()
    _shtab_tunable; echo "${{COMPREPLY[*]}}"
done"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash(tunable, tmp_path):
    """Verbs, options of one verb, values of an option, names of what ships, and files."""
    status, script, err = tunable("completion", "bash")
    assert (status, err) == (0, "")
    (tmp_path / "completion.bash").write_text(script)
    (tmp_path / "noisy.png").touch()
    asked = {
        "tunable tr": "train",
        "tunable restore --str": "--strength",
        "tunable train denoise/mi": "denoise/mini",
        "tunable train nois": "noisy.png",
        "tunable restore --model denoi": "denoise",
        "tunable train denoise/mini --backend mi": "mindspore",
        "tunable bench lay": "layers",
        "tunable fold --str": "",  # no option of that verb
    }
    words = ["bash", "-c", ASK.format(script=tmp_path / "completion.bash"), "bash", *asked]
    answers = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.splitlines()
    assert dict(zip(asked, answers, strict=True)) == asked


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_know_every_verb(shell, tunable):
    status, script, _ = tunable("completion", shell)
    assert status == 0 and all(verb in script for verb in VERBS) and "denoise/mini" in script


def test_an_unknown_shell(tunable):
    status, _, err = tunable("completion", "csh")
    assert status == 2 and "csh" in err and "bash" in err and err.count("\n") == 1
