from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from configs import train_config
from headposekit.datasets import W300LP
from headposekit.datasets.trees import write_tree, write_trees

WRITER = OmegaConf.create({"_target_": "headposekit.synthesis.writers.Write300WLP", "num_units": 4})


def test_a_tree_is_written_once_and_draws_nothing_from_torchs_generator(tmp_path: Path) -> None:
    root = tmp_path / "smoke" / "300W_LP"
    torch.manual_seed(5)
    write_tree(root, WRITER)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)
    files = {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")}
    assert len(W300LP(root)) == len(files) == 16
    write_tree(root, WRITER)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*.jpg")} == files
    write_tree(root, OmegaConf.merge(WRITER, {"num_units": 5}))
    assert len(W300LP(root)) == 20


def test_only_trees_that_are_read_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADPOSEKIT_DATASETS", str(tmp_path))
    config = train_config("data=300w_lp", "test=[w300lp]", "budget=smoke")
    config.trees["300W_LP"].num_units = 2
    write_trees(config)
    assert {path.name for path in (tmp_path / "smoke").iterdir() if path.is_dir()} == {"300W_LP"}
