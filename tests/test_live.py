"""Pages with sliders: a browser opens one from a file, and what it draws is what numpy computes."""

import json
import os
import shutil

import numpy as np
import pytest

from tunable.errors import TunableError
from tunable.reports import live

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HEIGHT, WIDTH = 30, 41
KNOBS = [live.Knob("grain <&>", "none", "all", start=0.3), live.Knob("colour")]
ANCHOR = (0.25, 0.0)
READ = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""


def arrays():
    """A base that leaves 0..1 on both sides, and two differences, large and small."""
    rng = np.random.default_rng(5)
    base = rng.uniform(-0.3, 1.3, (HEIGHT, WIDTH, 3))
    return base, rng.normal(0, 1, (2, HEIGHT, WIDTH, 3)) * np.array([0.5, 0.02])[:, None, None, None]


@pytest.fixture
def figures():
    base, differences = arrays()
    before, *pictures = np.random.default_rng(6).random((4, HEIGHT, WIDTH, 3))
    return [
        live.blend("Blend", base, differences, KNOBS, ANCHOR, before=before),
        live.settings("Three settings", pictures, ["ω = 0", "ω = ½", "ω = 1"], live.Knob("strength", "weak", "strong")),
    ]


@pytest.fixture
def opened(figures, tmp_path):
    """The page in a browser, and what it asked for and complained of."""
    if not BROWSER:
        pytest.skip("no Chromium or Chrome is installed: a page's program cannot be run")
    from playwright.sync_api import sync_playwright

    path, noted = tmp_path / "page.html", []
    path.write_text(live.page("Live", figures), encoding="utf-8")
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=BROWSER, args=sandbox)
        page = browser.new_page()
        page.on("request", lambda request: noted.append(request.url.partition(",")[0]))
        page.on("console", lambda message: message.type == "error" and noted.append(message.text))
        page.on("pageerror", lambda error: noted.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("figure[data-milliseconds] >> nth=1")
        yield page, noted, path.as_uri()
        browser.close()


@pytest.mark.thorough
def test_sliders_in_a_browser(opened):
    """One load: the pixels at the start, at moved sliders and at a preset; the settings; keys; no request."""
    page, noted, address = opened
    blend, settings = page.locator("figure").all()
    base, differences = arrays()
    seen = []

    def drawn(first, second):
        """The canvas shows the blend: the nearest level, or where that is nearly a tie one of the two."""
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        pixels = np.array(blend.locator("canvas").evaluate(READ)).reshape(HEIGHT, WIDTH, 4)
        weights = first - ANCHOR[0], second - ANCHOR[1]
        expected = 255 * np.clip(base + weights[0] * differences[0] + weights[1] * differences[1], 0, 1)
        assert np.abs(pixels[..., :3] - expected).max() <= 0.5 + (1 + sum(map(abs, weights))) / 32
        assert (pixels[..., 3] == 255).all()
        seen.append(pixels)

    knobs = blend.locator(".knob input")
    drawn(0.3, 0.5)
    knobs.nth(0).fill("0.81")
    knobs.nth(1).fill("0")
    drawn(0.81, 0)
    blend.get_by_role("button", name="colour").click()
    drawn(0, 1)
    assert blend.locator("output").all_inner_texts() == ["0.00", "1.00"]
    assert all(np.abs(a - b).max() > 5 for a, b in zip(seen, seen[1:], strict=False))

    strength = settings.get_by_label("strength")
    strength.press("ArrowRight")  # from the middle
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert settings.locator("output").inner_text() == strength.get_attribute("aria-valuetext") == "ω = 1"
    shown = settings.locator("img").evaluate_all("all => all.map(one => getComputedStyle(one).visibility)")
    assert shown == ["hidden", "hidden", "visible"]

    blend.locator(".split").fill("20")
    assert blend.locator(".before").evaluate("one => getComputedStyle(one).clipPath") == "inset(0px 80% 0px 0px)"
    assert set(noted) <= {address, "data:image/png;base64"}


def test_a_page_is_one_file(figures):
    html = live.page("Live", figures)
    assert "default-src 'none'" in html and "http:" not in html and "https:" not in html
    assert "grain &lt;&amp;&gt;" in html and "grain <" not in html
    assert html.count("<script>") == 1 and html.count("<figure ") == 2


def test_the_ends_of_one_knob_are_its_presets():
    base, differences = arrays()
    (knob, _), difference = KNOBS, differences[:1]
    assert live.blend("", base, difference, [knob]).presets == {"none": [0.0], "all": [1.0]}
    assert json.loads(json.dumps(live.blend("", base, difference, [knob]).data))["anchor"] == [0.0]


def test_what_no_page_can_show(refused):
    base, differences = arrays()
    with refused(TunableError, "(1, 30, 41, 3) and 1, not (2, 30, 41, 3) and 1"):
        live.blend("", base, differences, KNOBS[:1])
    with refused(TunableError, "and 1, not (1, 30, 41, 3) and 2"):
        live.blend("", base, differences[:1], KNOBS[:1], (0, 0))
    with refused(TunableError, "(30, 41)"):
        live.blend("", base[..., 0], differences, KNOBS)
    for wrong in (np.nan, np.inf, -8.1):
        base[3, 4, 1] = wrong
        with refused(TunableError, "at most 8.03"):
            live.blend("", base, differences, KNOBS)
    with refused(TunableError, "(30, 41, 3)", "(41, 30, 3)"):
        live.settings("", [base, base.transpose(1, 0, 2)], ["a", "b"], KNOBS[0])
    with refused(TunableError, "1 labels"):
        live.settings("", [base, base], ["a"], KNOBS[0])
    with refused(TunableError, "picture before", "(2, 2, 3)"):
        live.settings("", [base, base], ["a", "b"], KNOBS[0], before=base[:2, :2])
