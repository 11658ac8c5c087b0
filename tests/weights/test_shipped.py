"""The networks that come with the package."""

import csv
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

from headposekit import load
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.synthesis.sampler import HeadSampler
from headposekit.weights.load import load_member
from headposekit.weights.shipped import DEFAULT, FOLDER, find_shipped, shipped_names

PAGE = Path(__file__).parents[2] / "docs" / "shipped.md"


@pytest.mark.parametrize("name", shipped_names())
def test_each_is_the_file_that_the_page_describes(name: str) -> None:
    content = (FOLDER / f"{name}.safetensors").read_bytes()
    page = PAGE.read_text()
    section = page[page.index(f"## `{name}`") :]
    assert re.search(r"SHA-256[^`]*`([0-9a-f]{64})`", section)[1] == hashlib.sha256(content).hexdigest()  # type: ignore[index]
    card = json.loads((FOLDER / f"{name}.json").read_text())
    source = card["sources"][0]
    assert source["training_data"]["rules"]["dataset"] == "synthetic heads"
    assert f"`{source['train_id']}`" in section


def test_all_together_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 6_000_000


def test_default_network_estimates_heads_that_it_has_not_seen() -> None:
    sampler = HeadSampler(seed=77, texture_pool=8)
    heads = [head for head in (sampler.render(index, 128) for index in range(24)) if abs(head.pose[0]) < 60]
    found = load()([head.image for head in heads], boxes=[[head.box] for head in heads])
    errors = np.abs([np.array(one[0].pose) - head.pose for one, head in zip(found, heads, strict=True)])
    assert errors.mean() < 5


def test_names_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(load_member(DEFAULT).path) == FOLDER / f"{DEFAULT}.safetensors"
    with pytest.raises(InputError, match=f"renset: no such file, nor a network of the package; .* {DEFAULT}"):
        load("renset")
    monkeypatch.chdir(tmp_path)
    (tmp_path / DEFAULT).touch()  # a file of this name goes first
    assert find_shipped(DEFAULT) == DEFAULT


def test_predict_takes_the_default_network(run, tmp_path: Path) -> None:
    head = HeadSampler(seed=78, texture_pool=8).render(0, 128)
    write_picture(tmp_path / "face.png", head.image)
    done = run("predict", f"input={tmp_path}/face.png", "detector=none", f"output={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader((tmp_path / "out" / "poses.csv").open(newline=""))
    (expected,) = load(detector="none")(tmp_path / "face.png")
    assert [float(row[angle]) for angle in ("yaw", "pitch", "roll")] == pytest.approx(expected.pose, abs=0.001)
