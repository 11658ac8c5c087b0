"""`python src/prepare.py`, and training on the files it writes."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from run_folders import results


def test_written_layouts_train_and_test_through_the_real_readers(run, tmp_path: Path) -> None:
    for layout, units in (("300w_lp", 8), ("aflw2000", 6)):
        done = run("prepare", f"layout={layout}", f"root=data/{layout}", f"layout.num_units={units}")
        assert done.returncode == 0, done.stderr
    trained = run(
        "train",
        "data=300w_lp",
        "data.root=data/300w_lp",
        "test=[aflw2000]",
        "test.aflw2000.root=data/aflw2000",
        "data.batch_size=8",
        "epochs=1",
    )
    assert trained.returncode == 0, trained.stderr
    assert "aflw2000" in trained.stdout


def test_missing_layout_and_root_are_named(refused) -> None:
    assert "layout" in refused("prepare", "root=x")
    assert "root" in refused("prepare", "layout=aflw2000")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([], "give either data=NAME pack=fixed data.root=DIR"),
        (["layout=300w_lp", "root=x", "data=aflw2000", "pack=fixed"], "or layout=NAME root=DIR"),
        (["data=aflw2000", "data.root=x"], "data is to be packed, but how? give pack=fixed or pack=loose"),
        (["test=[afw]", "test.afw.root=x"], "give pack@test.afw.pack=fixed or pack@test.afw.pack=loose"),
        (["data=synthetic", "pack=fixed"], "no such option: pack; nothing that was chosen takes one"),
        (["data=aflw2000", "pack=fixed", "data.root=nowhere"], "AFLW2000 not found: neither nowhere nor a complete pack of it"),
        (["data=aflw2000", "pack=fixed", "augmentation=rigid"], "cannot be used with augmentation.mirror; set pack=loose"),
        (["data=aflw2000", "pack=fixed", "crop=hopenet"], "crop=hopenet, whose cut training varies"),
        (["data=aflw2000", "pack=loose", "data.pack.size=0"], "pack.size=0 is not a number of pixels"),
        (["data=aflw2000", "pack=tight"], "pack/tight"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals(refused, overrides: list[str], message: str) -> None:
    line = refused("prepare", *overrides)
    assert line.startswith("error: ")
    assert message in line


def numbers(folder: Path) -> dict:
    """What a run found, but for clocks."""
    content = results(folder)
    for key in ("seconds", "images_per_second"):
        del content["train"][key]
    return {key: content[key] for key in ("train_id", "train", "test")}


def test_training_from_fixed_packs_is_the_training_from_files(
    run, tmp_path: Path, w300lp_root: Path, aflw2000_root: Path
) -> None:
    roots = [f"data.root={w300lp_root}", f"test.aflw2000.root={aflw2000_root}"]
    chosen = ["data=300w_lp", "test=[aflw2000]", *roots]
    packs = ["pack=fixed", "data.pack.root=packs", "pack@test.aflw2000.pack=fixed", "test.aflw2000.pack.root=packs"]
    short = ["data.batch_size=8", "epochs=2", "trainer=cpu"]
    prepared = run("prepare", *chosen, *packs, "data.pack.num_workers=0")
    assert prepared.returncode == 0, prepared.stderr
    pages = sorted((tmp_path / "packs").glob("*/doctor.html"))
    assert len(pages) == 2
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "packs").rglob("*") if path.name != ".lock"}
    for name, pack in (("files", []), ("packed", packs)):
        done = run("train", *chosen, *short, *pack, f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
    assert numbers(tmp_path / "files") == numbers(tmp_path / "packed")
    rows = [(tmp_path / name / "metrics.csv").read_text().splitlines() for name in ("files", "packed")]
    clocks = [number for number, column in enumerate(rows[0][0].split(",")) if "second" in column or "time" in column]
    assert [_without(line, clocks) for line in rows[0]] == [_without(line, clocks) for line in rows[1]]
    for name in ("predictions_aflw2000.csv", "examples_aflw2000.png"):
        assert (tmp_path / "files" / name).read_bytes() == (tmp_path / "packed" / name).read_bytes()
    assert {path: path.stat().st_mtime_ns for path in times} == times


def test_labels_that_are_no_degrees_are_said_on_the_console(run, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((80, 80, 3), np.uint8))
    rows = [f"a.png,{yaw / 10},0.1,{0.3 - yaw / 40}\n" for yaw in range(-9, 10)]
    (tmp_path / "t.csv").write_text("path,yaw,pitch,roll\n" + "".join(rows))
    packed = ["pack=fixed", "data.pack.root=packs", "data.pack.num_workers=0", "augmentation=none"]
    done = run("prepare", "data=csv", "data.root=t.csv", *packed)
    assert done.returncode == 0, done.stderr
    assert "data: the angles of 19 of 19 faces would all be within ±1.75 degrees: they look like radians" in done.stdout
    (page,) = (tmp_path / "packs").glob("*/doctor.html")
    assert "they look like radians" in page.read_text()


def test_missing_pack_is_made_by_the_training_and_bad_files_stop_or_are_left_out(
    run, tmp_path: Path, aflw2000_root: Path
) -> None:
    root = Path(shutil.copytree(aflw2000_root, tmp_path / "AFLW2000"))
    (root / "image00004.jpg").write_bytes((root / "image00004.jpg").read_bytes()[:2000])
    options = ["data=aflw2000", f"data.root={root}", "test=[]", "data.batch_size=4", "epochs=1", "trainer=cpu"]
    loose = ["pack=loose", "data.pack.root=packs", "augmentation=rigid", "data.pack.num_workers=0"]
    stopped = run("train", *options, *loose)
    assert stopped.returncode == 1
    (line,) = [line for line in stopped.stderr.splitlines() if line.strip()]
    assert line.startswith(f"error: {root / 'image00004.jpg'}: cut short")
    listed = next((tmp_path / "packs").glob("*/bad_files.csv"))
    assert str(listed.relative_to(tmp_path)) in line
    skipped = run("train", *options, *loose, "data.bad_files=skip", "hydra.run.dir=ok")
    assert skipped.returncode == 0, skipped.stderr
    assert "image00004 left out" in skipped.stdout
    train = results(tmp_path / "ok")["train"]
    assert (train["n"], train["filtered"], train["skipped"]) == (9, 2, 1)
    assert train["rules"]["pack"] == "loose"


def _without(line: str, columns: list[int]) -> list[str]:
    return [cell for number, cell in enumerate(line.split(",")) if number not in columns]
