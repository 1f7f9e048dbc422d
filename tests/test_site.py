"""The documentation as a site: every link leads somewhere, the reference is whole, and everybody can read it."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOOKED_AT = (
    "index",
    "faq",
    "gallery",
    "recipes",
    "api/tunable",
    "api/torch",
    "tutorials/your_model",
    "results/denoise_mini/index",
)
LOOKED_FOR = {"light": None, "dark": {"runOnly": ["color-contrast"]}}  # a scheme changes colours alone
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` builds it, which a link that leads nowhere fails."""
    at = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(at)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return at


@pytest.mark.parametrize("twin", ["torch", "mindspore"])
def test_the_reference_is_whole(twin, site):
    """Every public name of a twin has an entry with its docstring, read from the sources without a framework."""
    page = (site / "api" / f"{twin}.html").read_text("utf-8")
    tree = ast.parse((ROOT / f"{twin}_impl" / "__init__.py").read_text("utf-8"))
    (names,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    )
    missing = [name for name in [*names, "load_network"] if not re.search(rf'id="{twin}_impl\.[\w.]*\b{name}"', page)]
    assert not missing
    assert "channels of the input" in page.lower()


def test_the_neutral_reference_is_whole(site):
    page = (site / "api" / "tunable.html").read_text("utf-8")
    names = ("load", "train", "evaluate", "knobs", "restore", "verify", "export", "Model", "TunableError")
    assert not [name for name in names if not re.search(rf'id="tunable\.[\w.]*\b{name}"', page)]


def test_nothing_is_fetched_from_others(site):
    """No page names a script, style, font or picture of another host."""
    fetched = re.compile(r'<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
    for path in site.rglob("*.html"):
        found = [tag for tag in fetched.findall(path.read_text("utf-8")) if "canonical" not in tag]
        assert not found, f"{path}: {found}"


def test_it_can_be_read_by_all_and_on_a_phone(site):
    """axe finds no serious fault in light and dark, and on a phone no page is wider than the screen."""
    if not BROWSER:
        pytest.skip("no Chromium or Chrome is installed: a page cannot be looked at")
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    faults, grounds = [], []
    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=BROWSER, args=sandbox)
        for scheme, options in LOOKED_FOR.items():
            page = browser.new_page(viewport=DESK, color_scheme=scheme)
            for name in LOOKED_AT:
                page.goto((site / f"{name}.html").as_uri())
                found = Axe().run(page, options=options).response["violations"]
                faults += [
                    f"{name}, {scheme}: {fault['id']}: {fault['nodes'][0]['html'][:200]}"
                    for fault in found
                    if fault["impact"] in ("serious", "critical")
                ]
            grounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page = browser.new_page(viewport=PHONE)
        for name in LOOKED_AT:
            page.goto((site / f"{name}.html").as_uri())
            wide = page.evaluate("document.documentElement.scrollWidth")
            faults += [f"{name}: {wide} pixels wide on a phone"] if wide > PHONE["width"] else []
        browser.close()
    assert len(set(grounds)) == 2, f"light and dark have one colour: {grounds}"
    assert not faults, "\n".join(faults)
