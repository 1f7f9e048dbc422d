"""`tunable verify` and `tunable doctor`: what they choose, write and find."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from prepared import answer

from tunable import api, certificate
from tunable.errors import TunableError
from tunable.own import imported

# --- verify

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def rows(monkeypatch, tunable):
    """What verify finds, without computing it."""
    three_rows = certificate.Certificate("model", {"torch": {"device": "cpu"}})

    def verify(path, backends, *, points, exports, record, against, progress):
        progress(f"{path}, {points} points")
        return three_rows

    monkeypatch.setattr("tunable.commands.verify.verify", verify)
    return three_rows.rows


def test_verify(tunable, rows, backend):
    words = ["verify", "m.safetensors", "--backends", backend.name]
    rows.append(certificate.Row("layer", "torch : oracle", "(0, 1)", "head", 1e-7, 2e-6))
    status, out, err = tunable(*words, "--grid", "3", "--html", "new/page.html")
    assert status == 0 and "PASSED: 1 comparisons" in out and err == "verify: m.safetensors, 3 points\n"
    assert "Passed" in Path("new/page.html").read_text(encoding="utf-8")
    result = answer(tunable(*words, "--json"))
    assert result["passed"] is True and len(result["summary"]) == 3
    assert result["subject"]["command line"] == f"tunable verify m.safetensors --backends {backend.name} --json"
    rows.append(certificate.Row("layer", "torch : oracle", "(0, 1)", "tail", float("inf"), 2e-6))
    status, out, err = tunable(*words)
    assert status == 1 and "FAILED: 1 of 2" in out
    assert err.splitlines()[-1] == "tunable verify: 1 of 2 comparisons failed"
    status, out, _ = tunable(*words, "--json")
    assert status == 1 and json.loads(out, parse_constant=pytest.fail)["rows"][1]["error"] is None


def test_verify_from_python(monkeypatch, backend):
    """The certificate says by which call it was made, a path being its text."""
    monkeypatch.setattr("tunable.api.judge", lambda path, *_, **options: certificate.Certificate(str(path), {}))
    path, name = Path("a b.safetensors"), backend.name
    made = api.verify(path, backends=[name], exports=("onnx",), record=Path("p.safetensors"))
    assert made.subject["Python call"] == (
        f"tunable.verify('a b.safetensors', backends=['{name}'], points=5, exports=('onnx',), record='p.safetensors')"
    )
    made = api.verify(str(path), backends=[name], against="p.safetensors")
    assert made.subject["Python call"] == (
        f"tunable.verify('a b.safetensors', backends=['{name}'], against='p.safetensors')"
    )


def test_verify_from_python_imports_what_is_permitted(monkeypatch, backend, refused):
    def judge(path, *_, **options):
        return certificate.Certificate(imported("pathlib:Path", "network").__name__, {})

    monkeypatch.setattr("tunable.api.judge", judge)
    with refused(TunableError, "network pathlib:Path", "allow_import=True"):
        api.verify("a.safetensors", backends=[backend.name])
    made = api.verify("a.safetensors", backends=[backend.name], allow_import=True)
    assert made.subject["Python call"].endswith("points=5, allow_import=True)")


def test_verify_chooses(monkeypatch):
    """Frameworks and exports by name, all that is installed by default."""
    from tunable.commands import verify

    monkeypatch.setenv("TUNABLE_BACKENDS", "torch")
    assert verify.chosen("mindspore, onnx,torch,onnx") == (["mindspore", "torch"], ("onnx",))
    assert verify.chosen("mindspore,mindir") == (["mindspore"], ("mindir",))
    assert verify.chosen(None) == (["torch"], ("mindir", "onnx"))
    monkeypatch.setattr(verify, "missing_packages", lambda: ["onnxruntime"])
    assert verify.chosen(None) == (["torch"], ("mindir",))


def test_verify_for_real(tunable, weights_file, backend):
    result = answer(tunable("verify", weights_file, "--backends", backend.name, "--grid", "2", "--json"))
    assert result["passed"] and {"weights", "layer", "folded", "loss"} <= {row["stage"] for row in result["rows"]}
    assert backend.name in result["facts"] and result["machine"]["numpy"] == np.__version__
    assert all(row["minimum_tolerance"] == row["error"] for row in result["rows"])
    (layers,) = [row for row in result["stages"] if row["stage"] == "layer"]
    assert layers["first_difference"] == "head" and layers["rows_passed"] == layers["rows"] == 5
    (parts,) = [row["parts"] for row in result["rows"] if row["stage"] == "layer" and row["omega"] == "(1, 0)"]
    assert list(parts) == ["head", "body.0.conv1", "body.0.conv2", "tail"] and layers["error"] >= max(parts.values())


# --- doctor


def test_doctor(tunable, backend, monkeypatch):
    monkeypatch.setenv("TUNABLE_BACKENDS", backend.name)
    status, out, err = tunable("doctor")
    assert (status, err) == (0, "") and f"ok   {backend.name} starts: on " in out and "FAIL" not in out
    result = answer(tunable("doctor", "--json"))
    assert result["checks"][f"{backend.name} starts"]["passed"] and result["packages"]["numpy"] == np.__version__
    assert result["backends"][backend.name]["device"]


def test_doctor_finds_what_is_wrong(tunable, monkeypatch):
    """A framework that is asked for and missing, a broken one, numpy 2 and the slow kernel beside MindSpore."""
    from tunable.commands import doctor
    from tunable.errors import BackendError

    def get_runtime(name):
        raise BackendError(f"{name}: libbroken.so is missing")

    monkeypatch.setattr(doctor, "get_runtime", get_runtime)
    monkeypatch.setattr(doctor, "installed", lambda: ("mindspore",))
    monkeypatch.setattr(doctor, "_version", lambda name: "2.4.1")
    monkeypatch.setattr(doctor, "_has_avx512", lambda: True)
    monkeypatch.setenv("TUNABLE_BACKENDS", "jax")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    status, out, _ = tunable("doctor", "--json")
    checks = json.loads(out)["checks"]
    assert checks["onnxruntime sends no data on its use"]["passed"]
    assert status == 1 and [name for name, check in checks.items() if not check["passed"]] == [
        "mindspore starts",
        "jax starts",
        "numpy below 2 beside MindSpore",
        "MindSpore's CPU convolutions use the fast kernel",
    ]
    assert "libbroken.so" in checks["mindspore starts"]["found"]
    status, out, _ = tunable("doctor")
    assert status == 1 and "FAIL jax starts: jax: libbroken.so is missing" in out
    monkeypatch.setattr(doctor, "installed", tuple)
    monkeypatch.delenv("TUNABLE_BACKENDS")
    monkeypatch.setattr(doctor, "requested", tuple)
    status, out, _ = tunable("doctor")
    assert status == 1 and "FAIL networks can be run: this needs torch or mindspore" in out
    alone = SimpleNamespace(facts=lambda: {"onnxruntime": "1.32.0", "device": "cpu"})
    monkeypatch.setattr(doctor, "get_runtime", lambda name: alone if name == "onnx" else get_runtime(name))
    status, out, _ = tunable("doctor")
    assert status == 0 and "ok   networks can be run: by onnxruntime alone, exported .onnx files" in out


def test_onnxruntime_keeps_no_data_on_its_use(tmp_path, tunable, monkeypatch):
    """Nothing is left under HOME, unless the user has said so, which doctor reports."""
    code = "import os, tunable, onnxruntime; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    for wish in ({}, {"ORT_DISABLE_TELEMETRY": "0"}):
        home = tmp_path / f"home{len(wish)}"
        home.mkdir()
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env={**environment, "HOME": str(home), **wish}, check=True, stdout=subprocess.PIPE, text=True
        )
        assert done.stdout.strip() == wish.get("ORT_DISABLE_TELEMETRY", "1")
        assert wish or not list(home.iterdir())
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    status, out, _ = tunable("doctor")
    assert status == 1 and "FAIL onnxruntime sends no data on its use: ORT_DISABLE_TELEMETRY 0" in out


def test_doctor_reads_the_switches(tunable, monkeypatch):
    """TF32 left on, and a MindSpore on a CPU whose waiting thread spins."""
    from tunable.commands import doctor

    facts = {"device": "cpu", "tf32 convolution": "True", "hf32 matmul": "False"}
    monkeypatch.setattr(doctor, "get_runtime", lambda name: SimpleNamespace(facts=lambda: facts))
    monkeypatch.setattr(doctor, "installed", lambda: ("torch", "mindspore"))
    for dispatch, passed in (("0", False), ("1", True)):
        monkeypatch.setenv("MS_DEV_HOST_BLOCKING_RUN", dispatch)
        status, out, _ = tunable("doctor", "--json")
        checks = json.loads(out)["checks"]
        assert status == 1
        assert not checks["torch computes in full float32"]["passed"]
        assert checks["MindSpore's waiting thread leaves the cores to the kernels"]["passed"] is passed
