"""`python src/demo.py` as a user meets it: in a browser, where Chromium is installed."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from configs import write_checkpoint
from headposekit import load
from headposekit.synthesis.sampler import HeadSampler

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


@pytest.fixture
def networks(tmp_path: Path) -> list[Path]:
    return [write_checkpoint(tmp_path / name / "net.ckpt", seed=seed) for seed, name in enumerate("ab")]


@pytest.fixture
def demo(start, networks: list[Path]) -> "subprocess.Popen[str]":
    """demo.py with two networks, on any free port."""
    options = ("checkpoint=[a/net.ckpt,b/net.ckpt]", "detector=none", "port=0", "browser=false")
    return start("demo", *options, stdout=subprocess.PIPE)


def test_page_from_start_to_interruption(demo: "subprocess.Popen[str]", networks: list[Path], tmp_path: Path) -> None:
    assert demo.stdout
    line = demo.stdout.readline()
    shown = re.fullmatch(r"(http://127\.0\.0\.1:\d+) shows a/net\.ckpt, b/net\.ckpt; Ctrl-C ends it\n", line)
    assert shown, line + (demo.stderr.read() if demo.stderr else "")
    listening = [socket for socket in psutil.Process(demo.pid).net_connections() if socket.status == psutil.CONN_LISTEN]
    assert [socket.laddr.ip for socket in listening] == ["127.0.0.1"]
    if CHROMIUM:
        look_at(shown[1], networks, tmp_path)
    demo.send_signal(signal.SIGINT)
    assert demo.communicate(timeout=60) == ("", "error: interrupted; the page is closed\n")
    assert demo.returncode == 130
    kept = [path for path in tmp_path.rglob("runs/**/*") if path.is_file()]
    assert {path.suffix for path in kept} <= {".yaml", ".log", ".json"}  # no picture
    if not CHROMIUM:
        pytest.skip("no Chromium: the page was served, but not looked at")


def look_at(url: str, networks: list[Path], folder: Path) -> None:
    """Open the page, try all of it, compare what it says with `load`."""
    sync_api = pytest.importorskip("playwright.sync_api")
    head = HeadSampler(photo=0.0, occluder=0.0).render(2, 200, (35.0, -10.0, 8.0))
    x0, y0, x1, y1 = head.box.round().astype(int)
    face = folder / "a face.png"
    cv2.imwrite(str(face), cv2.cvtColor(head.image[y0 - 20 : y1 + 20, x0 - 20 : x1 + 20], cv2.COLOR_RGB2BGR))
    (folder / "letter.png").write_text("not a picture")
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    flags += ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root otherwise
    with sync_api.sync_playwright() as driver, driver.chromium.launch(executable_path=CHROMIUM, args=flags) as browser:
        page = browser.new_page(viewport={"width": 390, "height": 844})
        requests: list[str] = []
        faults: list[Any] = []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda fault: faults.append(fault))
        page.goto(url)
        says(page, "example 1: 1 face")
        assert page.locator("tr.truth td").all_inner_texts()[-4:-1] == ["−8.0", "+6.0", "+4.0"]

        page.set_input_files("#file", face)
        says(page, "a face.png: 1 face")
        expected = [load(path, detector="none")(face)[0].pose for path in networks]
        assert shown_poses(page) == pytest.approx(np.array(expected), abs=0.051)
        assert page.locator("td.network").all_inner_texts() == ["a/net.ckpt", "b/net.ckpt"]
        page.screenshot(path=folder / "page.png", full_page=True)
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for figure in page.locator("#pictures img").all():
            picture = cv2.imdecode(np.frombuffer(figure.screenshot(), np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
            for color in ((220, 50, 47), (60, 170, 60)):  # of the axes; the third may point at the viewer
                assert (np.abs(picture - color).sum(axis=2) < 60).sum() > 100

        page.set_input_files("#file", folder / "letter.png")
        says(page, "letter.png: not a readable picture; give a whole JPEG, PNG, WebP or the like")
        assert not page.locator("#result").is_visible()
        page.select_option("#draw", "cube")  # the same picture again
        says(page, "letter.png: not a readable picture; give a whole JPEG, PNG, WebP or the like")
        page.locator("#examples button").last.click()
        says(page, "example 6: 1 face")
        page.click("#camera")
        says(page, "camera: 1 face")
        page.click("#camera")
        assert page.locator("#camera").inner_text() == "Camera"
        page.fill("#field_of_view", "200")
        page.locator("#field_of_view").press("Enter")
        says(page, "camera: a field of view of 200.0 degrees does not exist; give one between 0 and 180")

        assert faults == []
        assert all(request.startswith((f"{url}/", "data:")) for request in requests), requests


def says(page: Any, text: str) -> None:
    """Wait for the page's one line."""
    page.wait_for_function("text => document.getElementById('message').textContent === text", arg=text, timeout=20_000)


def shown_poses(page: Any) -> np.ndarray:
    """(networks, 3), degrees."""
    rows = page.locator("tr.pose").all()
    texts = [[row.locator(f"td.{angle}").inner_text() for angle in ("yaw", "pitch", "roll")] for row in rows]
    return np.array([[float(text.replace("−", "-")) for text in row] for row in texts])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["detector=none"],
            "no network given, and no finished default training in {tmp}/runs; give checkpoint=, or `python src/train.py`",
        ),
        (["checkpoint=gone.ckpt", "detector=none"], "gone.ckpt: no such checkpoint"),
        (["weights=[a.h5,a.h5]", "detector=none"], "a.h5 is named twice"),
        (["checkpoint=a/net.ckpt", "detector=file", "detector.path=gone.csv"], "gone.csv: no such file"),
        (["checkpoint=gone.ckpt", "host="], "host= is empty; give 127.0.0.1 for this computer alone"),
        (["port=99999"], "port=99999 is not a whole number from 0 to 65535"),
        (["max_megabytes=few"], "max_megabytes=few is not a whole number from 1"),
        (["checkpoint=a/net.ckpt", "detector=none", "host=192.0.2.1", "port=0"], "192.0.2.1:0 cannot be listened on"),
    ],
    ids=["none", "checkpoint", "twice", "boxes", "no host", "port", "megabytes", "host"],
)
def test_refusals(refused, networks: list[Path], tmp_path: Path, overrides: list[str], message: str) -> None:
    assert message.format(tmp=tmp_path) in refused("demo", *overrides)
