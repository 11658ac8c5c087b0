"""`python src/report.py` without an experiment: the page of everything, of runs written by hand, read and opened."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from conftest import made_once
from processes import call
from run_folders import by_method, write_run, write_runs

HOSTILE = '<img src=x onerror=alert(1)> & "b" $'
PROBE = """
<script>addEventListener("load", () => {
  const say = {overflow: document.documentElement.scrollWidth - innerWidth, rows: [], cut: 0};
  for (const box of document.querySelectorAll(".scroll")) say.cut += box.scrollWidth > box.clientWidth;
  const table = document.querySelector("#experiment-3 ~ .scroll table.sortable");
  const head = [...table.querySelectorAll("th")].find((cell) => cell.innerText.startsWith("last"));
  for (const _ of [1, 2]) {
    head.click();
    say.rows.push([...table.tBodies[0].rows].map((row) => row.cells[head.dataset.column].innerText.trim()));
  }
  const names = document.querySelector("#board-1 ~ .scroll table.sortable");
  names.querySelector("th").click();
  say.names = [...names.tBodies[0].rows].map((row) => row.querySelector("a").textContent);
  const paper = () => getComputedStyle(document.body).backgroundColor;
  say.papers = [paper()];
  document.getElementById("theme").click();
  say.papers.push(paper());
  document.title = JSON.stringify(say);
});</script>
"""


class Page(HTMLParser):
    """Links, ids and the texts of tables of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.number_cells: list[str] = []
        self._cell: list[str] | None = None
        self._is_number = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "xlink:href")]
        self.ids += [values["id"] or ""] if "id" in values and tag not in ("path", "clippath", "lineargradient") else []
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell, self._is_number = [], tag == "td" and values.get("class") == "number"

    def handle_data(self, data: str) -> None:
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            text = " ".join("".join(self._cell).split())
            self.rows[-1].append(text)
            self.number_cells += [text] if self._is_number else []
            self._cell = None


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of two seeds of three networks, an evaluation of a hostile name, and folders that are no runs."""
    return made_once(tmp_path_factory, "page", _write_page) / "runs" / "reports" / "index.html"


def _write_page(parent: Path) -> None:
    runs = parent / "runs"
    for seed in (0, 1):
        for folder in write_runs(runs, seed, "fsanet/table5", "biwi").values():
            results = json.loads((folder / "results.json").read_text())
            results["cells"][0]["options"] = ["hydra.run.dir=/x", "figures.evil={_target_: os.abort}"]
            results["test"]["biwi"]["last"] |= {"aligned_mae": 0.25, "aligned_geodesic": 0.75, "offset_pitch": -1.5}
            bands = {"0-15": {"mae": 0.5, "n": 1_200}, "30-60": {"mae": 1.5, "n": 1}}
            results["test"]["biwi"]["by_yaw"] = {"last": bands}
            views = {"all": {"geodesic": 7.5, "over_90": 0.125, "n": 8}, "behind": {"geodesic": 12.25, "over_90": 0.25, "n": 4}}
            results["test"]["biwi"]["by_view"] = {"last": views}
            (folder / "results.json").write_text(json.dumps(results))
            (folder / "metrics.csv").write_text("epoch,train/mae,val/mae\n0,9,8\n1,5,6\n")
            cv2.imwrite(str(folder / "examples_biwi.png"), np.full((40, 60, 3), 128, np.uint8))
    evaluated = write_run(runs, 2.5, "experiments=fsanet/table4", "seed=7", test_sets=("aflw2000",)).rename(runs / "x_evaluate")
    content = json.loads((evaluated / "results.json").read_text())
    content |= {"status": "evaluated", "config": {"weights": f"/secret/{HOSTILE}", "checkpoint": []}}
    (evaluated / "results.json").write_text(json.dumps(content))
    other = write_run(runs, 4.5, "experiments=fsanet/table4", "seed=8", test_sets=("aflw2000",)).rename(runs / "x_other")
    content = json.loads((other / "results.json").read_text())
    content |= {"status": "evaluated", "network": "SixDRepNet", "config": {"weights": "/secret/net.pth", "checkpoint": []}}
    content["test"]["aflw2000"].pop("of_protocol", None)
    (other / "results.json").write_text(json.dumps(content))
    for name, text in {"cut": '{"status": "fini', "foreign": '{"status": "finished", "test": 3}', "nothing": None}.items():
        (runs / name).mkdir()
        if text is not None:
            (runs / name / "results.json").write_text(text)
    robbed = write_run(runs, 3.0, "experiments=fsanet/table4", "model=ssrnet", test_sets=("aflw2000",))
    (robbed / "predictions_aflw2000.csv").unlink()
    (robbed / "running").write_text("")
    robbed.rename(runs / "robbed")
    done = call(parent, "report")
    assert done.returncode == 0, done.stderr


def test_page_holds_tables_intervals_figures_and_reasons_and_needs_nobody_else(page: Path) -> None:
    text = page.read_text()
    parsed = Page(text)
    assert all(link.startswith(("data:image/", "#")) for link in parsed.links)
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert {link[1:] for link in parsed.links if link.startswith("#") and not link.startswith("#m")} <= set(parsed.ids) | set(
        re.findall(r'id="([^"]+)"', text)
    )
    assert len(parsed.ids) == len(set(parsed.ids))

    rows = {row[0]: row for row in parsed.rows if len(row) > 5}
    board = next(row for label, row in rows.items() if "conv scoring" in label)
    low, high = map(float, board[2].split(" to "))
    assert low <= float(board[1].split()[0]) <= high
    assert board[1:2] + board[7:10] == ["1.00 ± 0.00", "0.25 ± 0.00", "–", "2"]
    assert "Aligned: mean absolute error once the mean rotation" in text
    views = next(row for row in parsed.rows if row and "conv scoring" in row[0] and row[1:] and row[1].startswith("7.50"))
    assert views[1:] == ["7.50 ± 0.00", "12.5", "12.25 ± 0.00", "25.0"]
    bands = next(row for row in parsed.rows if row and "conv scoring" in row[0] and len(row) == 5)
    assert bands[1:] == ["0.50 ± 0.00", "1.50 ± 0.00", "0.75 ± 0.00", "-1.50 ± 0.00"]
    assert ["network", "0-15° (1,200)", "30-60° (1)", "aligned geodesic", "pitch offset"] in parsed.rows
    published = next(row for label, row in rows.items() if label.startswith("VGG16 published"))
    assert published[0].endswith("FSA-Net, Table 3, RGB")
    assert (published[1:6], published[-2:]) == (["3.66", "–", "3.91", "4.03", "3.03"], ["BIWI", "FSA-Net's protocol 2"])
    assert len(published) == len(board)
    measured = next(row for label, row in rows.items() if "6DRepNet published weights" in label)
    printed = next(row for label, row in rows.items() if label.startswith("6DRepNet published6DRepNet, README"))
    assert measured[0].endswith("as published: 3.97")
    assert measured[1].startswith("4.50")
    assert (printed[1:6], printed[-2:]) == (["3.97", "–", "3.63", "4.91", "3.37"], ["300W-LP", "cross-dataset"])
    assert rows["capsule, 1x1"][3:5] == ["3.77", "1.00 ± 0.00"]
    assert rows["capsule, fusion"][4] == "1.00 ± 0.00"
    numeric = re.compile(r"[-+]?[\d,.]+( to [\d.]+| of [\d,]+| ± [\d.]+)?( \[\d+\])*|[>]?\d+|–( \[\d+\])*|[\d., ]+")
    assert [cell for cell in parsed.number_cells if not numeric.fullmatch(cell)] == []
    assert "Missing: SSR-Net-MD; no aggregation, w/o" in text
    assert "python src/train.py -m experiments=fsanet/table1" in text

    reasons = {row[0]: row[1] for row in parsed.rows if len(row) == 2}
    assert reasons["cut"] == "results.json: no JSON, or cut short"
    assert reasons["foreign"] == "results.json: no usable `config`"
    assert reasons["nothing"].startswith("no results.json")
    assert reasons["robbed"] == "predictions_aflw2000.csv is missing, empty or cut short"
    assert text.count("<svg") == 14  # four each of the leaderboard and Figure 6c, three each of Tables 3 and 5
    assert text.count("data:image/jpeg") == 2  # of the best of the leaderboard, and of the next
    assert "epoch" in text

    # What run folders say is text.
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    assert "/secret" not in text
    assert "os.abort" not in text


@pytest.fixture
def aflw2000_runs(tmp_path: Path) -> dict[str, Path]:
    """Runs on AFLW2000, off by 4, 1 and 2 degrees, and a second annotation of one of its two faces, which is off by 2.9."""
    folders = write_runs(tmp_path / "runs", 0)
    for folder in folders.values():
        _change_rules(folder, {"dataset": "AFLW2000"})
    (tmp_path / "a second.csv").write_text("name,yaw,pitch,roll\na,12.9,2.1,2.9\nanother,1,2,3\n")
    return folders


def _change_rules(folder: Path, rules: dict[str, Any]) -> None:
    results = json.loads((folder / "results.json").read_text())
    results["test"]["aflw2000"]["rules"] = rules
    results["test"]["aflw2000"]["of_protocol"] = {"name": "fsanet1", "hash": "x", "complete": True}
    (folder / "results.json").write_text(json.dumps(results))


def test_two_annotations_stand_beside_aflw2000_and_small_differences_are_marked(enter, aflw2000_runs, tmp_path: Path) -> None:
    words = "A second annotation (a second.csv) disagrees with the official labels by MAE 2.90, geodesic "
    done = enter("report", f"annotations={tmp_path / 'a second.csv'}")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "runs" / "reports" / "index.html").read_text()
    assert words in text
    assert "on 1 of these faces; differences below 2.90 degrees are within the disagreement of two annotations" in text
    measured = [row[1] for row in Page(text).rows if len(row) == 15 and row[7:10] == ["–", "–", "1"]]
    assert measured == ["1.00", "2.00 ≈", "4.00"]
    assert "FSA-Net, Table 1" in text[text.index('id="leaderboards"') : text.index('id="experiments"')]

    assert enter("report", "experiments=fsanet/table4", f"annotations={tmp_path / 'a second.csv'}").returncode == 0
    folder = tmp_path / "runs" / "reports" / "fsanet" / "table4"
    table = by_method(folder / "table.csv")
    found = {label: row["AFLW2000 last"] for label, row in table.items() if label.startswith("capsule")}
    assert found == {"capsule, w/o": "4.00", "capsule, 1x1": "1.00", "capsule, var": "2.00 ≈", "capsule, fusion": "1.00"}
    assert table["capsule, w/o"]["AFLW2000 difference"] == "-1.75 ≈"
    assert table["capsule, 1x1"]["AFLW2000 difference"] == "-4.25"
    assert f"AFLW2000: {words}" in (folder / "table.md").read_text()
    assert r"$\approx$" in (folder / "table.tex").read_text()


def test_papers_numbers_are_of_the_official_labels_and_stand_beside_no_others(enter, aflw2000_runs, tmp_path: Path) -> None:
    for folder in aflw2000_runs.values():
        _change_rules(folder, {"dataset": "AFLW2000", "labels": "a second.csv"})
    assert enter("report").returncode == 0
    text = (tmp_path / "runs" / "reports" / "index.html").read_text()
    assert "AFLW2000, labels a second.csv" in text
    assert "FSA-Net, Table 1" not in text[text.index('id="leaderboards"') : text.index('id="experiments"')]
    assert enter("report", "experiments=fsanet/table4").returncode == 0
    folder = tmp_path / "runs" / "reports" / "fsanet" / "table4"
    assert {row["AFLW2000 published"] for row in by_method(folder / "table.csv").values()} == {"–"}
    assert {row["AFLW2000 difference"] for row in by_method(folder / "table.csv").values()} == {"–"}
    assert (
        "AFLW2000: papers have other labels or another frame, so their numbers are left out."
        in (folder / "table.md").read_text()
    )


def test_annotations_of_nothing_that_was_tested_are_refused_in_a_line(refused, aflw2000_runs, tmp_path: Path) -> None:
    assert "no such file" in refused("report", "annotations=absent.csv")
    (tmp_path / "other.csv").write_text("name,yaw,pitch,roll\nnobody,1,2,3\n")
    for options in ([], ["experiments=fsanet/table4"]):
        assert "no run was tested on a face that it names" in refused("report", f"annotations={tmp_path}/other.csv", *options)
    (tmp_path / "other.csv").write_text("name,yaw,pitch,roll\na,1,2,left\n")
    assert "other.csv, line 2: roll is 'left', not a finite number" in refused("report", f"annotations={tmp_path}/other.csv")
    assert not (tmp_path / "runs" / "reports" / "index.html").exists()


def test_an_empty_pool_and_options_without_an_experiment_are_refused_in_a_line(refused, tmp_path: Path) -> None:
    assert "holds no finished run; python src/train.py makes one" in refused("report")
    (tmp_path / "runs" / "torn").mkdir(parents=True)
    assert "experiments=NAME" in refused("report", "budget=smoke")
    assert "1 folders are no finished runs" in refused("report")


def test_in_a_browser_nothing_overflows_columns_sort_and_themes_change(page: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium: the page is not opened in a browser")
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    for width, theme in ((1400, "light"), (390, "dark")):
        heard = _look(browser, probed, width, theme)
        assert heard["overflow"] <= 0
        assert width < 1400 or heard["cut"] == 0  # every table is shown in its full width
        up, down = ([float(cell.split()[0]) for cell in rows if cell != "–"] for rows in heard["rows"])
        assert up == sorted(up)
        assert down == sorted(up, reverse=True)
        assert len(up) == 4
        assert all(rows[-1] == "–" for rows in heard["rows"])
        assert heard["names"] == sorted(heard["names"], key=str.lower)
        assert heard["papers"] == ["rgb(255, 255, 255)", "rgb(22, 24, 28)"][:: 1 if theme == "light" else -1]


def _look(browser: str, page: Path, width: int, theme: str) -> dict[str, Any]:
    """What `PROBE` says in a frame so wide: headless Chromium has no window of less than 500 pixels."""
    frame = page.with_name("frame.html")
    style = f"color-scheme: {theme}; width: {width}px; height: 900px; border: 0"
    frame.write_text(
        f'<!doctype html><meta name="color-scheme" content="{theme}"><body><iframe src="{page.name}" style="{style}"></iframe>'
        '<script>addEventListener("load", () => setTimeout(() => { document.body.dataset.said = '
        'document.querySelector("iframe").contentDocument.title; }, 300));</script>'
    )
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--virtual-time-budget=4000"]
    command = [browser, *options, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    said = re.search(r'data-said="([^"]*)"', done.stdout)
    assert said, done.stdout[:2000]
    heard: dict[str, Any] = json.loads(said[1].replace("&quot;", '"'))
    return heard
