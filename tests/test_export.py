"""`tunable export`, and running what it wrote: through `load`, on the command line, by the page's program."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from prepared import MODEL, P, answer, contents

from tunable.backends import onnx_runtime
from tunable.backends.model import load
from tunable.backends.registry import get_runtime
from tunable.errors import BackendError, CheckpointError, TunableError
from tunable.exports import graphs, judging, onnx_files
from tunable.images.pictures import read_picture
from tunable.tolerances import TOLERANCES, relative_error
from tunable.weights import storage

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
EXPORT = f"export {MODEL} -o {P}/x"
LIMIT = TOLERANCES["export"].limit

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def exported(weights_file, backend, tmp_path_factory):
    """net.onnx, omega an input, exported once."""
    path = tmp_path_factory.mktemp("exported") / "net.onnx"
    judging.checked_export(load(weights_file, backend), "onnx", path)
    return path


def test_onnx(tunable, weights_file, backend, model, tmp_path, rng):
    """Folded: one line says what was done; the answer as JSON; the file runs and says what it is."""
    out = tmp_path / "new" / "plain.onnx"
    call = tunable(
        "export", weights_file, "--format", "onnx", "--omega", "0.7,0.3", "-o", out, "--backend", backend.name, "--json"
    )
    result = answer(call)
    assert result["files"] == [str(out)] and result["form"] == "folded" and result["worst"] <= result["limit"] == LIMIT
    assert result["worst"] == max(result["errors"].values()) and len(result["errors"]) == 2
    (line,) = call[2].splitlines()
    assert line.startswith(f"wrote {out}: onnx, folded; run 2 times beside the network: worst relative error ")
    image = rng.uniform(size=(2, 3, 9, 14)).astype(np.float32)
    folded = load(out, "onnx")
    assert folded.objectives == () and folded.header.folded_at == pytest.approx([0.7, 0.3])
    assert relative_error(folded.run(image), model.run(image, [0.7, 0.3])) <= LIMIT


def test_interpolation_set(tunable, weights_file, backend, tmp_path):
    """Files that every verb takes as plain weights."""
    words = ("--format", "dni", "-o", tmp_path / "net.safetensors", "--backend", backend.name)
    status, out, err = tunable("export", weights_file, *words)
    assert (status, out) == (0, "") and err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"net-{j}.safetensors" for j in range(3)]
    assert "plain" in tunable("info", tmp_path / "net-1.safetensors")[1]


def test_quiet_as_a_program(weights_file, backend, tmp_path):
    """Exporters speak on standard error, or worse, output: nobody hears them."""
    words = ["--format", "onnx", "--float16", "-o", tmp_path / "half.onnx"]
    program = [sys.executable, "-m", "tunable", "export", weights_file, *words, "--backend", backend.name]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"wrote {tmp_path / 'half.onnx'}: onnx, shared; run 5 times")


def test_a_failed_comparison(tunable, weights_file, backend, tmp_path, monkeypatch):
    """Status 1, one line, and the file that was there is as it was."""
    (tmp_path / "net.onnx").write_text("kept")
    monkeypatch.setitem(judging.TOLERANCES, "export", TOLERANCES["export"]._replace(limit=1e-12))
    words = ("--format", "onnx", "--omega", "1,0", "-o", tmp_path / "net.onnx", "--backend", backend.name)
    status, out, err = tunable("export", weights_file, *words)
    assert (status, out) == (1, "") and err.count("\n") == 1
    assert re.match(r"tunable export: the export is not equal .* at \dx3x.*, limit 1e-12", err)
    assert contents(tmp_path) == {Path("net.onnx"): b"kept"}


@pytest.mark.parametrize(
    ("line", "fragments"),
    [
        (f"{EXPORT}.onnx", ["--format", "required"]),
        (f"{EXPORT}.onnx --format onx", ["unknown format 'onx'", "did you mean 'onnx'", "onnx, mindir, dni"]),
        (f"{EXPORT}.onnx --format onnx --form loop", ["unknown form 'loop'", "shared, basis"]),
        (f"{EXPORT}.onnx --format onnx --omega 1", ["'1' has 1 value;", "2 (fidelity, noise)"]),
        (f"{EXPORT}.onnx --format onnx --omega 1,2", ["(1, 2) lies outside"]),
        (f"{EXPORT}.onnx --format onnx --omega 1,0 --form basis", ["form basis"]),
        (f"{EXPORT}.bin --format onnx", ["must be named *.onnx", "x.bin"]),
        (f"{EXPORT}.safetensors --format dni --omega 1,0", ["dni takes no omega"]),
        (f"{EXPORT}.safetensors --format dni --float16", ["float16 is for format onnx"]),
        (f"export {MODEL} --format onnx -o {P}/plain_file/x.onnx", ["plain_file/x.onnx", "not a folder"]),
        (f"export {P}/plain.safetensors --format onnx --omega 1,0 -o {P}/x.onnx", ["plain network", "--omega"]),
        (f"export {P}/plain.safetensors --format dni -o {P}/x.safetensors", ["dni", "plain"]),
        (f"export {P}/plain.safetensors --format onnx --form basis -o {P}/x.onnx", ["form basis"]),
        (f"export {P}/data.txt --format onnx -o {P}/x.onnx", ["data.txt is not a readable safetensors file"]),
        (f"export {P}/nan.safetensors --format onnx -o {P}/x.onnx", ["not finite"]),
        (f"{EXPORT}.onnx --format onnx --backend onnx", ["'onnx' only runs exported files"]),
        (f"restore {MODEL} {P}/pictures/a.png --omega 1,0 --backend onnx", ["'onnx' only runs exported files"]),
        (f"train {P}/recipe.yaml --out {P}/new --backend onnx", ["'onnx' only runs exported files"]),
    ],
)
def test_refused(line, fragments, refuses):
    refuses(line, *fragments)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_onnx(missing, refuses, monkeypatch, exported):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == missing else real(name, *more))
    message = f"needs {missing}, which is not installed: pip install 'tunable-convolutions[{{}}]'"
    refuses(f"{EXPORT}.onnx --format onnx", message.format("onnx"))
    if missing == "onnxruntime":
        with pytest.raises(BackendError, match=re.escape(message.format(missing))):
            load(exported, "onnx")
    else:
        assert load(exported, "onnx").objectives  # running a file needs no more


# --- running an exported file


def test_run(exported, model, rng):
    """As the model runs that it was made from, one omega or one per sample."""
    net, image = load(exported, backend="onnx"), rng.uniform(size=(3, 3, 20, 11)).astype(np.float32)
    assert net.objectives == model.objectives == ("fidelity", "noise") and net.header == model.header
    for omega in ([0.7, 0.3], rng.uniform(size=(3, 2))):
        restored = net.run(image, omega)
        assert restored.dtype == np.float32 and relative_error(restored, model.run(image, omega)) <= LIMIT
    facts = net.backend.facts()
    assert facts["device"] == "cpu" and re.match(r"\d+\.\d+", facts["onnxruntime"])


def test_one_omega_for_good(exported, model, rng, tmp_path, refused):
    """A plain model whose kernels depend on no input; of the file, as long as it is there."""
    path = tmp_path / "net.onnx"
    path.write_bytes(exported.read_bytes())
    net, image = load(path, backend="onnx"), rng.uniform(size=(2, 3, 9, 14)).astype(np.float32)
    assert not graphs.faults(net.backend.graph(path), tunable=True)
    folded = net.fold([0.7, 0.3])
    assert folded.objectives == () and not folded.folds and folded.header.folded_at == pytest.approx([0.7, 0.3])
    assert relative_error(folded.run(image), model.run(image, [0.7, 0.3])) <= LIMIT
    path.write_bytes(folded.network.model)
    assert not graphs.faults(net.backend.graph(path), tunable=False)
    path.unlink()
    with refused(CheckpointError, f"{path} is no longer readable"):
        net.fold([0.7, 0.3])


def test_blocked(exported, model, rng, tmp_path):
    """A mode of its own: kernels laid out once, mixed at every omega, of the range or not."""
    net, image = load(exported, "onnx", mode="blocked"), rng.uniform(size=(3, 3, 20, 11)).astype(np.float32)
    for omega in ([0.7, 0.3], [0.1, 2.5], rng.uniform(size=(3, 2))):
        assert relative_error(net.run(image, omega), model.run(image, omega)) <= LIMIT
    assert net.network.blocked is not net.network and net.backend.facts()["mode"] == "blocked"
    assert [one.name for one in net.network.blocked.get_inputs()] == ["image", "omega"]
    judging.checked_export(model, "onnx", tmp_path / "basis.onnx", form="basis")
    judging.checked_export(model, "onnx", tmp_path / "folded.onnx", [0.7, 0.3])
    for name in ("basis.onnx", "folded.onnx"):  # constants already: run as they are
        other = load(tmp_path / name, "onnx", mode="blocked")
        assert (
            relative_error(other.run(image, *other.objectives and [[0.7, 0.3]]), model.run(image, [0.7, 0.3])) <= LIMIT
        )
        assert not vars(other.network)["_made"]


def scaled(path, kernel, *, twice=False, dtype=np.float32):
    """A file of one point-wise convolution of one channel, or of two of them, by a constant."""
    from onnx import helper, numpy_helper

    sides = [helper.make_tensor_value_info(name, 1, [1, 1, 1, 1]) for name in ("image", "restored")]
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["half" if twice else "restored"])]
    if twice:
        nodes.append(helper.make_node("Conv", ["half", "kernel"], ["restored"]))
    constant = numpy_helper.from_array(np.full((1, 1, 1, 1), kernel, dtype), "kernel")
    path.write_bytes(
        helper.make_model(
            helper.make_graph(nodes, "g", sides[:1], sides[1:], [constant]),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=10,
        ).SerializeToString()
    )
    return path


def test_constants_that_are_affine_in_omega(tmp_path):
    """Three at 0, five and two at the unit vectors: 3 + 2 a - b. Not so, or another graph: none."""

    def given(name, *more, **options):
        return scaled(tmp_path / f"{name}.onnx", *more, **options)

    ends, at = [given("0", 3), given("a", 5), given("b", 2)], np.array([0.25, 0.5])
    model = onnx_files.with_omega(ends, given("between", 3), at, 1e-6)
    session = onnxruntime.InferenceSession(model)
    for omega, expected in (((0, 0), 3), ((1, 0), 5), ((0, 1), 2), ((2, 3), 4), ((-1, 0.5), 0.5)):
        inputs = {"image": np.full((1, 1, 1, 1), 7, np.float32), "omega": np.array([omega], np.float32)}
        assert session.run(None, inputs)[0] == pytest.approx(7 * expected)
    assert onnx_files.with_omega(ends, given("between", 3.00001), at, 1e-6) is None
    assert onnx_files.with_omega(ends, given("between", 3, twice=True), at, 1e-6) is None
    ends = [given(name, value, dtype=np.float16) for name, value in (("0", 3), ("a", 5), ("b", 2))]
    assert onnx_files.with_omega(ends, given("between", 3, dtype=np.float16), at, 1e-6) is None


def test_blocked_is_refused(exported, monkeypatch, refused):
    def full(**_):
        raise OSError(28, "No space left on device")

    net = load(exported, "onnx", mode="blocked")
    with monkeypatch.context() as patch:
        patch.setattr(onnx_runtime.tempfile, "TemporaryDirectory", full)
        with refused(BackendError, "cannot lay out this model's kernels: [Errno 28] No space left on device"):
            net.run(np.zeros((1, 3, 8, 8), np.float32), [1, 0])
    with refused(BackendError, "mode 'blocked' on device 'cpu' only, not on 'cuda'"):
        get_runtime("onnx", "cuda", "blocked")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None if name == "onnx" else name)
    with refused(BackendError, "mode 'blocked' of backend 'onnx' needs onnx, which is not installed", "[onnx]"):
        get_runtime("onnx", mode="blocked")


def test_restore(exported, tunable, place, tmp_path, monkeypatch):
    """The same picture with omega an input of the file, and as a constant."""
    words = (place / "pictures" / "a.png", "--omega", "1,0")  # the suffix says which backend
    given, run = [], onnx_runtime.Backend.run

    def noted(self, network, degraded, omega):
        given.append(omega is None)
        return run(self, network, degraded, omega)

    monkeypatch.setattr(onnx_runtime.Backend, "run", noted)
    assert tunable("restore", exported, *words, "-o", tmp_path / "a.png")[0] == 0
    monkeypatch.setattr(onnx_runtime.Backend, "folds", lambda self, network: False)  # onnx itself is not installed
    assert tunable("restore", exported, *words, "-o", tmp_path / "b.png")[0] == 0
    assert given == [True, False]  # whether omega was left out
    first, second = (read_picture(tmp_path / name)[0].astype(int) for name in ("a.png", "b.png"))
    assert np.abs(first - second).max() <= 1


def test_the_suffix_says_what_runs_it(exported, tunable, place, tmp_path):
    """In every verb that reads a model, and in upper case; another backend is refused."""
    shutil.copy(exported, tmp_path / "NET.ONNX")
    for path in (exported, tmp_path / "NET.ONNX"):
        assert load(path).backend.name == "onnx"
        status, out, err = tunable("info", path)
        assert (status, err) == (0, "") and "trained at    omega anywhere in [0, 1]\n" in out
        assert "exported      for pictures of any size; runs with backend onnx\n" in out
        words = ("--data", place / "pictures", "--sigma", "15", "--omega", "noise=1,fidelity=0", "--no-ssim", "--json")
        assert len(answer(tunable("evaluate", path, *words))["summary"]) == 2
    status, out, _ = tunable("knobs", exported, "--data", place / "pictures", "--sigma", "15", "--json")
    assert status in (0, 1) and json.loads(out)["facts"]["backend"] == "onnx"
    status, _, err = tunable("export", exported, "--format", "onnx", "-o", tmp_path / "a.onnx")
    assert status == 2 and err.count("\n") == 1 and "exported" in err
    status, _, err = tunable("restore", exported, place / "pictures" / "a.png", "--omega", "1,0", "--backend", "torch")
    assert status == 2 and "is an exported model: it runs with backend 'onnx', not 'torch'" in err


def test_fold_writes_weights(exported, tunable, tmp_path):
    status, out, err = tunable("fold", exported, "--omega", "1,0", "-o", tmp_path / "a.safetensors")
    assert (status, out) == (2, "") and err.count("\n") == 1 and not list(tmp_path.iterdir())
    assert f"{exported} is an exported model: to fold it, load the weights" in err


def test_what_load_refuses(exported, backend, tmp_path, refused):
    import onnx

    with refused(CheckpointError, "no such exported file"):
        load(tmp_path / "absent.onnx", "onnx")
    with refused(TunableError, "net.onnx is an exported model", "runs with backend 'onnx', not"):
        load(exported, backend)
    with refused(TunableError, "net.mindir is an exported model", "runs with backend 'mindspore', not 'onnx'"):
        load("net.mindir", "onnx")
    with refused(BackendError, "has no device 'npu'", "known: cpu, cuda"):
        get_runtime("onnx", "npu")
    with refused(BackendError, "has no mode 'fast'"):
        get_runtime("onnx", mode="fast")

    def changed(change):
        graph = onnx.load(exported)
        change(graph)
        onnx.save(graph, tmp_path / "a.onnx")
        return tmp_path / "a.onnx"

    metadata = {one.key: one.value for one in onnx.load(exported).metadata_props}
    less = {key: value for key, value in metadata.items() if key != "recipe"}
    with refused(CheckpointError, "a.onnx is not an exported model of this project", "format None"):
        load(changed(lambda graph: onnx.helper.set_model_props(graph, {})), "onnx")
    with refused(CheckpointError, "a.onnx has a damaged header", "it lacks 'recipe'"):
        load(changed(lambda graph: onnx.helper.set_model_props(graph, less)), "onnx")
    plain = storage.Header.from_metadata(metadata, "it").network.model_copy(update={"tunable": False})
    other = storage.Header(plain).to_metadata()
    with refused(CheckpointError, "a.onnx has inputs ['image', 'omega'], but its header wants ['image']"):
        load(changed(lambda graph: onnx.helper.set_model_props(graph, other)), "onnx")

    def fixed(graph):
        graph.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 8

    net = load(changed(fixed), "onnx")
    with refused(BackendError, "onnxruntime cannot run this model"):
        net.run(np.zeros((1, 3, 9, 9), np.float32), [1, 0])


# --- the page


def test_the_ten_lines(exported):
    """They run beside the exported file with nothing but onnxruntime and numpy."""
    program, *_, kept, other = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)  # tests/test_pages.py runs all
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 10
    modules = {line.split()[1] for line in lines if line.startswith("import")}
    assert modules == {"json", "numpy", "onnxruntime"} and "from" not in program
    done = subprocess.run([sys.executable, "-c", program], cwd=exported.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("'fidelity'") == done.stdout.count("(2, 3, 40, 60)") == 3
    done = subprocess.run(
        [sys.executable, "-c", kept + "print(restored.shape)"], cwd=exported.parent, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "(2, 3, 40, 60)\n"), done.stderr
    used = other + "print(restored.shape)"
    done = subprocess.run([sys.executable, "-c", used], cwd=exported.parent, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "(2, 3, 64, 64)\n"), done.stderr


def test_the_ascend_script_is_marked():
    for name in ("convert.sh", "om.cfg"):
        assert "NOT RUN" in (ROOT / "tools" / "ascend" / name).read_text(encoding="utf-8")
    script = ROOT / "tools" / "ascend" / "convert.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    done = subprocess.run([script, "net.txt", "out"], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1


def test_a_provider_that_is_not_installed(exported, tunable, tmp_path):
    """One line that names those that are; what is no provider at all is said with those that are known."""
    missing, unknown = ["no provider 'cann'", "it has cpu"], ["'can'", "known: cpu, cuda, cann"]
    for name, fragments in (("cann", missing), ("can", unknown)):
        words = (exported, tmp_path / "a.png", "-o", tmp_path / "b.png", "--omega", "1,0", "--provider", name)
        status, out, err = tunable("restore", *words)
        assert (status, out) == (2, "") and err.count("\n") == 1, err
        assert all(fragment in err for fragment in fragments), err


def test_cann_is_asked_for_float32(exported, monkeypatch):
    """Said to a stand-in: no machine with an Ascend runs this. By default it computes in float16."""
    import onnxruntime

    asked, real = [], onnxruntime.InferenceSession.__init__

    def record(self, model, options, providers, **others):
        asked.append(providers)
        real(self, model, options, providers=["CPUExecutionProvider"], **others)

    providers = ["CANNExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnxruntime.InferenceSession, "__init__", record)
    model = load(exported, "onnx", "cann")
    switch = {"precision_mode": "must_keep_origin_dtype"}
    assert asked == [[("CANNExecutionProvider", switch)]]
    assert model.backend.facts()["device"] == "cann" and switch.items() <= model.backend.facts().items()
