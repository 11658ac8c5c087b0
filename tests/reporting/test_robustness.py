import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headposekit.data.corruption import KINDS, STRENGTHS
from headposekit.reporting.leaderboard import networks, score
from headposekit.reporting.robustness import corrupted, corruption_sheets, stability_sheet
from headposekit.training.runs import read_runs, write_predictions

FACES = [f"{n}" for n in range(20)]
GLASSES = {name: {"glasses": "clear" if int(name) < 5 else "none"} for name in FACES}
STABILITY = {
    "none": {"rest": 1.5, "noise": 4.0, "boxes": 2.0, "step_lag": 0.0, "swing_lag": 0.0},
    "slerp": {"rest": 0.5, "noise": 2.0, "boxes": 1.0, "step_lag": 0.08, "swing_lag": 0.07},
}


def write_run(runs: Path, name: str, clean: float, by_strength: float, **more: Any) -> None:
    """An evaluation whose faces are off by `clean`, and by so much more for each strength of each corruption.

    Faces with glasses are off by one degree more.
    """
    folder = runs / name
    folder.mkdir(parents=True)
    tests = {"clean": ({}, clean)}
    tests |= {f"{kind}_s{s}": ({"perturb": {kind: s}}, clean + by_strength * s) for kind in KINDS for s in STRENGTHS}
    entries = {}
    for test, (rules, error) in tests.items():
        off = {face: error + (GLASSES[face]["glasses"] == "clear") for face in FACES}
        rows = [{"name": f, "true": [0.0] * 3, "predicted": [off[f]] * 3, "geodesic": off[f]} for f in FACES]
        write_predictions(folder / f"predictions_{test}.csv", rows, attributes_of=GLASSES.__getitem__)
        last = dict.fromkeys(("yaw", "pitch", "roll", "mae", "geodesic"), float(np.mean([*off.values()])))
        entries[test] = {"rules": {"dataset": "heads", **rules}, "crop": "fsanet", "n": len(FACES), "last": last}
    config = {"weights": [f"{name}.h5"], "checkpoint": [], "crop": None}
    content = {"status": "evaluated", "config": config, "test": entries, **more}
    (folder / "results.json").write_text(json.dumps(content))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_run(tmp_path, "base", 2.75, 1.0, stability=STABILITY)
    write_run(tmp_path, "better", 2.75, 0.5)
    return tmp_path


def test_score_is_the_mean_ratio_of_the_sums_over_strengths(runs: Path) -> None:
    scores, _ = score(networks(read_runs(runs)[0]))
    (((rules, n), members),) = corrupted(scores).items()
    assert (rules, n) == ("heads", 20)
    base, better = members
    assert base.of_kind("noise") == pytest.approx(3 + 3)
    assert better.score(base) == pytest.approx(100 * (3 + 1.5) / (3 + 3))
    sheet, slices = corruption_sheets(scores, "base.h5")
    assert [row[:3] for row in sheet.rows] == [["better.h5", "75.0", "3.00"], ["base.h5", "100.0", "3.00"]]
    assert sheet.rows[1][3].startswith("6.00 [")
    assert sheet.rows[1][4:] == ["6.00"] * 12
    assert "The baseline, base.h5, has 100" in sheet.means
    assert sheet.figure is not None
    assert len(sheet.figure.axes) == 12
    assert [row[:2] for row in slices.rows] == [["glasses clear", "5"], ["glasses none", "15"]]
    assert slices.rows[0][2].split() == ["3.75", "[3.75,", "3.75];", "5.25", "[5.25,", "5.25]"]
    assert "| glasses none | 15 |" in slices.markdown()


def test_without_the_baseline_there_is_no_score_and_it_is_said_who_could_be_one(runs: Path) -> None:
    sheet, _ = corruption_sheets(score(networks(read_runs(runs)[0]))[0], "other.h5")
    assert {row[1] for row in sheet.rows} == {"–"}
    assert (
        "other.h5, has not been tested on these faces, so there are no scores; baseline= takes one of base.h5, better.h5."
        in sheet.means
    )


def test_a_network_that_lacks_a_test_has_no_row(runs: Path) -> None:
    (runs / "better" / "predictions_dark_s3.csv").unlink()
    sheet, _ = corruption_sheets(score(networks(read_runs(runs)[0]))[0], "base.h5")
    assert [row[0] for row in sheet.rows] == ["base.h5"]


def test_stability_has_a_row_for_each_network_and_smoothing(runs: Path) -> None:
    found = networks(read_runs(runs)[0])
    sheet = stability_sheet(found)
    assert sheet is not None
    assert [row[:3] for row in sheet.rows] == [["base.h5", "none", "1.50"], ["base.h5", "slerp", "0.50"]]
    assert sheet.rows[0][sheet.header.index("blink (°)")] == "–"
    assert stability_sheet([network for network in found if network.label != "base.h5"]) is None


@pytest.mark.parametrize("wrong", [{"none": 3}, {"none": {"rest": "x"}}, [1]], ids=str)
def test_a_stability_that_is_no_table_of_numbers_does_not_count(tmp_path: Path, wrong: Any) -> None:
    write_run(tmp_path, "a", 1, 1, stability=wrong)
    found, left_out = read_runs(tmp_path)
    assert not found
    assert "no usable `stability`" in left_out["a"]
