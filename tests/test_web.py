"""Pages that need no server: what their own program restores in a browser is what the network makes."""

import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from browser import PATIENCE, browser, faults, package, served
from PIL import Image
from small import small

from tunable.api import load
from tunable.backends.registry import installed
from tunable.errors import TunableError
from tunable.exports import npm, web
from tunable.exports.web import export_web
from tunable.images.pictures import read, read_bytes, to_network
from tunable.specs.networks import ResNetSpec, SwinIRSpec

PHOTOGRAPH = Path(__file__).parent.parent / "docs" / "images" / "noisy.jpg"
PICTURE = """figure => {
  const { width, height, base, differences } = figure.live.picture;
  return { width, height, base: [...base], differences: differences.map(one => [...one]) };
}"""
pytestmark = pytest.mark.skipif("torch" not in installed(), reason="torch is not installed: no other writes any size")


@pytest.fixture(scope="module")
def denoise():
    return load("denoise", "torch")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A photograph of 48 x 960 pixels, which is cut into tiles."""
    path = tmp_path_factory.mktemp("photographs") / "my photograph.png"
    Image.fromarray(np.tile(read_bytes(PHOTOGRAPH)[:48], (1, 3, 1))).save(path)
    return path


def restored(page, turn=None):
    """What the page's program holds: base and differences (1, 3, h, w); after a turn of the sliders, or the first."""
    page.wait_for_selector(f"figure[data-done='{turn}']" if turn else "figure[data-done]:not([data-done=''])")
    made = page.locator("figure").evaluate(PICTURE)
    shape = (1, 3, made["height"], made["width"])
    return [np.reshape(np.float32(plane), shape) for plane in (made["base"], *made["differences"])]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder, its address and a browser; pages in the same browser compile onnxruntime-web once."""
    package(npm.ONNXRUNTIME_WEB)
    folder = tmp_path_factory.mktemp("site")
    with served(folder) as address, browser() as one:
        yield folder, address, one.new_context(viewport={"width": 390, "height": 900})


@contextmanager
def opened(site, name, photograph):
    """The page of that name, with a photograph open."""
    noted, (_, address, context) = [], site
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("request", lambda request: noted.append(request.url))
    page.on("console", lambda message: message.type == "error" and noted.append(message.text))
    page.on("pageerror", lambda error: noted.append(str(error)))
    page.goto(f"{address}{name}/index.html")
    page.locator("#photograph").set_input_files(photograph)
    yield page  # and stays open
    assert not [one for one in noted if not one.startswith((address, f"blob:{address}", "data:image"))]


@pytest.mark.thorough
def test_a_visitors_photograph(denoise, wide, site, tmp_path):
    """In tiles, equal to onnxruntime on the whole; a preset turns the slider, and what is shown is saved."""
    page_folder = site[0] / "denoise"
    report = export_web(denoise, page_folder, start=(1, 0), presets={"grain": (0.5, 0.5)})
    assert report.form == "heads" and report.passed
    session = onnxruntime.InferenceSession(page_folder / "model.onnx")
    (heads,) = session.run(["heads"], {"image": to_network(read(wide))})
    base, _, noise = np.split(heads, 3, 1)
    with opened(site, "denoise", wide) as page:
        page_base, difference = restored(page)
        assert np.abs(page_base - (base + noise)).max() <= 1e-4 and np.abs(difference + noise).max() <= 1e-4
        assert np.abs(noise).max() > 0.05
        page.get_by_role("button", name="grain").click()
        page.wait_for_function("document.querySelector('output').value === '50'")
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as PNG").click()
        assert download.value.suggested_filename == "my photograph-restored.png"
        download.value.save_as(tmp_path / "saved.png")
        exact = 255 * np.clip(base + 0.5 * noise, 0, 1)[0].transpose(1, 2, 0)
        assert np.abs(read_bytes(tmp_path / "saved.png") - exact).max() <= 0.51
        assert not faults(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("#photograph").set_input_files(Path(__file__))
        page.get_by_text("This browser cannot read test_web.py as a picture.").wait_for()


SPECS = {
    "planes": ResNetSpec(channels=4, blocks=1, upscale=2),
    "prepared": ResNetSpec(channels=4, blocks=1, where={"last": 2}),
    "heads": ResNetSpec(channels=4, blocks=1, where={"last": 1}, upscale=2, anchor=(0.25, 0.5)),
    "shared": SwinIRSpec(channels=4, depths=[1], heads=[1], window=4),
}


@pytest.mark.thorough
@pytest.mark.parametrize("kind", SPECS)
def test_other_networks(kind, wide, site, tmp_path, monkeypatch):
    """Each by the form that follows its sliders fastest, at two settings, and where it takes a map under paint."""
    monkeypatch.setattr(web, "TILE", 60)
    image, path = to_network(read(wide))[..., :150], tmp_path / "a.png"
    Image.open(wide).crop((0, 0, 150, 48)).save(path)
    model = small(SPECS[kind])
    report = export_web(model, site[0] / kind, start=(0.2, 0.6))
    assert report.form == kind
    with opened(site, kind, path) as page:
        for turn, omega in enumerate([(0.2, 0.6), (0.7, 0.1)], 1):
            if turn > 1:
                for slider, value in zip(page.locator(".outside input").all(), omega, strict=True):
                    slider.fill(str(value))
            if kind == "heads":
                base, *differences = restored(page)
                made = base + sum(t * one for t, one in zip(omega, differences, strict=True))
            else:
                page.wait_for_timeout(300)
                (made,) = restored(page)
            assert np.abs(made - model.run(image, omega)).max() <= 1e-4
        if kind == "planes":
            page.get_by_label("paints").check()
            box = page.locator(".stage").bounding_box()
            page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.up()
            page.wait_for_timeout(300)
            (painted,) = restored(page)
            assert np.abs(painted - made)[..., :200].max() <= 1e-4 < 1e-2 < np.abs(painted - made)[..., 250:].max()
            paint = np.reshape(page.locator("figure").evaluate("one => [...one.live.paint()]"), (96, 300))
            share = np.float32(paint[::2, ::2] / 255)
            inside = np.float32([float(one.input_value()) for one in page.locator(".inside input").all()])
            each = np.float32(omega)[:, None, None] + (inside - np.float32(omega))[:, None, None] * share
            assert np.abs(painted - model.run(image, each[None])).max() <= 1e-4
        else:
            assert page.get_by_label("paints").is_visible() == (kind == "heads")


@pytest.mark.thorough
def test_pictures_in_the_page(tunable, tmp_path, monkeypatch):
    """One file that needs no other, with the presets of a model that ships; it replaces a page with a network."""
    monkeypatch.chdir(tmp_path)
    Path("page").mkdir()
    for name in ("index.html", "model.onnx", "worker.js"):
        Path("page", name).write_text('<figure class="live"')
    words = ("--format", "web", "--picture", PHOTOGRAPH, "--picture", PHOTOGRAPH, "-o", "page")
    status, _, err = tunable("export", "denoise", *words)
    assert status == 0 and err.endswith("the page is page/index.html; open it\n"), err
    assert [path.name for path in Path("page").iterdir()] == ["index.html"]
    html = Path("page", "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|<script[^>]* src|<link|@import", html)
    assert html.count("<figure ") == 2 and "[80.0]" in html and "no date, place, camera" in html


def test_what_is_no_page(tunable, denoise, tmp_path, refused, monkeypatch):
    """One line each, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with refused(TunableError, "every layer; without pictures the page comes with the network"):
        export_web(small(SPECS["planes"]), tmp_path / "page", [PHOTOGRAPH])
    with refused(TunableError, "this one is plain"):
        export_web(small(ResNetSpec(channels=4, blocks=1, tunable=False), 0), tmp_path / "page")
    for folder, name in (("mine", "letter.txt"), ("other", "model.onnx")):
        Path(folder).mkdir()
        Path(folder, name).touch()
    Path("other.tgz").write_bytes(b"no tarball")
    monkeypatch.setattr(web, "MOST", 1000)
    for words, message in (
        (("--picture", PHOTOGRAPH, "-o", "page"), "a page shows up to 1,000 pixels, and these pictures make 81,920"),
        (("-o", "mine"), "mine holds letter.txt, which is of no earlier page; choose another folder"),
        (("-o", "other"), "other holds model.onnx, which is of no earlier page; choose another folder"),
        (("--onnxruntime-web", "other.tgz", "-o", "page"), "other.tgz is not the tarball of onnxruntime-web 1.30.0"),
        (("--omega", "1,0", "-o", "page"), "--omega is for one file, not for format web"),
        (("--picture", "gone.png", "-o", "page"), "gone.png"),
    ):
        status, _, err = tunable("export", "denoise", "--format", "web", *words)
        assert status == 2 and err.count("\n") == 1 and message in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "other", "other.tgz"]


def test_a_package_is_fetched_once(tmp_path, monkeypatch, refused):
    """By npm, whose tarball must have the known digest; without npm the line says how to have it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    npm_program = tmp_path / "bin" / "npm"
    npm_program.parent.mkdir()
    npm_program.write_text('#!/bin/sh\necho "$2" >> "$0.log"\nprintf abc > "$5/some-1.0.tgz"\n')
    npm_program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm_program.parent}:/usr/bin:/bin")
    abc = "3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw=="  # FIPS 180-2
    known = npm.Package("some", "1.0", abc)
    for _ in range(2):
        assert npm._content(known, None) == b"abc"
    assert (tmp_path / "bin" / "npm.log").read_text() == "some@1.0\n"
    with refused(TunableError, "other 1.0 has another SHA-512"):
        npm._content(npm.Package("other", "1.0", "x"), None)
    npm_program.write_text("#!/bin/sh\necho no network >&2\nexit 1\n")
    with refused(TunableError, "npm could not fetch other 1.0 (no network); run `npm pack other@1.0` elsewhere"):
        npm._content(npm.Package("other", "1.0", abc), None)
