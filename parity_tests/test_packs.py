"""Packs: recorded once with torch, they judge either framework alone, and nothing that was tampered with passes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from parity_tests.mutants.certified import FAULTS, cases
from parity_tests.test_certificate import STAGES
from parity_tests.test_perceptual import make_recipes
from tunable.certificate import verify
from tunable.commands import main
from tunable.errors import CheckpointError, TunableError
from tunable.weights import storage

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def model(small_network):
    return small_network("affine")


@pytest.fixture(scope="module")
def pack(torch, model, tmp_path_factory):
    """The pack of `model`, recorded by torch alone over the four corners of omega and one mix."""
    path = tmp_path_factory.mktemp("packs") / "small.pack.safetensors"
    certificate = verify(model, [torch.backend], points=2, record=path)
    assert certificate.passed and any("recorded in" in note for note in certificate.notes)
    return path


@pytest.fixture
def altered(pack, tmp_path):
    """altered(change): a pack with other content and a right digest; change(tensors, metadata) in place."""

    def write(change, sign=True):
        tensors, metadata = storage.load_tensors(pack)
        change(tensors, metadata)
        path = tmp_path / "altered.safetensors"
        if sign:
            storage.save_tensors(path, tensors, metadata)
        else:
            save_file(tensors, path, metadata)
        return path

    return write


def without(metadata, *keys):
    """The pack's network as JSON, some of its arguments not said: they have their defaults then."""
    return json.dumps({key: value for key, value in json.loads(metadata["network"]).items() if key not in keys})


def add(tensors, metadata, name, value):
    tensors[name] = value
    metadata["names"] = json.dumps([*json.loads(metadata["names"]), name])


def drop(tensors, metadata, *names):
    for name in names:
        del tensors[name]
    metadata["names"] = json.dumps([name for name in json.loads(metadata["names"]) if name not in names])


def failed(certificate):
    return [row for row in certificate.rows if not row.passed]


def test_one_framework_alone_is_judged_by_it(twin, right, model, pack):
    certificate = verify(model, [twin.backend], against=pack)
    assert certificate.passed, failed(certificate)
    assert not certificate.not_judged and set(certificate.facts) == {twin.name}
    assert {row.stage for row in certificate.rows} == STAGES - {"truth"}
    # the last is the median of gradients over omega
    assert {row.omega for row in certificate.rows if row.compared == f"{twin.name} : pack"} == {
        "(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)", "per sample", ""
    }  # fmt: skip
    assert certificate.recorded["torch"]["device"] == "cpu" and certificate.recorded["machine"]["numpy"]


def test_a_pack_from_before_an_argument_is_read(torch, right, model, altered):
    path = altered(lambda tensors, metadata: metadata.update(network=without(metadata, "mean", "residual_scale")))
    assert verify(model, [torch.backend], against=path).passed


def test_a_pack_of_an_earlier_version_is_read(twin, right, model, altered):
    """It holds the steps' losses, states, weights, masks and gaps; none of them is used, and a note says so."""

    def change(tensors, metadata):
        drop(tensors, metadata, "training/losses", "training/output")
        add(tensors, metadata, "losses", np.ones(10))
        add(tensors, metadata, "state/step 1/first.head.weight", np.full(64, 7.0))
        add(tensors, metadata, "weight/head.weight", np.full(64, 7.0))
        add(tensors, metadata, "exempt/head.weight", np.zeros(5, np.uint8))
        gaps = {"optimizer state": 1e-3, "steps: loss": 1e-6, "steps: weights": 1e-6}
        kept = {stage: gap for stage, gap in json.loads(metadata["gaps"]).items() if stage != "training"}
        metadata.update(format="tunable-convolutions-pack/1", gaps=json.dumps(kept | gaps))

    certificate = verify(model, [twin.backend], against=altered(change))
    assert certificate.passed, failed(certificate)
    assert {row.stage for row in certificate.rows} == STAGES - {"truth", "training"}
    assert any("earlier version" in line for line in certificate.not_judged)


def test_a_network_that_enlarges_and_is_judged(torch, twin, right, weights_file, tmp_path):
    recipe, path = make_recipes(tmp_path)["gan"], tmp_path / "gan.pack.safetensors"
    model = weights_file("small-gan", recipe, torch.backend)
    recorded = verify(model, [torch.backend], points=2, record=path)
    assert recorded.passed, failed(recorded)
    certificate = verify(model, [twin.backend], against=path)
    assert certificate.passed, failed(certificate)
    assert {"gradients", "training"} <= {row.stage for row in certificate.rows}
    assert any("discriminator's losses" in row.parts for row in certificate.rows if row.stage == "training")


def test_free_parameters(torch, twin, right, make_recipe, weights_file, tmp_path):
    """NAFNet's scales are one value for a batch under one omega, and one for each sample under a mix."""
    network = {"name": "nafnet", "width": 4, "middle": 1, "encoder": [0], "decoder": [0], "phi": "affine"}
    recipe = make_recipe(network=network)
    model, path = weights_file("small-nafnet", recipe, torch.backend), tmp_path / "nafnet.pack.safetensors"
    assert verify(model, [torch.backend], points=2, record=path).passed
    certificate = verify(model, [twin.backend], against=path)
    assert certificate.passed, failed(certificate)
    assert any(row.omega == "per sample" and any("beta" in part for part in row.parts) for row in certificate.rows)


def test_errors_on_sketches_are_those_on_tensors(torch, right, model, pack):
    """Both ways of judging the same program: within what 64 sums can tell, and with the same limits."""
    whole, sketched = (verify(model, [torch.backend], **how) for how in ({"points": 2}, {"against": pack}))
    errors = {(row.stage, row.omega): row for row in whole.rows if row.compared == "torch : float64"}
    compared = [row for row in sketched.rows if row.compared == "torch : pack"]
    assert len(compared) == len(errors)
    for row in compared:
        other = errors[row.stage, row.omega]
        assert row.limit == other.limit
        assert row.error == pytest.approx(other.error, rel=0.6), (row, other)


BLOCKED = """
import sys
sys.modules[sys.argv[1]] = None  # whoever imports it fails
from tunable.backends.registry import get_framework
from tunable.commands import main
backend = get_framework(*sys.argv[2:5])
type(backend).modes = (backend.mode,)  # the default now, and MindSpore compiles nothing
status = main(sys.argv[5:])
assert sys.argv[1] + "_impl" not in sys.modules
sys.exit(status)
"""


def test_the_other_framework_is_not_needed(twin, model, pack):
    """In a process where it cannot be imported."""
    other = {"torch": "mindspore", "mindspore": "torch"}[twin.name]
    words = ["verify", str(model), "--against", str(pack), "--backends", twin.name, "--json"]
    started = [sys.executable, "-c", BLOCKED, other, twin.name, "cpu", twin.backend.mode]
    done = subprocess.run([*started, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["passed"] and list(result["facts"]) == [twin.name] and "torch" in result["recorded"]


# A pack sees what the oracle cannot, and blames the framework that has the fault.
SEEN = [
    name for name, (_, stage, _) in FAULTS.items() if stage not in ("weights", "layer", "folded") or "kernel" in name
]


@pytest.mark.parametrize(("twin", "name"), [*cases(SEEN)], indirect=["twin"])
def test_a_fault_turns_it_red(twin, model, pack, monkeypatch, name):
    fault, first, _ = FAULTS[name]
    fault(twin, monkeypatch)
    stages = failed(verify(model, [twin.backend], against=pack))
    assert stages and stages[0].stage == first, stages


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("output", "network"),
        ("layer/body.0.conv1", "layer output"),
        ("loss", "loss"),
        ("terms", "loss"),
        ("gradient/body.0.conv2.weight", "gradient"),
        ("training/losses", "training"),
        ("training/output", "training"),
    ],
)
def test_one_recorded_value_that_is_wrong(twin, model, right, altered, name, stage):
    """Of each kind of tensor the largest value, by a hundredth."""

    def change(tensors, metadata):
        flat = tensors[name].reshape(-1)
        flat[np.abs(flat).argmax()] *= 1.01

    stages = failed(verify(model, [twin.backend], against=altered(change)))
    assert {row.stage for row in stages} >= {stage}, stages
    assert {row.compared for row in stages} == {f"{twin.name} : pack"}
    if name.startswith("layer/"):
        assert {row.worst for row in stages} == {row.first for row in stages} == {"body.0.conv1"}


def test_other_inputs_are_used(twin, model, altered):
    """The pack's pictures are what is run, not the ones that are bundled here."""

    def change(tensors, metadata):
        tensors["inputs/degraded"] = tensors["inputs/degraded"][::-1].copy()

    assert {"layer output", "network"} <= {
        row.stage for row in failed(verify(model, [twin.backend], against=altered(change)))
    }


def test_a_value_changed_by_hand_is_refused(twin, model, altered, capsys):
    for change in (
        lambda tensors, metadata: tensors["output"].__setitem__((0, 0), 0.0),
        lambda tensors, metadata: metadata.update(gaps=json.dumps({"network": 1.0})),
    ):
        path = altered(change, sign=False)
        status = main(["verify", str(model), "--against", str(path), "--backends", twin.name])
        assert status == 2
        assert capsys.readouterr().err == (
            f"tunable verify: {path} is damaged: its content is not what its digest says\n"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: m.update(format="tunable-convolutions-pack/3"), "newer version.*pack/3.*wanted.*pack/2"),
        (
            lambda t, m: m.update(format="tunable-convolutions/1"),
            "not a pack that --record wrote.*tunable-convolutions/1",
        ),
        (lambda t, m: m.pop("format"), "not a pack that --record wrote: format None"),
        (lambda t, m: m.pop("gaps"), "'gaps'"),
        (lambda t, m: m.update(gaps="{"), "not a pack that this version can read"),
        (lambda t, m: m.update(gaps='{"colour": 1.0}'), "unknown stages: colour"),
        (lambda t, m: m.update(size="0"), "size"),
        (lambda t, m: t.pop("inputs/clean"), "inputs/clean"),
        (lambda t, m: t.pop("output"), "'output'"),
        (lambda t, m: m.update(recipe='{"task": "fly"}'), "task"),
        (lambda t, m: m.update(weights='"0"'), "recorded from other weights"),
        (lambda t, m: m.update(network='{"name": "other"}'), "not a pack that this version can read.*other"),
        (lambda t, m: m.update(network=without(m, "channels")), "recorded from another network.*'channels': 64"),
        (lambda t, m: m.update(size="9999999999"), "size"),
        (lambda t, m: m.update(gaps='{"network": NaN}'), "gaps.network"),
        (lambda t, m: m.update(facts="[" * 900 + "]" * 900), "nested more than"),
        (lambda t, m: m.update(names='{"a": 1}'), "list"),
        (lambda t, m: t.update({"inputs/mixed": np.zeros((4, 5))}), r"inputs/mixed has shape \(4, 5\)"),
        (lambda t, m: t.update({"inputs/clean": np.zeros(3)}), r"inputs/clean has shape \(3,\)"),
        (lambda t, m: t.update({"inputs/degraded": np.zeros((0, 3, 4, 4))}), "inputs/degraded has shape"),
        (lambda t, m: t.update(terms=t["terms"][:-1]), "terms has shape"),
        (lambda t, m: t.update({"training/losses": t["training/losses"][:-1]}), "training/losses has shape"),
        (lambda t, m: drop(t, m, "training/losses", "training/output"), "training/losses has shape None"),
        (lambda t, m: t.update(output=t["output"][:-1]), "output has shape"),
        (lambda t, m: t.update({"layer/head": np.zeros(2)}), "layer/head has shape"),
        (lambda t, m: t.update({"gradient/tail.bias": t["gradient/tail.bias"][1:]}), "gradient/tail.bias has shape"),
        (lambda t, m: t.update(output=t["output"] * np.nan), "output is float64, or not finite"),
    ],
)
def test_a_pack_that_cannot_be_used(twin, model, altered, change, message):
    with pytest.raises(TunableError, match=message) as caught:
        verify(model, [twin.backend], against=altered(change))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_pack(twin, model, pack, tmp_path):
    for name, content in (("cut", pack.read_bytes()[:-100]), ("text", b"hello"), ("weights", model.read_bytes())):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            verify(model, [twin.backend], against=tmp_path / name)
    with pytest.raises(CheckpointError, match="no such pack"):
        verify(model, [twin.backend], against=tmp_path / "absent")


def test_other_weights(twin, pack, model, tmp_path):
    tensors, header = storage.load(model)
    tensors["head.bias"][0, 0] += 1e-7
    storage.save(tmp_path / "other.safetensors", tensors, header)
    with pytest.raises(CheckpointError, match="was recorded from other weights than those of .*other.safetensors"):
        verify(tmp_path / "other.safetensors", [twin.backend], against=pack)


def test_mindspore_alone_cannot_record(mindspore, model, tmp_path, capsys):
    words = ["verify", str(model), "--backends", "mindspore", "--record", str(tmp_path / "pack.safetensors")]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "tunable verify: --record needs the network in float64, which only torch computes; received mindspore\n"
    )
    assert not list(tmp_path.iterdir())


def test_nothing_is_recorded_of_what_fails(torch, model, monkeypatch, tmp_path):
    FAULTS["kernels swapped"][0](torch, monkeypatch)
    certificate = verify(model, [torch.backend], points=2, record=tmp_path / "pack.safetensors")
    assert not certificate.passed and "is not written" in certificate.notes[0] and not list(tmp_path.iterdir())


def test_a_file_without_recipe(torch, mindspore, model, tmp_path):
    """Layers and outputs are recorded and judged; the rest is said to be missing."""
    tensors, header = storage.load(model)
    bare = storage.Header(header.network, header.objectives, header.omega_range)
    storage.save(tmp_path / "bare.safetensors", tensors, bare)
    verify(tmp_path / "bare.safetensors", [torch.backend], points=2, record=tmp_path / "pack.safetensors")
    certificate = verify(tmp_path / "bare.safetensors", [mindspore.backend], against=tmp_path / "pack.safetensors")
    assert certificate.passed and "no recipe" in certificate.not_judged[0]
    assert {"layer output", "network"} <= {row.stage for row in certificate.rows} and not certificate.gaps.get(
        "gradient"
    )


def test_weights_without_influence_may_go_anywhere(torch, mindspore, small_network, monkeypatch, tmp_path):
    """phi of one softmax logit: rounding moves its weights, which change nothing (the network ignores omega)."""
    monkeypatch.setattr("tunable.certificate.trial.CONTROL", -1.0)
    verify(small_network("se", p=1), [torch.backend], points=2, record=tmp_path / "pack.safetensors")
    trainer = mindspore.module("training").Trainer
    real = trainer.step

    def step(self, batch, rate):
        report = real(self, batch, rate)
        weights = mindspore.backend.parameters(self.network)
        weights["head.phi.2.bias"] += 0.1
        mindspore.backend.assign(self.network, weights)
        return report

    monkeypatch.setattr(trainer, "step", step)
    certificate = verify(small_network("se", p=1), [mindspore.backend], against=tmp_path / "pack.safetensors")
    assert certificate.passed, failed(certificate)
    phi = {name for name in certificate.zeros if ".phi." in name}
    assert len(phi) == 16 and "head.phi.2.bias" in phi


def test_size(pack):
    assert pack.stat().st_size < 200_000
