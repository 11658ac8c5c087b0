"""The labels of every source, converted to the one convention of `rotations.py`.

Each dataset calls exactly one of these at its own door. All angles returned are yaw, pitch, roll in degrees.
Frames: A is ours (x right, y up, z toward the viewer), B is OpenCV's and BIWI's (x right, y down, z away).
"""

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix

EulerOrder = Literal["ypr", "pyr"]
"""Ours and the papers', and the other one in which headposeplus compares networks (`pose_to_pyr`)."""
ANGLES = ("yaw", "pitch", "roll")
ERRORS = (*ANGLES, "mae", "geodesic")
"""What is reported of every test, in degrees."""
ALIGNED = ("aligned_mae", "aligned_geodesic", "offset_pitch")
"""Without the mean rotation between predictions and labels, and its pitch, see `headposekit.metrics.alignment`."""
ALIGNED_MEANS = (
    "aligned: mean absolute error once the mean rotation between predictions and labels is taken off, "
    "so that both agree on which head looks straight ahead."
)
ANGLE_LIMIT = 99.0
"""Degrees of yaw, pitch and roll within which both papers keep their faces."""
FLIP_FRAME = np.diag([1.0, -1.0, -1.0])
"""F, between frames A and B: R_B = F R_A F."""


def pose_from_pose_para(pose_para_rad: ArrayLike) -> NDArray[np.float64]:
    """300W-LP and AFLW2000 `Pose_Para`: pitch, yaw, roll in radians, then translation and scale; signs are ours.

    Args:
        pose_para_rad: (..., 7) as in the .mat file.

    Returns:
        (..., 3).
    """
    pose_rad: NDArray[np.float64] = np.asarray(pose_para_rad, dtype=np.float64)[..., [1, 0, 2]]
    pose: NDArray[np.float64] = np.degrees(pose_rad)
    return pose


def pose_from_biwi_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """BIWI `frame_*_pose.txt`: the 3×3 matrix as printed (rows as in the file), frame B, depth camera.

    Same Euler order and signs as 300W-LP (`F A F` is our matrix). This is what Hopenet and FSA-Net train and test on.

    Args:
        matrix: (..., 3, 3).

    Returns:
        (..., 3).
    """
    a = np.asarray(matrix, dtype=np.float64)
    yaw = np.arctan2(a[..., 0, 2], np.hypot(a[..., 1, 2], a[..., 2, 2]))
    pitch = np.arctan2(a[..., 1, 2], a[..., 2, 2])
    roll = -np.arctan2(a[..., 0, 1], a[..., 0, 0])
    pose: NDArray[np.float64] = np.degrees(np.stack([yaw, pitch, roll], axis=-1))
    return pose


def calibrate_biwi_matrix(matrix: ArrayLike, depth_to_rgb: ArrayLike) -> NDArray[np.float64]:
    """BIWI's matrix as the colour camera sees it: `E A`, with E the rotation of the sequence's `rgb.cal`.

    The published results do not do this (Biwi+, kuhnkeF/headposeplus, offers both).
    """
    calibrated: NDArray[np.float64] = np.matmul(
        np.asarray(depth_to_rgb, dtype=np.float64), np.asarray(matrix, dtype=np.float64)
    )
    return calibrated


def pose_from_aflw(yaw_rad: ArrayLike, pitch_rad: ArrayLike, roll_rad: ArrayLike) -> NDArray[np.float64]:
    """AFLW `FacePose` (radians): roll changes sign. Source: Hopenet's loader; yaw checked against 3D fits."""
    yaw, pitch, roll = (np.asarray(angle, dtype=np.float64) for angle in (yaw_rad, pitch_rad, roll_rad))
    pose: NDArray[np.float64] = np.degrees(np.stack([yaw, pitch, -roll], axis=-1))
    return pose


def pose_from_afw(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> NDArray[np.float64]:
    """AFW labels (degrees): yaw changes sign, which Hopenet's published loader forgets (its issue 9)."""
    yaw, pitch, roll = (np.asarray(angle, dtype=np.float64) for angle in (yaw, pitch, roll))
    return np.stack([-yaw, pitch, roll], axis=-1)


def pose_to_pyr(pose: ArrayLike) -> NDArray[np.float64]:
    """The "pyr" angles of headposeplus for the same rotation: extrinsic "xyz" angles of our matrix.

    Args:
        pose: (..., 3), ours.

    Returns:
        (..., 3), yaw, pitch, roll in that other Euler order, degrees, with our signs; 2 to 10 degrees away from ours on
        average, so never to be mixed.
    """
    rotation = pose_to_matrix(torch.as_tensor(np.asarray(pose, dtype=np.float64)))
    # The extrinsic xyz angles of R are those of the intrinsic XYZ angles of R transposed, negated.
    return (-matrix_to_pose(rotation.mT)).numpy()
