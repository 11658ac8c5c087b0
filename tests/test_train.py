"""`python src/train.py` as a user calls it."""

import json
import os
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import pytest
import torch
import torch.distributed

from conftest import PROJECT
from headposekit.weights.checkpoint import load_checkpoint
from processes import call_forked
from run_folders import SMALL, TESTS, only_run, results, rows


def test_run_folder_holds_all_that_a_run_promises(run, roots, tmp_path: Path) -> None:
    done = run("train", *roots, *SMALL, "epochs=3", "logger=tensorboard", "scoring=variance")
    assert done.returncode == 0, done.stderr
    folder = only_run(tmp_path)
    content = results(folder)
    assert folder.name.endswith(content["train_id"])
    assert content["status"] == "finished"
    assert (content["params"], content["size_mb"]) == (238_406, 0.95)
    assert content["train"]["n"] == 36
    assert content["train"]["n_val"] == 12
    assert content["train"]["images_per_second"] > 0
    test = content["test"]["aflw2000"]
    assert (test["n"], test["filtered"], test["skipped"], test["crop"]) == (10, 2, 0, "fsanet")
    assert test["last"]["mae"] == pytest.approx(sum(test["last"][a] for a in ("yaw", "pitch", "roll")) / 3)
    assert set(test) >= {"last", "best", "rules"}
    assert "aflw2000" in done.stdout
    assert f"{test['last']['mae']:.2f}" in done.stdout
    page = (folder / "checkpoints" / "README.md").read_text()
    assert f"| aflw2000 | last | {test['last']['yaw']:.2f} | " in page
    assert "300W-LP: for research only" in page

    epochs = rows(folder / "metrics.csv")
    assert [int(row["epoch"]) for row in epochs] == [0, 1, 2]
    assert all(
        float(row[key]) > 0 for row in epochs for key in ("train/loss", "val/loss", "val/mae", "val/mae_yaw", "val/geodesic")
    )
    assert [float(row["train/lr"]) for row in epochs] == pytest.approx([1e-3, 1e-4, 1e-5])
    best = min(range(3), key=lambda epoch: float(epochs[epoch]["val/mae"]))
    assert content["train"]["best_epoch"] == best
    assert (test["best"] == test["last"]) == (best == 2)

    predictions = rows(folder / "predictions_aflw2000.csv")
    errors = [
        abs(float(row[f"true_{a}"]) - float(row[f"predicted_{a}"])) for row in predictions for a in ("yaw", "pitch", "roll")
    ]
    assert sum(errors) / len(errors) == pytest.approx(test["last"]["mae"], abs=1e-4)
    sheet = cv2.imread(str(folder / "examples_aflw2000.png"))
    assert sheet is not None
    assert sheet.std() > 20
    assert (folder / "train.log").exists()
    assert (folder / ".hydra" / "config.yaml").exists()
    assert list((folder / "tensorboard").glob("events*"))

    # The checkpoint alone gives the same numbers again.
    card = load_checkpoint(folder / "checkpoints" / "last.ckpt").card
    assert card["train_id"] == content["train_id"]
    assert card["input"] == {"size": 64, "channels": "BGR", "range": "0..255, normalised inside"}
    assert card["errors"]["val/mae"] == pytest.approx(float(epochs[-1]["val/mae"]), abs=1e-5)
    for weights in ("last", "best"):
        again = run(
            "evaluate", f"checkpoint={folder}/checkpoints/{weights}.ckpt", roots[-1], f"hydra.run.dir={tmp_path}/{weights}"
        )
        assert again.returncode == 0, again.stderr
        assert results(tmp_path / weights)["test"]["aflw2000"]["last"] == pytest.approx(test[weights], abs=1e-6)


def test_resumed_run_equals_an_unbroken_one_wherever_it_was_moved(run, roots, tmp_path: Path) -> None:
    options = (*roots, *SMALL, "epochs=4", "optimizer.lr=0.01")
    whole = run("train", *options, f"hydra.run.dir={tmp_path}/whole")
    assert whole.returncode == 0, whole.stderr
    killed = run("train", *options, "+callbacks.kill={_target_: interrupt.Kill, epoch: 2}", PYTHONPATH=TESTS)
    assert killed.returncode == -9
    folder = only_run(tmp_path)
    assert not (folder / "results.json").exists()
    assert len(rows(folder / "metrics.csv")) == 2
    moved = Path(shutil.copytree(folder, tmp_path / "moved"))
    resumed = run("train", *options, "resume=auto")
    assert resumed.returncode == 0, resumed.stderr
    assert only_run(tmp_path) == folder  # it went on where it stood

    path = moved / "checkpoints" / "last.ckpt"
    elsewhere = run("train", *options, f"resume={path}", f"hydra.run.dir={tmp_path}/other")
    assert "a training goes on in its own folder" in elsewhere.stderr
    resumed = run("train", *options, f"resume={path}")
    assert resumed.returncode == 0, resumed.stderr

    first = results(tmp_path / "whole")
    assert first["train"]["best_epoch"] < 2  # before the end came
    for other in (folder, moved):
        assert results(other)["test"] == first["test"]
        assert results(other)["train"]["best_epoch"] == first["train"]["best_epoch"]
        assert (other / "metrics.csv").read_text() == (tmp_path / "whole" / "metrics.csv").read_text()
        for name in ("last", "best"):
            states = [
                torch.load(f / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
                for f in (tmp_path / "whole", other)
            ]
            assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_diverged_training_ends_with_one_line(run, roots, tmp_path: Path) -> None:
    done = run("train", *roots, *SMALL, "epochs=9", "optimizer.lr=1e30")
    assert done.returncode == 1
    assert "error: training diverged: the loss of epoch" in done.stderr
    assert "Traceback" not in done.stderr
    assert "diverged" in json.loads((only_run(tmp_path) / "failed.json").read_text())["reason"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"])
def test_signal_ends_a_training_as_unfinished(start, roots, tmp_path: Path, number: int, status: int) -> None:
    process = start("train", *roots, *SMALL, "epochs=5000")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "error: interrupted; go on from the last epoch with resume=auto" in errors
    assert json.loads((only_run(tmp_path) / "failed.json").read_text())["reason"] == "interrupted"


def test_two_processes_train_and_test_each_face_once(run, roots, tmp_path: Path) -> None:
    done = run("train", *roots, *SMALL[:-1], "trainer=ddp_cpu", "epochs=2")
    assert done.returncode == 0, done.stderr
    content = results(only_run(tmp_path))
    assert content["test"]["aflw2000"]["n"] == 10
    assert len(rows(only_run(tmp_path) / "predictions_aflw2000.csv")) == 10
    metrics = rows(only_run(tmp_path) / "metrics.csv")
    alone = run("train", *roots, *SMALL, "epochs=2", "hydra.run.dir=alone")
    assert alone.returncode == 0, alone.stderr
    for both, one in zip(metrics, rows(tmp_path / "alone" / "metrics.csv"), strict=True):
        for key in ("train/loss", "val/mae"):
            assert float(both[key]) == pytest.approx(float(one[key]), rel=1e-4)
    assert content["test"]["aflw2000"]["last"] == pytest.approx(
        results(tmp_path / "alone")["test"]["aflw2000"]["last"], rel=1e-4
    )
    single = run("evaluate", f"checkpoint={only_run(tmp_path)}/checkpoints/last.ckpt", roots[-1], "hydra.run.dir=single")
    assert single.returncode == 0, single.stderr
    assert results(tmp_path / "single")["test"]["aflw2000"]["last"] == pytest.approx(
        content["test"]["aflw2000"]["last"], abs=1e-5
    )


def test_resume_refuses_another_training(run, roots, tmp_path: Path) -> None:
    done = run("train", *roots, *SMALL, "epochs=1")
    assert done.returncode == 0, done.stderr
    path = only_run(tmp_path) / "checkpoints" / "last.ckpt"
    other = run("train", *roots, *SMALL, "epochs=1", "optimizer.lr=7", f"resume={path}")
    assert other.returncode == 1
    assert f"error: {path}: belongs to another training (optimizer.lr: 7 here, 0.001 there)" in other.stderr
    assert json.loads((path.parents[1] / "failed.json").read_text())["reason"] in other.stderr


def test_failure_leaves_its_reason_and_what_was_computed(run, roots, tmp_path: Path) -> None:
    fail = "+callbacks.fail={_target_: interrupt.Fail, epoch: 1}"
    done = run("train", *roots, *SMALL, "epochs=3", fail, PYTHONPATH=TESTS)
    assert done.returncode != 0
    assert "Traceback" in done.stderr  # a fault of the program is shown whole
    folder = only_run(tmp_path)
    assert json.loads((folder / "failed.json").read_text()) == {"status": "failed", "reason": "RuntimeError: the disk is full"}
    assert len(rows(folder / "metrics.csv")) == 1
    load_checkpoint(folder / "checkpoints" / "last.ckpt")


@pytest.mark.slow
def test_overfits_the_eight_real_faces(run, shared: Path, tmp_path: Path) -> None:
    done = run(
        "train",
        "data=aflw2000",
        f"data.root={shared}/aflw2000_sample",
        "test=[aflw2000]",
        "data.batch_size=4",
        "epochs=300",
        "optimizer.lr=0.002",
        "scheduler=cosine",
        "augmentation=none",
    )
    assert done.returncode == 0, done.stderr
    assert results(only_run(tmp_path))["test"]["aflw2000"]["last"]["mae"] < 1


def test_fine_tuning_starts_at_the_published_error(run, shared: Path, official: Path, expected, tmp_path: Path) -> None:
    done = run(
        "train",
        "data=aflw2000",
        f"data.root={shared}/aflw2000_sample",
        "test=[aflw2000]",
        f"init_weights={official}/fsanet_capsule_3_16_2_21_5.h5",
        "data.batch_size=8",
        "epochs=1",
        "optimizer.lr=0",
    )
    assert done.returncode == 0, done.stderr
    initial = results(only_run(tmp_path))["test"]["aflw2000"]["initial"]
    published = abs(expected["fsanet_capsule_3_16_2_21_5/aflw2000"] - expected["aflw2000_pose"]).mean()
    assert initial["mae"] == pytest.approx(float(published), abs=1e-3)
    assert initial["mae"] < 5


def test_processes_of_torchrun_leave_one_folder(roots, tmp_path: Path) -> None:
    """They start seconds apart, as on a busy machine; here is what torchrun's agent sets and serves."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, None, True, wait_for_workers=False)
    environment = {
        **os.environ, "HEADPOSEKIT_RUNS": str(tmp_path / "runs"), "COLUMNS": "160",
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_RESTART_COUNT": "0", "TORCHELASTIC_USE_AGENT_STORE": "True",
    }  # fmt: skip
    options = [*roots, *SMALL[:-1], "trainer=ddp_cpu", "epochs=1"]

    def rank(number: int) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / str(number)
        folder.mkdir()
        time.sleep(1.1 - number)
        ranks = {"RANK": str(number), "LOCAL_RANK": str(number)}
        return call_forked(PROJECT / "src" / "train.py", options, folder, {**environment, **ranks})

    with ThreadPoolExecutor() as pool:
        for done in pool.map(rank, (0, 1)):
            assert done.returncode == 0, done.stdout + done.stderr
    content = results(only_run(tmp_path))
    assert content["status"] == "finished"
    assert content["test"]["aflw2000"]["n"] == 10
