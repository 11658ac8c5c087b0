from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation

from headposekit.geometry import conventions
from headposekit.geometry.rotations import pose_to_matrix

BIWI_12_3 = [[0.988397, 0.0731349, 0.133128], [-0.0441539, 0.976945, -0.208876], [-0.145334, 0.200575, 0.968838]]
poses = st.tuples(st.floats(-89, 89), st.floats(-89, 89), st.floats(-89, 89)).map(np.array)


def test_pose_para_is_pitch_yaw_roll_in_radians() -> None:
    para = np.radians([[10, -20, 30, 0, 0, 0, 0]])
    np.testing.assert_allclose(conventions.pose_from_pose_para(para), [[-20, 10, 30]])


def test_biwi_test_vector() -> None:
    np.testing.assert_allclose(conventions.pose_from_biwi_matrix(BIWI_12_3), [7.6504, -12.1664, -4.2318], atol=5e-5)


@given(poses)
def test_biwi_matrix_is_ours_in_the_other_frame(pose: np.ndarray) -> None:
    flip = conventions.FLIP_FRAME
    matrix = flip @ pose_to_matrix(torch.tensor(pose)).numpy() @ flip
    np.testing.assert_allclose(conventions.pose_from_biwi_matrix(matrix), pose, atol=1e-6)


def test_biwi_calibration_of_sequence_12() -> None:
    rotvec = np.radians([-0.863, 0.531, -0.252])
    calibrated = conventions.calibrate_biwi_matrix(
        _biwi_matrix([9.3275, -0.4049, -6.3944]), Rotation.from_rotvec(rotvec).as_matrix()
    )
    np.testing.assert_allclose(conventions.pose_from_biwi_matrix(calibrated), [9.8581, 0.4157, -6.6496], atol=2e-3)


def _biwi_matrix(pose: ArrayLike) -> np.ndarray:
    flip = conventions.FLIP_FRAME
    return flip @ pose_to_matrix(torch.as_tensor(np.asarray(pose, dtype=np.float64))).numpy() @ flip


def test_aflw_negates_roll_and_takes_radians() -> None:
    np.testing.assert_allclose(conventions.pose_from_aflw(*np.radians([10, 20, 30])), [10, 20, -30])


def test_afw_negates_yaw() -> None:
    np.testing.assert_allclose(conventions.pose_from_afw([10, 1], [20, 2], [30, 3]), [[-10, 20, 30], [-1, 2, 3]])


@given(poses)
def test_pyr_is_scipys_extrinsic_xyz(pose: np.ndarray) -> None:
    x, y, z = Rotation.from_matrix(pose_to_matrix(torch.tensor(pose)).numpy()).as_euler("xyz", degrees=True)
    if abs(abs(y) - 90) > 0.1:
        np.testing.assert_allclose(conventions.pose_to_pyr(pose), [-y, -x, -z], atol=1e-6)


@pytest.mark.parametrize("name", ["Biwi_plus_non_cal", "Biwi_plus"])
def test_pyr_labels_of_headposeplus(shared: Path, name: str) -> None:
    """The order pitch, yaw, roll and opposite signs; all 15,678 frames."""
    with np.load(shared / "biwi_plus" / f"{name}.npz", allow_pickle=False) as labels:
        ypr, stored = labels["ypr"], labels["pyr"]
    assert len(ypr) == 15_678
    np.testing.assert_allclose(conventions.pose_to_pyr(ypr)[:, [1, 0, 2]], -stored, rtol=0, atol=0.01)


def test_calibrations_of_all_sequences(shared: Path) -> None:
    """Biwi+'s calibrated labels are the others turned by one of two rotations (vectors in degrees, frame B)."""
    with (
        np.load(shared / "biwi_plus" / "Biwi_plus_non_cal.npz", allow_pickle=False) as plain,
        np.load(shared / "biwi_plus" / "Biwi_plus.npz", allow_pickle=False) as turned,
    ):
        np.testing.assert_array_equal(plain["images"], turned["images"])
        sequence = np.array([int(name[:2]) for name in plain["images"]])
        matrices, expected = _biwi_matrix(plain["ypr"]), turned["ypr"]
    late = (sequence == 6) | (sequence >= 15)
    vectors = np.where(late[:, None], [-1.453, -0.327, 0.006], [-0.863, 0.531, -0.252])
    calibrated = conventions.calibrate_biwi_matrix(matrices, Rotation.from_rotvec(vectors, degrees=True).as_matrix())
    error = np.abs(conventions.pose_from_biwi_matrix(calibrated) - expected)
    assert error.shape == (15_678, 3)
    assert error.max() < 0.01
    swapped = conventions.calibrate_biwi_matrix(matrices, Rotation.from_rotvec(vectors[::-1], degrees=True).as_matrix())
    assert np.abs(conventions.pose_from_biwi_matrix(swapped) - expected).max() > 0.5


def test_frontal_face_is_upright() -> None:
    up, right = conventions.project_pose_para([[0, 1, 0], [1, 0, 0]], [0, 0, 0, 225, 225, 0, 10], 450)
    assert up.tolist() == [225, 216, 0]  # y up becomes y down, MATLAB counts from 1
    assert right.tolist() == [235, 226, 0]


def test_real_labels_undone_give_one_common_face(shared: Path) -> None:
    """Only the right order and signs bring eight heads back to the same neutral one."""

    def spread(signs: np.ndarray) -> float:
        faces = []
        for path in sorted((shared / "aflw2000_sample").glob("*.mat")):
            mat = scipy.io.loadmat(path)
            para = mat["Pose_Para"][0] * np.concatenate([signs, np.ones(4)])
            x, y, z = mat["pt3d_68"]
            camera = np.stack([x, 451 - y, z], axis=-1) - para[3:6]
            face = camera @ pose_to_matrix(torch.from_numpy(conventions.pose_from_pose_para(para))).numpy() / para[6]
            np.testing.assert_allclose(conventions.project_pose_para(face, para, 450), mat["pt3d_68"].T, atol=1e-6)
            faces.append(face - face.mean(axis=0))
        return float(np.std(faces, axis=0).mean())

    ours = spread(np.ones(3))
    for signs in ([-1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, -1, -1]):
        assert spread(np.array(signs)) > 1.5 * ours
