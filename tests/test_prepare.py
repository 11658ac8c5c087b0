"""`python src/prepare.py`, and training on the files it writes."""

from pathlib import Path


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
