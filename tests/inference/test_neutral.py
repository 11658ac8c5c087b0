"""A person's neutral pose: found among glances, taken off, kept in a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.errors import InputError
from headposekit.geometry.rotations import geodesic_distance, matrix_to_pose, pose_to_matrix
from headposekit.inference.camera import Camera
from headposekit.inference.estimator import HeadPose
from headposekit.inference.neutral import Calibration, Neutral, calibration_of, read_neutral, write_neutrals

BOX = (0.0, 0.0, 9.0, 9.0)


def head(pose: object) -> HeadPose:
    yaw, pitch, roll = np.asarray(pose).tolist()
    return HeadPose(BOX, None, yaw, pitch, roll)


@pytest.mark.parametrize("true", [(8.0, -12.0, 3.0), (-30.0, -25.0, 10.0), (0.0, 0.0, 0.0)])
def test_neutral_pose_is_found_among_glances(true: tuple[float, float, float]) -> None:
    """3 seconds of a network with 2 degrees of noise, for 30 % of which somebody looks aside."""
    rng = np.random.default_rng(0)
    poses = np.array(true) + rng.normal(0, 2, (75, 3))
    poses[rng.permutation(75)[:22]] += [35, -10, 5]
    neutral = Neutral.of(poses.tolist())
    found = torch.tensor([neutral.yaw, neutral.pitch, neutral.roll])
    assert geodesic_distance(found, torch.tensor(true)) < 1
    mean = torch.from_numpy(poses.mean(axis=0))
    assert geodesic_distance(mean, torch.tensor(true)) > 5  # which a plain mean does not
    assert neutral.faces == 75
    assert 2 < neutral.spread < 6


def test_a_neutral_pose_takes_off_the_tilt_of_a_camera_that_is_not_known() -> None:
    world = torch.stack([torch.linspace(-60, 60, 50), torch.zeros(50), torch.zeros(50)], dim=1).double()
    turn = torch.from_numpy(Camera(pitch=-10, roll=20).rotation.T)
    seen = matrix_to_pose(turn @ pose_to_matrix(world))
    assert abs(np.polyfit(seen[:, 0], seen[:, 1], 1)[0]) > 0.3  # yaw shows in pitch
    neutral = Neutral.of([tuple(matrix_to_pose(turn).tolist())] * 5)
    back = np.array([neutral(head(pose)).pose for pose in seen])
    np.testing.assert_allclose(back, world, atol=1e-6)
    assert neutral(head(seen[0])).seen == pytest.approx(seen[0].tolist())  # drawn where it was


def test_calibration_waits_for_each_face() -> None:
    calibration = Calibration(1.0)
    times = np.arange(40) / 25
    first = [calibration(1, time, (10.0, 5.0, 0.0)) for time in times]
    assert first[:25] == [0.0] * 25  # not known yet, since second 0
    assert all(isinstance(neutral, Neutral) and neutral.yaw == pytest.approx(10) for neutral in first[25:])
    assert calibration(2, 9.0, (0.0, 0.0, 0.0)) == 9.0
    assert list(calibration.neutrals) == [1]
    slow = Calibration(1.0)
    assert [isinstance(slow(1, float(time), (1.0, 2.0, 3.0)), Neutral) for time in range(6)] == [False] * 4 + [True] * 2


def test_file_keeps_it(tmp_path: Path) -> None:
    path, neutral = tmp_path / "neutral.json", Neutral(1.5, -2.5, 3.0, 1.0, 75)
    write_neutrals(path, {("a.mp4", 1): neutral})
    assert calibration_of(str(path)) == Neutral(1.5, -2.5, 3.0)
    write_neutrals(path, {("a.mp4", 1): neutral, ("a.mp4", 2): neutral})
    with pytest.raises(InputError, match="neutral poses of 2 people; leave in it the one"):
        read_neutral(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not readable JSON"),
        ("[]", "not a file of neutral poses"),
        ('{"neutral": [3]}', "not a file of neutral poses"),
        ('{"neutral": [{"yaw": 1, "pitch": null, "roll": 2}]}', "no three angles"),
        ('{"neutral": [{"yaw": NaN, "pitch": 1, "roll": 2}]}', "no three angles"),
        (json.dumps({"neutral": "x" * 10**6}), "more than the 100,000"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "neutral.json").write_text(content)
    with pytest.raises(InputError, match=message):
        calibration_of(tmp_path / "neutral.json")


def test_refusals() -> None:
    with pytest.raises(InputError, match="calibrate=-1 is no time"):
        calibration_of(-1)
    with pytest.raises(InputError, match="2 poses are too few"):
        Neutral.of([(0.0, 0.0, 0.0)] * 2)
