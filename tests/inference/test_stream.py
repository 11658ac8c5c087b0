from pathlib import Path

import cv2
import numpy as np
import pytest

from configs import HOPENET, write_checkpoint
from fixed_boxes import FixedBoxes
from headposekit import load
from headposekit.detectors.base import Detections, as_detections
from headposekit.errors import InputError
from headposekit.inference.estimator import PoseEstimator
from headposekit.inference.outputs import pose_row
from headposekit.inference.smoothing import NoSmoothing, Slerp
from headposekit.inference.sources import Frame, Input
from headposekit.inference.stream import PoseStream
from headposekit.inference.tracking import Tracker

PICTURE = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
LEFT, RIGHT = np.array([10.0, 20, 60, 90]), np.array([90.0, 30, 140, 100])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PoseEstimator:
    return load(
        write_checkpoint(tmp_path_factory.mktemp("net") / "net.ckpt", HOPENET), detector=FixedBoxes(np.stack([LEFT, RIGHT]))
    )


def video(name: str, frames: int) -> list[Frame]:
    source = Input(Path(name), name)
    return [Frame(source, np.roll(PICTURE, number, axis=1), number, number / 25, 25.0) for number in range(frames)]


class Moving:
    """A face whose box goes to the right by two pixels a frame."""

    name = "moving"
    boxes_are_crops = False

    def __call__(self, image: np.ndarray, name: str = "") -> Detections:
        return as_detections(LEFT + [2 * int(name.rsplit("/")[-1]), 0] * 2, [1.0])


def test_each_video_has_people_and_smoothing_of_its_own(model: PoseEstimator) -> None:
    frames = [*video("a.mp4", 5), Frame(Input(Path("b.jpg"), "b.jpg"), PICTURE), *video("c.mp4", 4)]
    plain, smooth = (list(PoseStream(model, Tracker, make, batch_size=3)(frames)) for make in (NoSmoothing, lambda: Slerp(0.3)))
    assert [[face.track for face in faces] for _, faces in plain] == [[1, 2]] * 5 + [[None, None]] + [[1, 2]] * 4
    same = [before == after for (_, before), (_, after) in zip(plain, smooth, strict=True)]
    assert same == [True, False, False, False, False, True, True, False, False, False]  # each first frame is as it is


@pytest.mark.parametrize("batch_size", [1, 4, 32])
def test_batches_are_only_for_speed(model: PoseEstimator, batch_size: int) -> None:
    frames = video("a.mp4", 6)
    found = [faces for _, faces in PoseStream(model, Tracker, Slerp, batch_size=batch_size)(frames)]
    alone = [faces for _, faces in PoseStream(model, Tracker, Slerp, batch_size=2)(frames)]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose([face.pose.pose for face in one], [face.pose.pose for face in other], atol=1e-3)


def test_boxes_come_late_by_the_stated_lag(model: PoseEstimator) -> None:
    moving = PoseEstimator(model.members, Moving())
    for lag in (0.0, 0.08):
        shown = [faces[0].pose.box[0] for _, faces in PoseStream(moving, Tracker, NoSmoothing, lag)(video("a.mp4", 30))]
        late = LEFT[0] + 2 * 29 - shown[-1]
        assert late / (2 * 25) == pytest.approx(lag, abs=1e-3)


def test_frame_without_a_picture_interrupts_nothing(model: PoseEstimator) -> None:
    frames = video("a.mp4", 3)
    broken = Frame(frames[0].source, None, 3, None, 25.0, "ends early")
    found = list(PoseStream(model, Tracker, NoSmoothing)([*frames, broken]))
    assert [len(faces) for _, faces in found] == [2, 2, 2, 0]
    assert found[-1][0].problem == "ends early"


def test_refusal(model: PoseEstimator) -> None:
    with pytest.raises(InputError, match="box_lag=-1 is less than 0"):
        PoseStream(model, Tracker, NoSmoothing, box_lag=-1)
    with pytest.raises(InputError, match="max_spread=0 is not above 0"):
        PoseStream(model, Tracker, NoSmoothing, max_spread=0)


def test_uncertain_poses_are_refused(model: PoseEstimator, tmp_path: Path) -> None:
    frames = video("a.mp4", 2)
    (_, shown), _ = PoseStream(model, Tracker, NoSmoothing)(frames)
    spreads = sorted(face.pose.rotation_spread for face in shown)
    assert spreads[0] == pytest.approx(
        np.linalg.norm(min((face.pose for face in shown), key=lambda p: p.rotation_spread).spread)
    )
    (_, found), _ = PoseStream(model, Tracker, NoSmoothing, max_spread=sum(spreads) / 2)(frames)
    assert sorted(face.is_refused for face in found) == [False, True]
    rows = [pose_row(frames[0], face) for face in found]
    assert [row["yaw"] is None for row in rows] == [face.is_refused for face in found]
    assert all(row["spread"] > 0 for row in rows)
    silent = load(write_checkpoint(tmp_path / "net.ckpt"))
    with pytest.raises(InputError, match="max_spread=5: the network does not say how sure it is"):
        PoseStream(silent, Tracker, NoSmoothing, max_spread=5)


class Failing:
    """Fails as OpenCV does at a picture that it cannot take."""

    name = "failing"
    boxes_are_crops = False

    def __call__(self, image: np.ndarray, name: str = "") -> Detections:
        if name == "b.jpg":
            raise cv2.error("too wide")
        return as_detections([LEFT], [1.0])


def test_a_picture_that_the_detector_cannot_take_costs_that_picture(model: PoseEstimator) -> None:
    frames = [Frame(Input(Path(name), name), PICTURE) for name in ("a.jpg", "b.jpg", "c.jpg")]
    found = list(PoseStream(PoseEstimator(model.members, Failing()), Tracker, NoSmoothing)(frames))
    assert [len(faces) for _, faces in found] == [1, 0, 1]
    assert [frame.problem for frame, _ in found] == ["", "b.jpg: the detector fails on it (error); try another detector=", ""]
