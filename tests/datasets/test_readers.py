import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

import trees
from headposekit.datasets import AFLW2000, W300LP
from headposekit.errors import InputError
from headposekit.pictures import read_image


def edit_mat(path: Path, **changes: object) -> None:
    content = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
    content.update(changes)
    scipy.io.savemat(path, {key: value for key, value in content.items() if value is not None})


@pytest.fixture
def broken(aflw2000_root: Path, tmp_path: Path) -> Path:
    """A tree of its own, to be damaged."""
    return Path(shutil.copytree(aflw2000_root, tmp_path / "AFLW2000"))


def test_300w_lp_sample_is_one_sample_of_the_real_layout(w300lp_root: Path) -> None:
    dataset = W300LP(w300lp_root)
    assert len(dataset) == 48
    sample = dataset[dataset.names.index("IBUG_Flip/IBUG_image_002 _01_1")]  # the name holds a space
    para = scipy.io.loadmat(w300lp_root / f"{sample['name']}.mat")["Pose_Para"][0]
    np.testing.assert_allclose(sample["pose"], np.degrees(para[[1, 0, 2]]), atol=1e-4)
    assert sample["image"].shape == (450, 450, 3)
    assert sample["image"].dtype == np.uint8
    points = sample["landmarks"]
    np.testing.assert_allclose(sample["box"], [*points.min(axis=0), *points.max(axis=0)], atol=1e-4)


def test_colours_are_rgb(tmp_path: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 4, 3), (0, 0, 255), dtype=np.uint8))
    assert read_image(tmp_path / "red.png")[0, 0].tolist() == [255, 0, 0]


def test_photo_joins_poses_and_mirror(w300lp_root: Path) -> None:
    dataset = W300LP(w300lp_root)
    photos = [dataset.photo_of(name) for name in dataset.names]
    assert len(set(photos)) == 8
    assert dataset.photo_of("AFW_Flip/AFW_5083671561_5_5") == dataset.photo_of("AFW/AFW_5083671561_5_17")
    assert dataset.photo_of("AFW/AFW_134212_1_1") == dataset.photo_of("AFW/AFW_134212_2_1")  # two faces of one photograph
    assert dataset.photo_of("LFPW/LFPW_image_train_0001_1") != dataset.photo_of("LFPW/LFPW_image_train_0002_1")
    assert dataset.photo_of("IBUG/IBUG_image_092 _01_3") == dataset.photo_of("IBUG/IBUG_image_092_2_0")


def test_published_list_has_the_published_number_of_photos(shared: Path) -> None:
    with gzip.open(shared / "lists" / "300W_LP_filename_filtered.txt.gz", "rt") as file:
        names = file.read().splitlines()
    assert len(names) == 122_415
    reader = W300LP.__new__(W300LP)
    photos = {reader.photo_of(name) for name in names}
    assert len(photos) == 3_456  # of 3,837 faces
    counts = {subset: sum(photo.startswith(subset + "/") for photo in photos) for subset in ("AFW", "HELEN", "IBUG", "LFPW")}
    assert counts == {"AFW": 185, "HELEN": 2122, "IBUG": 114, "LFPW": 1035}


def test_real_300w_lp_image(shared: Path) -> None:
    dataset = W300LP(shared / "300w_lp_sample")
    assert dataset.names == ["IBUG/IBUG_image_008_1_0"]
    sample = dataset[0]
    x0, y0, x1, y1 = sample["box"]
    assert 0 < x0 < x1 < sample["image"].shape[1]
    assert 0 < y0 < y1 < sample["image"].shape[0]


def test_aflw2000_filter_is_by_rule(aflw2000_root: Path) -> None:
    dataset = AFLW2000(aflw2000_root)
    assert (len(dataset), dataset.num_filtered) == (10, 2)
    assert len(AFLW2000(aflw2000_root, max_angle=None)) == 12
    assert "image00010" not in dataset.names


@given(st.lists(st.tuples(*[st.floats(-150, 150)] * 3), min_size=1, max_size=5), st.sampled_from([30.0, 99.0]))
def test_filter_keeps_a_face_iff_all_angles_are_within(poses: list[tuple[float, ...]], limit: float) -> None:
    from headposekit.data.dataset import Annotation, FolderDataset

    class Listed(FolderDataset):
        title, layout = "listed", "*"

        def list_images(self) -> list[Path]:
            return [Path(__file__)] * len(poses)

        def name_of(self, path: Path) -> str:
            return path.stem

        def read_annotation(self, path: Path) -> Annotation:
            return Annotation(np.array(next(remaining)), np.zeros(4, np.float32), np.zeros((68, 2)))

    kept = [pose for pose in poses if all(abs(angle) <= limit for angle in pose)]
    remaining = iter(poses)
    if not kept:
        with pytest.raises(InputError, match=f"none of the {len(poses)} faces"):
            Listed(Path(__file__).parent, max_angle=limit)
        return
    dataset = Listed(Path(__file__).parent, max_angle=limit)
    np.testing.assert_allclose(dataset.pose, kept, rtol=1e-6, atol=1e-30)
    assert dataset.num_filtered == len(poses) - len(kept)


def test_real_labels_by_rule_and_by_list(shared: Path) -> None:
    labels = np.genfromtxt(shared / "aflw2000_labels_500.csv", delimiter=",", names=True, dtype=None, encoding="utf8")
    listed = set((shared / "lists" / "AFLW2000_filename_filtered.txt").read_text().split())
    by_rule = {str(row["name"]) for row in labels if max(abs(row["yaw"]), abs(row["pitch"]), abs(row["roll"])) <= 99}
    assert len(by_rule) == 494
    assert by_rule == {str(name) for name in labels["name"]} & listed
    assert len(listed) == 1969


@pytest.mark.parametrize("box", ["official", "visible21", "pt3d_68"])
def test_aflw2000_box_rules_reach_the_sample(aflw2000_root: Path, box) -> None:
    dataset = AFLW2000(aflw2000_root, box=box)
    mat = scipy.io.loadmat(aflw2000_root / f"{dataset.names[0]}.mat")
    left = {"official": -1, "visible21": mat["pt2d"][0][mat["pt2d"][0] > 0].min(), "pt3d_68": mat["pt3d_68"][0].min()}[box]
    assert dataset[0]["box"][0] == pytest.approx(left)


def test_reader_returns_what_a_generated_tree_holds(tmp_path: Path) -> None:
    """Round trip of poses and landmarks through .mat files."""
    trees.write_aflw2000(tmp_path, n=3, seed=5)
    dataset = AFLW2000(tmp_path)
    for index in range(3):
        sample = dataset[index]
        mat = scipy.io.loadmat(tmp_path / f"{sample['name']}.mat")
        np.testing.assert_allclose(sample["landmarks"], mat["pt3d_68"][:2].T)
        np.testing.assert_allclose(np.radians(sample["pose"][[1, 0, 2]]), mat["Pose_Para"][0, :3], atol=1e-6)


NAN_PARA = np.array([[0.1, np.nan, 0.1, 0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "image00003.mat").unlink(), r"image00003\.jpg: its annotation image00003\.mat is missing"),
        (lambda root: (root / "image00003.jpg").unlink(), r"image00003\.jpg: the picture of an annotation is missing"),
        (lambda root: edit_mat(root / "image00003.mat", Pose_Para=None), r"image00003\.mat: no Pose_Para in it"),
        (lambda root: edit_mat(root / "image00003.mat", Pose_Para=NAN_PARA), r"image00003\.mat: Pose_Para holds NaN"),
        (lambda root: edit_mat(root / "image00003.mat", Pose_Para=np.zeros((1, 6))), r"shape \(1, 6\), expected .* \(1, 7\)"),
        (lambda root: edit_mat(root / "image00003.mat", pt2d=np.full((2, 21), -1.0)), r"no visible point in pt2d"),
        (lambda root: (root / "image00003.mat").write_bytes(b"MATLAB"), r"image00003\.mat: not a readable MATLAB v5 file"),
    ],
    ids=["no mat", "no jpg", "no Pose_Para", "NaN", "shape", "nothing visible", "garbage"],
)
def test_broken_annotation_is_one_line_with_the_file(broken: Path, damage, message: str) -> None:
    damage(broken)
    with pytest.raises(InputError, match=message) as error:
        AFLW2000(broken)
    assert "\n" not in str(error.value)
    assert str(broken) in str(error.value)
    survivor = AFLW2000(broken, bad_files="skip")
    assert len(survivor) == 9
    assert list(survivor.skipped) == ["image00003"]


@pytest.mark.parametrize("suffixes", [("JPG", "mat"), ("jpg", "MAT"), ("Jpg", "Mat")], ids="-".join)
def test_suffixes_in_any_case(broken: Path, suffixes: tuple[str, str]) -> None:
    before = AFLW2000(broken)
    for old, new in zip(("jpg", "mat"), suffixes, strict=True):
        for path in list(broken.glob(f"*.{old}"))[::2]:
            path.rename(path.with_suffix(f".{new}"))
    after = AFLW2000(broken)
    assert after.names == before.names
    np.testing.assert_array_equal(after.pose, before.pose)
    after.verify(range(len(after)))
    assert [path.is_file() for files in map(after.label_files, after.paths) for path in files] == [True] * len(after)


def test_points_far_outside_the_picture_are_refused_with_the_face(broken: Path) -> None:
    edit_mat(broken / "image00003.mat", pt2d=np.tile([[1e5], [2e5]], (1, 21)) + np.arange(21))
    dataset = AFLW2000(broken)
    with pytest.raises(InputError, match=r"image00003: the box \(.*\) lies outside its picture of 450×450"):
        dataset[dataset.names.index("image00003")]
    assert list(AFLW2000(broken, bad_files="skip").skipped) == ["image00003"]


def test_truncated_mat_at_any_length_is_refused(broken: Path) -> None:
    path = broken / "image00003.mat"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"image00003\.mat"):
            AFLW2000(broken)


def test_truncated_jpg(broken: Path) -> None:
    path = broken / "image00003.jpg"
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"image00003\.jpg: cut short"):
        AFLW2000(broken)[3]
    assert "image00003" in AFLW2000(broken, bad_files="skip").skipped


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"], ids=["empty", "text", "png header"])
def test_no_picture(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.jpg: not a readable picture"):
        read_image(path)


@pytest.mark.parametrize("reader", [AFLW2000, W300LP])
def test_missing_and_empty_root(reader, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{reader.title} not found: no folder .*nowhere; set its root"):
        reader(tmp_path / "nowhere")
    with pytest.raises(InputError, match="holds none of its pictures"):
        reader(tmp_path)


def test_everything_filtered_away(aflw2000_root: Path) -> None:
    with pytest.raises(InputError, match=r"none of the 12 faces .*12 beyond ±0\.5"):
        AFLW2000(aflw2000_root, max_angle=0.5)


def test_unknown_choice(aflw2000_root: Path) -> None:
    with pytest.raises(InputError, match="bad_files=ignore is unknown; choose raise or skip"):
        AFLW2000(aflw2000_root, bad_files="ignore")  # type: ignore[arg-type]


def test_what_macos_keeps_beside_files_is_no_face(broken: Path) -> None:
    expected = AFLW2000(broken).names
    for path in sorted(broken.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    assert AFLW2000(broken).names == expected
