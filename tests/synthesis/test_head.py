import numpy as np
import pytest

from headposekit.geometry.face_model import MIRROR_68, mean_face_68, symmetric_face_68
from headposekit.synthesis import head


def surface() -> np.ndarray:
    return head.head_model().deform(np.zeros((68, 3)))


def test_mean_face_is_human_sized_and_its_mirror_is_itself() -> None:
    face = symmetric_face_68()
    np.testing.assert_allclose(face[MIRROR_68] * [-1, 1, 1], face)
    assert np.abs(face - mean_face_68()).max() < 0.06  # two millimetres
    assert np.linalg.norm(face[45] - face[36]) * 36 == pytest.approx(90, abs=5)  # outer eye corners, in mm


def test_surface_passes_the_landmarks() -> None:
    distance = np.linalg.norm(head.head_model().landmarks(surface()) - symmetric_face_68(), axis=1)
    assert distance.mean() * 36 < 1  # mm
    assert distance.max() * 36 < 3


def test_surface_is_symmetric_closed_and_of_human_proportions() -> None:
    mesh = surface()
    np.testing.assert_allclose(mesh[:, ::-1] * [-1, 1, 1], mesh, atol=1e-4)
    np.testing.assert_allclose(mesh[:, 0], mesh[:, -1], atol=1e-4)  # the seam
    size = (mesh.max(axis=(0, 1)) - mesh.min(axis=(0, 1))) * 36  # mm
    assert 145 < size[0] < 165  # breadth
    assert 210 < size[1] < 240  # chin to crown
    assert 195 < size[2] < 220  # nose to the back


def test_moved_landmarks_take_the_surface_along_and_leave_the_skull() -> None:
    model = head.head_model()
    movement = np.zeros((68, 3))
    movement[27:36, 2] = 0.2  # a longer nose
    moved = model.deform(movement) - surface()
    at_landmarks = model.landmarks(model.deform(movement)) - model.landmarks(surface())
    np.testing.assert_allclose(at_landmarks[27:36, 2], 0.2, atol=0.04)
    back = np.abs(head.LONGITUDES) > 150
    assert np.abs(moved[:, back]).max() < 0.03


def test_hair_stands_out_above_the_hairline_and_its_edge_lies_in_the_skin() -> None:
    mesh = surface()
    line = np.full(head.COLUMNS, 30.0)
    shell = head.hair_shell(mesh, line, np.full(mesh.shape[:2], 0.4)) - head.CENTER
    height = np.degrees(np.arcsin(shell[..., 1] / np.linalg.norm(shell, axis=-1)))
    assert height.min() == pytest.approx(27, abs=1)  # a little below the line
    skin = np.linalg.norm(mesh[:, ::2] - head.CENTER, axis=-1)
    below = np.array([np.interp(-lat, -head.LATITUDES, column) for lat, column in zip(height.T, skin.T, strict=True)]).T
    gap = np.linalg.norm(shell, axis=-1) - below
    assert gap[height > 38].min() > 0.3
    assert gap[-1].max() < -0.05


def test_ears_sit_on_the_head() -> None:
    mesh = surface()
    for side in (-1.0, 1.0):
        ear = head.make_ear(mesh, side, 25, 12, 1.0)
        hinge = ear[..., 2].argmax()
        assert abs(abs(ear.reshape(-1, 3)[hinge, 0]) - np.abs(mesh[..., 0]).max()) < 0.5
        assert 55 < np.ptp(ear[..., 1]) * 36 < 75  # mm


def test_modes_have_the_spread_of_real_faces() -> None:
    spread = np.sqrt((head.face_modes_68() ** 2).sum(axis=(0, 2))) * 36  # mm, per landmark
    assert head.face_modes_68().shape == (14, 68, 3)
    assert spread.min() > 1
    assert spread.max() < 8
