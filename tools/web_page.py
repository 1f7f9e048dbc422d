"""The pages of `tunable export denoise --format web` in headless Chromium: how far, how fast, which faults.

    python -m tools.web_page --out docs/results/web_page

A photograph of 512x512 pixels with noise of sigma 25 is opened in the page that comes with the network. The table on
standard output says how far what the page's worker restored is from onnxruntime on the whole photograph, how long it
took, how long a moved slider takes until the new picture is drawn, and until the frame after that begins (of 40 moves),
whether the page fits into 390 pixels, and what axe finds. `moves.csv` has every move. `page.png` is the page of a
picture as it opens by a double click, and `page_390.png` the same on a telephone: the pictures of README and docs.
"""

import argparse
import csv
import functools
import os
import platform
import shutil
import tempfile
import threading
import time
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image
from playwright.sync_api import sync_playwright

from tools.npm_packages import AXE_CORE
from tunable.api import load
from tunable.exports import npm
from tunable.exports.web import export_web
from tunable.images.pictures import read, to_levels, to_network
from tunable.models import MODELS

MOVES, MODEL = 40, "denoise"
NOISY = Path("docs/images/noisy.jpg")
MOVE = """async moves => {
  const figure = document.querySelector("figure"), slider = figure.querySelector(".outside input"), times = [];
  const frame = () => new Promise(requestAnimationFrame);
  await frame();
  for (let i = 0; i < moves; i++) {
    const began = performance.now();
    slider.valueAsNumber = (37 * i) % 101;
    slider.dispatchEvent(new Event("input"));
    await frame();  // the page's own request was first
    const drawn = performance.now() - began;
    await frame();
    times.push([Number(figure.dataset.milliseconds), drawn, performance.now() - began]);
  }
  return times;
}"""
HEADS = """figure => {
  const { base, differences } = figure.live.picture;
  return [base, ...differences].map(plane => [...plane]);
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


def faults(page) -> list[str]:
    """What axe finds, as `impact: rule`."""
    page.evaluate(npm.read(AXE_CORE, ["axe.min.js"])["axe.min.js"].decode())
    return [f"{one['impact']}: {one['id']}" for one in page.evaluate("axe.run()")["violations"]]


def measured(browser, folder: Path, photograph: Path, out: Path) -> None:
    """Open a photograph in the page with the network, and print the table."""
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (heads,) = session.run(["heads"], {"image": to_network(read(photograph))})
    base, _, noise = np.split(heads, 3, 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        page.locator("#photograph").set_input_files(photograph)
        began = time.perf_counter()
        page.wait_for_selector("figure[data-done='1']", timeout=600_000)
        seconds = time.perf_counter() - began
        made, difference = (np.reshape(one, base.shape) for one in page.locator("figure").evaluate(HEADS))
        times = page.evaluate(MOVE, MOVES)
        own, drawn, after = np.array(times).T
        worst = max(np.abs(made - (base + noise)).max(), np.abs(difference + noise).max())
        rows = [
            ("largest difference from onnxruntime, where white is 1", f"{worst:.1e}"),
            ("photograph opened until restored, with loading the network", f"{seconds:.1f} s"),
            ("slider moved until its picture is drawn, median", f"{np.median(drawn):.0f} ms"),
            ("slider moved until its picture is drawn, longest", f"{drawn.max():.0f} ms"),
            ("of that the page's own program, median", f"{np.median(own):.0f} ms"),
            ("slider moved until the frame after that begins, median", f"{np.median(after):.0f} ms"),
            ("width of the page in a window of 390 pixels", f"{page.evaluate('document.body.scrollWidth')} pixels"),
            ("faults that axe finds", ", ".join(faults(page)) or "none"),
        ]
        page.close()
        server.shutdown()
    print("| what | measured |\n|---|---|")
    for name, value in rows:
        print(f"| {name} | {value} |")
    with open(out / "moves.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("program_ms", "drawn_ms", "next_frame_ms"), *times])


def pictured(browser, path: Path, out: Path) -> None:
    """Save what the page of a picture looks like, painted, in a wide window and a narrow one."""
    for name, width, height in (("page.png", 760, 900), ("page_390.png", 390, 844)):
        page = browser.new_page(viewport={"width": width, "height": height})
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("figure[data-milliseconds]")
        if width > 390:
            page.get_by_role("button", name="natural").click()
        page.wait_for_timeout(300)
        page.screenshot(path=out / name, full_page=True)
        found = faults(page)
        assert not found, found
        page.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    args = parser.parse_args()
    if not args.browser:
        parser.error("no Chromium was found: name one with --browser")
    args.out.mkdir(parents=True, exist_ok=True)
    model, known = load(MODEL), MODELS[MODEL]
    options = {"start": known.omega, "presets": known.presets}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        place, photograph = Path(folder), Path(folder) / "photograph.png"
        noisy = read(NOISY)
        tiled = np.tile(noisy, (2, 2, 1))[:512, :512]
        Image.fromarray(to_levels(tiled)).save(photograph)
        export_web(model, place / "network", **options)
        export_web(model, place / "pictures", [NOISY], **options)
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=args.browser, args=sandbox)
        machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(f"Chromium {browser.version}, {npm.ONNXRUNTIME_WEB}, {machine}\n")
        measured(browser, place / "network", photograph, args.out)
        pictured(browser, place / "pictures" / "index.html", args.out)
        browser.close()


if __name__ == "__main__":
    main()
