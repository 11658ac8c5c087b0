"""Every dataset's loaders give the same batches from a fixed pack as from files, and nearly the same from a loose one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import torch

from headposekit.data.augmentation import Augmentation, FourWayCrop, LowResolution, PILBlur, RandomZoom
from headposekit.data.datamodule import FolderDataModule
from headposekit.data.packed_faces import PackedFaces
from headposekit.data.packing import FixedPack, LoosePack, Pack
from headposekit.data.sampling import BatchKey
from headposekit.datasets import (
    AFLW2000DataModule,
    AFLWDataModule,
    AFWDataModule,
    BIWIDataModule,
    CSVDataModule,
    W300LPDataModule,
)
from headposekit.errors import InputError
from headposekit.geometry.crops import CropRule, FSANetCrop, HopenetCrop, MarginCrop
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_aflw import WriteAFLW, WriteAFW
from headposekit.synthesis.writers_biwi import WriteBIWI

Written = dict[str, Path]


def table(folder: Path, columns: str, rows: list[str]) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    for name in "abc":
        cv2.imwrite(str(folder / f"{name}.png"), rng.integers(0, 255, (40, 60, 3), np.uint8))
    (folder / "faces.csv").write_text("\n".join([columns, *rows]) + "\n")
    return folder / "faces.csv"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, w300lp_root: Path, aflw2000_root: Path) -> Written:
    heads, root = HeadSampler(texture_pool=4), tmp_path_factory.mktemp("written")
    writers: dict[str, Any] = {
        "aflw": WriteAFLW(root / "aflw", heads, num_units=6, form="sqlite", size=64),
        "aflw_crops": WriteAFLW(root / "aflw_crops", heads, num_units=6, form="text", size=64),
        "afw": WriteAFW(root / "afw", heads, num_units=2),
        "biwi": WriteBIWI(root / "biwi", heads, num_units=2, num_frames=2),
    }
    for writer in writers.values():
        for number in range(len(writer)):
            writer[number]
    boxed = table(
        root / "boxed", "path,yaw,pitch,roll,x0,y0,x1,y1,subject", ["a.png,1,2,3,9,9,30,30,x", "b.png,1,2,3,9,9,30,30,y"]
    )
    bare = table(root / "bare", "path,yaw,pitch,roll", ["a.png,1,2,3", "b.png,4,5,6", "c.png,7,8,9"])
    roots = {name: root / name for name in writers}
    return {**roots, "csv": boxed, "csv_crops": bare, "300w_lp": w300lp_root, "aflw2000": aflw2000_root}


MODULES: dict[str, Callable[..., FolderDataModule]] = {
    "300w_lp": W300LPDataModule,
    "aflw2000": AFLW2000DataModule,
    "aflw": AFLWDataModule,
    "aflw_crops": AFLWDataModule,
    "afw": AFWDataModule,
    "biwi": BIWIDataModule,
    "csv": CSVDataModule,
    "csv_crops": CSVDataModule,
}


def datamodule(written: Written, name: str, pack: Pack | None) -> FolderDataModule:
    augmentation = Augmentation(pipeline=[FourWayCrop()])
    options: Any = {"batch_size": 1, "val_fraction": 0.4, "split": "random"}
    return MODULES[name](written[name], FSANetCrop(), augmentation, pack=pack, **options)


@pytest.mark.parametrize("name", list(MODULES))
def test_fixed_pack_gives_the_very_batches(written: Written, tmp_path: Path, name: str) -> None:
    files, packed = datamodule(written, name, None), datamodule(written, name, FixedPack(tmp_path, 0))
    assert packed.split == files.split
    for loader in ("train_dataloader", "val_dataloader", "test_dataloader"):
        for ours, theirs in zip(getattr(packed, loader)(), getattr(files, loader)(), strict=True):
            assert ours.keys() == theirs.keys()
            assert ours.get("name") == theirs.get("name")
            for key in ours.keys() - {"name"}:
                assert torch.equal(torch.nan_to_num(ours[key]), torch.nan_to_num(theirs[key])), key
    assert packed.rules == files.rules
    assert packed.dataset.has_boxes == files.dataset.has_boxes
    assert packed.crop.name == files.crop.name
    assert [packed.dataset.photo_of(face) for face in packed.dataset.names] == [
        files.dataset.photo_of(face) for face in files.dataset.names
    ]


@pytest.mark.parametrize("name", list(MODULES))
def test_loose_pack_gives_nearly_the_batches(written: Written, tmp_path: Path, name: str) -> None:
    files, packed = datamodule(written, name, None), datamodule(written, name, LoosePack(tmp_path, 0, size=400))
    faces = list(range(len(files.dataset)))
    ours, theirs = packed.faces(faces)["image"].float(), files.faces(faces)["image"].float()
    assert (ours - theirs).abs().mean() < 4
    assert packed.split.hash == files.split.hash
    assert packed.rules == {**files.rules, "pack": "loose"}


@pytest.mark.parametrize("crop", [FSANetCrop(24), HopenetCrop(24), MarginCrop(24)], ids=lambda crop: crop.name)
def test_a_pack_of_the_same_pixels_gives_the_very_batches_whatever_is_augmented(
    written: Written, tmp_path: Path, crop: CropRule
) -> None:
    """A loose pack with room for whole pictures."""
    augmentation = Augmentation(
        mirror=0.5,
        rotation=10,
        cut=[LowResolution(), PILBlur(0.5), A.GaussianBlur(p=0.5)],
        pipeline=[FourWayCrop(4), A.GaussNoise(p=0.5), RandomZoom()],
    )
    files, packed = (
        CSVDataModule(written["csv"], crop, augmentation, batch_size=2, pack=pack)
        for pack in (None, LoosePack(tmp_path, 0, size=60, margin=10))
    )
    assert isinstance(packed.dataset, PackedFaces)
    for epoch in range(5):
        ours, theirs = (module.train_dataloader().dataset[BatchKey(epoch, [0, 1])] for module in (packed, files))
        assert set(ours) == set(theirs) == {"image", "pose"}
        for key in ours:
            assert torch.equal(ours[key], theirs[key]), key


def test_a_table_that_has_changed_is_packed_again(written: Written, tmp_path: Path) -> None:
    root = Path(shutil.copytree(written["csv"].parent, tmp_path / "csv")) / "faces.csv"
    here = {**written, "csv": root}
    before = datamodule(here, "csv", FixedPack(tmp_path / "packs", 0)).dataset
    root.write_text(root.read_text().replace("b.png,1,2,3,", "b.png,1,2,33,"))
    after = datamodule(here, "csv", FixedPack(tmp_path / "packs", 0)).dataset
    assert (before.pose[1, 2], after.pose[1, 2]) == (3, 33)


def test_boxes_of_biwi_that_have_changed_are_packed_again(written: Written, tmp_path: Path) -> None:
    root = Path(shutil.copytree(written["biwi"], tmp_path / "biwi"))
    here, pack = {**written, "biwi": root}, FixedPack(tmp_path / "packs", 0)
    before = datamodule(here, "biwi", pack).dataset
    boxes = root / before.names[0][:2] / "detections.csv"
    rows = boxes.read_text().splitlines()
    head, *sides = rows[1].rsplit(",", 4)
    rows[1] = ",".join([head, *(f"{float(side) + 3:g}" for side in sides)])
    boxes.write_text("\n".join(rows) + "\n")
    after = datamodule(here, "biwi", pack).dataset
    np.testing.assert_allclose(after.box[0], before.box[0] + 3, atol=1e-2)


def test_whole_pictures_are_not_to_be_had(written: Written, tmp_path: Path) -> None:
    packed = datamodule(written, "aflw2000", LoosePack(tmp_path, 0))
    assert isinstance(packed.dataset, PackedFaces)
    packed.with_pictures = True
    with pytest.raises(InputError, match="looks at whole pictures, and a pack has none; set pack=none"):
        packed.test_dataloader()


def test_pack_alone_may_defer_bad_files(written: Written) -> None:
    with pytest.raises(InputError, match="bad_files=defer is unknown; choose raise or skip"):
        AFLW2000DataModule(written["aflw2000"], FSANetCrop(), bad_files="defer")  # type: ignore[arg-type]
