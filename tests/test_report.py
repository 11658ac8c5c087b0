"""`python src/report.py`: a table of what the pool holds, made here of runs written by hand."""

import csv
import json
import shutil
from pathlib import Path

from headpose.running.identity import id_of_test, identity, train_id
from test_conf import train_config

SCORINGS = {"none": 4.0, "conv": 1.0, "variance": -2.0}


def write_runs(runs: Path, seed: int) -> dict[str, Path]:
    """One run a scoring, each off by a constant angle."""
    folders = {}
    for scoring, error in SCORINGS.items():
        options = ("experiments=fsanet/table4", "aggregation=capsule", f"scoring={scoring}", f"seed={seed}")
        config = train_config(*options)
        folder = folders[scoring] = runs / train_id(config)
        folder.mkdir(parents=True)
        errors = {**dict.fromkeys(("yaw", "pitch", "roll", "mae"), abs(error)), "geodesic": 7.0, "n": 2}
        tested = {"test_id": id_of_test(config, "aflw2000"), "protocol": "p", "crop": "fsanet", "n": 2, "skipped": 0}
        content = {
            "status": "finished", "train_id": train_id(config), "config": identity(config), "params": 1, "size_mb": 0.95,
            "commit": "abc", "train": {"best_epoch": None}, "test": {"aflw2000": {**tested, "last": errors}},
        }  # fmt: skip
        (folder / "results.json").write_text(json.dumps(content))
        with (folder / "predictions_aflw2000.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            angles = ("yaw", "pitch", "roll")
            writer.writerow(["name", *(f"true_{a}" for a in angles), *(f"predicted_{a}" for a in angles), "geodesic"])
            for name, true in (("a", (10, 5, 0)), ("b", (-40, 0, 9))):
                writer.writerow([name, *true, *(angle + error for angle in true), 7])
    return folders


def cells(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["method"]: row for row in csv.DictReader(file)}


def test_runs_and_fusions_are_found_and_deleted_ones_are_dashes(run, tmp_path: Path) -> None:
    for seed in (0, 1):
        folders = write_runs(tmp_path / "runs", seed)
    done = run("report", "experiments=fsanet/table4")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "reports" / "fsanet" / "table4"
    table = cells(folder / "table.csv")
    assert table["capsule, 1x1"]["AFLW2000 last"] == "1.00 ± 0.00"
    assert table["capsule, 1x1"]["AFLW2000 difference"] == "-4.25"
    assert table["capsule, fusion"]["AFLW2000 last"] == "1.00 ± 0.00"  # the mean of 4, 1 and -2
    assert table["no aggregation, 1x1"]["AFLW2000 last"] == "–"
    assert table["no aggregation, fusion"]["AFLW2000 published"].startswith("5.14")
    for name in ("table.md", "table.tex", "error_by_angle_aflw2000.png", "size_error_aflw2000.svg"):
        assert (folder / name).stat().st_size > 500

    shutil.rmtree(folders["variance"])  # of seed 1
    assert run("report", "experiments=fsanet/table4").returncode == 0
    fewer = cells(folder / "table.csv")
    changed = {label for label in table if table[label] != fewer[label]}
    assert changed == {"capsule, var", "capsule, fusion"}
    assert {fewer[label]["AFLW2000 seeds"] for label in changed} == {"1"}


def test_structure_maps_are_drawn_over_synthetic_heads(run, tmp_path: Path) -> None:
    small = ("data.num_heads=64", "test.synthetic.num_heads=64", "epochs=1", "data.heads.texture_pool=4", "trainer=cpu")
    options = ("experiments=synthetic/structure_maps", *small, "test.synthetic.heads.texture_pool=4")
    swept = run("train", "-m", *options, HEADPOSE_DATASETS=str(tmp_path / "datasets"))
    assert swept.returncode == 0, swept.stderr
    done = run("report", *options, HEADPOSE_DATASETS=str(tmp_path / "datasets"))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "reports" / "synthetic" / "structure_maps"
    assert (folder / "structure_maps_synthetic.png").stat().st_size > 10_000
    assert len(cells(folder / "table.csv")) == 1


def test_what_cannot_be_reported_is_named(refused) -> None:
    assert "fsanet/table4" in refused("report")
    assert "fsanet/table9" in refused("report", "experiments=fsanet/table9")
