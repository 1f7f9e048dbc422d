"""The certificate passes on two right twins and turns red for a deliberate fault in either, at the stage named."""

import numpy as np
import pytest

from parity_tests.mutants.certified import FAULTS, cases
from parity_tests.remembered import remember
from tunable.backends import onnx_runtime
from tunable.backends.model import WeightsModel
from tunable.backends.protocol import LossReport
from tunable.certificate import Certificate, Row, verify
from tunable.errors import BackendError
from tunable.parameters.starts import starting_weights
from tunable.specs.networks import ResNetSpec
from tunable.tolerances import TOLERANCES
from tunable.weights.storage import Header

STAGES = {
    "weights", "layer", "truth", "layer output", "network", "control: omega matters", "loss", "gradients",
    "gradients: median", "gradient", "optimizer", "control: weights move", "training", "folded",
}  # fmt: skip


@pytest.fixture
def certified(twins, small_network):
    """certified(phi, backends): verify the small network of that phi."""

    def run(phi="affine", backends=None):
        return verify(small_network(phi), backends or [twin.backend for twin in twins], points=2)

    return run


def described(certificate) -> str:
    return "\n".join(str(row) for row in certificate.rows if not row.passed)


@pytest.mark.parametrize("phi", ["affine", "base"])
def test_right_twins_pass(certified, right, phi):
    certificate = certified(phi)
    assert certificate.passed, described(certificate)
    assert not certificate.not_judged
    assert not certificate.zeros
    stages = {row.stage for row in certificate.rows}
    assert stages == STAGES
    for stage in ("layer output", "network", "loss", "gradients", "gradient", "training"):
        compared = {row.compared for row in certificate.rows if row.stage == stage}
        assert compared >= {"torch : float64", "mindspore : float64", "mindspore : torch"}
    (layer, *_) = [row for row in certificate.rows if row.stage == "layer output"]
    assert list(layer.parts) == ["head", "body.0.conv1", "body.0.conv2", "tail"]  # in calling order
    assert {row.omega for row in certificate.rows if row.stage == "layer"} == {
        "(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)", "per sample"
    }  # fmt: skip


def test_compiled_twins_pass(certified, right, twins):
    """MindSpore's default mode, which users run; torch's is the eager one used above."""
    certificate = certified("base", [twins[0].backend, twins[1].in_mode("graph")])
    assert certificate.passed, described(certificate)


def test_exports_are_judged(twins, right, small_network):
    """Every framework's ONNX, and MINDIR, at every omega and per sample, beside the live network."""
    backends = [twin.backend for twin in twins]
    certificate = verify(small_network("base"), backends, points=2, exports=("onnx", "mindir"))
    assert certificate.passed and not certificate.not_judged, described(certificate)
    rows = [row for row in certificate.rows if row.stage == "export"]
    for compared in ("torch's onnx : live", "mindspore's onnx : live", "mindspore's mindir : live"):
        omegas = [row.omega for row in rows if row.compared == compared]
        assert sorted(omegas) == ["(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)", "per sample"]
    graphs = [row for row in certificate.rows if row.stage == "export graph"]
    assert len(graphs) == 6 and {row.omega for row in graphs} == {"shared", "basis"}


def test_exports_per_sample_are_red_by_themselves(torch, without_recipe, monkeypatch):
    """A file that gives every picture of a batch the first one's omega."""
    real = onnx_runtime.Backend.run

    def run(self, network, degraded, omega):
        return real(self, network, degraded, omega if omega.ndim == 1 else np.repeat(omega[:1], len(omega), axis=0))

    monkeypatch.setattr(onnx_runtime.Backend, "run", run)
    certificate = verify(without_recipe, [torch.backend], points=2, exports=("onnx",))
    assert [(row.stage, row.omega) for row in certificate.rows if not row.passed] == [("export", "per sample")]


def test_a_wrong_export_is_red(torch, right, small_network, monkeypatch):
    """One that scales its picture, and one whose graph breaks a rule; one that cannot be made is said, not passed."""
    real = torch.backend.export

    def scaled(network, *arguments):
        twice = network.rebuilt(network.num_objectives)
        tensors = torch.backend.parameters(network)
        torch.backend.assign(twice, {name: value * np.float32(1.001) for name, value in tensors.items()})
        real(twice, *arguments)

    monkeypatch.setattr(torch.backend, "export", scaled)
    certificate = verify(small_network("base"), [torch.backend], points=2, exports=("onnx",))
    failed = [row for row in certificate.rows if not row.passed]
    assert {row.stage for row in failed} == {"export"} and len(failed) == 5
    monkeypatch.setattr(torch.backend, "export", real)
    monkeypatch.setattr("tunable.exports.graphs.faults", lambda graph, tunable: ["a grouped convolution"])
    certificate = verify(small_network("base"), [torch.backend], points=2, exports=("onnx",))
    failed = [row for row in certificate.rows if not row.passed]
    assert [(row.stage, row.worst) for row in failed] == [("export graph", "a grouped convolution")] * 2

    def impossible(*arguments):
        raise BackendError("no such operator")

    monkeypatch.setattr(torch.backend, "export", impossible)
    certificate = verify(small_network("base"), [torch.backend], points=2, exports=("onnx",))
    assert certificate.passed and certificate.not_judged == [
        f"torch's onnx, form {form}: no such operator" for form in ("shared", "basis")
    ]


class Second:
    """A framework beside `backend`: the same, under another name, and wrong by a thousandth in all that it reports."""

    name = "second"

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def run(self, *arguments):
        return self._backend.run(*arguments) * np.float32(1.001)

    def trace(self, *arguments):
        calls = self._backend.trace(*arguments)
        return {name: call._replace(output=call.output * np.float32(1.001)) for name, call in calls.items()}

    def trainer(self, network, recipe):
        return _SecondTrainer(self._backend.trainer(network, recipe))


class _SecondTrainer:
    def __init__(self, trainer):
        self._trainer = trainer

    def gradients(self, batch):
        loss, terms, gradients = self._trainer.gradients(batch)[:3]
        longer = {name: value * np.float32(1.01) for name, value in gradients.items()}
        return LossReport(loss * 1.001, terms * np.float32(1.001), longer)

    def step(self, batch, rate):
        report = self._trainer.step(batch, rate * 1.1)
        return report._replace(loss=report.loss * 1.001)

    def apply(self, gradients, rate):
        self._trainer.apply(gradients, rate * 1.1)

    def state(self):
        return {name: value * np.float32(1.01) for name, value in self._trainer.state().items()}


def test_every_pair_is_compared(torch, small_network):
    """A program that is wrong fails beside the other program as beside the truth, by as much; the other does not."""
    certificate = verify(small_network("affine"), [torch.backend, Second(torch.backend)], points=2)
    rows = {(row.stage, row.compared, row.omega): row for row in certificate.rows if not row.at_least}
    assert all(row.passed for key, row in rows.items() if key[1].startswith("torch"))
    stages = set()
    for (stage, compared, omega), row in rows.items():
        if compared == "second : float64":
            beside = rows[stage, "second : torch", omega]
            assert not row.passed and not beside.passed, (stage, omega)
            assert beside.error == pytest.approx(row.error, rel=0.02), (stage, omega)
            assert beside.parts.keys() == row.parts.keys()
            stages.add(stage)
    assert stages == {"layer output", "network", "loss", "gradients", "gradients: median", "gradient", "training"}
    judged = {(row.stage, row.compared) for row in rows.values() if not row.passed}
    assert {("layer", "second : oracle"), ("loss", "second : oracle"), ("optimizer", "second : oracle")} <= judged
    # outputs are wrong alike, folded or not; what is held is the file's
    assert not {row.stage for row in rows.values() if not row.passed} & {"weights", "folded", "truth"}


def write_without_recipe(path, backend):
    """The weights file of a small network that says nothing of its training: judged in a moment."""
    spec = ResNetSpec(channels=5, blocks=1)
    network = backend.build(spec, 2)
    backend.assign(network, starting_weights(backend.specs(network), 1))
    WeightsModel(backend, network, Header(spec, ("a", "b"), ((0.0, 1.0),) * 2)).save(path)
    return path


@pytest.fixture
def without_recipe(torch, tmp_path):
    return write_without_recipe(tmp_path / "without.safetensors", torch.backend)


def test_weights_are_judged_to_the_bit(torch, without_recipe, monkeypatch):
    """One weight is off by its last bit, which no other comparison sees."""
    real = torch.backend.assign

    def assign(network, tensors):
        bias = tensors["tail.bias"].copy()
        bias.flat[0] = np.nextafter(bias.flat[0], np.float32(np.inf))
        real(network, tensors | {"tail.bias": bias})

    assert verify(without_recipe, [torch.backend], points=2).passed
    monkeypatch.setattr(torch.backend, "assign", assign)
    failed = [row for row in verify(without_recipe, [torch.backend], points=2).rows if not row.passed]
    assert [(row.stage, row.compared, row.worst, row.error) for row in failed] == [
        ("weights", "torch : file", "tail.bias", 1)
    ]


def test_every_picture_of_a_batch_is_judged(torch, without_recipe, monkeypatch):
    """The n-th layer is wrong in the n-th picture alone: seen at the n-th omega, and all of them per sample."""
    real = torch.backend.trace

    def trace(*arguments):
        calls = real(*arguments)
        for picture, name in enumerate(calls):
            output = calls[name].output.copy()
            output[picture] *= 1.001
            calls[name] = calls[name]._replace(output=output)
        return calls

    monkeypatch.setattr(torch.backend, "trace", trace)
    rows = [row for row in verify(without_recipe, [torch.backend], points=2).rows if row.stage == "layer"]
    wrong = {row.omega: [name for name, error in row.parts.items() if error > row.limit] for row in rows}
    layers = ["head", "body.0.conv1", "body.0.conv2", "tail"]
    alone = [[name] for name in layers]
    assert wrong == dict(zip(["(0, 0)", "(0, 1)", "(1, 0)", "(1, 1)", "per sample"], [*alone, layers], strict=True))


@pytest.mark.parametrize("output", [0.0, 0.5, np.nan])
def test_an_output_that_stays_is_no_change(torch, without_recipe, monkeypatch, output):
    """Black, grey or not a number at every omega: the control is red throughout."""
    monkeypatch.setattr(torch.backend, "run", lambda network, degraded, omega: np.full_like(degraded, output))
    rows = verify(without_recipe, [torch.backend], points=2).rows
    assert [row.passed for row in rows if row.stage == "control: omega matters"] == [False] * 4


def test_weights_that_stay_are_red(torch, small_network, monkeypatch):
    monkeypatch.setattr(torch.module("optimizers").Optimizer, "update", lambda self, gradients, loss=None: True)
    rows = verify(small_network("affine"), [torch.backend], points=2).rows
    assert [row.passed for row in rows if row.stage == "control: weights move"] == [False]


def test_the_limit_follows_the_model(certified, right, monkeypatch):
    """Eight times the model's own gap where that is more than the table's limit, but never beyond a bound."""
    from tunable.certificate import truth

    real = truth.Exact._widen

    def widen(self, gaps):
        real(self, gaps)
        self.gaps.update({"network": 1e-6, "gradients": 1.0, "gradient": 1e-9})

    monkeypatch.setattr(truth.Exact, "_widen", widen)
    limits = {row.stage: row.limit for row in certified().rows}
    assert limits["network"] == 8e-6
    assert limits["gradients"] == TOLERANCES["gradients"].most
    assert limits["gradient"] == TOLERANCES["gradient"].limit


def test_a_faulty_program_does_not_excuse_itself(torch, small_network, monkeypatch):
    """Float32 gradients wrong by a thousandth in every run change neither the bound nor the median."""
    kind = torch.module("training").Trainer
    real = kind.gradients

    def wrong(self, batch):
        report = real(self, batch)
        off = {name: value * np.float32(1.001) for name, value in report.gradients.items() if value.dtype == np.float32}
        return report._replace(gradients={**report.gradients, **off})

    monkeypatch.setattr(kind, "gradients", wrong)
    certificate = verify(small_network("affine"), [torch.backend], points=2)
    assert {row.stage for row in certificate.rows if not row.passed} == {"gradients", "gradients: median"}
    assert 0 < certificate.gaps["gradients: median"] < 1e-5 < certificate.gaps["gradients"]


def test_a_kink_does_not_excuse_a_fault(torch, small_network, monkeypatch):
    """Where a ReLU decides otherwise at one omega, gradients that are wrong by 3e-4 at all are still seen."""
    from tunable.certificate import truth

    kind, recorded = torch.module("training").Trainer, []
    real, distances = kind.gradients, truth.gradient_distances

    def wrong(self, batch):
        report = real(self, batch)
        off = {
            name: value * np.float32(1.0003) for name, value in report.gradients.items() if value.dtype == np.float32
        }
        return report._replace(gradients={**report.gradients, **off})

    def kinked(a, b):
        recorded.append(distances(a, b))
        first = {stage: dict.fromkeys(parts, 5e-3) for stage, parts in recorded[-1].items()}
        return first if len(recorded) == 2 else recorded[-1]  # at (0, 0) there is no gradient

    monkeypatch.setattr(truth, "gradient_distances", kinked)
    assert verify(small_network("affine"), [torch.backend], points=2).passed
    monkeypatch.setattr(kind, "gradients", wrong)
    recorded.clear()
    certificate = verify(small_network("affine"), [torch.backend], points=2)
    assert {row.stage for row in certificate.rows if not row.passed} == {"gradients: median"}


@pytest.mark.parametrize(("drift", "passes"), [(7e-5, True), (9e-5, False)])
def test_training_is_judged_by_a_perturbation(torch, small_network, monkeypatch, drift, passes):
    """A drift passes up to eight times what perturbed weights, here 1e-5, make of the same framework."""
    from tunable.certificate import programs

    real = programs.Program.train

    def train(self, inputs, start=None):
        training = real(self, inputs, start)
        away = 1e-5 if start else drift if self.model.backend is torch.backend else 0.0
        return training._replace(output=training.output * (1 + away))

    monkeypatch.setattr(programs.Program, "train", train)
    certificate = verify(small_network("affine"), [torch.backend], points=2)
    assert certificate.gaps["training"] == pytest.approx(1e-5, rel=0.05)
    assert {row.stage for row in certificate.rows if not row.passed} == (set() if passes else {"training"})


def test_the_truth_itself_is_judged(certified, twins, monkeypatch):
    """A truth that computes in float32 is none."""
    monkeypatch.setattr(type(twins[0].backend), "in_float64", lambda self: type(self)("cpu"))
    remember(monkeypatch, "mindspore")
    failed = {row.stage for row in certified().rows if not row.passed}
    assert failed == {"truth"}


def test_gradients_that_are_truly_zero_are_listed(twins, small_network):
    """The softmax of one logit is 1: phi gets no gradient, and what rounding leaves of one is no fault."""
    certificate = verify(small_network("se", p=1), [twin.backend for twin in twins], points=2)
    # as omega changes nothing, the control must say so, and nothing else
    assert {row.stage for row in certificate.rows if not row.passed} == {"control: omega matters"}
    assert {name for name in certificate.zeros if ".phi." in name} == {
        f"{layer}.phi.{part}"
        for layer in ("head", "body.0.conv1", "body.0.conv2", "tail")
        for part in ("0.weight", "0.bias", "2.weight", "2.bias")
    }
    assert all("zero in float64" in reason for reason in certificate.zeros.values())


@pytest.mark.parametrize(("backend", "name"), [*cases()])
def test_a_fault_turns_it_red(twins, certified, monkeypatch, backend, name):
    (fault, first, others), (broken, whole) = FAULTS[name], sorted(twins, key=lambda twin: twin.name != backend)
    fault(broken, monkeypatch)
    remember(monkeypatch, whole.name)
    certificate = certified()
    failed = [row for row in certificate.rows if not row.passed]
    assert not certificate.passed and failed[0].stage == first, described(certificate)
    assert others <= {row.stage for row in failed}
    # an oracle's verdict is against the broken twin, not the other
    judged = {row.compared for row in failed if row.compared.endswith((": oracle", ": file", ": live"))}
    assert all(compared.startswith(backend) for compared in judged)
    if name == "omega of another sample":
        assert {row.omega for row in failed if row.stage in ("layer", "network")} == {"per sample"}


def test_a_row_that_is_not_finite_never_passes():
    for at_least in (False, True):
        for error in (np.nan, np.inf, -np.inf):
            assert not Row("layer", "", "", "", error, 1.0, at_least).passed
    assert Row("layer", "", "", "", 1.0, 1.0).passed and not Row("layer", "", "", "", 1.1, 1.0).passed
    assert Row("layer", "", "", "", 1.0, 1.0, True).passed and not Row("layer", "", "", "", 0.9, 1.0, True).passed


def test_an_empty_certificate_does_not_pass():
    assert not Certificate("", {}).passed
    good, bad = (Row("layer", "a : oracle", "", "", error, 1.0) for error in (0.5, 2.0))
    assert Certificate("", {}, [good]).passed and not Certificate("", {}, [good, bad]).passed
    assert Certificate("", {}, [good, bad]).summary() == [bad]
