"""The labels of every source, (...,) of them at once, converted to the one convention of `rotations.py`.

All angles returned are (..., 3): yaw, pitch, roll in degrees.
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
    """300W-LP and AFLW2000 `Pose_Para` (..., 7): pitch, yaw, roll in radians, translation, scale; signs are ours."""
    pitch, yaw, roll = np.moveaxis(np.asarray(pose_para_rad, dtype=np.float64)[..., :3], -1, 0)
    return _in_degrees(yaw, pitch, roll)


def project_pose_para(points: ArrayLike, pose_para_rad: ArrayLike, height: int) -> NDArray[np.float64]:
    """Weak-perspective projection of 3DDFA, as `Pose_Para` means it: `V = s R S + t`, then y is flipped into the picture.

    Args:
        points: (N, 3), points of the neutral head, frame A.
        pose_para_rad: (7,), pitch, yaw, roll in radians, tx, ty, tz, scale.
        height: rows of the picture (450 in both datasets).

    Returns:
        (N, 3), x and y in pixels (y down, MATLAB's 1-based origin) and depth, as `pt3d_68` holds them.
    """
    para = np.asarray(pose_para_rad, dtype=np.float64).ravel()
    rotation = pose_to_matrix(torch.as_tensor(pose_from_pose_para(para))).numpy()
    x, y, z = (para[6] * np.asarray(points, dtype=np.float64) @ rotation.T + para[3:6]).T
    return np.stack([x, height + 1 - y, z], axis=-1)


def pose_from_biwi_matrix(matrix: ArrayLike) -> NDArray[np.float64]:
    """BIWI `frame_*_pose.txt`: the matrices (..., 3, 3) as printed (rows as in the file), frame B, depth camera.

    Same Euler order and signs as 300W-LP (`F A F` is our matrix). This is what Hopenet and FSA-Net train and test on.
    """
    a = np.asarray(matrix, dtype=np.float64)
    yaw = np.arctan2(a[..., 0, 2], np.hypot(a[..., 1, 2], a[..., 2, 2]))
    return _in_degrees(yaw, np.arctan2(a[..., 1, 2], a[..., 2, 2]), -np.arctan2(a[..., 0, 1], a[..., 0, 0]))


def calibrate_biwi_matrix(matrix: ArrayLike, depth_to_rgb: ArrayLike) -> NDArray[np.float64]:
    """BIWI's matrix as the colour camera sees it: `E A`, with E the rotation of the sequence's `rgb.cal`.

    The published results do not do this (Biwi+, kuhnkeF/headposeplus, offers both).
    """
    return np.asarray(np.matmul(depth_to_rgb, matrix), dtype=np.float64)


def pose_from_aflw(yaw_rad: ArrayLike, pitch_rad: ArrayLike, roll_rad: ArrayLike) -> NDArray[np.float64]:
    """AFLW `FacePose` (radians): roll changes sign. Source: Hopenet's loader; yaw checked against 3D fits."""
    return _in_degrees(yaw_rad, pitch_rad, np.negative(roll_rad))


def pose_from_afw(yaw: ArrayLike, pitch: ArrayLike, roll: ArrayLike) -> NDArray[np.float64]:
    """AFW labels (degrees): yaw changes sign, which Hopenet's published loader forgets (its issue 9)."""
    return np.stack([np.negative(yaw), pitch, roll], axis=-1, dtype=np.float64)


def pose_to_pyr(pose: ArrayLike) -> NDArray[np.float64]:
    """The "pyr" angles of headposeplus for the same rotation: extrinsic "xyz" angles of our matrix, with our signs.

    They are 2 to 10 degrees away from ours on average, so never to be mixed.
    """
    rotation = pose_to_matrix(torch.as_tensor(np.asarray(pose, dtype=np.float64)))
    # The extrinsic xyz angles of R are those of the intrinsic XYZ angles of R transposed, negated.
    return (-matrix_to_pose(rotation.mT)).numpy()


def _in_degrees(yaw_rad: ArrayLike, pitch_rad: ArrayLike, roll_rad: ArrayLike) -> NDArray[np.float64]:
    pose: NDArray[np.float64] = np.degrees(np.stack([yaw_rad, pitch_rad, roll_rad], axis=-1, dtype=np.float64))
    return pose
