"""The app: what it shows is what `restore` makes, in a browser too, for many readers at once."""

import io
import json
import logging
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from pathlib import Path

import numpy as np
import pytest
from browser import PATIENCE, browser
from fastapi import HTTPException
from PIL import Image
from starlette.requests import ClientDisconnect

from tunable.api import load, restore
from tunable.app.samples import samples
from tunable.app.serving import _in_one_line
from tunable.app.views import Region, open_photograph, painted_map, sweep_sheet
from tunable.backends.model import WeightsModel
from tunable.backends.registry import default_backend, get_framework
from tunable.errors import TunableError
from tunable.images.pictures import read_bytes, write
from tunable.models import MODELS, preset_of
from tunable.sliders import Knob, knobs_of, omega_of
from tunable.specs.networks import NAFNetSpec, ResNetSpec
from tunable.weights.storage import Header

MOST_KNOBS = 8  # sliders of the page, and as many of the brush
SECOND = "document.querySelectorAll(\"img[src*='/file=']\")[1]"  # on the right of the view's handle
FETCHED = "async address => [...new Uint8Array(await (await fetch(address)).arrayBuffer())]"


@pytest.fixture(scope="module")
def denoise():
    return load("denoise")


@pytest.fixture
def photograph(tmp_path):
    """A picture with edges, textures and noise, 150 x 210 pixels, in a file with a tag."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:150, :210] / 20
    clean = np.stack([np.sin(rows * columns / 3), np.sign(np.sin(rows)), np.cos(columns)], 2) * 0.3 + 0.5
    noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1)
    path, tags = tmp_path / "photograph.png", Image.Exif()
    tags[270] = "a description"
    Image.fromarray(np.uint8(255 * noisy + 0.5)).save(path, exif=tags)
    return path


@pytest.mark.parametrize("centre", [(0, 0), (149, 209), (70, 100)])
def test_a_region_shows_the_pixels_of_the_whole(denoise, photograph, centre):
    """At a setting, and with a map, of heads; at its place, which stays inside the photograph."""
    opened = open_photograph(photograph)
    region = Region(denoise, opened, centre, side=40)
    rows, columns = region.place
    assert (rows.stop - rows.start, columns.stop - columns.start) == (40, 40)
    assert all(place.start <= min(at, place.stop) <= place.stop for place, at in zip(region.place, centre, strict=True))
    np.testing.assert_array_equal(region.before, opened.levels[region.place])
    painted = np.zeros((150, 210))
    painted[:60] = 1
    both = painted_map(np.float32([0, 1]), np.float32([1, 0]), painted, opened.size)
    for omega in (np.float32([0.7, 0.3]), both):
        whole = restore(denoise, photograph, omega)[region.place]
        assert np.abs(region.at(omega).astype(int) - whole).max() <= 1  # sums of heads are rounded otherwise


@pytest.mark.parametrize(
    "spec",
    [
        ResNetSpec(channels=4, blocks=1),
        ResNetSpec(channels=4, blocks=1, where={"last": 2}),
        ResNetSpec(channels=4, blocks=1, where={"last": 1}, upscale=2),
        ResNetSpec(channels=4, blocks=1, tunable=False),
        NAFNetSpec(width=4, middle=1, encoder=[1], decoder=[1]),
    ],
    ids=["throughout", "tail", "heads, enlarged", "plain", "global averages"],
)
def test_regions_of_other_networks(spec, photograph):
    backend = get_framework(default_backend(), "cpu")
    p = 2 if spec.tunable else 0
    network, rng = backend.build(spec, p), np.random.default_rng(4)  # weights of which none is zero, as in new blocks
    backend.assign(network, {s.name: rng.normal(0, 0.2, s.shape).astype("f") for s in backend.specs(network)})
    model = WeightsModel(backend, network, Header(spec, ("a", "b")[:p], ((0.0, 1.0),) * p))
    opened = open_photograph(photograph)
    region = Region(model, opened, (80, 120), side=32)
    omega = np.float32([0.2, 0.9]) if p else None
    rows, columns = (slice(spec.scale * one.start, spec.scale * one.stop) for one in region.place)
    assert region.before.shape == region.at(omega).shape == (32 * spec.scale, 32 * spec.scale, 3)
    assert np.abs(region.at(omega).astype(int) - restore(model, photograph, omega)[rows, columns]).max() <= 1


def test_sliders(denoise):
    assert knobs_of(denoise, (1, 0)) == [Knob("strength", 0, 100, 100)]
    np.testing.assert_allclose(omega_of(denoise, [70, 0, 0]), [0.7, 0.3])
    for model in MODELS.values():
        for name, omega in model.presets.items():
            np.testing.assert_allclose(preset_of(model.name, name), omega)
    for model, preset, message in (
        (
            "denoise",
            "claen",
            r"^denoise has no preset 'claen' \(did you mean 'clean'\?\); its presets are natural, clean, ",
        ),
        ("other.safetensors", "clean", r"^other.safetensors has no preset 'clean': only models that ship have any$"),
    ):
        with pytest.raises(TunableError, match=message):
            preset_of(model, preset)


def test_paint():
    """Inside the paint one setting, outside another, between them in proportion, at the photograph's size."""
    inside, outside = np.float32([1, 0]), np.float32([0.2, 0.6])
    painted = np.zeros((4, 6))
    assert painted_map(inside, outside, painted, (8, 12)) is None
    painted[:, :3] = 1
    made = painted_map(inside, outside, painted, (8, 12))
    assert made.shape == (2, 8, 12) and made.dtype == np.float32
    np.testing.assert_allclose(made[:, :, 0], np.repeat(inside[:, None], 8, 1), atol=1e-6)
    np.testing.assert_allclose(made[:, :, -1], np.repeat(outside[:, None], 8, 1), atol=1e-6)


@pytest.fixture(scope="module")
def served():
    """The address of an app in a process of its own, which an interrupt ends."""
    command = [sys.executable, "-u", "-m", "tunable", "app", "denoise", "--port", str(_free_port())]
    app = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    line = app.stderr.readline()
    assert re.match(r"the app is at http://127.0.0.1:\d+/; Ctrl-C ends it$", line), line + app.stderr.read()
    yield re.search(r"http\S+/", line)[0]
    app.send_signal(signal.SIGINT)
    rest = app.stderr.read()
    app.stderr.close()
    assert app.wait() == 130 and rest == "tunable app: interrupted\n"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_what_cannot_be_served(tunable):
    """One line each: a port that is taken, an address of another machine, a model that is none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for words, message in (
            (["--port", taken.getsockname()[1]], r"cannot listen on 127.0.0.1:\d+: Address already in use"),
            (
                ["--host", "192.0.2.1", "--port", 7999],
                "cannot listen on 192.0.2.1:7999: Cannot assign requested address",
            ),
            (["denoize"], "no such weights file: denoize, and no model that ships has this name"),
        ):
            status, _, err = tunable("app", *words)
            assert status == 2 and re.match(f"tunable app: {message}.*\n$", err), err


class Reader:
    """Somebody who uses the app by its interface for programs."""

    def __init__(self, address: str, number: int) -> None:
        self._address, self._session = f"{address}gradio_api/", f"reader{number}"

    def _asked(self, path: str, body: bytes, kind: str) -> bytes:
        request = urllib.request.Request(self._address + path, body, {"Content-Type": kind})
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def upload(self, path: Path) -> dict:
        """A file as the app's functions take it."""
        start = f'--part\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n\r\n'.encode()
        body = start + path.read_bytes() + b"\r\n--part--\r\n"
        (made,) = json.loads(self._asked("upload", body, "multipart/form-data; boundary=part"))
        return {"path": made, "meta": {"_type": "gradio.FileData"}}

    def ask(self, name: str, *arguments: object) -> str:
        """Call a function of the app; the address at which it answers."""
        body = json.dumps({"data": arguments, "session_hash": self._session}).encode()
        event = json.loads(self._asked(f"call/{name}", body, "application/json"))["event_id"]
        return f"{self._address}call/{name}/{event}"

    def call(self, name: str, *arguments: object) -> list:
        """What a function of the app returns."""
        with urllib.request.urlopen(self.ask(name, *arguments)) as answer:
            told = answer.read().decode()
        assert "event: complete" in told, told
        return json.loads(told.rpartition("data: ")[2])

    def view(self, name: str, *arguments: object) -> np.ndarray:
        """The right picture of the view that a function returns, integers (h, w, 3)."""
        return fetched(next(one for one in self.call(name, *arguments) if isinstance(one, list))[1])


def fetched(file: dict) -> np.ndarray:
    """A picture that the app has made, integers (h, w, 3)."""
    with urllib.request.urlopen(file["url"]) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read()))).astype(int)


OTHERS = [0.0] * (MOST_KNOBS - 1)  # sliders that this model does not have


def test_a_sample_a_preset_and_several_settings(served, denoise, tmp_path):
    """Each shows what `restore` makes of the same file."""
    made = samples(tmp_path)
    name = next(iter(made))
    region = Region(denoise, photograph := open_photograph(made[name]()), tuple(n // 2 for n in photograph.size))
    reader = Reader(served, 99)
    rest = [None, 100.0, *OTHERS, 0.0, *OTHERS]
    seen = reader.view("sample", name, "denoise", *rest)
    assert np.abs(seen - region.at(np.float32([1, 0]))).max() <= 1
    seen = reader.view("preset", "grain", *rest)
    assert np.abs(seen - region.at(np.float32(preset_of("denoise", "grain")))).max() <= 1
    (sheet,) = reader.call("several", *rest)
    assert np.abs(fetched(sheet) - sweep_sheet(denoise, region)).max() <= 1


def test_twenty_readers_each_see_their_own(served, denoise, tmp_path):
    """At once: all open a photograph of their own, and when all have, ask for another strength."""
    all_have_opened = threading.Barrier(20)

    def far(number: int) -> float:
        """How far what a reader sees is from what is made of the reader's own picture."""
        path, reader = tmp_path / f"{number}.png", Reader(served, number)
        write(path, np.full((40, 48, 3), [number / 20, 0.5, 1 - number / 20], np.float32))
        opened = reader.view("open", reader.upload(path), "denoise", None, 100.0, *OTHERS, 0.0, *OTHERS)
        all_have_opened.wait()
        looked = reader.view("look", None, 30.0, *OTHERS, 0.0, *OTHERS)
        wanted = [restore(denoise, path, omega).astype(int) for omega in ([1, 0], [0.3, 0.7])]
        return max(float(np.abs(seen - own).max()) for seen, own in zip((opened, looked), wanted, strict=True))

    with ThreadPoolExecutor(20) as readers:
        assert max(readers.map(far, range(20))) <= 1  # of 255: the next reader's is 12 away


def test_a_reader_who_breaks_off(served, tmp_path):
    """Asks for the rest, and is told that there is none; `served` holds that the server says nothing of it."""
    sample, told = next(iter(samples(tmp_path))), ""
    for number in range(50, 60):  # whether Gradio has forgotten the reader when the rest is asked for is chance
        reader = Reader(served, number)
        broken, rest = (reader.ask("sample", sample, "denoise", None, 100.0, *OTHERS, 0.0, *OTHERS) for _ in range(2))
        urllib.request.urlopen(broken).close()
        time.sleep(0.2)
        try:
            with urllib.request.urlopen(rest, timeout=3) as answer:
                told = answer.read().decode()
        except IncompleteRead as cut:
            told = cut.partial.decode()
        except TimeoutError:
            continue
        if "event: error" in told:
            break
    assert "event: error" in told, told


def test_a_reader_who_leaves_while_sending_a_picture(served):
    """Only the beginning of the picture comes; `served` holds that the server says nothing of it."""
    host, port = urllib.parse.urlsplit(served).netloc.split(":")
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n"
    kind = "Content-Type: multipart/form-data; boundary=--\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f'{head}{kind}----\r\nContent-Disposition: form-data; name="files"\r\n\r\n'.encode())
        time.sleep(0.2)  # the server has begun to read
    with urllib.request.urlopen(served, timeout=PATIENCE / 1000) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (None, "plain"),
        (KeyError("a\nb"), "a request failed: KeyError: "),
        (RuntimeError("late"), None),
        (ClientDisconnect(), None),
    ],
)
def test_the_servers_log(error, said):
    """A request that failed takes one line; one that a reader broke off takes none."""
    if isinstance(error, RuntimeError):
        error.__cause__ = HTTPException(404)
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 0, "plain", (), error and (type(error), error, None))
    passes = _in_one_line(record)
    assert passes == (said is not None)
    if passes:
        text = logging.Formatter().format(record)
        assert text.startswith(said) and "\n" not in text


@pytest.mark.thorough
def test_the_page_in_a_browser(served, denoise, photograph, tmp_path):
    """A slider changes the view, paint only where it is, a broken file is told of, and the file is `restore`'s."""
    foreign, errors, own = [], [], re.compile(r"data:|blob:|" + re.escape(served))
    with browser() as opened:
        page = opened.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: own.match(request.url) or foreign.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(served)
        page.get_by_label("strength", exact=False).first.wait_for()
        upload = page.locator("input[type=file]").first
        upload.set_input_files(photograph)
        page.locator(".prose", has_text="rows 0 to 150, columns 0 to 210").first.wait_for()

        def view() -> np.ndarray:
            """What stands on the right of the view's handle."""
            content = page.evaluate(FETCHED, page.evaluate(f"{SECOND}.src"))
            with Image.open(io.BytesIO(bytes(content))) as shown:
                return np.asarray(shown).astype(int)

        def shows(omega: list[float]) -> np.ndarray:
            """The view, as soon as it shows a setting; fails if that takes long."""
            wanted = restore(denoise, photograph, omega)
            for _ in range(PATIENCE // 500):
                if np.abs((shown := view()) - wanted).max() <= 1:
                    return shown
                page.wait_for_timeout(500)
            raise AssertionError(f"the view never shows {omega}: it is {np.abs(shown - wanted).mean()} away")

        shows([1, 0])
        number = page.locator("input[type=number]").first
        number.fill("0")
        number.press("Enter")
        shown = shows([0, 1])

        page.get_by_role("button", name="Restore the whole photograph").click()
        with page.expect_download() as download:
            page.get_by_role("button", name=re.compile("Download photograph_restored.png")).click()
        download.value.save_as(tmp_path / "restored.png")
        np.testing.assert_array_equal(read_bytes(tmp_path / "restored.png"), restore(denoise, photograph, [0, 1]))
        with Image.open(tmp_path / "restored.png") as restored:
            assert restored.getexif()[270] == "a description"

        page.get_by_role("tab", name="Paint").click()
        page.get_by_label("strength, where painted").first.wait_for()
        number = page.locator("input[type=number]").nth(1)
        number.fill("100")
        number.press("Enter")
        for _ in range(PATIENCE // 3000):  # the editor takes no paint before it has drawn its picture
            box = page.locator("canvas").last.bounding_box()
            right, middle = box["x"] + 0.62 * box["width"], box["y"] + 0.5 * box["height"]
            page.mouse.move(right, middle)
            page.mouse.down()
            for step in range(6):
                page.mouse.move(right, middle + 4 * step)
            page.mouse.up()
            for _ in range(10):
                page.wait_for_timeout(300)
                if (changed := np.abs(view() - shown).max(2)).any():
                    break
            if changed.any():
                break
        assert changed.max() > 5 and changed[:, :70].max() == 0

        wide = tmp_path / "wide.png"
        write(wide, np.tile(np.linspace(0, 1, 900, dtype=np.float32)[None, :, None], (60, 1, 3)))
        upload.set_input_files(wide)
        page.locator(".prose", has_text="columns 194 to 706").first.wait_for()
        page.locator("#whole-photograph img").first.click(position={"x": 10, "y": 10})
        page.locator(".prose", has_text="columns 0 to 512").first.wait_for()

        (tmp_path / "broken.png").write_text("no picture")
        upload.set_input_files(tmp_path / "broken.png")
        message = page.get_by_text("cannot read broken.png as a picture")
        message.wait_for()

        page.set_viewport_size({"width": 390, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not foreign and not errors
