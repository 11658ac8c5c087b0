from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.datasets.synthetic import CHUNK, RenewedHeads, SyntheticHeads
from headposekit.errors import InputError
from headposekit.synthesis.sampler import HeadSampler


def heads(**options: object) -> HeadSampler:
    return HeadSampler(seed=0, texture_pool=4, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packs")
    SyntheticHeads(folder, heads(), 10, 24, num_workers=0)
    return folder


def test_sample_is_the_rendered_head(root: Path) -> None:
    dataset = SyntheticHeads(root, heads(), 10, 24)
    sample, rendered = dataset[3], heads().render(3, 24)
    np.testing.assert_array_equal(sample["image"], rendered.image)
    np.testing.assert_allclose(sample["pose"], rendered.pose, rtol=1e-6)
    np.testing.assert_allclose(sample["box"], rendered.box, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(sample["landmarks"], rendered.landmarks[:, :2], rtol=1e-5, atol=1e-4)


def test_fewer_heads_are_the_first_of_more_and_nothing_is_rendered_twice(root: Path) -> None:
    few = SyntheticHeads(root, heads(), 10, 24)
    before = {path: path.stat().st_mtime_ns for path in few.folder.glob("chunk_00000*")}
    more = SyntheticHeads(root, heads(), CHUNK + 5, 24, num_workers=2)
    assert len(more) == CHUNK + 5
    np.testing.assert_array_equal(more.pose[:10], few.pose)
    np.testing.assert_array_equal(more[CHUNK + 1]["image"], heads().render(CHUNK + 1, 24).image)
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("num_workers", [0, 2])
def test_rendering_draws_nothing_from_torchs_generator(tmp_path: Path, num_workers: int) -> None:
    torch.manual_seed(5)
    SyntheticHeads(tmp_path, heads(), 10, 24, num_workers=num_workers)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(torch.rand(3), drawn)


def test_max_angle_leaves_heads_out_and_keeps_their_numbers(root: Path) -> None:
    every, near = SyntheticHeads(root, heads(), 10, 24), SyntheticHeads(root, heads(), 10, 24, max_angle=40)
    kept = np.abs(every.pose).max(axis=1) <= 40
    assert 0 < len(near) < 10
    assert len(near) + near.num_filtered == 10
    assert near.names == [name for name, keep in zip(every.names, kept, strict=True) if keep]
    np.testing.assert_array_equal(near[1]["image"], every[int(np.flatnonzero(kept)[1])]["image"])
    with pytest.raises(InputError, match="max_angle"):
        SyntheticHeads(root, heads(), 10, 24, max_angle=0.01)


def test_killed_rendering_loses_nothing_and_leaves_nothing_half(root: Path) -> None:
    dataset = SyntheticHeads(root, heads(), 10, 24)
    (dataset.folder / "chunk_00000.npz").unlink()  # killed after the pictures, before the index
    (dataset.folder / "chunk_00000.npy.partial").write_bytes(b"half")
    again = SyntheticHeads(root, heads(), 10, 24, num_workers=0)
    np.testing.assert_array_equal(again.image(4), dataset.image(4))


@pytest.mark.parametrize(
    "other", [{"options": {"hair": False}}, {"size": 26}, {"side": "test"}], ids=["options", "size", "side"]
)
def test_other_heads_are_another_pack(root: Path, other: dict) -> None:
    size, side = other.get("size", 24), other.get("side", "train")
    dataset = SyntheticHeads(root, heads(**other.get("options", {})), 4, size, side, num_workers=0)
    assert dataset.folder != SyntheticHeads(root, heads(), 4, 24).folder
    assert dataset.image(0).shape == (size, size, 3)


def test_new_version_of_the_generator_rebuilds(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = SyntheticHeads(root, heads(), 4, 24).folder
    monkeypatch.setattr("headposekit.datasets.synthetic.GENERATOR_VERSION", 999)
    assert SyntheticHeads(root, heads(), 4, 24, num_workers=0).folder != old


def test_people_of_the_test_side_are_others(root: Path) -> None:
    train, test = (SyntheticHeads(root, heads(), 10, 24, side, num_workers=0) for side in ("train", "test"))  # type: ignore[arg-type]
    assert not {train.photo_of(name) for name in train.names} & {test.photo_of(name) for name in test.names}
    assert not np.isin(train.pose[:, 0], test.pose[:, 0]).any()


def test_photo_is_the_person(root: Path) -> None:
    dataset = SyntheticHeads(root, heads(), 10, 24)
    people = [dataset.photo_of(name) for name in dataset.names]
    assert people[0] == people[1] != people[2]
    assert len(set(people)) == 5


def test_impossible_requests(root: Path) -> None:
    with pytest.raises(InputError, match="0 synthetic heads of 24 pixels cannot be made"):
        SyntheticHeads(root, heads(), 0, 24)
    with pytest.raises(InputError, match="cannot be written"):
        SyntheticHeads("/proc/nowhere", heads(), 4, 24)


def test_renewed_heads_are_the_next_ones_and_old_packs_go(tmp_path: Path) -> None:
    sampler = heads()
    renewed = RenewedHeads(tmp_path, sampler, 128, 24, 2)
    assert renewed.at(0) is renewed.at(1) is renewed
    third = renewed.at(4)
    assert (third.names[0], len(third)) == ("train_000256", 128)
    again = RenewedHeads(tmp_path, sampler, 128, 24, 2).at(5)  # as after a resume
    assert (again.pose == third.pose).all()
    straight = sampler.render(256, 24)
    assert (third.image(0) == straight.image).all()
    renewed.at(6)
    assert not renewed._folder(1).exists()
    assert renewed.folder.exists()  # the validation side's


def test_heads_of_a_renewed_set_cannot_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.max_angle= would leave out other heads"):
        RenewedHeads(tmp_path, heads(), 128, 24, 2, max_angle=60)
