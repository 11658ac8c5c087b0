from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch

from headposekit.data.augmentation import Augmentation, PILBlur
from headposekit.data.datamodule import FaceBatches, PlannedBatches
from headposekit.data.sampling import BatchKey
from headposekit.datasets import SyntheticDataModule, W300LPDataModule
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop
from headposekit.synthesis.sampler import HeadSampler

RIGID = Augmentation(mirror=0.5, rotation=10)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packs")


def synthetic(root: Path, augmentation: Augmentation | None = RIGID, **options: Any) -> SyntheticDataModule:
    heads = HeadSampler(seed=0, texture_pool=4)
    return SyntheticDataModule(root, FSANetCrop(24), heads, 64, augmentation=augmentation, batch_size=16, **options)


def view(datamodule: Any) -> Any:
    return datamodule.train_dataloader().dataset


def test_auto_goes_by_batch_where_it_can(root: Path, w300lp_root: Path) -> None:
    assert isinstance(view(synthetic(root)), PlannedBatches)
    assert isinstance(view(synthetic(root, None)), PlannedBatches)
    assert isinstance(view(synthetic(root, feed="workers")), FaceBatches)
    jittered = Augmentation(pipeline=A.Compose([A.GaussianBlur()]))
    assert isinstance(view(synthetic(root, jittered)), FaceBatches)
    assert isinstance(view(W300LPDataModule(w300lp_root, FSANetCrop(), RIGID, batch_size=8)), FaceBatches)
    for loader in (synthetic(root).val_dataloader(), synthetic(root).test_dataloader()):
        assert not loader or isinstance(loader.dataset, FaceBatches)


def test_what_cannot_go_by_batch_is_refused_by_name(root: Path, w300lp_root: Path) -> None:
    with pytest.raises(InputError, match="feed=threads is unknown; choose auto, workers, device"):
        synthetic(root, feed="threads")
    blurred = Augmentation(pipeline=A.Compose([A.GaussianBlur()]))
    with pytest.raises(InputError, match=r"data\.feed=device: GaussianBlur has no form"):
        synthetic(root, blurred, feed="device").train_dataloader()
    turned = Augmentation(rotation=10, cut=A.Compose([PILBlur()]))
    with pytest.raises(InputError, match=r"augmentation\.rotation with augmentation\.cut"):
        synthetic(root, turned, feed="device").train_dataloader()
    with pytest.raises(InputError, match="300W-LP is read from its files"):
        W300LPDataModule(w300lp_root, FSANetCrop(), RIGID, batch_size=8, feed="device").train_dataloader()


def test_without_augmentation_both_feeds_are_the_same(root: Path) -> None:
    key = BatchKey(2, [5, 0, 7])
    one, two = (view(synthetic(root, None, feed=feed))[key] for feed in ("workers", "device"))
    assert one["name"] == two["name"]
    for name in ("image", "pose", "box", "landmarks"):
        assert torch.equal(one[name], two[name])
        assert one[name].dtype == two[name].dtype
    assert one["image"].stride() == two["image"].stride()  # channels last


def test_a_face_is_drawn_alike_whatever_stands_beside_it(root: Path) -> None:
    faces = view(synthetic(root, seed=3))
    both, alone = faces[BatchKey(4, [9, 2])], faces[BatchKey(4, [2])]
    for name in ("image", "pose", "landmarks"):
        assert torch.equal(both[name][1], alone[name][0])
    assert not torch.equal(faces[BatchKey(5, [2])]["image"], alone["image"])
    assert not torch.equal(view(synthetic(root, seed=8))[BatchKey(4, [2])]["image"], alone["image"])


def test_both_feeds_draw_labels_of_one_distribution(root: Path) -> None:
    poses = []
    for feed in ("workers", "device"):
        faces = view(synthetic(root, feed=feed))
        poses.append(torch.cat([faces[BatchKey(epoch, list(range(48)))]["pose"] for epoch in range(12)]).numpy())
    assert np.abs(poses[0].mean(axis=0)).max() < 12
    np.testing.assert_allclose(*(pose.std(axis=0) for pose in poses), rtol=0.12)
    signs = [(pose[:, 0] > 0).mean() for pose in poses]
    assert signs[0] == pytest.approx(signs[1], abs=0.08)


@pytest.mark.parametrize("has_pack", [False, True])
def test_a_device_finishes_what_the_host_has_planned(root: Path, has_pack: bool) -> None:
    datamodule = synthetic(root)
    key, host = BatchKey(1, list(range(16))), view(datamodule)
    far = PlannedBatches(host.dataset, host.indices, FSANetCrop(24), RIGID, 0, on_host=False)
    if has_pack:
        datamodule._resident = torch.from_numpy(host.store.gather(np.arange(64)))
        far.sends_pictures = False
    sent = far[key]
    assert "image" not in sent
    assert ("pictures" in sent) != has_pack
    finished, expected = datamodule.on_after_batch_transfer(sent, 0), host[key]
    assert set(finished) == set(expected)
    assert torch.equal(finished["pose"], expected["pose"])
    assert finished["image"].shape == expected["image"].shape
    assert finished["image"].stride() == expected["image"].stride()
    assert (finished["image"].float() - expected["image"].float()).abs().mean() < 1.0
