"""300W-LP made anew: photographs (here synthetic heads) turned further away, in its layout."""

from pathlib import Path

import numpy as np
import pytest

from headposekit.data.chunks import in_parallel
from headposekit.datasets import W300LP
from headposekit.datasets.profiles import WriteProfiles
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.landmarks.labels import label_poses
from headposekit.synthesis.sampler import Head, HeadSampler

POSES = {
    "afw/1051618982_1": (4.0, 5.0, -4.0),
    "afw/1051618982_2": (-25.0, -6.0, 8.0),
    "lfpw_train/image_0001": (38.0, 0.0, 3.0),
}


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    sampler = HeadSampler(texture_pool=4, photo=0.0, borders=0.0, occluder=0.0, glasses=0.0, hat=0.0, perspective=None)
    return [sampler.render(2 * number, 200, pose) for number, pose in enumerate(POSES.values())]


@pytest.fixture(scope="module")
def photographs(heads: list[Head], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("300W")
    for name, head in zip(POSES, heads, strict=True):
        (root / name).parent.mkdir(exist_ok=True)
        write_picture(root / f"{name}.png", head.image)
        np.savetxt(root / f"{name}.pts", head.landmarks[:, :2] + 0.5, fmt="%.3f")
    return root


@pytest.fixture(scope="module")
def written(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> W300LP:
    root = tmp_path_factory.mktemp("profiles")
    writer = WriteProfiles(root, photographs, num_views=4, nod=0.0, level=0.0)
    names = in_parallel(writer, range(len(writer)), "writing", 0)
    assert [len(some) for some in names] == [5, 5, 5]
    return W300LP(root)


def test_faces_are_turned_away_to_the_side_they_look_to(written: W300LP) -> None:
    assert len(written) == 15
    assert {written.photo_of(name) for name in written.names} == {"AFW/AFW_afw_1051618982", "LFPW/LFPW_lfpw_train_image_0001"}
    for face, yaw in (("AFW/AFW_afw_1051618982_2", -25.0), ("LFPW/LFPW_lfpw_train_image_0001", 38.0)):
        found = np.array([written.pose[written.names.index(f"{face}_{view}")] for view in range(5)])
        assert np.abs(found[0] - POSES["afw/1051618982_2" if yaw < 0 else "lfpw_train/image_0001"]).max() < 5
        assert (np.diff(np.abs(found[:, 0])) > 0).all()
        assert 70 < abs(found[4, 0]) <= 91
        assert (np.sign(found[:, 0]) == np.sign(yaw)).all()


def test_points_of_a_view_have_the_pose_of_its_label(written: W300LP) -> None:
    labels = label_poses(written.landmarks.astype(np.float64), "modes_68").pose
    off = np.abs(labels - written.pose)
    assert off[np.abs(written.pose[:, 0]) < 75].max() < 5
    assert np.median(off) < 1


def test_the_first_view_is_the_photograph(written: W300LP, heads: list[Head]) -> None:
    name = written.names.index("AFW/AFW_afw_1051618982_2_0")
    picture = written.image(name)
    points, true = written.landmarks[name], heads[1].landmarks[:, :2]
    # Both pictures show the same face, the one enlarged.
    scale = np.ptp(points[:, 0]) / np.ptp(true[:, 0])
    assert scale == pytest.approx(np.ptp(points[:, 1]) / np.ptp(true[:, 1]), rel=0.05)
    places = [27, 30, 33, 57, 62]
    ours = np.array([picture[int(y), int(x)] for x, y in points[places]], dtype=float)
    original = np.array([heads[1].image[int(y), int(x)] for x, y in true[places]], dtype=float)
    assert np.abs(ours - original).mean() < 12


def test_a_mark_on_the_nose_turns_with_it(photographs: Path, heads: list[Head], tmp_path: Path) -> None:
    marked = heads[1].image.copy()
    x, y = heads[1].landmarks[30, :2]
    marked[round(y) - 4 : round(y) + 4, round(x) - 4 : round(x) + 4] = (0, 255, 0)
    (tmp_path / "in").mkdir()
    write_picture(tmp_path / "in" / "face.png", marked)
    np.savetxt(tmp_path / "in" / "face.pts", heads[1].landmarks[:, :2] + 0.5, fmt="%.3f")
    writer = WriteProfiles(tmp_path / "out", tmp_path / "in", num_views=3)
    assert writer[0] == [f"HELEN/HELEN_face_{view}" for view in range(4)]
    dataset = W300LP(tmp_path / "out")
    for index in range(4):
        rgb = dataset.image(index).astype(float)
        green = (rgb[..., 1] - rgb[..., [0, 2]].max(axis=2)).clip(60) - 60
        rows, columns = np.indices(green.shape)
        middle = np.array([(green * columns).sum(), (green * rows).sum()]) / green.sum() + 0.5
        assert np.abs(middle - (dataset.landmarks[index, 30] - 0.5)).max() < 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_views": -1}, "num_views=-1"),
        ({"nod": 45.0}, "0 to 30 degrees"),
        ({"photographs": "nowhere"}, "nowhere"),
        ({"first_pixel": 2}, "first_pixel=2"),
    ],
)
def test_options_that_cannot_be_are_refused(photographs: Path, tmp_path: Path, options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        WriteProfiles(tmp_path / "out", **{"photographs": photographs, **options})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another one"):
        WriteProfiles(photographs, photographs)
