"""Draw docs/strip.jpg for the README: rendered heads with estimated axes, the demo page, the page of `report.py`.

`python tools/draw_strip.py [CHECKPOINT]` after `make demo` and `python src/report.py`; it needs Chromium and the extra `test`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Browser, sync_playwright

from headposekit import load
from headposekit.cli.networks import newest_default_training
from headposekit.files import write_picture
from headposekit.geometry.drawing import draw_axes
from headposekit.paths import ROOT, runs_dir
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Image
from headposekit.weights.shipped import DEFAULT

HEIGHT, GAP = 480, 12
POSES = ((35, 5, 0), (-25, -10, 10), (10, 20, -15), (-50, 0, -5), (20, -20, 12), (60, 5, 0))
PEOPLE = (18, 21, 12, 5, 23, 10)


def main(checkpoint: str | Path) -> None:
    """Write the strip."""
    with sync_playwright() as driver:
        options = {"executable_path": shutil.which("chromium"), "args": ["--no-sandbox"] if os.geteuid() == 0 else []}
        with driver.chromium.launch(**options) as browser:  # type: ignore[arg-type]  # of several types
            panels = [heads(checkpoint), demo_page(browser, checkpoint), report_page(browser)]
    gap = np.full((HEIGHT, GAP, 3), 255, dtype=np.uint8)
    strip = np.concatenate([part for panel in panels for part in (panel, gap)][:-1], axis=1)
    write_picture(ROOT / "docs" / "strip.jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, 88])


def heads(checkpoint: str | Path) -> Image:
    """Six heads, two in a row, with the poses that the network estimates."""
    model, sampler = load(checkpoint), HeadSampler(photo=0.0, borders=0.0, occluder=0.0, box_jitter=0.0, visible21=0.0)
    side, cells = HEIGHT // 3, []
    for person, pose in zip(PEOPLE, POSES, strict=True):
        head = sampler.render(2 * person, 2 * side, pose)
        picture = head.image.copy()
        (face,) = model(picture, boxes=[head.box])
        x, y = (float(value) for value in head.landmarks[30, :2])
        draw_axes(picture, face.pose, (x, y), 0.7 * side, thickness=6)
        cells.append(np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA), dtype=np.uint8))
    return np.concatenate([np.concatenate(cells[row : row + 2], axis=1) for row in (0, 2, 4)])


def demo_page(browser: Browser, checkpoint: str | Path) -> Image:
    """The page of demo.py with its first example."""
    command = [sys.executable, str(ROOT / "src" / "demo.py"), f"checkpoint={checkpoint}", "port=0", "browser=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        try:
            assert demo.stdout
            found = re.match(r"http://\S+", demo.stdout.readline())
            assert found, "demo.py did not start"
            page = browser.new_page(viewport={"width": 620, "height": 900}, color_scheme="light")
            page.goto(found[0])
            is_shown = "text => document.getElementById('message').textContent.startsWith(text)"
            page.wait_for_function(is_shown, arg="example 1", timeout=60_000)
            return _panel(page.screenshot())
        finally:
            demo.kill()


def report_page(browser: Browser) -> Image:
    """The page of everything that has run, from its first leaderboard."""
    page = browser.new_page(viewport={"width": 900, "height": 900}, color_scheme="light")
    page.goto((runs_dir() / "reports" / "index.html").as_uri())
    page.locator("h2").first.evaluate("heading => heading.scrollIntoView()")
    return _panel(page.screenshot())


def _panel(screenshot: bytes) -> Image:
    """A screenshot as high as the strip, with a thin frame."""
    picture = cv2.imdecode(np.frombuffer(screenshot, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture is not None
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    panel = np.asarray(cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA), dtype=np.uint8)
    cv2.rectangle(panel, (0, 0), (width - 1, HEIGHT - 1), (200, 204, 210), 1)
    return panel


if __name__ == "__main__":
    trained = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else newest_default_training()
    main(trained or DEFAULT)
