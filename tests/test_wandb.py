"""What a run leaves for W&B, read from its offline files."""

import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from headpose.reporting.runs import read_pool
from headpose.running.experiments import compose_training, experiment_table
from headpose.running.wandb_reports import build_report, specification
from run_folders import SCORING_ERRORS, SMALL, TESTS, only_run, results, rows, write_run

WANDB = ("logger=wandb", "logger.wandb.offline=true")


class Offline:
    """The one offline run in a run folder."""

    def __init__(self, folder: Path) -> None:
        (path,) = folder.glob("wandb/offline-run-*/*.wandb")
        self.files = path.parent / "files"
        self.records = read_records(path)
        (self.run,) = [record.run for record in self.records if record.HasField("run")]
        # Each row that was logged: `key` or `key/part` to its value.
        self.history = [
            {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for record in self.records
            if record.HasField("history")
        ]
        self.summary = {
            item.key or "/".join(item.nested_key): json.loads(item.value_json)
            for record in self.records
            if record.HasField("summary")
            for item in record.summary.update
        }

    def table(self, key: str) -> dict[str, Any]:
        """A logged table: its columns and data."""
        (path,) = {row[f"{key}/path"] for row in self.history if f"{key}/path" in row}
        return json.loads((self.files / path).read_text())

    def column(self, key: str, name: str) -> list[Any]:
        table = self.table(key)
        return [row[table["columns"].index(name)] for row in table["data"]]

    def contents(self, key: str) -> list[tuple[str, Path]]:
        """Files of a logged table, as W&B will call them and where they wait."""
        artifacts = [record.artifact for record in self.records if record.HasField("artifact") and key in record.artifact.name]
        return [(file.path, Path(file.local_path)) for artifact in artifacts for file in artifact.manifest.contents]


def read_records(path: Path) -> list[Any]:
    """All records of an offline file, in LevelDB's log format behind a header of seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, block = path.read_bytes(), 32_768
    assert data[:4] == b":W&B"
    records, position, message = [], 7, b""
    while position + 7 <= len(data):
        if block - position % block < 7:  # no header fits into the rest of a block
            position += block - position % block
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            records.append(wandb_internal_pb2.Record.FromString(message))
            message = b""
    return records


def test_training_leaves_curves_errors_tables_and_charts(run: Callable, roots: tuple[str, ...], tmp_path: Path) -> None:
    done = run("train", *roots, *SMALL, "epochs=2", *WANDB, "logger.wandb.num_pictures=6", HEADPOSE_SWEEP="data.seed=1,2")
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path)
    offline = Offline(folder)
    assert (offline.run.run_group, offline.run.job_type) == ("data.seed=1,2", "train")
    assert {*offline.run.tags} == {"model=fsanet", "aggregation=capsule", "scoring=conv", "data=300w_lp", "test=aflw2000"}
    config = {item.key for record in offline.records if record.HasField("config") for item in record.config.update}
    assert {"model", "optimizer", "params", "train_id"} <= config

    curve = [row["val/mae"] for row in offline.history if "val/mae" in row]
    assert curve == pytest.approx([float(row["val/mae"]) for row in rows(folder / "metrics.csv")], abs=1e-4)

    test = results(folder)["test"]["aflw2000"]
    mae = dict(zip(offline.column("results", "weights"), offline.column("results", "mae"), strict=True))
    assert mae == {weights: pytest.approx(test[weights]["mae"]) for weights in ("last", "best")}
    for weights in ("last", "best"):
        for key in ("yaw", "pitch", "roll", "mae", "geodesic"):
            assert offline.summary[f"test/aflw2000/{weights}/{key}"] == pytest.approx(test[weights][key])

    predictions = rows(folder / "predictions_aflw2000.csv")
    shown = offline.column("predictions/aflw2000", "name")
    by_error = sorted(predictions, key=lambda row: -float(row["geodesic"]))
    assert shown[:3] == [row["name"] for row in by_error[:3]]
    assert len(set(shown)) == 6
    assert offline.column("predictions/aflw2000", "why") == ["worst"] * 3 + ["evenly drawn"] * 3
    faces = [path for name, path in offline.contents("predictionsaflw2000") if name.endswith(".png")]
    assert [cv2.imread(str(path)).shape for path in faces] == [(224, 224, 3)] * 6
    assert all(path.is_relative_to(folder) for path in faces)

    charts = [key for row in offline.history for key in row if key.startswith("error_by_angle/") and key.endswith("/path")]
    assert len(charts) == 3
    for angle in ("yaw", "pitch", "roll"):
        key = f"error_by_angle/aflw2000/{angle}_table"
        counts, errors = offline.column(key, "faces"), offline.column(key, "mean absolute error (degrees)")
        assert sum(counts) == len(predictions)
        total = sum(count * error for count, error in zip(counts, errors, strict=True))
        assert total / len(predictions) == pytest.approx(test["last"][angle], abs=1e-3)

    (names,) = [row["examples_aflw2000/filenames"] for row in offline.history if "examples_aflw2000/filenames" in row]
    assert cv2.imread(str(offline.files / names[0])).shape[1] == 936
    assert [record.exit.exit_code for record in offline.records if record.HasField("exit")] == [0]


def test_evaluation_is_a_job_of_its_own_kind(run: Callable, aflw2000_root: Path, tmp_path: Path) -> None:
    root = tmp_path / "AFLW2000"
    shutil.copytree(aflw2000_root, root)
    broken = root / "image00002.jpg"
    broken.write_bytes(broken.read_bytes()[:3000])
    options = (
        "solver=perspective",
        "model.solver.method=iterative",
        f"test.aflw2000.root={root}",
        "test.aflw2000.bad_files=skip",
    )
    done = run("evaluate", "model=landmarks", *options, *WANDB)
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path)
    offline = Offline(folder)
    assert (offline.run.run_group, offline.run.job_type) == ("", "evaluate")
    assert {*offline.run.tags} == {"model=landmarks", "test=aflw2000"}
    assert "test/aflw2000/last/geodesic" in offline.summary
    test = results(folder)["test"]["aflw2000"]
    assert test["skipped"] > 0 < test["without_pose"]
    assert [offline.summary[f"test/aflw2000/{key}"] for key in ("skipped", "without_pose")] == [
        test["skipped"],
        test["without_pose"],
    ]


def test_failure_is_finished_as_failed(run: Callable, roots: tuple[str, ...], tmp_path: Path) -> None:
    fail = "+callbacks.fail={_target_: interrupt.Fail, epoch: 0}"
    done = run("train", *roots, *SMALL, "epochs=1", *WANDB, fail, PYTHONPATH=TESTS)
    assert done.returncode != 0
    records = Offline(only_run(tmp_path)).records
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:wandb_workspaces")
def test_report_asks_for_the_test_sets_that_rows_were_tested_on_and_shows_each_training_once(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    variants = "experiments=biwi_variants"
    capsules = [
        write_run(tmp_path / "runs", error, variants, "model=fsanet", "aggregation=capsule", f"scoring={scoring}")
        for scoring, error in SCORING_ERRORS.items()
    ]
    hopenet = write_run(
        tmp_path / "runs", 3.0, variants, "protocol=hopenet_300w_lp", "model=hopenet", "backbone=resnet50", "loss.alpha=1"
    )
    table = experiment_table(compose_training([variants], "dashboard"), [variants], read_pool(tmp_path / "runs"))
    spec = specification(build_report("biwi_variants", table, "headpose"))["spec"]
    grids = [block for block in spec["blocks"] if block["type"] == "panel-grid"]
    trained = {
        runset["name"]: [path.name for path in (*capsules, hopenet) if path.name in json.dumps(runset["filters"])]
        for runset in grids[-1]["metadata"]["runSets"]
    }
    assert trained == {
        **{
            f"FSA-Caps ({words}), 13,219 frames, MTCNN": [path.name]
            for words, path in zip(("w/o", "1x1", "var"), capsules, strict=True)
        },
        "Hopenet (alpha 1)": [hopenet.name],
    }
    assert [[runset["name"] for runset in grid["metadata"]["runSets"]] for grid in grids[:-1]] == [
        [*trained, "evaluations"]
    ] * 10

    tested = set(results(hopenet)["test"])
    asked = set(re.findall(r"\btest/(\w+)/last/mae\b", json.dumps(spec)))
    tables = {name for _, name in re.findall(r'"(predictions|error_by_angle)/(\w+)', json.dumps(spec))}
    faces = set(re.findall(r'"examples_(\w+)"', json.dumps(spec)))
    assert asked == tables == faces == tested


def test_report_of_an_experiment_shows_its_rows_and_what_their_runs_log(run: Callable, tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    small = ("experiments=synthetic/networks", *SMALL, "epochs=1", "data.num_heads=32", "test.synthetic.num_heads=8")
    cell = ("model=fsanet", "aggregation=none", "scoring=none")
    datasets = {"HEADPOSE_DATASETS": str(tmp_path / "datasets")}
    done = run("train", "-m", *small, *cell, *WANDB, **datasets)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = [path.parent for path in tmp_path.glob("runs/*/results.json")]
    offline = Offline(folder)
    assert (offline.run.run_group, offline.run.display_name) == ("synthetic/networks", folder.name)

    done = run("dashboard", *small, **datasets)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "runs" / "reports" / "synthetic" / "networks" / "wandb_report.json"
    report = json.loads(path.read_text())
    assert (report["title"], report["project"]) == ("All networks on synthetic heads", "headpose")
    text = json.dumps(report["spec"])
    mae = f"{results(folder)['test']['synthetic']['last']['mae']:.2f}"
    (markdown,) = [block for block in report["spec"]["blocks"] if block["type"] == "markdown-block"]
    (line,) = [line for line in markdown["content"].splitlines() if line.startswith("| no aggregation, w/o ")]
    assert mae in line
    runsets = [runset for block in report["spec"]["blocks"] for runset in block.get("metadata", {}).get("runSets", [])]
    assert {runset["name"] for runset in runsets} == {"no aggregation, w/o", "evaluations"}
    wanted = {"no aggregation, w/o": folder.name, "evaluations": "evaluate"}
    assert all(wanted[runset["name"]] in json.dumps(runset["filters"]) for runset in runsets)
    # What the panels ask for is what the run has.
    logged = {key.split("/path")[0] for row in offline.history for key in row} | set(offline.summary)
    for key in ("test/synthetic/last/mae", "test/synthetic/last/geodesic", "predictions/synthetic", "val/mae", "train/lr"):
        assert key in text
        assert key in logged
    for angle in ("yaw", "pitch", "roll"):
        assert f"error_by_angle/synthetic/{angle}_table" in text

    account = {
        "WANDB_API_KEY": "",
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "none"),
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    path.unlink()
    done = run("dashboard", *small, "wandb.upload=true", **datasets, **account)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("error: W&B did not take the report (")
    assert "`wandb login`" in done.stderr
    assert path.is_file()
