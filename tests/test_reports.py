"""What the commands leave for people: tables, plots, the certificate's table and page."""

import re
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from PIL import Image

from tunable.certificate import Certificate, Row
from tunable.evaluation.measuring import Measurement, summarise
from tunable.evaluation.sentences import PROTOCOL
from tunable.reports import certificate as report
from tunable.reports import charts, page, tables
from tunable.tolerances import TOLERANCES
from tunable.trained import Part

NAN = float("nan")
ROWS = [
    Measurement("a, b.png", 15.0, 0.0, (0.7, 0.3), 30.126, 31.5, NAN, 0.91239, 0.25),
    Measurement("c.png", 15.0, 0.0, (0.7, 0.3), 32.0, 33.5, NAN, 0.9, 0.75),
]


# --- tables


def test_doubtful_points_are_marked():
    """A network that saw the corners alone: (0.7, 0.3) has a star, and the line below says why."""
    header = SimpleNamespace(trained=[Part(omega="unit vectors", share=1.0)])
    text = tables.document(summarise(ROWS), SimpleNamespace(objectives=("fidelity", "noise"), header=header))
    assert "| (0.7, 0.3)* | 15 |" in text
    assert "*: hardly or never trained, which was one knob 1 and the others 0." in text


def test_csv():
    assert tables.to_csv([asdict(row) for row in ROWS]) == (
        "picture,sigma,rho,omega_1,omega_2,psnr,psnr_eta,psnr_gamma,ssim,residual,psnr_y,sharpness,ssim_eta,lpips,niqe\n"
        '"a, b.png",15,0,0.7,0.3,30.126,31.5,nan,0.91239,0.25,nan,nan,nan,nan,nan\n'
        "c.png,15,0,0.7,0.3,32,33.5,nan,0.9,0.75,nan,nan,nan,nan,nan\n"
    )
    assert tables.to_csv(summarise(ROWS)) == (
        "omega_1,omega_2,sigma,rho,pictures,psnr,psnr_eta,psnr_gamma,ssim,residual,psnr_y,sharpness,ssim_eta,lpips,niqe\n"
        "0.7,0.3,15,0,2,31.063,32.5,nan,0.906195,0.5,nan,nan,nan,nan,nan\n"
        "0.7,0.3,mean,0,2,31.063,32.5,nan,0.906195,0.5,nan,nan,nan,nan,nan\n"
    )
    assert tables.to_csv([]) == ""


def test_markdown():
    assert tables.markdown(summarise(ROWS)) == (
        "| ω | σ | pictures | PSNR | PSNR_η | SSIM | r* |\n"
        "|---|---|---|---|---|---|---|\n"
        "| (0.7, 0.3) | 15 | 2 | 31.06 | 32.50 | 0.9062 | 0.500 |\n"
        "| (0.7, 0.3) | mean | 2 | 31.06 | 32.50 | 0.9062 | 0.500 |\n"
    )


def test_markdown_of_a_plain_network_leaves_out_what_was_not_measured():
    rows = [Measurement("a.png", 7.5, 0.0, (), 30.0, NAN, NAN, NAN, NAN)]
    assert tables.markdown(summarise(rows)).splitlines()[::2] == [
        "| ω | σ | pictures | PSNR |",
        "| - | 7.5 | 1 | 30.00 |",
    ]
    assert tables.to_csv(summarise(rows)).splitlines()[0] == (
        "sigma,rho,pictures,psnr,psnr_eta,psnr_gamma,ssim,residual,psnr_y,sharpness,ssim_eta,lpips,niqe"
    )


def test_markdown_over_blur():
    rows = [Measurement("a.png", 15.0, rho, (1.0, 1.0), 30.0 - rho, 31.0, 20.0, NAN, NAN) for rho in (0.0, 2.0)]
    model = SimpleNamespace(objectives=("noise", "blur"), header=SimpleNamespace(trained=None))
    assert tables.document(summarise(rows), model).splitlines()[:5] == [
        "| ω | σ | ρ | pictures | PSNR | PSNR_η | PSNR_γ |",
        "|---|---|---|---|---|---|---|",
        "| (1, 1) | 15 | 0 | 1 | 30.00 | 31.00 | 20.00 |",
        "| (1, 1) | 15 | 2 | 1 | 28.00 | 31.00 | 20.00 |",
        "| (1, 1) | mean | mean | 1 | 29.00 | 31.00 | 20.00 |",
    ]
    assert "omega_blur gamma" in tables.document(summarise(rows), model)


def test_files(tmp_path):
    model = SimpleNamespace(objectives=("fidelity", "noise"), header=SimpleNamespace(trained=None))
    tables.write(tmp_path / "new", ROWS, summarise(ROWS), model)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(tables.FILES)
    text = (tmp_path / "new" / "summary.md").read_text(encoding="utf-8")
    assert text.startswith(tables.markdown(summarise(ROWS))) and "omega: fidelity, noise" in text and PROTOCOL in text
    assert (tmp_path / "new" / "summary.csv").read_text() == tables.to_csv(summarise(ROWS))
    assert len((tmp_path / "new" / "table.csv").read_text().splitlines()) == 3


# --- plots


def lines_of(monkeypatch):
    """Every line that the charts draw: label -> (x, y)."""
    drawn, plot = {}, Axes.plot

    def noted(axes, x, y, *rest, **options):
        drawn[options.get("label")] = (list(x), list(y))
        return plot(axes, x, y, *rest, **options)

    monkeypatch.setattr(Axes, "plot", noted)
    return drawn


@pytest.mark.parametrize(
    ("omegas", "places"),
    [
        ([(0.0, 1.0), (0.25, 0.75), (1.0, 0.0)], [0, 0.25, 1]),  # on the line: against omega_1
        ([(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)], [0, 1, 2]),  # elsewhere: point by point
        ([(0.0,), (0.5,), (1.0,)], [0, 1, 2]),
        ([()], [0]),
    ],
)
def test_plot_over_omega(omegas, places, tmp_path, monkeypatch):
    drawn = lines_of(monkeypatch)
    rows = [Measurement("a.png", 15.0, 0.0, omega, 20.0 + i, NAN, NAN, NAN, NAN) for i, omega in enumerate(omegas)]
    charts.metrics_over_omega(tmp_path / "a.png", summarise(rows))
    assert drawn == {"PSNR": (places, [20.0 + i for i in range(len(omegas))])}  # nothing of what was not measured
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 400 and len(np.unique(np.asarray(picture))) > 10


def test_loss_curves(tmp_path, monkeypatch):
    drawn = lines_of(monkeypatch)
    curves = {"torch": np.linspace(1, 0.1, 40), "mindspore": np.linspace(1, 0.1, 30)}  # one stopped early
    charts.loss_curves(tmp_path / "a.png", curves, window=4)
    steps, smooth = drawn["torch"]
    assert steps == list(range(4, 41))
    np.testing.assert_allclose(smooth[0], curves["torch"][:4].mean())
    charts.loss_curves(tmp_path / "b.png", {"torch": np.ones(3)}, window=4)  # shorter than the window
    assert drawn["torch"] == ([3], [1])
    assert (tmp_path / "a.png").stat().st_size > 1000 and (tmp_path / "b.png").stat().st_size > 1000


# --- the certificate


@pytest.fixture
def certificate():
    rows = [
        Row("layer", "torch : oracle", "(0, 1)", "head", 1e-7, 2e-6, parts={"head": 1e-7, "tail<&>": 0.0}),
        Row("layer", "torch : oracle", "(1, 0)", "tail<&>", 5e-6, 2e-6, parts={"head": 1.5e-6, "tail<&>": 5e-6}),
        Row("layer", "torch : oracle", "per sample", "head", 2e-7, 2e-6, parts={"head": 2e-7, "tail<&>": 1.6e-8}),
        Row("layer output", "mindspore : torch", "(0, 1)", "tail<&>", 3e-7, 2e-6, False,
            {"head": 0.0, "tail<&>": 3e-7}, 1.234),
        Row("network", "mindspore : torch", "(0, 1)", "output", 3e-7, 1e-5, parts={"output": 3e-7}),
        Row("control: omega matters", "torch", "(1, 0)", "output", 0.2, 1e-3, at_least=True),
    ]  # fmt: skip
    facts = {"torch": {"torch": "9.9", "device": "cpu"}, "mindspore": {"mindspore": "8.8"}}
    machine, recorded = {"cores": "64"}, {"torch": {"torch": "7.7"}}
    missing = [f"onnx, form {form}: no operator" for form in ("shared", "basis")]
    certificate = Certificate("/some/model.safetensors", facts, rows, missing, machine, recorded)
    certificate.zeros = {"a.bias": "no such luck", "b.bias": "no such luck"}
    certificate.notes, certificate.gaps = ["from afar", "from afar"], {"network": 2.5e-6, "training": 3e-7}
    certificate.subject = {"SHA-256": "0f" * 32, "command line": "tunable verify 'a <b>'"}
    return certificate


def cells(html):
    """The page's table rows: (class of the last cell, texts)."""
    texts = []
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", html, re.S):
        if 'class="number' in row and "<td" in row:
            classes = re.findall(r'<td class="([^"]*)"', row)
            texts.append((classes[-1], [text.strip() for text in re.findall(r"<td[^>]*>(.*?)</td>", row, re.S)]))
    return texts


def test_page(certificate):
    html = report.page(certificate)
    layer, output, network, control = cells(html)
    tail = "tail&lt;&amp;&gt;"
    assert layer == (
        "number fail",
        ["layer", "torch : oracle", "(1, 0)", tail, tail, "5.0e-06", "&lt;= 2.0e-06", "5.0e-06", "", "2 / 3"],
    )
    assert output[0] == "number pass" and output[1][-2:] == ["1.23", "1 / 1"] and network[1][-2:] == ["", "1 / 1"]
    assert control == (
        "number pass",
        ["control: omega matters", "torch", "(1, 0)", "output", "", "2.0e-01", "&gt;= 1.0e-03", "2.0e-01", "", "1 / 1"],
    )
    assert "--bad: #b3261e;" in html and ".fail { color: var(--bad);" in html  # red
    for text in (
        "Failed",
        "torch and mindspore",
        "1 of 6 comparisons failed, first in the stage layer (torch : oracle).",
        "<td>" + "0f" * 32,
        "<td>tunable verify &#39;a &lt;b&gt;&#39;",
        "<td>9.9</td>",
        "<td>64</td>",
        "torch, where the pack was recorded",
        "<td>7.7</td>",
        "True gradient is zero: a.bias, b.bias: no such luck",
        "Training: weights that differ by a relative 1e-07 part these steps by 3.0e-07",
        "Note: from afar",
        "here 8 times this model's own gap of 2.5e-06, or the bound if that is less",
        "Not judged: onnx, form shared, onnx, form basis: no operator",
        TOLERANCES["layer"].reason,
    ):
        assert html.count(text) == 1 or text in ("Failed", "torch and mindspore"), text


def test_a_page_on_paper(certificate):
    """The header of the table repeats, no row is torn apart, and nothing is dark."""
    html = report.page(certificate)
    paper = html[html.index("@media print") :]
    assert "thead { display: table-header-group; }" in paper and "break-inside: avoid" in paper
    assert html.count("<thead>") == 1
    paints = [colour for colour in re.findall(r"background: #([0-9a-f]+)", paper[: paper.index("</style>")])]
    assert len(paints) == 7 and all(min(bytes.fromhex(c if len(c) == 6 else c * 2)) > 0x90 for c in paints)


def test_page_is_one_file(certificate):
    """Nothing is loaded from elsewhere."""
    html = report.page(certificate)
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", html)
    assert html.startswith("<!doctype html>") and html.rstrip().endswith("</html>")


def test_a_passed_page_has_no_red_row(certificate):
    certificate.rows.pop(1)
    html = report.page(certificate)
    assert {kind for kind, _ in cells(html)} == {"number pass"}
    assert "Passed" in html and "all 5 comparisons" in html and 'class="fail"' not in html


def test_heat_map(certificate):
    """omega by layer, the network's output last; 0 is over the limit, the last colour an error of 0."""
    oracle, twins = report.heat_maps(certificate)
    assert (oracle.title, oracle.columns) == ("torch : oracle", ["head", "tail<&>"])
    bins = {omega: [colour for colour, _ in line] for omega, line in oracle.lines}
    assert bins == {"(0, 1)": [3, 6], "(1, 0)": [1, 0], "per sample": [3, 4]}
    assert (twins.title, twins.columns) == ("mindspore : torch", ["head", "tail<&>", "output"])
    assert twins.lines == [
        ("(0, 1)", [(6, "head at (0, 1): 0.0e+00, limit 2.0e-06"), (2, "tail<&> at (0, 1): 3.0e-07, limit 2.0e-06"),
                    (3, "output at (0, 1): 3.0e-07, limit 1.0e-05")])
    ]  # fmt: skip
    html = report.page(certificate)
    assert html.count('<td class="h0"') == 1 and 'title="tail&lt;&amp;&gt; at (1, 0): 5.0e-06, limit 2.0e-06"' in html
    assert [report._bin(error, 1e-6) for error in (1.1e-6, float("nan"), 1e-6, 1e-10, 0.0)] == [0, 0, 1, 5, 6]


@pytest.mark.parametrize(
    ("error", "at_least", "expected"),
    [(1.21e-7, False, "1.3e-07"), (1e-7, False, "1.0e-07"), (0.0, False, "0"), (float("inf"), False, "none"),
     (0.0289, True, "2.8e-02"), (9.99e-7, False, "1.0e-06")],
)  # fmt: skip
def test_the_limit_that_would_pass(error, at_least, expected):
    row = Row("network", "a : b", "", "", error, 1.0, at_least)
    assert report.needed(row) == expected
    if np.isfinite(error):
        assert Row("network", "a : b", "", "", error, float(report.needed(row)), at_least).passed


def test_first_differences(certificate):
    assert report.first_differences(certificate) == {
        "torch : oracle": "tail<&>, beyond its limit, at ω (1, 0)",
        "mindspore : torch": "tail<&>, by rounding, at ω (0, 1)",
    }


def test_terminal_table(certificate, capsys):
    report.print_table(certificate)
    text = capsys.readouterr().out
    (layer,) = [line for line in text.splitlines() if line.startswith(" layer") and "torch : oracle" in line]
    assert re.split("  +", layer.strip()) == [
        "layer", "torch : oracle", "(1, 0)", "tail<&>", "5.0e-06", "2.0e-06", "5.0e-06", "FAIL 2/3",
    ]  # fmt: skip
    for line in (
        "not judged: onnx, form shared, onnx, form basis: no operator",
        "first layer that differs, torch : oracle: tail<&>, beyond its limit, at ω (1, 0)",
        "true gradient is zero: a.bias, b.bias: no such luck",
        "SHA-256: " + "0f" * 32,
        "torch: torch 9.9, device cpu",
        "machine: cores 64",
        "recorded by torch: torch 7.7",
        "note: from afar",
        "FAILED: 1 of 6",
    ):
        assert line in text.splitlines()
    certificate.rows.pop(1)
    report.print_table(certificate)
    text = capsys.readouterr().out
    assert "PASSED: 5 comparisons" in text and "FAIL" not in text.replace("PASSED", "")


def test_brackets_in_a_name_are_no_markup(certificate, capsys):
    """A file or tensor may be called anything."""
    certificate.source = "runs/[bold]a[/]/model.safetensors"
    certificate.rows[1] = Row("layer", "torch : oracle", "(1, 0)", "body[/x]", 5e-6, 2e-6)
    certificate.not_judged = ["[red]this[/red]"]
    report.print_table(certificate)
    text = capsys.readouterr().out
    assert "runs/[bold]a[/]/model" in text and "body[/x]" in text and "[red]this[/red]" in text


def test_what_a_pack_says_moves_no_terminal_and_is_no_html(certificate, capsys):
    """Facts, reasons and notes are as free as names."""
    wild = "\x1b]0;owned\x07<script>alert(1)</script>\u202e"
    certificate.source = certificate.recorded["pack"] = wild
    certificate.recorded = {"pack": {"torch": wild}, wild: {}}
    certificate.zeros, certificate.notes, certificate.not_judged = {wild: wild}, [wild], [wild]
    certificate.rows[1] = Row("layer", "torch : oracle", "(1, 0)", wild, 5e-6, 2e-6, parts={wild: 5e-6})
    report.print_table(certificate)
    text = capsys.readouterr().out
    assert text.replace("\n", "").isprintable() and r"\x1b]0;owned\x07" in text
    assert "<script>alert" not in report.page(certificate)


def test_an_error_that_is_not_finite_fails(certificate):
    certificate.rows = [Row("layer", "torch : oracle", "(0, 1)", "head", float("inf"), 2e-6)]
    assert cells(report.page(certificate))[0][0] == "number fail"
    certificate.rows = []
    assert "Failed" in report.page(certificate)  # nothing compared is nothing proved


def test_embedded(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert page.embedded(tmp_path / "a.png") == "data:image/png;base64,iVBORw=="
