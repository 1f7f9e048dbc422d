"""What `tunable knobs` leaves: tables, files, the plot and the page, and its exit status."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

import tunable as face
from tunable.reports import charts
from tunable.reports import knobs as report
from tunable.response import certify
from tunable.response.measures import measures_of
from tunable.response.paths import SETTINGS
from tunable.specs.recipe import parse
from tunable.weights import storage
from tunable.weights.storage import Header

GREY = 128 / 255


@pytest.fixture
def certificate(model_of, tmp_path):
    """Of a network that keeps at most half of the noise, falls back at 0.9, and turns blue at (1, 1)."""
    Image.new("RGB", (48, 40), (128, 128, 128)).save(tmp_path / "grey.png")

    def formula(x, omega):
        kept = min(omega[1], 0.5) - 0.1 * (abs(omega[1] - 0.9) < 0.01)
        return GREY + kept * (x - GREY) + np.reshape([0, 0, 3 * omega[0] * omega[1] / 255], (3, 1, 1))

    objectives = [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise"}]
    model = model_of(formula, objectives=objectives, omega={"sampler": "simplex"})
    return certify(model, str(tmp_path / "grey.png"), source="a <b>.safetensors", sigmas=[25])


def rows_of(markdown):
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]


def test_document(certificate):
    text = report.document(certificate)
    assert text.startswith(f"FAILED: a <b>.safetensors has {len(certificate.faults)} faults.\n")
    assert "* noise, against fidelity: not monotone: steps back by 20.0 % of its range\n" in text
    assert "* not judged, for it was hardly or never trained there: a colour cast of +3" in text
    rows = rows_of(text)
    noise = next(row for row in rows if row[:3] == ["noise", "noise kept", "against fidelity"])
    assert noise[3:7] == ["0 → 0.5", "0.5", "20.0 %", "0.5 to 0.8 (30 %)"] and noise[9] == "failed"
    ones = next(row for row in rows if row[0] == "(1, 1)")
    assert ones[2] == "0.5001" and ones[5].startswith("+3.") and ones[-1] == "not judged"
    assert "Trained at ω: summing to 1." in text and "σ 25" in text


def test_verdicts(certificate, model_of, tmp_path):
    def certified(kept, sampler):
        model = model_of(lambda x, omega: GREY + kept * omega[1] * (x - GREY), omega={"sampler": sampler})
        return report.verdict(certify(model, str(tmp_path / "grey.png"), source="net", sigmas=[25]))

    assert certified(1, "simplex") == "PASSED: the knobs of net do what they should along all 2 paths."
    assert certified(0, "corners") == (
        "NOT JUDGED: net was trained only one knob 1 and the others 0, and along no path that was measured."
    )
    assert certified(0, "simplex") == "FAILED: net has 2 faults."


def test_files(certificate, tmp_path):
    report.write(tmp_path / "out", certificate)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(report.FILES)
    assert (tmp_path / "out" / "knobs.md").read_text("utf-8") == report.document(certificate)
    with open(tmp_path / "out" / "knobs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * SETTINGS + 4
    last = rows[-1]
    assert (last["knob"], last["path"], last["omega_1"], last["omega_2"]) == ("noise", "(1, 1)", "1", "1")
    assert abs(float(last["value"]) - 0.5) < 1e-4 and abs(float(last["blue"]) - 3) < 0.5


def test_page(certificate, tmp_path):
    """One file, whose failing rows are red, and in which a name is text."""
    report.write(tmp_path, certificate)
    html = (tmp_path / "knobs.html").read_text("utf-8")
    assert "a &lt;b&gt;.safetensors" in html and "a <b>" not in html
    assert not re.search(r"(src|href)=\"(?!data:)", html)
    failed = re.findall(r'<tr class="failed">(.*?)</tr>', html, re.S)
    assert len(failed) == len([r for r in certificate.responses if r.faults])
    assert all("failed</td>" in row for row in failed) and 'class="verdict failed"' in html
    assert "steps back by 20.0 %" in html and "hardly or never trained" in html


def test_plot(certificate, tmp_path, monkeypatch):
    """The measure of each knob over its own value, its dead zones, and three colours below."""
    lines, zones, plot, span = [], [], Axes.plot, Axes.axvspan

    def noted(axes, x, y, *rest, **options):
        lines.append((options.get("label"), list(x), list(y)))
        return plot(axes, x, y, *rest, **options)

    monkeypatch.setattr(Axes, "plot", noted)
    monkeypatch.setattr(Axes, "axvspan", lambda axes, *ends, **options: zones.append(ends) or span(axes, *ends))
    charts.knob_responses(tmp_path / "a.png", certificate)
    fidelity, noise = certificate.responses
    measured = [line for line in lines if line[0]]
    assert [(label, y) for label, _, y in measured] == [
        ("against noise", fidelity.values), ("against fidelity", noise.values),
    ]  # fmt: skip
    for _, x, _ in measured:
        np.testing.assert_allclose(x, np.linspace(0, 1, SETTINGS), atol=1e-6)
    assert zones == [*fidelity.dead_zones, *noise.dead_zones] and (0.5, 0.8) in zones
    shifts = [y for label, _, y in lines if not label]
    assert shifts[3:] == [[abs(cast[channel]) for cast in noise.casts] for channel in range(3)]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 400


def test_names_that_look_like_formulas(model_of, certificate, tmp_path):
    import dataclasses

    names = {"fidelity": r"a $\frac b", "noise": "$"}
    responses = [dataclasses.replace(each, knob=names[each.knob]) for each in certificate.responses]
    changed = dataclasses.replace(certificate, objectives=tuple(names.values()), responses=responses)
    charts.knob_responses(tmp_path / "a.png", changed)
    assert (tmp_path / "a.png").is_file()


# --- the command


@pytest.mark.usefixtures("here")
def test_the_command(tunable, make_echo, folder):
    """A network that was trained anywhere, and gives back what it gets at every setting: its knobs are dead."""
    words = ("knobs", make_echo([]), "--data", folder, "--sigma", "25", "--crop", "64", "--most-cast", "200")
    status, out, err = tunable(*words, "-o", "new/place", "--json")
    result = json.loads(out, parse_constant=pytest.fail)
    assert status == 1 and err.splitlines()[-1].startswith("tunable knobs: ") and "faults, the first: " in err
    assert not result["passed"] and result["judged"] and len(result["responses"]) == 6
    assert result == json.loads(Path("new/place/knobs.json").read_text())
    assert {path.name for path in Path("new/place").iterdir()} == {*report.FILES, "knobs.json"}
    assert sum("dead: the range of noise kept" in fault for fault in result["faults"]) == 3
    assert sum("dead: the range of PSNR" in fault for fault in result["faults"]) == 2  # not with noise at 0
    status, out, err = tunable(*words, "--least-range", "noise=0,fidelity=0", "--paths", "edges", "--most-dead", "100")
    assert out.startswith("FAILED" if status else "PASSED") and "| noise | noise kept | against fidelity |" in out
    assert "knobs: " in err and "2 pictures" in err


@pytest.mark.usefixtures("here")
def test_a_network_whose_knobs_work(tunable, make_echo, values, folder):
    """At (1, 0) it gives what it gets, and at (0, 1) half of it, noise and all: colours shift, which is let pass."""
    tensors, _ = storage.load(make_echo(range(3)))
    kinds = {"grain": "keep", "clean": "remove"}
    values["objectives"] = [{"name": name, "kind": "noise", "residual": kind} for name, kind in kinds.items()]
    storage.save("works.safetensors", tensors, Header.of(parse(values)))
    Image.new("RGB", (48, 40), (128, 128, 128)).save("grey.png")
    words = ("knobs", "works.safetensors", "--data", "grey.png", "--sigma", "25", "--paths", "edges")
    status, out, err = tunable(*words, "--most-cast", "70")
    assert status == 0 and out.startswith("PASSED: the knobs of works.safetensors do what they should")
    assert tunable(*words)[0] == 1 and "colour cast of -64" in tunable(*words)[2]
    assert tunable(*words, "--most-cast", "70", "--least-range", "grain=0.6,clean=0")[0] == 1
    assert tunable(*words, "--most-cast", "70", "--least-range", "grain=0.4,clean=0")[0] == 0
    result = json.loads(tunable(*words, "--json")[1])
    assert result["pictures"] == ["grey.png"] and result["tolerances"]["cast"] == 2
    kept = next(r["values"] for r in result["responses"] if r["knob"] == "grain")
    np.testing.assert_allclose(kept, np.linspace(0.5, 1, SETTINGS), atol=0.02)  # the noise's mean is not quite 0


def test_the_function(model, folder):
    certificate = face.knobs(model, folder, sigmas=[15], along="edges", limit=1)
    assert certificate.pictures == ["a.png"] and certificate.levels == [(15, 0)]
    assert [response.path for response in certificate.responses] == ["against noise", "against fidelity"]
    assert certificate.facts["backend"] == model.backend.name


def test_every_measure_has_a_meaning(make_recipe):
    """Of objectives of every kind, in every part of the colour space."""
    steps = [{"kind": "gaussian_blur", "sigma": 1}, {"kind": "gaussian_noise", "sigma": 1}]
    objectives = [{"kind": kind, "space": space} for kind in ("rec", "noise") for space in ("rgb", "luma", "chroma")]
    objectives += [{"kind": "residue", "of": step["kind"], "space": "luma"} for step in steps]
    objectives += [{"kind": "blur", "noise_objective": "o3"}, {"kind": "gan"}, {"kind": "style", "image": "x.png"}]
    named = [{"name": f"o{i}", **objective} for i, objective in enumerate(objectives)]
    data = {"train": "bundled", "degradation": steps}
    recipe = make_recipe(objectives=named, data=data, vgg={"seed": 0})
    for measure in measures_of(Header.of(recipe)):
        assert any(key in measure.name for key in report.MEANINGS), measure.name
