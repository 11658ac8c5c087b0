"""Pose labels of 68 landmarks: exact for the faces that the rule assumes, robust, and close to official labels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headposekit.geometry.face_model import mean_face_68, symmetric_face_68
from headposekit.geometry.rotations import geodesic_distance, pose_to_matrix
from headposekit.landmarks.labels import LabelRule, label_poses
from headposekit.synthesis.head import face_modes_68

ANGLES = st.floats(-60, 60)


def project(pose: np.ndarray, face: np.ndarray, scale: float = 40.0) -> np.ndarray:
    """Landmarks (B, 68, 2) of faces (68, 3) or (B, 68, 3) before a distant camera."""
    turned = face @ pose_to_matrix(torch.tensor(pose)).numpy().swapaxes(1, 2)
    return turned[..., :2] * [scale, -scale] + [120.0, 90.0]


def errors(pose: np.ndarray, true: np.ndarray) -> np.ndarray:
    return geodesic_distance(torch.tensor(pose), torch.tensor(true)).numpy()


@pytest.mark.parametrize("rule", ["rigid_68", "rigid_inner", "modes_68", "modes_inner"])
@given(pose=st.tuples(ANGLES, ANGLES, ANGLES), scale=st.floats(1, 500))
@settings(max_examples=20)
def test_poses_of_the_face_at_rest_are_exact(rule: LabelRule, pose: tuple[float, float, float], scale: float) -> None:
    face = symmetric_face_68() if rule.startswith("modes") else mean_face_68()
    found = label_poses(project(np.array([pose]), face, scale), rule)
    assert errors(found.pose, np.array([pose]))[0] < 0.01
    assert found.residual[0] < 1e-3


def faces_of_their_own(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    modes = face_modes_68()
    faces = symmetric_face_68() + np.einsum("bk,kpc->bpc", rng.normal(size=(count, len(modes))), modes)
    return rng.uniform(-45, 45, size=(count, 3)), faces


def test_the_shape_of_a_face_is_fitted_too() -> None:
    pose, faces = faces_of_their_own(60)
    points = project(pose, faces)
    modes, rigid = (errors(label_poses(points, rule).pose, pose).mean() for rule in ("modes_68", "rigid_68"))
    assert modes < 0.6 * rigid
    assert modes < 2.5


def test_points_far_off_hardly_count() -> None:
    pose, faces = faces_of_their_own(40)
    points = project(pose, faces)
    wrong = points.copy()
    wrong[:, 36:40] += [25.0, -30.0]  # an eye's corner on the brow
    moved = {
        rule: errors(label_poses(wrong, rule).pose, label_poses(points, rule).pose).mean()
        for rule in ("modes_inner", "rigid_inner")
    }
    assert moved["modes_inner"] < moved["rigid_inner"] / 2


def test_missing_points_and_no_points() -> None:
    points = np.repeat(project(np.array([[20.0, -10.0, 5.0]]), mean_face_68()), 3, axis=0)
    points[0, 30:36] = np.nan
    points[1] = np.nan
    points[2] = 7.0  # all in one place
    found = label_poses(points, "modes_inner")
    assert errors(found.pose[:1], np.array([[20.0, -10.0, 5.0]]))[0] < 1
    assert np.isnan(found.pose[1:]).all()
    assert np.isnan(found.residual[1:]).all()


def test_rigid_68_is_the_weak_perspective_fit(shared: "object") -> None:
    """Official and re-annotated points of 1,000 AFLW2000 faces, as measured when the disagreement was found."""
    with np.load(shared / "aflw2000_two_annotations.npz") as file:  # type: ignore[operator]
        pose, official, better = file["pose"].astype(float), file["official_xyz"][..., :2], file["reannotated_xy"]
    kept = np.abs(pose).max(axis=1) <= 99
    own = errors(label_poses(official[kept], "rigid_68").pose, pose[kept]).mean()
    other = errors(label_poses(better[kept], "rigid_68").pose, pose[kept]).mean()
    assert own == pytest.approx(1.65, abs=0.1)
    assert other == pytest.approx(5.03, abs=0.1)
