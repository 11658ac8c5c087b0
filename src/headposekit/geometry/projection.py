"""Points of a 3D head in the picture, as the labels of 300W-LP and AFLW2000 mean it."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from headposekit.geometry.conventions import pose_from_pose_para
from headposekit.geometry.rotations import pose_to_matrix


def project_pose_para(points: ArrayLike, pose_para_rad: ArrayLike, height: int) -> NDArray[np.float64]:
    """Weak-perspective projection of 3DDFA: `V = s R S + t`, then y is flipped into the picture.

    Args:
        points: (N, 3), points of the neutral head, frame A.
        pose_para_rad: (7,), pitch, yaw, roll in radians, tx, ty, tz, scale.
        height: rows of the picture (450 in both datasets).

    Returns:
        (N, 3), x and y in pixels (y down, MATLAB's 1-based origin) and depth, as `pt3d_68` holds them.
    """
    para = np.asarray(pose_para_rad, dtype=np.float64).ravel()
    rotation = pose_to_matrix(torch.as_tensor(pose_from_pose_para(para))).numpy()
    camera = para[6] * np.asarray(points, dtype=np.float64) @ rotation.T + para[3:6]
    return np.stack([camera[:, 0], height + 1 - camera[:, 1], camera[:, 2]], axis=-1)
