"""For tests that open pages: a browser, a server of files, and what axe finds in a page."""

import functools
import os
import shutil
import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.npm_packages import AXE_CORE
from tunable.errors import TunableError
from tunable.exports import npm

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PATIENCE = 120_000  # milliseconds that a busy machine may take for a step


@contextmanager
def browser():
    """A headless browser; the test is skipped where there is none."""
    if not BROWSER:
        pytest.skip("no Chromium or Chrome is installed: a page's program cannot be run")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
        one = playwright.chromium.launch(executable_path=BROWSER, args=sandbox)
        yield one
        one.close()


def package(package: npm.Package, *names: str) -> dict[str, bytes]:
    """Files of an npm package; the test is skipped where it cannot be had."""
    try:
        return npm.read(package, names)
    except TunableError as error:
        pytest.skip(f"{package} is not installed: {error}")


def faults(page) -> list[str]:
    """What axe finds in a page that is open, of serious and critical impact."""
    page.evaluate(package(AXE_CORE, "axe.min.js")["axe.min.js"].decode())
    found = page.evaluate("axe.run()")
    assert len(found["passes"]) > 10, "axe has looked at nothing"
    return [f"{one['id']}: {one['help']}" for one in found["violations"] if one["impact"] in ("serious", "critical")]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


@contextmanager
def served(folder):
    """The address of a folder that any server of files would serve alike."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
