import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from torch.utils.data import DataLoader

from headposekit.datasets import AFLW, AFLW2000, AFW, W300LP
from headposekit.errors import InputError
from headposekit.geometry.conventions import project_pose_para
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers import SIZE, Write300WLP, WriteAFLW2000
from headposekit.synthesis.writers_aflw import WriteAFLW, WriteAFW


def heads(**options: object) -> HeadSampler:
    return HeadSampler(seed=0, texture_pool=4, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def w300lp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = Write300WLP(tmp_path_factory.mktemp("300W_LP"), heads(), num_units=4)
    for number in range(len(writer)):
        writer[number]
    return writer.root


@pytest.fixture(scope="module")
def aflw2000(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = WriteAFLW2000(tmp_path_factory.mktemp("AFLW2000"), heads(), num_units=64)
    for number in (0, 1, 2, 63):
        writer[number]
    return writer.root


def test_label_projects_the_neutral_landmarks_onto_the_drawn_ones() -> None:
    sampler = heads(perspective=None)
    for index in range(6):
        head = sampler.render(index, SIZE)
        projected = project_pose_para(head.neutral, head.pose_para, SIZE)
        np.testing.assert_allclose(projected[:, :2] - 0.5, head.landmarks[:, :2], atol=0.01)


def test_our_reader_reads_what_was_written(w300lp: Path) -> None:
    dataset = W300LP(w300lp)
    assert len(dataset) == 16
    assert len({dataset.photo_of(name) for name in dataset.names}) == 4
    assert any(" " in name for name in dataset.names)
    parallel = heads(perspective=None)
    name = next(name for name in dataset.names if name.startswith("HELEN/") and name.endswith("_1"))
    sample, head = dataset[dataset.names.index(name)], parallel.render(3, SIZE)
    np.testing.assert_allclose(sample["pose"], head.pose, atol=0.01)
    np.testing.assert_allclose(sample["landmarks"], head.landmarks[:, :2] + 0.5, atol=0.01)
    assert np.abs(sample["image"].astype(int) - head.image).mean() < 4  # JPEG


def test_mirror_is_the_mirrored_picture_pose_and_points(w300lp: Path) -> None:
    dataset = W300LP(w300lp)
    for name in [name for name in dataset.names if "_Flip" not in name]:
        folder, stem = name.split("/")
        face, flipped = (dataset[dataset.names.index(n)] for n in (name, f"{folder}_Flip/{stem}"))
        np.testing.assert_allclose(flipped["pose"], face["pose"] * [-1, 1, -1], atol=1e-4)
        assert np.abs(flipped["image"][:, ::-1].astype(int) - face["image"]).mean() < 4  # JPEG, twice
        nose = 30
        assert flipped["landmarks"][nose, 0] == pytest.approx(SIZE + 1 - face["landmarks"][nose, 0], abs=0.01)
        assert flipped["landmarks"][36, 0] < flipped["landmarks"][45, 0] or abs(flipped["pose"][0]) > 60


@pytest.mark.parametrize(
    ("sample", "written"),
    [("300w_lp_sample/IBUG/IBUG_image_008_1_0.mat", "w300lp"), ("aflw2000_sample/image00050.mat", "aflw2000")],
)
def test_keys_shapes_and_types_are_those_of_a_real_file(shared: Path, sample: str, written: str, request) -> None:
    real = scipy.io.loadmat(shared / sample)
    ours = scipy.io.loadmat(next(request.getfixturevalue(written).rglob("*.mat")))
    described = [{k: (v.shape, v.dtype) for k, v in mat.items() if not k.startswith("__")} for mat in (real, ours)]
    assert described[0] == described[1]


def test_aflw2000_has_hidden_points_and_faces_beyond_99(aflw2000: Path) -> None:
    dataset = AFLW2000(aflw2000)
    assert (len(dataset), dataset.num_filtered) == (3, 1)
    everything = AFLW2000(aflw2000, max_angle=None)
    for name, pose in zip(everything.names, everything.pose, strict=True):
        points = scipy.io.loadmat(aflw2000 / f"{name}.mat")["pt2d"]
        assert ((points[0] == -1).sum() >= 9) == (abs(pose[0]) > 38)
        assert (points[1] > 0).any()


def test_test_faces_are_of_other_people(w300lp: Path, aflw2000: Path) -> None:
    assert not np.isin(W300LP(w300lp).pose[:, 1], AFLW2000(aflw2000).pose[:, 1]).any()


def test_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="num_units=0 writes nothing"):
        Write300WLP(tmp_path, heads(), 0)


def rows(root: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(root / "aflw.sqlite")) as database:
        tables = ("Faces", "FaceImages", "FacePose", "FaceRect")
        return {table: database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in tables}


def test_aflw_is_the_same_whoever_writes_it_and_however_often(tmp_path: Path) -> None:
    alone = WriteAFLW(tmp_path / "alone", heads(), num_units=4, size=64)
    names = [name for number in (3, 2, 1, 0, 2) for name in alone[number]]
    together = WriteAFLW(tmp_path / "together", heads(), num_units=4, size=64)
    for _ in DataLoader(together, batch_size=None, num_workers=2):
        pass
    assert rows(alone.root) == rows(together.root)
    assert len(names) == 7
    assert sorted(set(names)) == AFLW(together.root, None).names
    pictures = [{path.relative_to(w.root): path.read_bytes() for path in w.root.rglob("*.jpg")} for w in (alone, together)]
    assert len(pictures[0]) == 4
    assert pictures[0] == pictures[1]


def test_rows_of_aflw_are_radians_with_the_roll_turned_and_whole_pixels(tmp_path: Path) -> None:
    writer = WriteAFLW(tmp_path, heads(), num_units=3, size=64)
    writer[2]
    head = writer.heads.render((2 * 10**6 + 5) * writer.heads.poses_per_identity, 64)
    found = rows(tmp_path)
    assert found["Faces"] == [(5, "image00003"), (6, "image00003")]
    assert found["FaceImages"] == [(3, "image00003", "3/image00003.jpg", 128, 64)]
    _, roll, pitch, yaw = found["FacePose"][1]
    np.testing.assert_allclose(np.degrees([yaw, pitch, -roll]), head.pose)
    _, x, y, w, h = found["FaceRect"][1]
    assert all(isinstance(side, int) for side in (x, y, w, h))
    np.testing.assert_allclose([x - 64, y, x - 64 + w, y + h], head.box, atol=0.5)


def test_text_of_aflw_is_one_line_in_radians(tmp_path: Path) -> None:
    writer = WriteAFLW(tmp_path, heads(), num_units=1, form="text", size=64)
    assert writer[0] == ["0/image00001_1"]
    name, *numbers = (tmp_path / "0" / "image00001_1.txt").read_text().removesuffix("\n").split(" ")
    head = writer.heads.render(2 * 10**6 * writer.heads.poses_per_identity, 64)
    assert name == "image00001_1"
    np.testing.assert_allclose(np.degrees([float(number) for number in numbers]), head.pose * [1, 1, -1], atol=1e-3)
    assert not (tmp_path / "aflw.sqlite").exists()


def test_afw_is_annotated_in_steps_of_15_degrees(tmp_path: Path) -> None:
    writer = WriteAFW(tmp_path, heads(), num_units=6)
    names = [name for number in (0, 2, 5) for name in writer[number]]
    lines = [(tmp_path / f"{name}.txt").read_text().split() for name in names]
    assert [line[0] for line in lines] == names == ["000001_1", "000003_1", "000003_2", "000006_1", "000006_2"]
    assert all(len(line) == 8 and int(line[1]) % 15 == 0 for line in lines)
    np.testing.assert_array_equal([-float(line[1]) for line in lines], AFW(tmp_path).pose[:, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"form": "csv"}, "choose sqlite or text"), ({"size": 0}, r"layout\.size=0 is out of range; give 32 to 4096")],
    ids=["form", "size"],
)
def test_unknown_form_and_no_size(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        WriteAFLW(tmp_path, heads(), 1, **options)
