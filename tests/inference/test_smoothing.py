from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headposekit.errors import InputError
from headposekit.geometry.rotations import geodesic_distance, matrix_to_pose, nearest_pose, pose_to_matrix
from headposekit.inference.smoothing import NoSmoothing, OneEuro, Slerp

FPS = 25.0
angles = st.floats(-179, 179)


def run(smoothing: Callable, poses: np.ndarray, track: int = 1) -> np.ndarray:
    return np.array([smoothing(track, number / FPS, tuple(pose)) for number, pose in enumerate(poses)])


def ramp(speed: float, angle: int, seconds: float = 4.0) -> np.ndarray:
    poses = np.zeros((round(seconds * FPS), 3))
    poses[:, angle] = -60 + speed * np.arange(len(poses)) / FPS
    return poses


@pytest.mark.parametrize("angle", [0, 1, 2], ids=["yaw", "pitch", "roll"])
@pytest.mark.parametrize(
    ("smoothing", "lag"),
    [(Slerp(0.08), 0.08), (Slerp(0.2), 0.2), (OneEuro(), OneEuro().lag(30)), (NoSmoothing(), 0.0)],
    ids=["slerp", "slow slerp", "one euro", "none"],
)
def test_lag_behind_a_steady_turn_is_the_stated_one(smoothing: Callable, lag: float, angle: int) -> None:
    poses = ramp(30, angle)
    late = (poses - run(smoothing, poses, track=angle))[-1]
    assert late[angle] / 30 == pytest.approx(lag, abs=2e-3)
    np.testing.assert_allclose(np.delete(late, angle), 0, atol=1e-6)


@pytest.mark.parametrize("rate", [12.5, 60.0])
def test_lag_does_not_depend_on_the_frame_rate(rate: float) -> None:
    smoothing = Slerp(0.1)
    times = np.arange(0, 3, 1 / rate)
    last = [smoothing(1, time, (20 * time, 0.0, 0.0))[0] for time in times][-1]
    assert times[-1] - last / 20 == pytest.approx(0.1, abs=1e-3)


def test_step_reaches_63_percent_after_the_lag() -> None:
    """As a first-order filter does, in many small steps."""
    smoothing = Slerp(0.1)
    smoothing(1, 0.0, (0.0, 0.0, 0.0))
    reached = [smoothing(1, time, (10.0, 0.0, 0.0))[0] for time in np.arange(1, 101) / 1000]
    assert reached[-1] / 10 == pytest.approx(1 - np.exp(-1), abs=0.005)


@pytest.mark.parametrize("make", [Slerp, OneEuro])
def test_jitter_of_a_still_head_shrinks(make: Callable) -> None:
    noise = np.random.default_rng(0).normal(0, 2, (500, 3))
    smoothed = run(make(), noise)
    before, after = (np.abs(np.diff(poses, 2, axis=0)).mean() for poses in (noise, smoothed))
    assert after < 0.4 * before


@pytest.mark.parametrize("make", [lambda: Slerp(0.2), OneEuro])
def test_half_turn_is_no_edge(make: Callable) -> None:
    """Roll that goes on beyond 180 degrees, with estimates that jump to -180 there."""
    rolls = np.arange(150, 210, 1.0)
    poses = np.stack([np.zeros_like(rolls), np.zeros_like(rolls), (rolls + 180) % 360 - 180], axis=1)
    smoothed = run(make(), poses)
    late = geodesic_distance(torch.from_numpy(smoothed), torch.from_numpy(poses))
    assert float(late.max()) < 8
    assert np.abs(smoothed[:, :2]).max() < 1e-6


def test_faces_are_smoothed_for_themselves() -> None:
    smoothing = Slerp(0.5)
    for number in range(5):
        assert smoothing(1, number / FPS, (40.0, 0.0, 0.0))[0] == pytest.approx(40)
        assert smoothing(2, number / FPS, (-40.0, 0.0, 0.0))[0] == pytest.approx(-40)


@given(st.tuples(angles, angles, angles), st.tuples(angles, angles, angles))
def test_nearest_pose_is_the_same_rotation(pose: tuple, reference: tuple) -> None:
    pose, reference = (torch.tensor(triple, dtype=torch.float64) for triple in (pose, reference))
    nearest = nearest_pose(pose, reference)
    torch.testing.assert_close(pose_to_matrix(nearest), pose_to_matrix(pose), atol=1e-9, rtol=0)
    assert (nearest - reference).norm() <= (pose - reference).norm() + 1e-9


def test_nearest_pose_keeps_a_profile_beyond_90_degrees() -> None:
    pose = torch.tensor([97.0, -4.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(nearest_pose(matrix_to_pose(pose_to_matrix(pose)), pose), pose)


@pytest.mark.parametrize(
    "make", [lambda: Slerp(0), lambda: OneEuro(min_cutoff=0), lambda: OneEuro(beta=-1), lambda: OneEuro(speed_cutoff=-1)]
)
def test_refusals(make: Callable) -> None:
    with pytest.raises(InputError, match=r"smoothing\."):
        make()
