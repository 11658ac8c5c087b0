import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headposekit.errors import InputError
from headposekit.geometry.conventions import FLIP_FRAME
from headposekit.geometry.perspective import camera_to_ray, focal_length, ray_rotation, ray_to_camera
from headposekit.geometry.rotations import geodesic_distance, matrix_to_pose, pose_to_matrix
from headposekit.synthesis.sampler import PIVOT, HeadSampler

SIZE = (640.0, 480.0)
pixels = st.tuples(st.floats(-200, 840), st.floats(-200, 680))
poses = st.tuples(st.floats(-89, 89), st.floats(-99, 99), st.floats(-99, 99))
focals = st.floats(100, 5000)


@given(pixels, focals)
def test_the_rotation_takes_the_axis_to_the_ray_without_twist(center: tuple[float, float], focal: float) -> None:
    rotation = ray_rotation(torch.tensor(center, dtype=torch.float64), SIZE, focal)
    torch.testing.assert_close(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64))
    assert rotation.det() == pytest.approx(1)
    ray = rotation @ torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    assert (320 + focal * ray[0] / -ray[2]).item() == pytest.approx(center[0], abs=1e-6)
    assert (240 - focal * ray[1] / -ray[2]).item() == pytest.approx(center[1], abs=1e-6)
    axis = np.array([rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]])
    assert axis[2] == pytest.approx(0, abs=1e-12)  # turns about an axis in the picture's plane


@given(st.lists(st.tuples(poses, pixels), min_size=1, max_size=4), focals)
def test_there_and_back(heads: list[tuple[tuple[float, ...], tuple[float, float]]], focal: float) -> None:
    pose = torch.tensor([pose for pose, _ in heads], dtype=torch.float64)
    center = torch.tensor([center for _, center in heads], dtype=torch.float64)
    camera = ray_to_camera(pose, center, SIZE, focal)
    assert geodesic_distance(camera_to_ray(camera, center, SIZE, focal), pose).max() < 1e-4
    torch.testing.assert_close(camera[0], ray_to_camera(pose[0], center[0], SIZE, focal))


@pytest.mark.parametrize("center", [(500.0, 100.0), (40.0, 420.0), (320.0, 240.0)])
def test_it_is_the_renderers_camera_turned(center: tuple[float, float]) -> None:
    """A rendered head's landmarks as a camera sees them that looks elsewhere; pose by PnP, which knows nothing of rays."""
    distance, focal = 25.0, 500.0
    head = HeadSampler(3, perspective=(distance, distance)).render(4, 200)
    # Where the renderer's landmarks lie on its camera's plane, from the head itself: in units of the focal length.
    rays = _rays(head.landmarks, head.neutral, head.pose, distance)
    turned = rays @ ray_rotation(torch.tensor(center, dtype=torch.float64), SIZE, focal).numpy().T
    seen = np.stack([320 + focal * turned[:, 0] / -turned[:, 2], 240 - focal * turned[:, 1] / -turned[:, 2]], axis=-1)
    camera = np.array([[focal, 0, 320], [0, focal, 240], [0, 0, 1]])
    found, turn, _ = cv2.solvePnP((head.neutral - PIVOT) @ FLIP_FRAME, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    assert found
    matrix = FLIP_FRAME @ cv2.Rodrigues(turn)[0] @ FLIP_FRAME
    by_points = matrix_to_pose(torch.tensor(matrix))
    said = ray_to_camera(torch.tensor(head.pose), torch.tensor(center, dtype=torch.float64), SIZE, focal)
    assert geodesic_distance(by_points, said) < 0.01


def _rays(landmarks: np.ndarray, neutral: np.ndarray, pose: np.ndarray, distance: float) -> np.ndarray:
    """Directions (68, 3) in frame A of a centred camera's pixels; scale and offset of the picture by least squares."""
    points = (neutral - PIVOT) @ pose_to_matrix(torch.tensor(pose)).numpy().T
    plane = points[:, :2] / (distance - points[:, 2:])
    rows = np.concatenate([plane * [1, -1], np.ones((68, 1))], axis=1)
    fitted, *_ = np.linalg.lstsq(rows, landmarks[:, :2], rcond=None)
    back = (landmarks[:, :2] - fitted[2]) @ np.linalg.inv(fitted[:2]) * [1, -1]
    return np.column_stack([back, -np.ones(68)])


def test_what_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="field of view of 180"):
        focal_length(180, 640)
    with pytest.raises(InputError, match="focal length of 0"):
        ray_to_camera(torch.zeros(3), torch.zeros(2), SIZE, 0)
