"""`tunable analyze`: kernels whose movement is known by hand, equality with folding and with numpy, files, refusals."""

import csv
import json
import sys

import numpy as np
import pytest
from small import small

from tunable.analysis import analyze, embedding, kernels
from tunable.analysis.movement import SETTINGS, block_of
from tunable.errors import BackendError, CheckpointError, OmegaError, TunableError
from tunable.parameters.layouts import layout
from tunable.reports import analysis as report
from tunable.specs.control import AdaFMSpec, CFSNetSpec, CResMDSpec, DyNetSpec
from tunable.specs.networks import CompactSpec, NAFNetSpec, OutputBlendSpec, ResNetSpec, SwinIRSpec
from tunable.weights import retrofitted, storage
from tunable.weights.storage import Header

SIZE = {"channels": 4, "blocks": 1}


def written(path, spec, p=2, **tensors):
    """A weights file whose kernels are zero, but for those given by the names of their layers."""
    values = {name: np.zeros(shape, np.float32) for name, shape in layout(spec, p)}
    values |= {f"{name}.weight": np.asarray(value, np.float32) for name, value in tensors.items()}
    names = ("fidelity", "noise", "detail")[:p]
    storage.save(path, values, Header(spec, names, ((0.0, 1.0),) * p))
    return path


def movement(analysis, block, line="(0, 1) → (1, 0)"):
    return next(each for each in analysis.movements if (each.block, each.line) == (block, line))


# --- movements that are known by hand


def test_a_straight_line(tmp_path, rng):
    """Base K and differences: (0, 1) gives 2 K, (1, 0) gives K; in body.0 the kernels at both ends are orthogonal."""
    base, first, second = rng.normal(size=(3, 4, 3, 3, 3)), np.zeros((4, 4, 3, 3)), np.zeros((4, 4, 3, 3))
    first[0, 0, 0, 0], second[3, 3, 2, 2] = 3, 4
    conv = np.stack([np.zeros_like(first), first, second])
    head = np.stack([base[0], np.zeros_like(base[0]), base[0]])
    found = analyze(written(tmp_path / "a.safetensors", ResNetSpec(**SIZE), head=head, **{"body.0.conv1": conv}))
    shrunk, turned = movement(found, "head"), movement(found, "body.0")
    assert (shrunk.layers, shrunk.values, turned.layers, turned.values) == (1, 108, 2, 288)
    np.testing.assert_allclose((shrunk.moved, shrunk.first), (0.5, 1), rtol=1e-12)
    np.testing.assert_allclose((turned.moved, turned.turned, turned.first), (5 / 4, 90, 1), rtol=1e-12)
    assert shrunk.turned < 1e-5 and max(shrunk.bend, turned.bend) < 1e-12
    still = movement(found, "tail")
    assert still.moved == 0 and np.isnan([still.first, still.bend]).all()


def test_a_bump_bends_the_line(tmp_path):
    """t d + t (1 - t) e with orthogonal d and e of one length: at t = 1/2 it strays by a quarter of the way."""
    kernel = np.zeros((4, 4, 3, 3, 3))  # base, fidelity, noise, the pair
    kernel[1, 0, 0, 0, 0] = kernel[3, 1, 1, 1, 1] = 2
    spec = ResNetSpec(**SIZE, bump=True)
    bent = movement(analyze(written(tmp_path / "a.safetensors", spec, head=kernel)), "head")
    t = np.linspace(0, 1, SETTINGS)
    shares = np.linalg.svd(np.stack([t - t.mean(), t * (1 - t) - (t * (1 - t)).mean()]), compute_uv=False) ** 2
    np.testing.assert_allclose((bent.bend, bent.first), (0.25, shares[0] / shares.sum()), rtol=1e-10)


def test_kernels_of_one_direction(tmp_path, rng):
    """Kernel i is (i - 1) (1 + omega_1) v: one component holds all of it, and its score is linear in omega."""
    v = rng.normal(size=(3, 3, 3))
    base = np.stack([(i - 1) * v for i in range(4)])
    head = np.stack([base, base, np.zeros_like(base)])
    found = analyze(written(tmp_path / "a.safetensors", ResNetSpec(**SIZE), head=head, tail=0.1 * head.swapaxes(1, 2)))
    for profile, scale in zip(found.profiles, (1, 0.1), strict=True):
        spread = (np.arange(4) - 1)[:, None] * (1 + np.linspace(0, 1, SETTINGS)) * np.linalg.norm(v) * scale
        sign = 1 if v.ravel()[np.abs(v).argmax()] > 0 else -1
        np.testing.assert_allclose(profile.scores, sign * (spread - spread.mean()), atol=1e-6)
        np.testing.assert_allclose(profile.share, 1, rtol=1e-10)
        expected = np.tile(sign * v / np.linalg.norm(v), (SETTINGS, 1, 1, 1))
        np.testing.assert_allclose(profile.pictures, expected, atol=1e-6)


def test_lines_of_one_and_three_knobs(tmp_path, rng):
    """From end to end of the only knob, and from corner to corner around; every setting is laid out once."""
    for p, lines in (
        (1, ["(0) → (1)"]),
        (3, ["(1, 0, 0) → (0, 1, 0)", "(0, 1, 0) → (0, 0, 1)", "(0, 0, 1) → (1, 0, 0)"]),
    ):
        head = rng.normal(size=(p + 1, 4, 3, 3, 3))
        found = analyze(written(tmp_path / "a.safetensors", ResNetSpec(**SIZE), p, head=head), points=3)
        assert list(dict.fromkeys(each.line for each in found.movements)) == lines
        settings = [point.omega for point in found.points if point.block == "head"]
        assert len(settings) == len(set(settings)) == 3 + 3 * (p == 3)
        ends = head[0] + head[1] - (head[0] if p == 1 else head[0] + head[2])
        longer = max(np.linalg.norm(head[0] + head[1]), np.linalg.norm(head[0] if p == 1 else head[0] + head[2]))
        assert movement(found, "head", lines[0]).moved == pytest.approx(np.linalg.norm(ends) / longer, rel=1e-6)


# --- the arithmetic against numpy, and against what folding in a framework gives


def test_components_are_those_of_numpy(rng):
    vectors = rng.normal(size=(9, 30)) * rng.uniform(1, 5, 30)
    scores, directions, shares = embedding.components(vectors)
    left, values, right = np.linalg.svd(vectors - vectors.mean(0), full_matrices=False)
    signs = np.sign(np.sum(directions[:8] * right[:8], axis=1))
    np.testing.assert_allclose(directions[:8], signs[:, None] * right[:8], atol=1e-10)
    np.testing.assert_allclose(scores[:, :8], (left * values)[:, :8] * signs, atol=1e-10)
    np.testing.assert_allclose(shares[:8], (values**2 / np.sum(values**2))[:8], atol=1e-12)


def test_vectors_of_different_lengths_together(rng):
    groups = [rng.normal(size=(3, 40)), rng.normal(size=(5, 2))]
    joined = embedding.together(groups)
    expected = np.zeros((8, 8))
    expected[:3, :3], expected[3:, 3:] = groups[0] @ groups[0].T, groups[1] @ groups[1].T
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-10)


NAFNET = {"width": 4, "middle": 1, "encoder": [1], "decoder": [0]}
SWINIR = {"channels": 4, "depths": [1], "heads": [2], "window": 2}
SPECS = {
    "affine": ResNetSpec(**SIZE, phi="affine"),
    "identity": ResNetSpec(**SIZE, phi="identity"),
    "se, the last two": ResNetSpec(**SIZE, phi="se", where={"last": 2}),
    "anchored bump": ResNetSpec(**SIZE, anchor=[1, 0.5], bump=True),
    "low rank, depth-wise, free": NAFNetSpec(**NAFNET, differences="low_rank", rank=2, tunable_norms=True),
    "scale, patterns": CompactSpec(**SIZE, differences="scale", tunable_slopes=True, where=["body.[12]"]),
    "linear, a table": SwinIRSpec(**SWINIR),
    "cfsnet": CFSNetSpec(**SIZE),
    "cresmd": CResMDSpec(**SIZE),
    "adafm": AdaFMSpec(**SIZE, kernel=3),
}


@pytest.mark.parametrize("case", SPECS)
def test_kernels_are_those_of_folding(case, tmp_path):
    """At every omega; what is called fixed does not change, and no kernel of the network is forgotten."""
    model = small(SPECS[case])
    model.save(tmp_path / "a.safetensors")
    found = kernels.read(tmp_path / "a.safetensors")
    omegas = np.array([[0, 1], [0.25, 0.75], [1, 0]])
    folded = [model.backend.parameters(model.fold(omega).network) for omega in omegas]
    names = {name.removesuffix(".weight"): name for name in folded[0]}
    for name, kernel in found.tuned.items():
        expected = np.stack([each[names[name]] for each in folded])
        np.testing.assert_allclose(kernel(omegas), expected, rtol=1e-5, atol=1e-6)
    kinds = {name: full for name, full in names.items() if not name.endswith("bias")}
    moving = {name for name, full in kinds.items() if np.ptp([each[full] for each in folded], axis=0).any()}
    assert moving == set(found.tuned) and set(found.fixed) <= kinds.keys() - moving


def test_files_of_make_tunable(tmp_path, rng):
    """Kernels of the names that the plan lists, with the phi of their layer; what it does not list is fixed."""
    tensors = {
        "0.weight": rng.normal(size=(2, 4, 3, 3, 3)),
        "0.bias": rng.normal(size=(2, 4)),
        "1.weight": np.ones((3, 4, 3, 3)),
    }
    tensors |= {"0.phi.weight": rng.normal(size=(2, 2)), "0.phi.bias": rng.normal(size=2)}
    tensors = {name: value.astype(np.float32) for name, value in tensors.items()}
    plan = retrofitted.Plan(num_objectives=2, phi="affine", tensors={"0.weight": "0.weight", "0.bias": "0.bias"})
    retrofitted.save(tmp_path / "a.safetensors", tensors, plan, "")
    found = kernels.read(tmp_path / "a.safetensors")
    assert found.objectives == ("omega_1", "omega_2") and list(found.tuned) == ["0"] and found.fixed == ("1",)
    omega = np.array([0.3, 0.9])
    alpha = tensors["0.phi.weight"].astype(float) @ omega + tensors["0.phi.bias"]
    expected = alpha[0] * tensors["0.weight"][0] + alpha[1] * tensors["0.weight"][1]
    np.testing.assert_allclose(found.tuned["0"](omega[None])[0], expected, rtol=1e-6)


def test_blocks():
    names = ("head", "body.3.conv1", "middle.conv2", "layers.0.residual_group.blocks.5.attn.qkv", "upsample.0", "0")
    blocks = ["head", "body.3", "middle", "layers.0.residual_group.blocks.5", "upsample.0", "0"]
    assert list(map(block_of, names)) == blocks


# --- what is written


def test_files(tmp_path, rng, tunable):
    """Everything that --help lists, the same for the same seed, and numbers in each form alike."""
    head = rng.normal(size=(3, 4, 3, 3, 3))
    path = written(tmp_path / "a.safetensors", ResNetSpec(**SIZE), head=head)
    outs = [tmp_path / name for name in ("one", "two")]
    for out in outs:
        status, text, err = tunable("analyze", path, "-o", out)
        assert status == 0 and text == (out / "analysis.md").read_text(encoding="utf-8"), err
        assert {each.name for each in out.iterdir()} == {*report.FILES, "analysis.json"}
    for name in ("points.csv", "blocks.csv", "kernels.csv", "analysis.json"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name
    facts = json.loads((outs[0] / "analysis.json").read_text())
    rows, scores = (
        list(csv.DictReader((outs[0] / name).read_text(encoding="utf-8").splitlines()))
        for name in ("points.csv", "kernels.csv")
    )
    assert [float(row["x"]) for row in rows] == pytest.approx([each["x"] for each in facts["points"]], rel=1e-5)
    assert len(rows) == 3 * 5 and len(scores) == 2 * 4 * SETTINGS
    page = (outs[0] / "analysis.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 and "evenly and on straight lines" in page
    status, text, _ = tunable("analyze", path, "--layers", "head", "tail", "--json")
    assert status == 0 and {each["block"] for each in json.loads(text)["movements"]} == {"head", "tail"}


# --- what is refused


def test_refused(tmp_path, refused, rng):
    plain = small(ResNetSpec(**SIZE, tunable=False), 0)
    plain.save(tmp_path / "plain.safetensors")
    cases = {
        "plain network": tmp_path / "plain.safetensors",
        "do not follow omega: every tuning block": written(tmp_path / "b.safetensors", DyNetSpec(**SIZE)),
        "sum of others": written(tmp_path / "c.safetensors", OutputBlendSpec(of=ResNetSpec(**SIZE, tunable=False))),
    }
    for fragment, path in cases.items():
        with refused(TunableError, str(path), fragment):
            analyze(path)
    path = written(tmp_path / "a.safetensors", ResNetSpec(**SIZE))
    with refused(TunableError, "'haed'", "did you mean 'head'"):
        analyze(path, layers=["haed"])
    with refused(OmegaError, "2 to 100 points, not 1"):
        analyze(path, points=1)
    (tmp_path / "net.onnx").write_bytes(b"")
    with refused(TunableError, "exported model"):
        analyze(tmp_path / "net.onnx")


def test_files_of_make_tunable_refused(tmp_path, refused):
    plan = retrofitted.Plan(num_objectives=2, phi="base", tensors={"0.weight": "0.weight"})
    alone = plan.model_copy(update={"train": "differences"})
    retrofitted.save(tmp_path / "a.safetensors", {"0.weight.differences": np.ones((2, 4, 3), "f")}, alone, "1")
    with refused(TunableError, "differences alone", "train='all'"):
        analyze(tmp_path / "a.safetensors")
    for tensors in (
        {"1.weight": np.ones((3, 4), "f")},
        {"0.weight": np.ones((2, 4), "f")},
        {"0.weight": np.full((3, 4), np.inf, "f")},
    ):
        retrofitted.save(tmp_path / "a.safetensors", tensors, plan, "")
        with refused(CheckpointError, "damaged plan", "'0.weight'"):
            analyze(tmp_path / "a.safetensors")


def test_without_scikit_learn(tmp_path, refused, monkeypatch):
    path = written(tmp_path / "a.safetensors", ResNetSpec(**SIZE))
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    with refused(BackendError, "scikit-learn", "tunable-convolutions[analyze]"):
        analyze(path)
