"""`python src/evaluate.py` as a user calls it."""

from pathlib import Path

import numpy as np
import pytest

from run_folders import results, rows

FILES = ["fsanet_capsule_3_16_2_21_5", "fsanet_noS_metric_3_16_2_192_5", "fsanet_netvlad_3_16_2_21_5", "ssrnet_mt"]


def predictions(folder: Path) -> np.ndarray:
    faces = rows(folder / "predictions_aflw2000.csv")
    assert [face["name"] for face in faces] == sorted(face["name"] for face in faces)
    return np.array([[float(face[f"predicted_{a}"]) for a in ("yaw", "pitch", "roll")] for face in faces])


@pytest.mark.parametrize("names", [[FILES[0]], FILES[:3], FILES[3:]], ids=["capsule", "fusion of three", "ssrnet"])
def test_published_weights_on_real_faces_are_the_authors_outputs(run, shared: Path, expected, tmp_path: Path, names) -> None:
    paths = ",".join(str(shared / "fsanet_official" / f"{name}.h5") for name in names)
    weights = f"weights={paths}" if len(names) == 1 else f"weights=[{paths}]"
    folder = tmp_path / "out"
    done = run(
        "evaluate", weights, "test=[aflw2000]", f"test.aflw2000.root={shared}/aflw2000_sample", f"hydra.run.dir={folder}"
    )
    assert done.returncode == 0, done.stderr
    authors = np.mean([expected[f"{name}/aflw2000"] for name in names], axis=0)
    np.testing.assert_allclose(predictions(folder), authors, atol=1e-3)
    content = results(folder)
    error = np.abs(authors - expected["aflw2000_pose"]).mean()
    assert content["test"]["aflw2000"]["last"]["mae"] == pytest.approx(float(error), abs=1e-3)
    assert content["test"]["aflw2000"]["n"] == 8


def test_network_trained_on_photographs_knows_synthetic_heads(run, official: Path, tmp_path: Path) -> None:
    """The other way round from a transfer: how far heads drawn by a program are from photographs."""
    folder = tmp_path / "out"
    done = run(
        "evaluate",
        f"weights={official}/{FILES[0]}.h5",
        "test=[synthetic]",
        "test.synthetic.num_heads=256",
        "test.synthetic.max_angle=60",
        f"test.synthetic.root={tmp_path}/packs",
        f"hydra.run.dir={folder}",
    )
    assert done.returncode == 0, done.stderr
    synthetic = results(folder)["test"]["synthetic"]
    assert synthetic["n"] >= 200
    assert synthetic["last"]["mae"] < 15


def test_model_beside_weights_is_an_assertion(run, shared: Path, tmp_path: Path) -> None:
    arguments = (
        f"weights={shared}/fsanet_official/fsanet_netvlad_3_16_2_21_5.h5",
        f"test.aflw2000.root={shared}/aflw2000_sample",
        "model=fsanet",
    )
    right = run("evaluate", *arguments, "aggregation=netvlad")
    assert right.returncode == 0, right.stderr
    wrong = run("evaluate", *arguments, "aggregation=capsule")
    assert wrong.returncode == 1
    assert "fsanet_netvlad_3_16_2_21_5.h5: not the model= that was given (aggregation._target_" in wrong.stderr
