"""How long a page with sliders takes to follow them: a picture of a megapixel in headless Chromium.

    python tools/live_page.py --out docs/results/live_page

For one, two and three knobs a page is written whose base and differences are noise, which deflates badly. A browser
opens it from the file and moves the first slider in every frame. `rounds.csv` gets both times of every move: of the
page's own program (the sum, its conversion to 8 bits, and handing it to the canvas), and between two frames, which also
holds what the browser does to show them. The table on standard output has the tenth percentile of their 60, which a
busy machine delays least.
"""

import argparse
import csv
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from tunable.reports import live

SIDE, MOVES, WARM = 1000, 60, 10
MOVE = """async moves => {
  const figure = document.querySelector("figure"), slider = figure.querySelector(".knob input"), times = [];
  let before = await new Promise(requestAnimationFrame);
  for (let i = 0; i < moves; i++) {
    slider.valueAsNumber = (i % 100) / 100;
    slider.dispatchEvent(new Event("input"));
    const now = await new Promise(requestAnimationFrame);  // the page's own request was first
    times.push([Number(figure.dataset.milliseconds), now - before]);
    before = now;
  }
  return times;
}"""


def measure(browser, path: Path, knobs: int) -> tuple[float, float, list]:
    """Megabytes of the page, seconds until it is drawn, and the two times of every move."""
    rng = np.random.default_rng(knobs)
    base, differences = rng.uniform(0.2, 0.8, (SIDE, SIDE, 3)), rng.normal(0, 0.05, (knobs, SIDE, SIDE, 3))
    figure = live.blend("A megapixel", base, differences, [live.Knob(f"knob {j}") for j in range(knobs)])
    path.write_text(live.page("Speed", [figure]), encoding="utf-8")
    page = browser.new_page()
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector("figure[data-milliseconds]")
    opened = time.perf_counter() - start
    times = page.evaluate(MOVE, WARM + MOVES)[WARM:]
    page.close()
    return path.stat().st_size / 1e6, opened, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--browser", default=shutil.which("chromium"))
    args = parser.parse_args()
    if not args.browser:
        parser.error("no Chromium was found: name one with --browser")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=args.browser, args=sandbox)
        machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
        print(f"Chromium {browser.version}, {machine}\n")
        print("| knobs | page | opened in | the page's program | from frame to frame |")
        print("|---|---|---|---|---|")
        for knobs in (1, 2, 3):
            size, opened, times = measure(browser, Path(folder) / "page.html", knobs)
            own, frames = np.percentile(times, 10, axis=0)
            print(f"| {knobs} | {size:.0f} MB | {opened:.1f} s | {own:.1f} ms | {frames:.1f} ms |")
            rows += [(knobs, *pair) for pair in times]
    with open(args.out / "rounds.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([("knobs", "program_ms", "frame_ms"), *rows])


if __name__ == "__main__":
    main()
