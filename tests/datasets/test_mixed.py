"""A mixture of data sets: shares of each batch, each part by its own rules, the same for any number of processes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.data.augmentation import Augmentation
from headposekit.data.sampling import BatchKey
from headposekit.datasets import AFLW2000DataModule, MixedDataModule, W300LPDataModule
from headposekit.datasets.mixed import MixedSampler
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop


def keys(sampler: MixedSampler, epoch: int) -> list[list[int]]:
    sampler.set_epoch(epoch)
    return [key.indices for key in sampler]


def test_each_batch_has_its_shares_and_each_face_comes_equally_often() -> None:
    sampler = MixedSampler([100, 7], [0.75, 0.25], 16, 20, seed=3)
    seen = np.zeros(107, int)
    for epoch in range(7):
        batches = keys(sampler, epoch)
        assert len(batches) == len(sampler) == 20
        for indices in batches:
            assert len(indices) == 16
            assert sum(index >= 100 for index in indices) == 4
            np.add.at(seen, indices, 1)
    assert seen[:100].max() - seen[:100].min() <= 1
    assert seen[100:].max() - seen[100:].min() <= 1
    assert seen.sum() == 7 * 20 * 16
    assert keys(sampler, 2) == keys(MixedSampler([100, 7], [0.75, 0.25], 16, 20, seed=3), 2) != keys(sampler, 3)


def test_uneven_shares_are_exact_over_an_epoch() -> None:
    taken = np.concatenate(keys(MixedSampler([50, 50, 50], [0.5, 0.17, 0.33], 10, 10, seed=0), 0))
    assert np.histogram(taken, [0, 50, 100, 150])[0].tolist() == [50, 17, 33]


def test_processes_share_a_batch() -> None:
    whole = keys(MixedSampler([30, 20], [0.5, 0.5], 8, 6, 0), 1)
    parts = [keys(MixedSampler([30, 20], [0.5, 0.5], 8, 6, 0, rank, 2), 1) for rank in (0, 1)]
    assert [first + second for first, second in zip(*parts, strict=True)] == whole
    with pytest.raises(InputError, match=r"data\.batch_size=9 cannot be shared equally by 2 processes"):
        MixedSampler([30, 20], [0.5, 0.5], 9, 6, 0, 0, 2)


@pytest.fixture
def mixture(w300lp_root: Path, aflw2000_root: Path) -> MixedDataModule:
    parts = {
        "lp": W300LPDataModule(w300lp_root, FSANetCrop(), Augmentation(mirror=0.5), val_fraction=0.25),
        "aflw": AFLW2000DataModule(aflw2000_root, FSANetCrop()),
    }
    return MixedDataModule(parts, FSANetCrop(), {"lp": 3, "aflw": 1}, batch_size=4)


def test_parts_keep_their_own_rules(mixture: MixedDataModule) -> None:
    lp, aflw = mixture.parts["lp"], mixture.parts["aflw"]
    assert len(mixture.split.train) == len(lp.split.train) + len(aflw.split.train)
    assert len(mixture.split.val) == len(lp.split.val)
    assert mixture.rules["parts"]["lp"]["share"] == 0.75
    assert mixture.rules["parts"]["aflw"]["dataset"] == "AFLW2000"
    faces = mixture.dataset
    assert faces.names[0].startswith("lp/")
    np.testing.assert_array_equal(faces.image(len(lp.dataset)), aflw.dataset.image(0))
    assert faces.photo_of(faces.names[0]) == f"lp/{lp.dataset.photo_of(lp.dataset.names[0])}"
    batch = next(iter(mixture.train_dataloader()))
    assert batch["image"].shape == (4, 3, 64, 64)
    assert set(batch) == {"image", "pose"}
    labels = {tuple(pose) for pose in np.abs(lp.dataset.pose).tolist()}  # some are mirrored
    assert sum(tuple(pose) in labels for pose in batch["pose"].abs().tolist()) >= 3
    views = mixture.train_dataloader().dataset
    one = views[BatchKey(0, [len(lp.split.train), 0])]
    alone = aflw.faces([aflw.split.train[0]])
    torch.testing.assert_close(one["image"][0], alone["image"][0])
    torch.testing.assert_close(one["pose"][0], alone["pose"][0])


def test_validation_sees_the_held_out_faces_of_all_parts(mixture: MixedDataModule) -> None:
    names = [name for batch in mixture.val_dataloader() for name in batch["name"]]
    lp = mixture.parts["lp"]
    assert names == [lp.dataset.names[index] for index in lp.split.val]


def test_without_shares_each_face_comes_once(w300lp_root: Path, aflw2000_root: Path) -> None:
    parts = {"a": AFLW2000DataModule(aflw2000_root, FSANetCrop()), "b": W300LPDataModule(w300lp_root, FSANetCrop())}
    mixture = MixedDataModule(parts, FSANetCrop(), batch_size=1)
    poses = [tuple(pose) for batch in mixture.train_dataloader() for pose in batch["pose"].tolist()]
    assert sorted(poses) == sorted(map(tuple, mixture.dataset.pose.tolist()))


@pytest.mark.parametrize("shares", [{"a": 1, "b": 1}, {"a": -1}, {"a": 0}, {}])
def test_shares_of_other_parts_are_refused(aflw2000_root: Path, shares: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"data\.shares=.*give one number from 0 on for each of a"):
        MixedDataModule({"a": AFLW2000DataModule(aflw2000_root, FSANetCrop())}, FSANetCrop(), shares)
    with pytest.raises(InputError, match=r"data\.parts=\{\} mixes nothing"):
        MixedDataModule({}, FSANetCrop())
