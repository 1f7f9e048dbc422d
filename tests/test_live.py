"""Pages with sliders: a browser opens one from a file, and what it draws is what numpy computes."""

import json

import numpy as np
import pytest
from browser import browser, faults

from tunable.errors import TunableError
from tunable.images.pictures import read_bytes
from tunable.reports import live

HEIGHT, WIDTH = 30, 41
KNOBS = [live.Knob("grain <&>", "none", "all", start=0.3), live.Knob("colour", start=100, least=50, most=150)]
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
        live.blend("Blend", base, differences, KNOBS, ANCHOR, before=before, save_as="blended"),
        live.settings("Three settings", pictures, ["ω = 0", "ω = ½", "ω = 1"], live.Knob("strength", "weak", "strong")),
    ]


@pytest.fixture
def opened(figures, tmp_path):
    """The page in a browser, and what it asked for and complained of."""
    path, noted = tmp_path / "page.html", []
    path.write_text(live.page("Live", figures), encoding="utf-8")
    with browser() as one:
        page = one.new_page()
        page.on("request", lambda request: noted.append(request.url.partition(",")[0]))
        page.on("console", lambda message: message.type == "error" and noted.append(message.text))
        page.on("pageerror", lambda error: noted.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_selector("figure[data-milliseconds] >> nth=1")
        yield page, noted, path.as_uri()


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

    knobs = blend.locator(".outside input")
    drawn(0.3, 0.5)
    knobs.nth(0).fill("0.81")
    knobs.nth(1).fill("50")
    drawn(0.81, 0)
    blend.get_by_role("button", name="colour").click()
    drawn(0, 1)
    assert blend.locator(".outside output").all_inner_texts() == ["0.00", "150"]
    assert all(np.abs(a - b).max() > 5 for a, b in zip(seen, seen[1:], strict=False))

    strength = settings.get_by_label("strength")
    strength.press("ArrowRight")  # from the middle
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert settings.locator("output").inner_text() == strength.get_attribute("aria-valuetext") == "ω = 1"
    shown = settings.locator("img").evaluate_all("all => all.map(one => getComputedStyle(one).visibility)")
    assert shown == ["hidden", "hidden", "visible"]

    blend.locator(".split").fill("20")
    assert blend.locator(".before").evaluate("one => getComputedStyle(one).clipPath") == "inset(0px 80% 0px 0px)"
    assert not faults(page)
    assert set(noted) <= {address, "data:image/png;base64"}


@pytest.mark.thorough
def test_paint_in_a_browser(opened, tmp_path):
    """Under opaque paint the second sliders act, elsewhere the first; the file has it; it can be erased."""
    page, noted, _ = opened
    page.set_viewport_size({"width": 390, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    blend = page.locator("figure").first
    (base, differences), half, end = arrays(), 0.5, 1.0

    def drawn():
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return np.array(blend.locator("canvas").evaluate(READ)).reshape(HEIGHT, WIDTH, 4)[..., :3]

    def expected(first, second):
        weights = first - ANCHOR[0], second - ANCHOR[1]
        return 255 * np.clip(base + weights[0] * differences[0] + weights[1] * differences[1], 0, 1)

    blend.get_by_label("paints").check()
    for slider, value in zip(
        blend.locator(".outside input, .inside input").all(), ("0.5", "50", "1", "150"), strict=True
    ):
        slider.fill(value)
    blend.locator("[name=size]").fill("40")  # a radius of 6 pixels, of which 3 are opaque
    plain, box = drawn(), blend.locator(".stage").bounding_box()

    def drag(*columns):
        for place, column in enumerate(columns):
            page.mouse.move(box["x"] + box["width"] * column / WIDTH, box["y"] + box["height"] * 15 / HEIGHT)
            if not place:
                page.mouse.down()
        page.mouse.up()

    drag(10, 30)
    painted = drawn()
    assert np.abs(painted[13:18, 9:31] - expected(end, 1.0)[13:18, 9:31]).max() <= 0.6
    assert np.abs(painted[:8] - expected(half, 0.0)[:8]).max() <= 0.6
    assert np.abs(painted[:, 38:] - plain[:, 38:]).max() == 0
    with page.expect_download() as download:
        blend.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "blended.png"
    download.value.save_as(tmp_path / "blended.png")
    np.testing.assert_array_equal(read_bytes(tmp_path / "blended.png"), painted)
    assert not faults(page)

    blend.get_by_label("erases paint").check()
    drag(30, 34)
    erased = drawn()
    assert np.abs(erased[13:18, 29:] - plain[13:18, 29:]).max() == 0 and (erased[:, :20] == painted[:, :20]).all()
    blend.get_by_role("button", name="Remove all paint").click()
    np.testing.assert_array_equal(drawn(), plain)
    blend.get_by_label("Pixel by pixel").check()
    assert blend.locator("canvas").bounding_box()["width"] == WIDTH
    assert not [one for one in noted if "data:image" not in one and "file:" not in one and "blob:" not in one]


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
