"""BIWI as our writer lays it out, and what can be broken in it."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from headposekit.datasets import BIWIDataModule
from headposekit.datasets.biwi import BIWI, PEOPLE, biwi_sequences, read_calibration, read_pose
from headposekit.errors import InputError
from headposekit.geometry.conventions import FLIP_FRAME, calibrate_biwi_matrix, pose_from_biwi_matrix
from headposekit.geometry.crops import FSANetCrop
from headposekit.geometry.perspective import camera_to_ray, ray_rotation
from headposekit.geometry.rotations import angular_error
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_biwi import BIWI_POSES, BIWI_SIZE, HEAD_CENTER, WriteBIWI


@pytest.fixture(scope="module")
def biwi_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("BIWI")
    writer = WriteBIWI(root, HeadSampler(texture_pool=4), num_units=3, num_frames=3)
    for number in range(len(writer)):
        writer[number]
    return root


@pytest.fixture
def root(biwi_root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(biwi_root, tmp_path / "BIWI"))


def test_written_poses_and_boxes_are_read_back(biwi_root: Path) -> None:
    dataset = BIWI(biwi_root)
    assert dataset.names[:2] == ["01/frame_00003", "01/frame_00004"]
    assert len(dataset) == 9
    head = WriteBIWI(biwi_root, HeadSampler(texture_pool=4), 3).heads.render((10**6 + 1) * BIWI_POSES + 2, 200)
    index = dataset.names.index("02/frame_00005")
    np.testing.assert_allclose(dataset.pose[index], head.pose, atol=0.01)
    x0, y0, x1, y1 = dataset.box[index].astype(int)
    assert dataset.image(index).shape == (480, 640, 3)
    assert dataset.image(index)[y0:y1, x0:x1].std() > 10
    assert np.isnan(dataset.landmarks).all()
    assert dataset.photo_of("15/frame_00000") == dataset.photo_of("03/frame_00003") == "F03"


def test_depth_is_the_rendered_one(biwi_root: Path) -> None:
    """Differences of depth are the renderer's, 36 mm a head unit, within the rounding to millimetres."""
    heads = WriteBIWI(biwi_root, HeadSampler(texture_pool=4), 3).heads
    dataset = BIWI(biwi_root)
    for index, name in enumerate(dataset.names):
        head = heads.render((10**6 + int(name[:2]) - 1) * BIWI_POSES + int(name[-5:]) - 3, BIWI_SIZE)
        depth = dataset.depth(index)
        drawn = np.isfinite(head.depth)
        left, top = (dataset.box[index] - head.box)[:2].round().astype(int)
        window = np.s_[top : top + BIWI_SIZE, left : left + BIWI_SIZE]
        np.testing.assert_array_equal(depth[window] > 0, drawn)
        assert np.count_nonzero(depth) == drawn.sum() > 5000
        shift = depth[window][drawn] - 36.0 * head.depth[drawn]
        assert shift.max() - shift.min() <= 1.01
        assert depth.max() < 2000


def test_pose_head_centre_depth_and_box_agree(biwi_root: Path) -> None:
    """Points of the face, carried by pose.txt and projected by depth.cal, lie on the depth picture's surface."""
    heads = WriteBIWI(biwi_root, HeadSampler(texture_pool=4), 3).heads
    dataset = BIWI(biwi_root)
    camera = read_calibration(biwi_root / "01" / "depth.cal")
    np.testing.assert_array_equal(camera.rotation, np.eye(3))
    np.testing.assert_array_equal(camera.translation, np.zeros(3))
    assert (biwi_root / "01" / "rgb.cal").read_text() == (biwi_root / "01" / "depth.cal").read_text()
    found = 0
    for index, name in enumerate(dataset.names):
        rotation, center = read_pose(biwi_root / f"{name}_pose.txt")
        pixel = (camera.intrinsics @ center / center[2])[:2]
        x0, y0, x1, y1 = dataset.box[index]
        assert x0 < pixel[0] < x1
        assert y0 < pixel[1] < y1
        depth = dataset.depth(index)
        assert 0 < center[2] - depth[tuple(pixel.round().astype(int)[::-1])] < 160
        assert 700 < center[2] < 1400
        head = heads.render((10**6 + int(name[:2]) - 1) * BIWI_POSES + int(name[-5:]) - 3, BIWI_SIZE)
        assert 125 < 36 * np.ptp(head.neutral[:17, 0]) < 175  # the jaw line is as wide as the face
        if np.abs(head.pose).max() > 40:
            continue
        found += 1
        points = center + 36 * (head.neutral - HEAD_CENTER) @ FLIP_FRAME @ rotation.T
        for landmark in (27, 28, 29, 30, 33):  # along the nose
            x, y, z = points[landmark]
            # The picture is that of a parallel camera: all at the scale of the head's centre.
            column, row = (camera.intrinsics @ [x, y, center[2]] / center[2])[:2].round().astype(int)
            assert abs(depth[row, column] - z) < 8
    assert found >= 3


def test_missing_depth_is_named(root: Path) -> None:
    (root / "01" / "frame_00004_depth.bin").unlink()
    raw = (root / "01" / "frame_00005_depth.bin").read_bytes()
    (root / "01" / "frame_00005_depth.bin").write_bytes(raw[:-1])
    dataset = BIWI(root)
    with pytest.raises(InputError, match=r"01/frame_00004_depth\.bin: no such file"):
        dataset.depth(1)
    with pytest.raises(InputError, match=r"01/frame_00005_depth\.bin: .* cut short"):
        dataset.depth(2)


def test_poses_are_ours_whatever_angles_a_test_measures_in(biwi_root: Path) -> None:
    plain = BIWIDataModule(biwi_root, FSANetCrop())
    other = BIWIDataModule(biwi_root, FSANetCrop(), euler_order="pyr", calibrated=True, part="train")
    number = plain.dataset.names.index(other.dataset.names[0])
    np.testing.assert_allclose(other.dataset.pose[0], plain.dataset.pose[number], atol=1e-3)  # its cameras stand in one place
    assert plain.rules == {
        "dataset": "BIWI", "max_angle": 99, "box": "fsanet_protocol1", "part": "all", "calibrated": False, "frame": "camera",
        "euler_order": "ypr",
    }  # fmt: skip
    changed = {"part": "train", "part_by": "sequence", "part_seed": 0, "calibrated": True, "euler_order": "pyr"}
    assert other.rules == {**plain.rules, **changed}
    with pytest.raises(InputError, match="euler_order=rpy is unknown; choose ypr or pyr"):
        BIWIDataModule(biwi_root, FSANetCrop(), euler_order="rpy")  # type: ignore[arg-type]


def test_frames_of_a_list_alone_count(root: Path, tmp_path: Path) -> None:
    everything = BIWI(root)
    chosen = tmp_path / "frames.npz"
    images = [f"{name}_rgb.png" for name in everything.names[1:3]]
    np.savez(chosen, images=np.array(images), bbox=np.full((2, 4), 50.0))
    some = BIWI(root, frames=chosen)
    assert some.names == everything.names[1:3]
    np.testing.assert_array_equal(some.box, everything.box[1:3])  # not the list's
    assert some.num_filtered == everything.num_filtered + len(everything) - 2


def write_dockerface(root: Path, into: Path) -> None:
    for path in sorted(root.glob("*/frame_*_rgb.png")):
        (into / path.parent.name).mkdir(parents=True, exist_ok=True)
        (into / path.parent.name / f"dockerface-{path.stem}.txt").write_text(f"{path.name} 10 20 110.5 140 0.99\n")


def test_dockerface_has_a_file_for_each_frame(root: Path, tmp_path: Path) -> None:
    write_dockerface(root, root)
    (root / "01" / "dockerface-frame_00004_rgb.txt").write_text("none\n")
    dataset = BIWI(root, box_rule="dockerface")
    assert len(dataset) == 9
    np.testing.assert_array_equal(dataset.box[:3], [[10, 20, 110.5, 140], [0, 0, 640, 480], [10, 20, 110.5, 140]])
    write_dockerface(root, tmp_path / "elsewhere")
    np.testing.assert_array_equal(BIWI(root, boxes=tmp_path / "elsewhere", box_rule="dockerface").box[1], [10, 20, 110.5, 140])
    assert BIWIDataModule(root, FSANetCrop(), box_rule="dockerface").rules["box"] == "dockerface"


def test_frames_that_dockerface_misses_are_left_out(root: Path) -> None:
    (root / "03").rename(root / "21")
    (root / "21" / "dockerface-frame_00004_rgb.txt").unlink()
    for kind in ("rgb.png", "pose.txt", "depth.bin"):
        (root / "21" / f"frame_00004_{kind}").rename(root / "21" / f"frame_00457_{kind}")
    write_dockerface(root, root)
    (root / "21" / "dockerface-frame_00457_rgb.txt").unlink()
    dataset = BIWI(root, box_rule="dockerface")
    assert dataset.names[-2:] == ["21/frame_00003", "21/frame_00005"]
    assert (len(dataset), dataset.num_filtered) == (8, 1)


def test_missing_boxes_of_dockerface_are_named(root: Path) -> None:
    write_dockerface(root, root)
    (root / "02" / "dockerface-frame_00004_rgb.txt").unlink()
    with pytest.raises(InputError, match=r"02/dockerface-frame_00004_rgb\.txt: no such file"):
        BIWI(root, box_rule="dockerface")
    assert list(BIWI(root, box_rule="dockerface", bad_files="skip").skipped) == ["02/frame_00004"]
    with pytest.raises(InputError, match=r"is no folder; box_rule=dockerface reads"):
        BIWI(root, box_rule="dockerface", boxes=root / "01" / "detections.csv")
    (root / "01" / "dockerface-frame_00099_rgb.txt").write_text("a 1 2 3 4\n")
    with pytest.raises(InputError, match=r"boxes of 01/frame_00099, which is not in"):
        BIWI(root, box_rule="dockerface")


def test_calibration_turns_the_poses(root: Path) -> None:
    plain = BIWI(root)
    lines = (root / "01" / "rgb.cal").read_text().splitlines()
    turn = np.array([[0.999947, 0.00432361, 0.00929419], [-0.00446314, 0.999877, 0.0150443], [-0.009228, -0.015085, 0.999844]])
    lines[6:9] = [" ".join(map(str, row)) for row in turn]
    (root / "01" / "rgb.cal").write_text("\n".join(lines))
    np.testing.assert_allclose(read_calibration(root / "01" / "rgb.cal").rotation, turn)
    calibrated = BIWI(root, calibrated=True)
    matrix = read_pose(root / "01" / "frame_00003_pose.txt")[0]
    np.testing.assert_allclose(calibrated.pose[0], pose_from_biwi_matrix(calibrate_biwi_matrix(matrix, turn)), atol=1e-4)
    assert 0.3 < np.abs(calibrated.pose - plain.pose).max() < 5


def test_frames_without_a_face_are_left_out_and_counted(root: Path) -> None:
    lines = (root / "02" / "detections.csv").read_text().splitlines()
    (root / "02" / "detections.csv").write_text("\n".join([lines[0], *lines[2:]]))
    assert len(BIWI(root)) == 8
    assert BIWI(root).num_filtered == 1
    assert len(BIWI(root, box_rule="fsanet_protocol2")) == 9


def test_one_file_for_all_boxes(root: Path) -> None:
    header, *rows = (root / "01" / "detections.csv").read_text().splitlines()
    for number in (2, 3):
        rows += (root / f"{number:02d}" / "detections.csv").read_text().splitlines()[1:]
    (root / "boxes.csv").write_text("\n".join([header, *rows]))
    np.testing.assert_array_equal(BIWI(root, boxes=root / "boxes.csv").box, BIWI(root).box)


def test_a_published_list_says_which_frames_count_and_what_is_cut(root: Path) -> None:
    images = np.array(["01/frame_00003_rgb.png", "03/frame_00004_rgb.png"])
    np.savez(root / "list.npz", images=images, bbox=np.array([[200, 150, 81, 101], [300, 200, 81, 101]]))
    datamodule = BIWIDataModule(root, FSANetCrop(), boxes=root / "list.npz", box_rule="listed_crops")
    assert datamodule.dataset.names == ["01/frame_00003", "03/frame_00004"]
    assert datamodule.dataset.num_filtered == 7
    assert (datamodule.rules["box"], datamodule.rules["box_file"]) == ("listed_crops", "list.npz")
    cut = datamodule.dataset.image(0)[150:250, 200:280]
    shown = datamodule.faces([0])["image"][0].permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(shown, cv2.resize(cut, (64, 64)))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("01/frame_00003_pose.txt", "1 0 0\n0 1 0\n", "6 numbers where 12"),
        ("01/frame_00003_pose.txt", "1 0 0\n0 one 0\n0 0 1\n\n0 0 900\n", "something else than numbers"),
        ("01/frame_00003_pose.txt", "1 0 0\n0 2 0\n0 0 1\n\n0 0 900\n", "no rotation"),
        ("01/frame_00003_pose.txt", "nan 0 0\n0 1 0\n0 0 1\n\n0 0 900\n", "not finite"),
        ("01/detections.csv", "name,confidence,x0,y0,x1,y1\n01/frame_00099,1,2,3,4,5\n", "boxes of 01/frame_00099"),
    ],
)
def test_broken_files_are_named(root: Path, name: str, text: str, told: str) -> None:
    (root / name).write_text(text)
    with pytest.raises(InputError, match=told) as refusal:
        BIWI(root)
    assert name.split("/")[0] in str(refusal.value)
    if told != "boxes of 01/frame_00099":
        assert len(BIWI(root, bad_files="skip")) == 8


def test_missing_files_are_named(root: Path) -> None:
    (root / "03" / "rgb.cal").unlink()
    with pytest.raises(InputError, match=r"03/rgb\.cal: no such file"):
        BIWI(root, calibrated=True)
    (root / "02" / "frame_00004_pose.txt").unlink()
    with pytest.raises(InputError, match=r"frame_00004_pose\.txt"):
        BIWI(root)
    (root / "01" / "frame_00004_rgb.png").unlink()
    with pytest.raises(InputError, match=r"frame_00004_rgb\.png: the picture of an annotation is missing"):
        BIWI(root)
    (root / "03" / "detections.csv").unlink()
    with pytest.raises(InputError, match=r"detections\.csv: no such file; run a face detector"):
        BIWI(root)


@pytest.mark.parametrize("box", ["-100000,-100000,100000,100000", "700,100,800,200"], ids=["huge", "outside"])
def test_boxes_that_fit_no_frame_are_named(root: Path, box: str) -> None:
    rows = [f"01/{path.name[:11]},0.99,{box}" for path in sorted((root / "01").glob("*_rgb.png"))]
    (root / "01" / "detections.csv").write_text("name,confidence,x0,y0,x1,y1\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=r"detections\.csv: 01/frame_00003: the box \(.*\) .* picture of 640×480"):
        BIWI(root, box_rule="listed")


@pytest.mark.parametrize("seed", range(5))
def test_parts_of_protocol_2(seed: int) -> None:
    train, test = (biwi_sequences(part, "sequence", seed) for part in ("train", "test"))  # type: ignore[arg-type]
    assert sorted(train + test) == biwi_sequences("all", "sequence", seed) == list(range(1, 25))
    assert len(train) == 16
    train, test = (biwi_sequences(part, "person", seed) for part in ("train", "test"))  # type: ignore[arg-type]
    assert sorted(train + test) == list(range(1, 25))
    assert len(train) in (16, 17)
    assert not {PEOPLE[number - 1] for number in train} & {PEOPLE[number - 1] for number in test}


def test_unknown_part_is_named() -> None:
    with pytest.raises(InputError, match="part=most"):
        biwi_sequences("most", "sequence", 0)  # type: ignore[arg-type]


def test_a_ray_predictor_is_right_in_the_frame_of_rays(root: Path) -> None:
    """Heads are drawn as their crops show them; labels in the camera's frame are turned by the angle of the ray."""
    drawn = BIWI(root, calibrated=True)
    for path in drawn.paths:
        pose_file = path.with_name(path.name.replace("rgb.png", "pose.txt"))
        matrix, center = read_pose(pose_file)
        ray = ray_rotation(torch.tensor(center[:2] / center[2]), (0, 0), 1.0).numpy()
        turned = FLIP_FRAME @ ray @ FLIP_FRAME @ matrix
        pose_file.write_text("\n".join(" ".join(f"{value:.9f}" for value in row) for row in (*turned, [], center)) + "\n")
    camera, ray_frame = BIWI(root, calibrated=True), BIWI(root, calibrated=True, frame="ray")
    np.testing.assert_allclose(ray_frame.pose, drawn.pose, atol=1e-3)
    assert np.abs(camera.pose - drawn.pose).max() > 1
    with pytest.raises(InputError, match=r"frame=ray is seen from the colour camera; set calibrated=true as well"):
        BIWI(root, frame="ray")
    with pytest.raises(InputError, match=r"frame=head is unknown; choose camera or ray"):
        BIWI(root, frame="head")  # type: ignore[arg-type]
    assert BIWIDataModule(root, FSANetCrop(), calibrated=True, frame="ray").rules["frame"] == "ray"


def test_labels_move_by_three_degrees_between_the_frames(shared: Path) -> None:
    """All 15,678 frames of Biwi+: the middle of each box, and a focal length of 517 pixels."""
    with np.load(shared / "biwi_plus" / "Biwi_plus.npz", allow_pickle=False) as file:
        boxes, pose = file["bbox"].astype(float), file["ypr"]
    center = torch.tensor(boxes[:, :2] + boxes[:, 2:] / 2)
    moved = camera_to_ray(torch.tensor(pose), center, (640, 480), 517.0)
    assert float(angular_error(moved, torch.tensor(pose)).mean()) == pytest.approx(3.3, abs=0.1)
