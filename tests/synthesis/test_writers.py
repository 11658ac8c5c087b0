from pathlib import Path

import numpy as np
import pytest
import scipy.io

from headpose.datasets import AFLW2000, W300LP
from headpose.errors import InputError
from headpose.geometry.projection import project_pose_para
from headpose.synthesis.sampler import HeadSampler
from headpose.synthesis.writers import SIZE, Write300WLP, WriteAFLW2000


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
