"""Photographs with points, Pointing'04 and mixtures, through the programs as a user calls them."""

from pathlib import Path

import numpy as np
import pytest

from configs import train_config
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.synthesis.sampler import HeadSampler
from headposekit.training.identity import train_id
from headposekit.training.protocols import settle_tests
from run_folders import results, rows

SMALL = ("data.parts.heads.num_heads=128", "data.batch_size=16", "epochs=1", "trainer=cpu")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of .pts files."""
    root = tmp_path_factory.mktemp("300W")
    sampler = HeadSampler(texture_pool=4)
    for number in range(24):
        head = sampler.render(2 * number, 128)
        write_picture(root / f"image_{number:04d}.jpg", head.image)
        lines = "\n".join(f"{x:.2f} {y:.2f}" for x, y in head.landmarks[:, :2])
        (root / f"image_{number:04d}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")
    return root


def test_mixture_trains_and_says_what_it_was_made_of(run, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = run(
        "train", "data=mixed", *SMALL, f"data.parts.heads.root={tmp_path}/packs", f"data.parts.photographs.root={photographs}",
        "test=[points68]", "test.points68.level=0", f"hydra.run.dir={folder}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = results(folder)
    parts = content["train"]["rules"]["parts"]
    assert parts["heads"]["share"] == 0.7
    assert parts["photographs"]["labels"] == "our own, modes_inner"
    assert content["train"]["n"] == 120 + 22 - content["train"]["filtered"]
    assert content["train"]["filtered"] <= 1  # beyond 99 degrees once level is taken off
    tested = content["test"]["points68"]  # where the training set lies
    assert tested["n"] == 24
    assert tested["rules"]["level"] == 0
    assert sum(band["n"] for band in tested["by_yaw"]["last"].values()) == 24
    faces = rows(folder / "predictions_points68.csv")
    pitch = np.array([float(face["true_pitch"]) - float(face["predicted_pitch"]) for face in faces])
    assert tested["last"]["pitch"] == pytest.approx(np.abs(pitch).mean(), abs=1e-3)
    assert tested["last"]["aligned_mae"] > 0
    assert abs(tested["last"]["offset_pitch"]) < 60


def test_identity_of_a_mixture_is_that_of_its_parts(tmp_path: Path) -> None:
    def identity(*options: str) -> str:
        return train_id(train_config("data=mixed", *options))

    base = identity()
    assert identity(f"data.parts.photographs.root={tmp_path}", "data.num_workers=1") == base
    changed = ["data.shares={heads:1,photographs:2}", "data.parts.photographs.level=0", "data.parts.heads.heads.hair=false"]
    assert len({base, *map(identity, changed)}) == 4


def test_another_part_is_added_and_one_taken_away(tmp_path: Path) -> None:
    more = train_config("data=mixed", "+dataset@data.parts.mine=csv", "+loader@data.parts.mine=part", "data.shares=null")
    assert set(more.data.parts) == {"heads", "photographs", "mine"}
    less = train_config("data=mixed", "~data.parts.heads", "data.shares=null")
    assert set(less.data.parts) == {"photographs"}
    turned = train_config("data=mixed_profiles").data
    assert turned.parts.photographs._target_.endswith("W300LPDataModule")
    assert turned.parts.photographs.augmentation.pipeline
    assert not turned.parts.heads.augmentation.pipeline
    assert turned.shares == {"heads": 0.4, "photographs": 0.6}


def test_unknown_people_leave_one_out() -> None:
    config = train_config("protocol=pointing04_unknown", "protocol.person=7")
    assert config.data.without_person == 7
    assert config.test.pointing04.people == [7]
    assert train_id(config) != train_id(train_config("protocol=pointing04_unknown"))
    with pytest.raises(InputError, match=r"test\.pointing04\.people=\[3\], but protocol=pointing04_unknown fixes it at \[7\]"):
        settle_tests(train_config("protocol=pointing04_unknown", "protocol.person=7", "test.pointing04.people=[3]"))


def test_published_network_on_pointing04(run, shared: Path, official: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = run(
        "evaluate", f"weights={official}/fsanet_capsule_3_16_2_21_5.h5", "test=[pointing04]",
        f"test.pointing04.root={shared}/pointing04", "test.pointing04.people=[3]", f"hydra.run.dir={folder}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tested = results(folder)["test"]["pointing04"]
    assert tested["n"] == 186
    assert tested["rules"]["people"] == [3]
    assert 0.1 < tested["last"]["tilt_accuracy"] < 0.9
    by_yaw = tested["by_yaw"]["last"]
    assert by_yaw["15-30"]["yaw"] < by_yaw["60-180"]["yaw"]
