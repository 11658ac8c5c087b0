"""Landmark baselines through the entry points, as a user calls them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.datasets.aflw2000 import AFLW2000
from headposekit.geometry.rotations import pose_to_matrix
from run_folders import by_method, folders, results, rows
from trees import face_points

TEST = ("test=[aflw2000]", "trainer=cpu")


def test_true_landmarks_need_no_checkpoint(run, labels_root: Path, tmp_path: Path) -> None:
    done = run("evaluate", "model=landmarks", *TEST, f"test.aflw2000.root={labels_root}", "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    entry = results(tmp_path / "out")["test"]["aflw2000"]
    assert (entry["n"], entry["refused"], entry["behind"], entry["without_pose"]) == (494, 0, 0, 0)
    assert entry["last"]["mae"] == pytest.approx(1.11, abs=0.01)
    assert entry["median"]["yaw"] < entry["last"]["yaw"]
    assert results(tmp_path / "out")["config"]["model"]["points"] == 68


def test_solutions_behind_the_camera_are_counted_or_count(run, labels_root: Path, tmp_path: Path) -> None:
    arguments = (
        "model=landmarks",
        "solver=perspective",
        "model.solver.method=iterative",
        *TEST,
        f"test.aflw2000.root={labels_root}",
    )
    for folder, option in (("out", ()), ("in", ("model.use_behind=true",))):
        done = run("evaluate", *arguments, *option, f"hydra.run.dir={folder}")
        assert done.returncode == 0, done.stderr
    out, counted = (results(tmp_path / folder)["test"]["aflw2000"] for folder in ("out", "in"))
    assert out["behind"] == counted["behind"] == out["without_pose"] > 50
    assert counted["without_pose"] == 0
    assert f"{out['behind']} poses behind the camera" in run("evaluate", *arguments).stdout
    assert out["last"]["mae"] < 6 < 15 < counted["last"]["mae"]


def test_a_training_of_nothing_takes_its_place_in_the_pool(run, aflw2000_root: Path, tmp_path: Path) -> None:
    sweep = ("train", "-m", "model=landmarks", *TEST, f"test.aflw2000.root={aflw2000_root}", "model.points=14")
    done = run(*sweep)
    assert done.returncode == 0, done.stderr
    assert "1 finished" in done.stdout
    ((name, folder),) = folders(tmp_path).items()
    assert results(folder)["config"]["model"]["points"] == 14
    assert not (folder / "checkpoints").exists()
    more = run(*sweep, "test.aflw2000.perturb.jitter=[0,0.05]", "protocol=hopenet_300w_lp")
    assert more.returncode == 0, more.stderr
    assert list(folders(tmp_path)) == [name]
    tests = results(folder)["test"]
    assert set(tests) == {"aflw2000", "aflw2000_jitter0", "aflw2000_jitter0.05"}
    assert tests["aflw2000"]["last"] == tests["aflw2000_jitter0"]["last"] != tests["aflw2000_jitter0.05"]["last"]
    assert (folder / "predictions_aflw2000_jitter0.05.csv").is_file()


def test_it_is_the_first_thing_that_works_and_is_tested_on_synthetic_heads(run, tmp_path: Path) -> None:
    small = ("test.synthetic.num_heads=16", "test.synthetic.heads.texture_pool=2", f"test.synthetic.root={tmp_path}/packs")
    done = run("train", "model=landmarks", "solver=perspective", "model.solver.focal=3", *small, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    content = results(tmp_path / "out")
    assert content["train"] == {"dataset": None, "n": 0, "epochs": 0, "seconds": 0.0, "best_epoch": None}
    assert content["test"]["synthetic"]["last"]["mae"] < 8


def test_files_of_landmarks_and_of_3ddfa(run, aflw2000_root: Path, tmp_path: Path) -> None:
    dataset = AFLW2000(aflw2000_root)
    np.save(tmp_path / "face.npy", face_points())
    landmarks = dataset.landmarks.copy()
    landmarks[0] = np.nan
    np.savez(tmp_path / "points.npz", names=np.array(dataset.names), landmarks=landmarks)
    camera = np.zeros((len(dataset), 3, 4))
    camera[:, :, :3] = 5e-4 * pose_to_matrix(torch.from_numpy(dataset.pose).double()).numpy()
    predicted = np.concatenate([camera.reshape(-1, 12), np.zeros((len(dataset), 50))], axis=1)
    np.savez(tmp_path / "p.npz", names=np.array(dataset.names), parameters=predicted)
    file = (
        "model=landmarks",
        "landmarks=file",
        f"model.source.path={tmp_path}/points.npz",
        f"model.face_model={tmp_path}/face.npy",
    )
    for folder, model, without in (("a", file, 1), ("b", ("model=threeddfa_file", f"model.path={tmp_path}/p.npz"), 0)):
        done = run("evaluate", *model, *TEST, f"test.aflw2000.root={aflw2000_root}", f"hydra.run.dir={folder}")
        assert done.returncode == 0, done.stderr
        entry = results(tmp_path / folder)["test"]["aflw2000"]
        assert entry["last"]["mae"] < 0.01
        assert (entry["refused"], entry["skipped"], entry["without_pose"]) == (without, without, without)
    predictions = rows(tmp_path / "a" / "predictions_aflw2000.csv")
    assert [row["name"] for row in predictions if not row["predicted_yaw"]] == [dataset.names[0]]


def test_a_figure_of_curves_is_drawn_of_a_sweep(run, aflw2000_root: Path, tmp_path: Path) -> None:
    options = ("experiments=hopenet/landmarks_jitter", f"test.aflw2000.root={aflw2000_root}", "trainer=cpu", "model.points=68")
    assert run("train", "-m", *options).returncode == 0
    done = run("report", *options[:2])
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "reports" / "hopenet" / "landmarks_jitter"
    assert [path.name for path in folder.glob("*.png")] == ["curve_aflw2000_jitter0px.png"]
    table = by_method(folder / "table.csv")
    clean, shaken = (float(table["68 points"][f"±{noise} px last"]) for noise in (0, 10))
    assert clean < shaken
    assert table["5 points"]["±0 px last"] == "–"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.points=7"], "model.points=7 is no set of landmarks"),
        (["model.face_model=gone.csv"], "model.face_model=gone.csv: no such file"),
        (["landmarks=file", "model.source.path=gone.csv"], "gone.csv: no such file"),
        (["landmarks=file"], "model.source.path is needed"),
        (["landmarks=dlib"], "landmarks=dlib needs the package dlib; pip install"),
        (["landmarks=fan"], "landmarks=fan needs the package face-alignment; pip install"),
        (
            ["solver=perspective", "model.solver.method=iterative", "model.points=5"],
            "model.points=5 are too few for this solver: it needs 6",
        ),
        (["checkpoint=x.ckpt"], "LandmarkPose learns nothing; leave checkpoint="),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line(refused, monkeypatch, aflw2000_root: Path, overrides: list[str], message: str) -> None:
    for package in ("dlib", "face_alignment"):
        monkeypatch.setitem(sys.modules, package, None)  # not installed, wherever the tests run
    given = ("model=landmarks", *TEST, f"test.aflw2000.root={aflw2000_root}", *overrides)
    assert message in refused("evaluate", *given)


def test_options_of_a_training_are_refused_where_there_is_none(refused, aflw2000_root: Path) -> None:
    given = ("model=landmarks", *TEST, f"test.aflw2000.root={aflw2000_root}", "init_weights=x.ckpt")
    assert "this model learns nothing" in refused("train", *given)
