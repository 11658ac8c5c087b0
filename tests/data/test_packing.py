import csv
import json
import logging
import multiprocessing
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trees
from headposekit.data import packing
from headposekit.data.augmentation import Augmentation
from headposekit.data.dataset import Annotation, FolderDataset, HeadPoseDataset
from headposekit.data.packed_faces import CHUNK, PackedFaces, read_pack
from headposekit.data.packing import FacePack, FacesOnDisk, FixedPack, LoosePack
from headposekit.data.perturbation import Perturbation
from headposekit.datasets import AFLW2000, W300LP
from headposekit.errors import InputError
from headposekit.geometry.crops import CropRule, FSANetCrop, HopenetCrop, MarginCrop, ThreeDDFACrop

RULES = [FSANetCrop(), MarginCrop(), HopenetCrop(64), ThreeDDFACrop(64)]


def set_chunk(monkeypatch: pytest.MonkeyPatch, faces: int) -> None:
    for module in ("packing", "packed_faces"):
        monkeypatch.setattr(f"headposekit.data.{module}.CHUNK", faces)


def source_of(root: Path, crop: CropRule | None = None, **given: Any) -> FacesOnDisk:
    return FacesOnDisk(AFLW2000, root, {"box": "pt3d_68"}, crop or FSANetCrop(), **given)


def opened(pack: FacePack, source: FacesOnDisk, max_angle: float | None = 99.0, bad_files: Any = "raise") -> PackedFaces:
    dataset, _ = pack.open(source, max_angle, bad_files)
    assert isinstance(dataset, PackedFaces)
    return dataset


@pytest.fixture
def own(aflw2000_root: Path, tmp_path: Path) -> Path:
    """A tree to be changed; its files keep their times."""
    return Path(shutil.copytree(aflw2000_root, tmp_path / "AFLW2000"))


@pytest.mark.parametrize("crop", RULES, ids=lambda rule: rule.name)
def test_fixed_pack_holds_the_very_crops_and_labels(aflw2000_root: Path, tmp_path: Path, crop: CropRule) -> None:
    source = source_of(aflw2000_root, crop)
    files = source.read(99.0, "raise")
    packed, rule = FixedPack(tmp_path, 0).open(source, 99.0, "raise")
    assert packed.names == files.names
    assert (packed.num_filtered, packed.skipped) == (files.num_filtered, {}) == (2, {})
    assert [packed.photo_of(name) for name in packed.names] == [files.photo_of(name) for name in files.names]
    for key in ("pose", "box", "landmarks"):
        np.testing.assert_array_equal(getattr(packed, key), getattr(files, key))
        assert getattr(packed, key).dtype == np.float32
    for ours, theirs in ((packed[index], files[index]) for index in range(len(files))):
        np.testing.assert_array_equal(rule(ours["image"], ours["box"]), crop(theirs["image"], theirs["box"]))
    assert (rule.name, rule.size) == (crop.name, crop.size)
    manifest = json.loads((opened(FixedPack(tmp_path), source).folder / "manifest.json").read_text())
    assert (manifest["faces"], manifest["mean_difference"]) == (12, 0)


@pytest.mark.parametrize("crop", RULES, ids=lambda rule: rule.name)
def test_loose_pack_gives_nearly_the_same_crops(aflw2000_root: Path, tmp_path: Path, crop: CropRule) -> None:
    source = source_of(aflw2000_root, crop, augmentation=Augmentation(rotation=10.0))
    files = source.read(99.0, "raise")
    packed = opened(LoosePack(tmp_path, 0, size=300), source)
    for index in range(len(files)):
        ours, theirs = packed[index], files[index]
        assert max(ours["image"].shape[:2]) <= 300
        assert ours["image"].shape[:2] == tuple(packed.sizes[index])
        difference = np.abs(crop(ours["image"], ours["box"]).astype(float) - crop(theirs["image"], theirs["box"])).mean()
        assert difference < 8  # of hard-edged drawings
        np.testing.assert_allclose(  # landmarks stand where they stood in the face
            (ours["landmarks"] - ours["box"][:2]) / np.ptp(ours["box"].reshape(2, 2), axis=0),
            (theirs["landmarks"] - theirs["box"][:2]) / np.ptp(theirs["box"].reshape(2, 2), axis=0),
            atol=1e-4,
        )
    manifest = json.loads((packed.folder / "manifest.json").read_text())
    assert 0 < manifest["mean_difference"] < 8
    assert manifest["compared"] == 4


def test_loose_pack_that_need_not_shrink_is_exact(aflw2000_root: Path, tmp_path: Path) -> None:
    source = source_of(aflw2000_root, MarginCrop())
    packed, files = opened(LoosePack(tmp_path, 0, size=450), source), source.read(99.0, "raise")
    for index in range(len(files)):
        ours, theirs = packed[index], files[index]
        np.testing.assert_array_equal(source.crop(ours["image"], ours["box"]), source.crop(theirs["image"], theirs["box"]))


def test_gathered_pictures_are_the_samples(aflw2000_root: Path, tmp_path: Path) -> None:
    packed = opened(LoosePack(tmp_path, 0), source_of(aflw2000_root))
    indices = np.array([7, 0, 7])
    batch = packed.store.gather(packed.numbers[indices])
    assert batch.shape == (3, 130, 130, 3)  # 128 and room for a hundredth more
    for picture, index in zip(batch, indices, strict=True):
        height, width = packed.sizes[index]
        np.testing.assert_array_equal(picture[:height, :width], packed.image(index))
        assert not picture[height:].any()
        assert not picture[:, width:].any()


def test_filter_is_applied_when_the_pack_is_opened(aflw2000_root: Path, tmp_path: Path) -> None:
    pack, source = FixedPack(tmp_path, 0), source_of(aflw2000_root)
    every = opened(pack, source, max_angle=None)
    before = {path: path.stat().st_mtime_ns for path in every.folder.iterdir()}
    assert (len(every), every.num_filtered) == (12, 0)
    for limit in (99.0, 40.0):
        few, files = opened(pack, source, limit), source.read(limit, "raise")
        assert (few.names, few.num_filtered) == (files.names, files.num_filtered)
        np.testing.assert_array_equal(few.pose, files.pose)
    with pytest.raises(InputError, match=r"none of the 12 faces .*12 beyond ±0\.1"):
        pack.open(source, 0.1, "raise")
    assert {path: path.stat().st_mtime_ns for path in before} == before


class Numbered(FolderDataset):
    """Faces that are drawn from numbers; a negative one is a broken file."""

    title, layout, label_suffix = "numbered", "*", ".txt"

    def list_images(self) -> list[Path]:
        return [path.with_suffix(".png") for path in sorted(self.root.glob("*.txt"))]

    def read_annotation(self, path: Path) -> Annotation:
        value = float(path.with_suffix(".txt").read_text())
        if value < 0:
            raise InputError(f"{path}: broken")
        box = np.array([1, 2, 3 + value % 7, 5], dtype=np.float32)
        return Annotation(np.array([value, -value, 1 / 3]), box, np.full((68, 2), np.nan))


@settings(max_examples=15)
@given(values=st.lists(st.integers(-2, 120), min_size=1, max_size=9), chunk=st.integers(1, 4))
def test_a_pack_is_the_dataset_whatever_its_faces_and_chunks(
    tmp_path_factory: pytest.TempPathFactory, values: list[int], chunk: int
) -> None:
    import cv2

    root = tmp_path_factory.mktemp("numbered")
    for number, value in enumerate(values):
        cv2.imwrite(str(root / f"{number}.png"), np.full((20, 12, 3), abs(value), dtype=np.uint8))
        (root / f"{number}.txt").write_text(str(value))
    source = FacesOnDisk(Numbered, root, {}, MarginCrop(8))
    with pytest.MonkeyPatch.context() as patch:
        set_chunk(patch, chunk)

        def read(open_it: Any) -> HeadPoseDataset | str:
            try:
                dataset: HeadPoseDataset = open_it()
                return dataset
            except InputError as error:
                return str(error).split(" is left")[0].replace(str(root), "")

        packed = read(lambda: opened(FixedPack(root / "packs", 0), source, 99.0, "skip"))
        files = read(lambda: source.read(99.0, "skip"))
        if isinstance(files, str) or isinstance(packed, str):
            assert isinstance(files, str)
            assert isinstance(packed, str)
            return
        assert packed.names == files.names
        assert packed.skipped == files.skipped
        assert packed.num_filtered == files.num_filtered
        np.testing.assert_array_equal(packed.pose, files.pose)
        for ours, theirs in ((packed[index], files[index]) for index in range(len(files))):
            np.testing.assert_array_equal(ours["image"], source.crop(theirs["image"], theirs["box"]))


def chunk_times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("chunk_*.npz")}


def test_what_has_changed_is_packed_again_and_nothing_else(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 4)
    pack, source = FixedPack(tmp_path / "packs", 0), source_of(own)
    old = opened(pack, source)
    times = chunk_times(old.folder)
    assert len(times) == 3

    shutil.copy2(own / "image00001.jpg", own / "image00005.jpg")  # another picture
    again = opened(pack, source)
    files = source.read(99.0, "raise")
    np.testing.assert_array_equal(again.image(5), source.crop(files.image(5), files.box[5]))
    changed = {name for name, time in chunk_times(old.folder).items() if time != times[name]}
    assert changed == {"chunk_00001.npz"}

    os.utime(own / "image00000.mat", ns=(1, 1))  # a label that may be another
    opened(pack, source)
    assert chunk_times(old.folder)["chunk_00000.npz"] != times["chunk_00000.npz"]

    for number in range(8, 12):  # the last chunk's faces
        for suffix in ("jpg", "mat"):
            (own / f"image{number:05d}.{suffix}").unlink()
    assert len(opened(pack, source)) == 8
    assert set(chunk_times(old.folder)) == {"chunk_00000.npz", "chunk_00001.npz"}

    (own / "image00000.jpg").unlink()
    (own / "image00000.mat").unlink()
    assert opened(pack, source).names == source.read(99.0, "raise").names


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "chunk_00000.npz").write_bytes(b"PK"),
        lambda folder: os.truncate(folder / "chunk_00000.npy", 5000),
        lambda folder: (folder / "chunk_00000.npy").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
    ],
    ids=["labels", "pictures cut short", "no pictures", "manifest"],
)
def test_broken_pack_is_mended(aflw2000_root: Path, tmp_path: Path, damage: Any) -> None:
    pack, source = FixedPack(tmp_path, 0), source_of(aflw2000_root)
    whole = opened(pack, source)
    pictures = whole.store.gather(whole.numbers)
    damage(whole.folder)
    again = opened(pack, source)
    np.testing.assert_array_equal(again.store.gather(again.numbers), pictures)


@pytest.mark.parametrize(
    "other",
    [
        (FixedPack, FSANetCrop(margin=0.5), "pt3d_68"),
        (FixedPack, FSANetCrop(size=32), "pt3d_68"),
        (FixedPack, MarginCrop(), "pt3d_68"),
        (FixedPack, FSANetCrop(), "official"),
        (LoosePack, FSANetCrop(), "pt3d_68"),
    ],
    ids=["margin", "size", "rule", "box", "kind"],
)
def test_other_crops_and_labels_are_another_pack(tmp_path: Path, other: tuple[Any, CropRule, str]) -> None:
    kind, crop, box = other
    first = FixedPack(tmp_path).folder(source_of(tmp_path))
    assert kind(tmp_path).folder(FacesOnDisk(AFLW2000, tmp_path, {"box": box}, crop)) != first
    assert FixedPack(tmp_path).folder(source_of(tmp_path / "elsewhere")) != first


def test_new_format_is_another_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = FixedPack(tmp_path).folder(source_of(tmp_path))
    monkeypatch.setattr("headposekit.data.packing.PACK_VERSION", 999)
    assert FixedPack(tmp_path).folder(source_of(tmp_path)) != old


def test_complete_pack_opens_without_its_files(own: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pack, source = FixedPack(tmp_path / "packs", 0), source_of(own)
    before = opened(pack, source)
    shutil.rmtree(own)
    moved = source_of(tmp_path / "never" / "there")
    for wanted in (source, moved):
        with caplog.at_level(logging.INFO):
            caplog.clear()
            after = opened(pack, wanted)
        assert [record.message for record in caplog.records] == [f"{wanted.root} is not there; using the pack {before.folder}"]
        assert after.names == before.names
        assert after.num_filtered == 2
    (before.folder / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"neither .*AFLW2000 nor a complete pack of it in .*packs; set its root"):
        pack.open(source, 99.0, "raise")


def test_bad_files_are_listed_and_stop_or_are_left_out(own: Path, tmp_path: Path) -> None:
    cut = own / "image00003.jpg"
    cut.write_bytes(cut.read_bytes()[:-2000])
    (own / "image00006.mat").write_bytes(b"MATLAB")
    (own / "image00011.jpg").write_bytes(b"")  # beyond 99 degrees, so nobody asks for it
    pack, source = FixedPack(tmp_path / "packs", 0), source_of(own)
    folder = pack.prepare(source)
    with (folder / "bad_files.csv").open(newline="") as file:
        listed = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    assert list(listed) == ["image00003", "image00006", "image00011"]
    assert "cut short" in listed["image00003"]
    with pytest.raises(InputError, match=r"00003\.jpg: cut short; .* \(the first of 2 bad files, listed in .*bad_files\.csv"):
        pack.open(source, 99.0, "raise")
    packed, files = opened(pack, source, 99.0, "skip"), source.read(99.0, "skip")
    assert packed.skipped == files.skipped == listed
    assert (packed.names, packed.num_filtered) == (files.names, files.num_filtered)

    trees.write_aflw2000(own, beyond=2)  # repaired
    assert opened(pack, source).names == source.read(99.0, "raise").names
    assert (folder / "bad_files.csv").read_text() == "name,reason\n"


def pack_and_die(pack: FacePack, source: FacesOnDisk, at: int) -> None:
    """Pack, but be killed when the picture of number `at` is read."""
    read, seen = packing.read_image, list[Path]()

    def read_or_die(path: Path) -> Any:
        seen.append(path)
        if len(seen) > at:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(path)

    packing.read_image = read_or_die  # type: ignore[attr-defined]  # in a process of its own
    pack.prepare(source)


def test_killed_packing_goes_on_where_it_was(aflw2000_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 4)
    pack, source = FixedPack(tmp_path, 0), source_of(aflw2000_root)
    killed = multiprocessing.get_context("fork").Process(target=pack_and_die, args=(pack, source, 6))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    folder = pack.folder(source)
    assert set(chunk_times(folder)) == {"chunk_00000.npz"}
    assert not (folder / "manifest.json").exists()
    with pytest.raises(InputError, match="not a complete pack"):
        read_pack(folder)
    times = chunk_times(folder)
    packed, files = opened(pack, source), source.read(99.0, "raise")
    assert chunk_times(folder)["chunk_00000.npz"] == times["chunk_00000.npz"]
    for index in range(len(files)):
        np.testing.assert_array_equal(packed.image(index), source.crop(files.image(index), files.box[index]))
    assert not list(folder.glob("*.partial"))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_change_nothing(w300lp_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int) -> None:
    set_chunk(monkeypatch, 10)
    source = FacesOnDisk(W300LP, w300lp_root, {}, FSANetCrop())
    packed, files = opened(FixedPack(tmp_path, num_workers), source), W300LP(w300lp_root)
    assert packed.names == files.names
    np.testing.assert_array_equal(packed.image(47), source.crop(files.image(47), files.box[47]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"crop": HopenetCrop(64), "augmentation": Augmentation()}, "crop=hopenet, whose cut training varies; set pack=loose"),
        ({"augmentation": Augmentation(mirror=0.5)}, "augmentation.mirror; set pack=loose or pack=none"),
        ({"augmentation": Augmentation(rotation=5.0)}, "augmentation.rotation"),
        ({"perturb": Perturbation(shift=0.1)}, "pack=fixed cannot serve a test with perturb.shift=0.1;"),
    ],
    ids=["hopenet", "mirror", "rotation", "perturbed"],
)
def test_fixed_pack_refuses_what_needs_the_picture(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        FixedPack(tmp_path).open(source_of(tmp_path, **given), 99.0, "raise")
    assert "\n" not in str(error.value)


def test_impossible_packs(aflw2000_root: Path) -> None:
    with pytest.raises(InputError, match=r"pack\.size=0 is not a number of pixels"):
        LoosePack("x", size=0)
    with pytest.raises(InputError, match=r"pack\.margin=-1 is not a share"):
        LoosePack("x", margin=-1)
    with pytest.raises(InputError, match=r"cannot be written .*set pack\.root"):
        FixedPack("/proc/nowhere").open(source_of(aflw2000_root), 99.0, "raise")


def test_face_outside_its_picture_is_a_bad_file(own: Path, tmp_path: Path) -> None:
    import scipy.io

    content = {key: value for key, value in scipy.io.loadmat(own / "image00002.mat").items() if not key.startswith("__")}
    scipy.io.savemat(own / "image00002.mat", {**content, "pt3d_68": content["pt3d_68"] + 2000})
    for pack in (FixedPack(tmp_path, 0), LoosePack(tmp_path, 0)):
        with pytest.raises(InputError, match=r"image00002\.jpg: the box .* lies outside its picture of 450×450"):
            pack.open(source_of(own), 99.0, "raise")


def test_loose_picture_of_nearly_the_size_is_kept_as_it_is(aflw2000_root: Path, tmp_path: Path) -> None:
    pack, source = LoosePack(tmp_path, 0, size=448, margin=9), source_of(aflw2000_root, HopenetCrop(224))
    packed, files = opened(pack, source), source.read(99.0, "raise")
    np.testing.assert_array_equal(packed.image(0), files.image(0))
    np.testing.assert_array_equal(packed.box[0], files.box[0])
    smaller = opened(LoosePack(tmp_path, 0, size=440, margin=9), source)
    assert smaller.image(0).shape == (440, 440, 3)


def test_chunks_are_large_enough_for_the_largest_dataset() -> None:
    assert 122_450 / CHUNK < 256  # each is an open file
