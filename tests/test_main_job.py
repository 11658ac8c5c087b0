"""`python src/train.py` with no data set at hand: the main job, small."""

from pathlib import Path

from run_folders import results


def test_main_job_renders_trains_and_tests_on_unseen_people(run, tmp_path: Path) -> None:
    small = ("data.num_heads=64", "test.synthetic.num_heads=64", "epochs=1", "data.batch_size=32")
    done = run("train", *small, fresh=True, HEADPOSEKIT_DATASETS=str(tmp_path / "datasets"))
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"{folder.name}/examples_synthetic.png" in done.stdout
    assert f"{folder.name}/checkpoints/last.ckpt input=PICTURE.jpg" in done.stdout
    content = results(folder)
    assert content["train"]["dataset"] == "synthetic"
    assert content["train"]["n"] + content["train"]["n_val"] == 64
    assert content["test"]["synthetic"]["n"] == 64
    assert {path.name.split("_")[0] for path in (tmp_path / "datasets" / "synthetic").iterdir()} == {"train", "test"}
    packs = {path: path.stat().st_mtime_ns for path in tmp_path.glob("datasets/synthetic/*/chunk*")}
    again = run("train", *small, "seed=1", HEADPOSEKIT_DATASETS=str(tmp_path / "datasets"))
    assert again.returncode == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in packs} == packs  # nothing is rendered twice
