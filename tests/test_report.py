"""`python src/report.py`: a table of what the pool holds, made here of runs written by hand."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from configs import write_checkpoint
from headposekit.geometry.conventions import pose_to_pyr
from run_folders import POSES, SCORING_ERRORS, SWEPT, by_method, results, write_run, write_runs


def test_runs_and_fusions_are_found_and_deleted_ones_are_dashes(enter, tmp_path: Path) -> None:
    for seed in (0, 1):
        folders = write_runs(tmp_path / "runs", seed)
    done = enter("report", "experiments=fsanet/table4")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "reports" / "fsanet" / "table4"
    table = by_method(folder / "table.csv")
    assert table["capsule, 1x1"]["AFLW2000 last"] == "1.00 ± 0.00"
    assert table["capsule, 1x1"]["AFLW2000 difference"] == "-4.25"
    assert table["capsule, fusion"]["AFLW2000 last"] == "1.00 ± 0.00"  # the mean of 4, 1 and -2
    assert table["no aggregation, 1x1"]["AFLW2000 last"] == "–"
    assert table["no aggregation, fusion"]["AFLW2000 published"].startswith("5.14")
    for name in ("table.md", "table.tex", "error_by_angle_aflw2000.png", "size_error_aflw2000.svg"):
        assert (folder / name).stat().st_size > 500

    shutil.rmtree(folders["variance"])  # of seed 1
    assert enter("report", "experiments=fsanet/table4").returncode == 0
    fewer = by_method(folder / "table.csv")
    changed = {label for label in table if table[label] != fewer[label]}
    assert changed == {"capsule, var", "capsule, fusion"}
    assert {fewer[label]["AFLW2000 seeds"] for label in changed} == {"1"}


def test_a_real_training_stands_in_its_table_and_on_the_page(enter, trained: Path) -> None:
    (folder,) = [path.parent for path in trained.glob("*/results.json")]
    errors = results(folder)["test"]["synthetic"]["last"]
    where = {"HEADPOSEKIT_RUNS": str(trained), "HEADPOSEKIT_DATASETS": str(trained.parent / "datasets")}
    done = enter("report", *SWEPT, **where)
    assert done.returncode == 0, done.stderr
    table = by_method(trained / "reports" / "synthetic" / "networks" / "table.csv")
    row = table["no aggregation, w/o"]
    names = ("last", "yaw", "pitch", "roll", "geodesic")
    assert [row[f"unseen heads {name}"] for name in names] == [f"{errors[key]:.2f}" for key in ("mae", *names[1:])]
    assert {row["unseen heads n"], row["unseen heads seeds"], table["capsule, 1x1"]["unseen heads last"]} == {"8", "1", "–"}

    done = enter("report", **where)
    assert done.returncode == 0, done.stderr
    assert "1 trainings and 0 evaluations of 1 networks, 1 tables, 0 folders left out" in " ".join(done.stdout.split())
    page = (trained / "reports" / "index.html").read_text()
    assert page.count(f'<td class="number">{errors["mae"]:.2f}</td>') == 3  # on the leaderboard; last and best of the table
    assert folder.name in page


def test_mean_over_splits_shows_their_spread_and_needs_all_of_them(enter, tmp_path: Path) -> None:
    folders = [
        write_run(
            tmp_path / "runs", error, "experiments=hopenet/table3", "model=hopenet", "loss.alpha=1", f"protocol.seed={seed}"
        )
        for seed, error in enumerate((3.0, 4.0, 8.0))
    ]
    assert enter("report", "experiments=hopenet/table3").returncode == 0
    folder = tmp_path / "runs" / "reports" / "hopenet" / "table3"
    table = by_method(folder / "table.csv")
    assert table["split 2"]["BIWI last"] == "4.00"
    assert table["ResNet50 (alpha 1)"]["BIWI last"] == "5.00 ± 2.65"
    assert table["ResNet50 (alpha 1)"]["BIWI difference"] == "+1.77"  # 9.68 / 3
    assert table["ResNet50 (alpha 1)"]["BIWI n"] == "6"
    shutil.rmtree(folders[1])
    assert enter("report", "experiments=hopenet/table3").returncode == 0
    assert by_method(folder / "table.csv")["ResNet50 (alpha 1)"]["BIWI last"] == "–"


def test_rows_of_test_sets_of_their_own_and_fusions_in_other_angles(enter, tmp_path: Path) -> None:
    for scoring, error in SCORING_ERRORS.items():
        options = ("experiments=biwi_variants", "model=fsanet", "aggregation=capsule", f"scoring={scoring}")
        write_run(tmp_path / "runs", error, *options)
    done = enter("report", "experiments=biwi_variants")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "reports" / "biwi_variants"
    table = by_method(folder / "table.csv")
    assert table["FSA-Caps (1x1), 13,219 frames, MTCNN"]["BIWI last"] == "1.00"
    assert table["FSA-Caps-Fusion, 13,219 frames, MTCNN, ypr"]["BIWI last"] == "1.00"
    true = np.array(list(POSES.values()), dtype=float)
    other = np.abs(pose_to_pyr(true + 1) - pose_to_pyr(true)).mean()
    assert abs(other - 1) > 0.01
    assert table["FSA-Caps-Fusion, 13,219 frames, MTCNN, pyr"]["BIWI last"] == f"{other:.2f}"
    assert table["FSA-Caps-Fusion, 13,219 frames, MTCNN, pyr"]["BIWI published"].startswith("4.25")
    assert table["Hopenet (alpha 1), 15,666 frames, Dockerface, ypr"]["BIWI last"] == "–"
    assert not list(folder.glob("*.png"))  # the experiment leaves the figures out


def test_structure_maps_are_drawn_over_synthetic_heads(run, tmp_path: Path) -> None:
    few = ("test.synthetic.num_heads=64", "test.synthetic.heads.texture_pool=4")
    options = ("experiments=synthetic/structure_maps", *few)
    folder = write_run(tmp_path / "runs", 1.0, *options)
    write_checkpoint(folder / "checkpoints" / "last.ckpt")
    done = run("report", *options, HEADPOSEKIT_DATASETS=str(tmp_path / "datasets"))
    assert done.returncode == 0, done.stderr
    reported = tmp_path / "runs" / "reports" / "synthetic" / "structure_maps"
    assert (reported / "structure_maps_synthetic.png").stat().st_size > 10_000
    ((_, row),) = by_method(reported / "table.csv").items()
    assert "1.00" in row.values()


def test_missing_rows_are_named_with_the_command_and_the_options_that_the_pool_has(enter, tmp_path: Path) -> None:
    smoke = ("experiments=fsanet/table4", "budget=smoke", "seed=1", "aggregation=capsule", "scoring=conv")
    write_run(tmp_path / "runs", 1.0, *smoke)
    plain = enter("report", "experiments=fsanet/table4").stdout
    assert "capsule, 1x1; capsule, var; `python src/train.py -m experiments=fsanet/table4` goes on with them\n" in plain
    assert "the pool has it with budget=smoke\n" in plain
    given = enter("report", "experiments=fsanet/table4", "budget=smoke", "seed=0").stdout
    assert "Missing: SSR-Net-MD; " in given
    assert "capsule, w/o; capsule, var; `python src/train.py -m experiments=fsanet/table4 budget=smoke seed=0` goes" in given
    assert "the pool has it" not in given


def test_options_that_make_cells_are_no_other_sweep(enter, tmp_path: Path) -> None:
    cell = ("experiments=fsanet/figure6a", "aggregation=capsule", "scoring=conv")
    write_run(tmp_path / "runs", 1.0, *cell)
    said = enter("report", *cell[:2]).stdout
    assert "Missing: var; w/o; `python src/train.py -m experiments=fsanet/figure6a aggregation=capsule` goes on" in said
    assert "the pool has it" not in said
    assert "the pool has it with no options" in enter("report", cell[0], "epochs=3").stdout


def test_runs_on_lists_that_are_not_here_are_not_called_missing(enter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here" / "BIWI"
    here.mkdir(parents=True)
    (here / "Biwi_FSA-Net.npz").write_bytes(b"boxes")
    monkeypatch.setenv("HEADPOSEKIT_DATASETS", str(here.parent))
    options = ("experiments=biwi_variants", "model=fsanet", "aggregation=capsule", "scoring=conv")
    write_run(tmp_path / "runs", 1.0, *options, test_sets=("biwi_fsanet_ypr", "biwi_dockerface_ypr"))
    row, table = "FSA-Caps (1x1), 13,219 frames, MTCNN", tmp_path / "runs" / "reports" / "biwi_variants" / "table"
    note = "The list Biwi_FSA-Net.npz is not here, so runs on biwi_fsanet_ypr cannot be matched."
    found = enter("report", options[0])
    assert by_method(table.with_suffix(".csv"))[row]["BIWI last"] == "1.00"
    assert "Missing: FSA-Caps (w/o), 13,219 frames, MTCNN; FSA-Caps (var), " in found.stdout
    assert note not in table.with_suffix(".md").read_text()
    (here / "Biwi_FSA-Net.npz").unlink()
    lost = enter("report", options[0])
    assert by_method(table.with_suffix(".csv"))[row]["BIWI last"] == "–"
    assert "Missing: FSA-Caps (w/o), 13,219 frames, MTCNN; FSA-Caps (var), " in lost.stdout
    assert note in table.with_suffix(".md").read_text()
    assert note in " ".join(lost.stdout.split())


def test_what_cannot_be_reported_is_named(refused, tmp_path: Path) -> None:
    for entry in ("report", "dashboard"):
        assert "holds no finished run" in refused(entry, "experiments=fsanet/table4")
        assert refused(entry, "-m", "experiments=fsanet/table4").startswith("error: -m is for trainings (")
    assert not list(tmp_path.iterdir())  # neither runs/ nor multirun/
    (tmp_path / "runs").mkdir()
    assert "experiments=NAME" in refused("report", "budget=smoke")
    assert "fsanet/table9" in refused("report", "experiments=fsanet/table9")
    assert "wandb.upload=maybe is not true or false" in refused("dashboard", "experiments=fsanet/table4", "wandb.upload=maybe")
