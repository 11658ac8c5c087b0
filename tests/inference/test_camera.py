"""Poses before a tilted camera with a lens, in the world's frame; calibration files of OpenCV and ROS."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from configs import write_checkpoint
from fixed_boxes import FixedBoxes
from headposekit import load
from headposekit.detectors.base import Detections, as_detections
from headposekit.errors import InputError
from headposekit.geometry.perspective import camera_to_ray, focal_length
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.inference.camera import Camera, read_lens
from headposekit.inference.estimator import PoseEstimator
from headposekit.inference.smoothing import NoSmoothing
from headposekit.inference.sources import Frame, Input
from headposekit.inference.stream import PoseStream
from headposekit.inference.tracking import Tracker
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_video import EXACT

SIZE = (640, 480)
MATRIX = [[600.0, 0, 330], [0, 590, 235], [0, 0, 1]]
BARREL = [-0.28, 0.09, 0.001, -0.0005, -0.01]
PICTURE = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "tilt", [{"pitch": -20.0}, {"pitch": 20.0, "roll": 10.0}, {"yaw": 30.0, "pitch": -20.0, "roll": -15.0}]
)
@pytest.mark.parametrize("lens", [{}, {"field_of_view": 70.0}, {"matrix": MATRIX, "distortion": BARREL}])
def test_heads_before_a_turned_camera_get_back_their_pose_in_the_world(tilt: dict, lens: dict) -> None:
    """The way there is written out with OpenCV, the way back is the camera's."""
    rng = np.random.default_rng(0)
    world = torch.from_numpy(rng.uniform([-60, -25, -25], [60, 25, 25], (50, 3)))
    camera = Camera(**tilt, **lens)
    yaw, pitch, roll = (np.radians(tilt.get(name, 0.0)) for name in ("yaw", "pitch", "roll"))
    turn = np.eye(3)  # of the camera: to its right, then up, then its right side down; x right, y up, z toward the viewer
    for vector in ([0, -yaw, 0], [pitch, 0, 0], [0, 0, -roll]):
        turn = turn @ cv2.Rodrigues(np.array(vector, dtype=float))[0]
    in_camera = torch.from_numpy(turn.T) @ pose_to_matrix(world)
    rays = rng.uniform([-0.35, -0.3], [0.35, 0.3], (50, 2)) if lens else np.zeros((50, 2))  # x and y at distance 1, y down
    seen = camera_to_ray(matrix_to_pose(in_camera), torch.from_numpy(rays), (0, 0), 1.0)
    if "matrix" in lens:
        solid = np.concatenate([rays, np.ones((50, 1))], axis=1)
        centers = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), np.array(MATRIX), np.array(BARREL))[0][:, 0]
    else:
        centers = rays * focal_length(70, SIZE[0]) + np.array(SIZE) / 2
    found = matrix_to_pose(torch.from_numpy(camera.turns(centers, SIZE)) @ pose_to_matrix(seen))
    np.testing.assert_allclose(found, world, atol=0.05 if "matrix" in lens else 1e-6)


class Named:
    """Knows the box in each frame by its name."""

    name = "named"
    boxes_are_crops = False

    def __init__(self, boxes: dict[str, np.ndarray]) -> None:
        self.boxes = boxes

    def __call__(self, image: np.ndarray, name: str = "") -> Detections:
        return as_detections(self.boxes[name], [1.0])


def cross_talk(pose: object) -> float:
    """Slope of pitch on yaw."""
    yaw, pitch, _ = np.asarray(pose).T
    return float(np.polyfit(yaw, pitch, 1)[0])


def test_a_camera_that_leans_mixes_yaw_into_pitch_until_it_is_corrected() -> None:
    """True poses, and estimates of them with 3 degrees of noise."""
    rng = np.random.default_rng(0)
    world = torch.from_numpy(rng.uniform([-45, -10, -10], [45, 10, 10], (400, 3)))
    camera = Camera(roll=20)
    seen = matrix_to_pose(torch.from_numpy(camera.rotation.T) @ pose_to_matrix(world))
    for noise in (0.0, 3.0):
        estimated = seen + torch.from_numpy(rng.normal(0, noise, (400, 3)))
        back = matrix_to_pose(torch.from_numpy(camera.turns(np.zeros((400, 2)), SIZE)) @ pose_to_matrix(estimated))
        assert abs(cross_talk(estimated)) > 0.3
        assert abs(cross_talk(back) - cross_talk(world)) < 0.02
    lower = matrix_to_pose(torch.from_numpy(Camera(pitch=-20).rotation.T) @ pose_to_matrix(world))
    np.testing.assert_allclose(lower - world, np.tile([0, -20, 0], (400, 1)), atol=1e-9)  # one that looks down mixes nothing


def test_rendered_video_of_a_leaning_camera(shared: Path) -> None:
    """3 seconds straight ahead, then a head that turns from side to side, by the authors' network."""
    weights = shared / "fsanet_official" / "fsanet_noS_metric_3_16_2_192_5.h5"
    heads = HeadSampler(**EXACT, occluder=0.0, photo=0.0)
    camera, fps = Camera(pitch=-10, roll=20), 12
    yaw = [0.0] * 37 + np.linspace(-45, 45, 31).tolist()
    world = torch.tensor([[angle, 0.0, 0.0] for angle in yaw], dtype=torch.float64)
    seen = matrix_to_pose(torch.from_numpy(camera.rotation.T) @ pose_to_matrix(world))
    drawn = [heads.render(3, 128, pose.tolist(), canvas=2.0) for pose in seen]
    boxes = {f"a.mp4/{number:05d}": head.box for number, head in enumerate(drawn)}
    source = Input(Path("a.mp4"), "a.mp4")
    frames = [Frame(source, head.image, number, number / fps, fps) for number, head in enumerate(drawn)]
    found = {}
    for name, own, calibrate in (("plain", None, None), ("camera", camera, None), ("neutral", None, 3.0)):
        model = load(weights, camera=own, detector=Named(boxes))
        stream = PoseStream(model, lambda: Tracker(0.01), NoSmoothing, calibrate=calibrate)
        poses = [face.pose.pose for _, (face,) in stream(frames)]
        found[name] = np.array(poses)[37:]
    assert abs(cross_talk(found["plain"])) > 0.25
    assert abs(cross_talk(found["camera"])) < 0.06
    assert abs(cross_talk(found["neutral"])) < 0.06


def written(path: Path, key: str = "camera_matrix", **numbers: object) -> Path:
    """A calibration file as OpenCV itself writes it."""
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in {"image_width": 640, "image_height": 480, key: np.array(MATRIX), **numbers}.items():
        storage.write(name, value)
    storage.release()
    return path


@pytest.mark.parametrize("suffix", [".yaml", ".xml", ".json"])
def test_files_of_opencv_are_read(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"camera{suffix}", distortion_coefficients=np.array([BARREL]).T, image_points=np.ones((9, 30, 2)))
    matrix, lens = read_lens(path)
    assert matrix is not None
    np.testing.assert_allclose(matrix.reshape(3, 3), MATRIX)
    np.testing.assert_allclose(lens.distortion, BARREL)
    assert lens.size == SIZE
    numbers = Camera(matrix=MATRIX, distortion=BARREL).turns([[100, 50]], SIZE)
    np.testing.assert_allclose(Camera(matrix=path).turns([[100, 50]], SIZE), numbers)
    np.testing.assert_allclose(Camera(matrix=path).turns([[200, 100]], (1280, 960)), numbers)  # larger pictures of the same


@pytest.mark.parametrize(("model", "coefficients"), [("plumb_bob", BARREL), ("equidistant", [0.05, -0.01, 0.002, 0.0])])
def test_files_of_ros_are_read(tmp_path: Path, model: str, coefficients: list[float]) -> None:
    flat = [number for row in MATRIX for number in row]
    text = (
        f"image_width: 640\nimage_height: 480\ncamera_name: front\ndistortion_model: {model}\n"
        f"camera_matrix:\n  rows: 3\n  cols: 3\n  data: {flat}\n"
        f"distortion_coefficients:\n  rows: 1\n  cols: {len(coefficients)}\n  data: {coefficients}\n"
    )
    (tmp_path / "camera.yaml").write_text(text)
    turn = Camera(matrix=tmp_path / "camera.yaml").turns([[500.0, 400.0]], SIZE)[0]
    there, matrix = np.array([[[500.0, 400.0]]]), np.array(MATRIX)
    undistort = cv2.fisheye.undistortPoints if model == "equidistant" else cv2.undistortPoints
    x, y = undistort(there, matrix, np.array(coefficients)).ravel()
    np.testing.assert_allclose(turn[:, 2], np.array([-x, y, 1]) / np.sqrt(x**2 + y**2 + 1), atol=1e-4)  # back to the camera


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no names in it"),
        ("a: 1", "neither camera_matrix nor distortion_coefficients"),
        ("camera_matrix: [1, 2, 3]", "not a camera matrix"),
        ("camera_matrix: {rows: 3, cols: 3, data: [a, 0, 0, 0, 1, 0, 0, 0, 1]}", "not a readable calibration file"),
        ("camera_matrix: !!python/object/apply:os.system [ls]", "not a readable calibration file"),
        ("a: &a [1, 2]\nb: &b [*a, *a]\ncamera_matrix: [*b, *b, *b]", "not a readable calibration file"),
        ('<!DOCTYPE x [<!ENTITY a "aaaa">]><opencv_storage/>', "XML with declarations"),
        ("<opencv_storage>", "not a readable calibration file"),
        ("{", "not readable JSON"),
        ("[" * 100_000, "not a readable calibration file"),
        ('{"camera_matrix": [[600, 0, 320], [0, 600, 240], [0, 0, 1]], "dist_coeffs": [1, 2, 3]}', "3 numbers; give OpenCV's"),
    ],
)  # fmt: skip
def test_broken_files_are_refused_in_one_line(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "camera.yaml").write_text(content)
    with pytest.raises(InputError) as refusal:
        Camera(matrix=tmp_path / "camera.yaml")
    assert message in str(refusal.value)
    assert "camera" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pitch": "down"}, "camera.pitch='down' is not a number of degrees"),
        ({"pitch": float("nan")}, "camera.pitch=nan is not"),
        ({"matrix": [[1, 2], [3]]}, "holds something else than numbers"),
        ({"matrix": [[0, 0, 1], [0, 1, 1], [0, 0, 1]]}, "camera.matrix: not a camera matrix"),
        ({"matrix": "nowhere.yaml"}, "nowhere.yaml: no such file"),
        ({"distortion": BARREL}, "camera.distortion= needs the camera matrix"),
        ({"matrix": MATRIX, "distortion": [1, 2]}, "2 numbers; give OpenCV's"),
        ({"matrix": MATRIX, "field_of_view": 60}, "leave one of them out"),
        ({"field_of_view": 200}, "a field of view of 200 degrees does not exist"),
    ],
)
def test_refusals(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("[", r"\[")):
        Camera(**options)


def test_pictures_that_the_matrix_is_not_for_are_refused(tmp_path: Path) -> None:
    camera = Camera(matrix=written(tmp_path / "camera.yaml"))
    with pytest.raises(InputError, match="for pictures of 640×480 pixels, not for one of 640×640"):
        camera.turns([[1, 1]], (640, 640))
    with pytest.raises(InputError, match="330, 235, outside a picture of 160×120 pixels"):
        Camera(matrix=MATRIX).turns([[1, 1]], (160, 120))
    with pytest.raises(InputError, match="does not describe the lens at 639, 479"):
        Camera(matrix=MATRIX, distortion=[-3.0, 0, 0, 0]).turns([[639, 479]], SIZE)


def test_estimator_turns_poses_and_draws_them_as_seen(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "net.ckpt")
    box = np.array([[100.0, 70, 140, 110]])
    (seen,) = load(checkpoint)(PICTURE, boxes=box)
    camera = Camera(pitch=-20, matrix=[[150, 0, 80], [0, 150, 60], [0, 0, 1]])
    model = load(checkpoint, camera=camera, detector=FixedBoxes(box))
    (turned,) = model(PICTURE)
    np.testing.assert_allclose(turned.matrix, camera.turns([[120, 90]], (160, 120))[0] @ seen.matrix, atol=1e-6)
    assert turned.seen == pytest.approx(seen.pose, abs=1e-5)
    assert seen.seen == seen.pose
    with pytest.raises(InputError, match="both given"):
        PoseEstimator(model.members, field_of_view=60, camera=camera)
