"""Errors of a whole test set beyond the mean: without the mean rotation between two labellings, and by band of yaw."""

import itertools

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from headposekit.geometry.conventions import ERRORS
from headposekit.geometry.rotations import angular_error, geodesic_distance, matrix_to_pose, nearest_pose, pose_to_matrix

YAW_BANDS = (0, 15, 30, 60, 180)
"""Limits of |yaw| in degrees, each band without its upper one."""


def pose_errors(predicted: Tensor, true: Tensor) -> dict[str, float]:
    """Mean errors in degrees of poses (N, 3): yaw, pitch, roll, their mean `mae`, and `geodesic`."""
    angles = angular_error(predicted, true).double().mean(dim=0)
    values = [*angles, angles.mean(), geodesic_distance(predicted, true).mean()]
    return {name: float(value) for name, value in zip(ERRORS, values, strict=True)}


def align(predicted: Tensor, true: Tensor) -> tuple[Tensor, Tensor]:
    """Take off the mean rotation between predictions and labels, in the head's own frame.

    Two labellings seldom agree on which head looks straight ahead (a mean face is level by definition only); what is left after
    the alignment is the error of a network that knows the test set's own zero. Faces more than 90 degrees off do not count.
    Returns the aligned predictions (N, 3) and the mean rotation as a pose (3,), in degrees.

    Reference: pcr-upm/opal23_headpose, test/utils.py.
    """
    ours, theirs = pose_to_matrix(predicted.double()), pose_to_matrix(true.double())
    between = (ours.mT @ theirs)[geodesic_distance(predicted, true) < 90]
    if not len(between):
        return predicted, torch.zeros(3)
    mean = torch.from_numpy(Rotation.from_matrix(between.numpy()).mean().as_matrix())
    aligned = nearest_pose(matrix_to_pose(ours @ mean), predicted.double())
    return aligned.to(predicted.dtype), matrix_to_pose(mean).to(predicted.dtype)


def aligned_errors(predicted: Tensor, true: Tensor) -> dict[str, float]:
    """`pose_errors` of the aligned predictions as `aligned_yaw` and so on, and the mean rotation as `offset_yaw` and so on."""
    aligned, offset = align(predicted, true)
    errors = {f"aligned_{name}": value for name, value in pose_errors(aligned, true).items()}
    return errors | {f"offset_{name}": float(value) for name, value in zip(ERRORS, offset, strict=False)}


def yaw_bands(yaw: Tensor) -> dict[str, Tensor]:
    """Which of N yaws (degrees) lie in each band of |yaw| that holds some, (N,) each, as `0-15`, `15-30` and so on."""
    bands = {f"{low}-{high}": (yaw.abs() >= low) & (yaw.abs() < high) for low, high in itertools.pairwise(YAW_BANDS)}
    return {name: inside for name, inside in bands.items() if inside.any()}


def errors_by_yaw(predicted: Tensor, true: Tensor) -> dict[str, dict[str, float]]:
    """`pose_errors` and number of faces `n` of each band of the label's |yaw| that has faces, see `yaw_bands`."""
    return {
        name: {**pose_errors(predicted[inside], true[inside]), "n": int(inside.sum())}
        for name, inside in yaw_bands(true[:, 0]).items()
    }
