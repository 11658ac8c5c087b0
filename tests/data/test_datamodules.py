import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from headposekit.data.augmentation import Augmentation, FourWayCrop
from headposekit.data.datamodule import FaceBatches
from headposekit.data.sampling import BatchKey
from headposekit.datasets import AFLW2000DataModule, SyntheticDataModule, W300LPDataModule
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop, HopenetCrop, MarginCrop
from headposekit.synthesis.sampler import HeadSampler


def augmentation() -> Augmentation:
    return Augmentation(mirror=0.5, pipeline=[FourWayCrop()])


def test_batch_holds_the_cropped_samples(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop(), batch_size=4)
    batches = list(datamodule.test_dataloader())
    assert [len(batch["name"]) for batch in batches] == [4, 4, 2]
    batch = batches[0]
    assert batch["image"].shape == (4, 3, 64, 64)
    assert batch["image"].dtype == torch.uint8
    sample = datamodule.dataset[2]
    crop = FSANetCrop()(sample["image"], sample["box"])
    np.testing.assert_array_equal(batch["image"][2].permute(1, 2, 0).numpy(), crop)
    assert batch["name"][2] == sample["name"]
    for key in ("pose", "box", "landmarks"):
        np.testing.assert_array_equal(batch[key][2].numpy(), sample[key])  # type: ignore[literal-required]


def test_training_batches_are_augmented_and_validation_ones_are_not(w300lp_root: Path) -> None:
    plain = W300LPDataModule(w300lp_root, FSANetCrop(), None, batch_size=8, val_fraction=0.25)
    augmented = W300LPDataModule(w300lp_root, FSANetCrop(), augmentation(), batch_size=8, val_fraction=0.25)
    first = [next(iter(datamodule.train_dataloader())) for datamodule in (plain, augmented)]
    assert torch.equal(first[0]["pose"].abs(), first[1]["pose"].abs())  # the same faces; some are mirrored
    assert not torch.equal(first[0]["image"], first[1]["image"])
    validation = [next(iter(datamodule.val_dataloader())) for datamodule in (plain, augmented)]
    assert torch.equal(validation[0]["image"], validation[1]["image"])


def test_workers_change_nothing(w300lp_root: Path) -> None:
    epochs = []
    for num_workers in (0, 2):
        datamodule = W300LPDataModule(w300lp_root, FSANetCrop(), augmentation(), batch_size=8, num_workers=num_workers, seed=5)
        loader = datamodule.train_dataloader()
        loader.sampler.set_epoch(3)  # type: ignore[attr-defined]
        epochs.append(list(loader))
    for one, two in zip(*epochs, strict=True):
        assert torch.equal(one["pose"], two["pose"])
        assert torch.equal(one["image"], two["image"])


@pytest.fixture(scope="module")
def synthetic_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("heads")


def test_a_face_is_drawn_alike_whatever_stands_beside_it(synthetic_root: Path) -> None:
    def faces(seed: int) -> FaceBatches:
        heads, rigid = HeadSampler(seed=0, texture_pool=4), Augmentation(mirror=0.5, rotation=10)
        datamodule = SyntheticDataModule(synthetic_root, FSANetCrop(24), heads, 16, augmentation=rigid, batch_size=4, seed=seed)
        return cast(FaceBatches, datamodule.train_dataloader().dataset)

    both, alone = faces(3)[BatchKey(4, [9, 2])], faces(3)[BatchKey(4, [2])]
    for name in ("image", "pose"):
        assert torch.equal(both[name][1], alone[name][0])  # type: ignore[literal-required]
    assert both["image"].is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(faces(3)[BatchKey(5, [2])]["image"], alone["image"])
    assert not torch.equal(faces(8)[BatchKey(4, [2])]["image"], alone["image"])


def test_hopenets_crop_varies_only_with_an_augmentation(aflw2000_root: Path) -> None:
    def images(augmentation: Augmentation | None, epoch: int) -> torch.Tensor:
        datamodule = AFLW2000DataModule(aflw2000_root, HopenetCrop(32), augmentation, batch_size=4)
        return datamodule.train_dataloader().dataset[BatchKey(epoch, [0, 1])]["image"]

    assert torch.equal(images(None, 0), images(None, 1))
    assert not torch.equal(images(Augmentation(), 0), images(Augmentation(), 1))


def test_epochs_differ_in_order_and_augmentation(w300lp_root: Path) -> None:
    datamodule = W300LPDataModule(w300lp_root, FSANetCrop(), augmentation(), batch_size=48)
    loader = datamodule.train_dataloader()
    by_number = []
    for epoch in (0, 1):
        loader.sampler.set_epoch(epoch)  # type: ignore[attr-defined]
        ((batch, key),) = zip(loader, loader.sampler, strict=True)
        by_number.append(dict(zip(key.indices, batch["image"], strict=True)))
    assert list(by_number[0]) != list(by_number[1])
    assert sum(torch.equal(image, by_number[1][number]) for number, image in by_number[0].items()) < 16


def test_training_batches_hold_what_a_step_reads(w300lp_root: Path) -> None:
    datamodule = W300LPDataModule(w300lp_root, FSANetCrop(), batch_size=8, val_fraction=0.25)
    assert set(next(iter(datamodule.train_dataloader()))) == {"image", "pose"}
    assert set(next(iter(datamodule.val_dataloader()))) == {"image", "pose", "box", "landmarks", "name"}


def test_num_test_is_the_first_of_the_seeded_order(aflw2000_root: Path) -> None:
    few = AFLW2000DataModule(aflw2000_root, FSANetCrop(), num_test=4)
    more = AFLW2000DataModule(aflw2000_root, FSANetCrop(), num_test=7)
    assert len(few.test_indices) == 4
    assert set(few.test_indices) < set(more.test_indices)
    assert AFLW2000DataModule(aflw2000_root, FSANetCrop(), num_test=99).test_indices == list(range(10))


def test_box_rule_is_the_crops(aflw2000_root: Path) -> None:
    official = AFLW2000DataModule(aflw2000_root, FSANetCrop(aflw2000_box="official")).dataset
    assert (official.box[:, 0] == -1).all()
    whole = AFLW2000DataModule(aflw2000_root, MarginCrop()).dataset
    np.testing.assert_allclose(whole.box[:, 0], whole.landmarks[:, :, 0].min(axis=1))


def test_nothing_held_out_gives_no_validation(aflw2000_root: Path) -> None:
    assert AFLW2000DataModule(aflw2000_root, FSANetCrop()).val_dataloader() == []


@pytest.mark.parametrize("key", ["num_train", "num_val", "num_test"])
def test_zero_faces_is_refused(aflw2000_root: Path, key: str) -> None:
    with pytest.raises(InputError, match=f"{key}=0 leaves no face"):
        AFLW2000DataModule(aflw2000_root, FSANetCrop(), **{key: 0})


def test_face_outside_its_picture_is_named(aflw2000_root: Path) -> None:
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    datamodule.dataset.box[1] = [900, 900, 950, 950]
    with pytest.raises(InputError, match=r"image00001: the box .* lies outside its picture of 450×450"):
        list(datamodule.test_dataloader())


def test_a_datamodule_takes_the_options_of_its_reader_and_no_others(aflw2000_root: Path) -> None:
    assert {"root", "crop", "box", "max_angle", "pack", "batch_size"} <= set(inspect.signature(AFLW2000DataModule).parameters)
    assert "part" not in inspect.signature(AFLW2000DataModule).parameters
    given = AFLW2000DataModule(aflw2000_root, FSANetCrop(), box="pt3d_68", batch_size=3)
    assert (given.reader_options, given.batch_size) == ({"box": "pt3d_68", "labels": None}, 3)
    assert given.rules["box"] == "pt3d_68"
    with pytest.raises(TypeError, match="part"):
        AFLW2000DataModule(aflw2000_root, FSANetCrop(), part="test")


@pytest.mark.parametrize(("device", "is_pinned"), [("cpu", False), ("cuda", True), (None, False)])
def test_memory_is_pinned_for_a_gpu_that_is_used(aflw2000_root: Path, monkeypatch, device: str | None, is_pinned: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    if device is not None:
        strategy = SimpleNamespace(root_device=torch.device(device))
        datamodule.trainer = SimpleNamespace(strategy=strategy, global_rank=0, world_size=1)  # type: ignore[assignment]
    assert datamodule.test_dataloader().pin_memory == is_pinned
