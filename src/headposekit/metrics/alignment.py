"""Errors of a whole test set beyond the mean: without the mean rotation between two labellings, by band of yaw, and by view."""

import itertools

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from headposekit.geometry.conventions import ERRORS
from headposekit.geometry.rotations import (
    angular_error,
    geodesic_distance,
    matrix_to_pose,
    nearest_pose,
    pose_to_matrix,
    upright_pose,
)

YAW_BANDS = (0, 15, 30, 60, 180)
"""Limits of |yaw| in degrees, each band without its upper one."""
VIEWS = {"front": (0, 60), "profile": (60, 120), "behind": (120, 181)}
"""Limits of |yaw| of the upright label; in `profile`, where pitch and roll are hardly separable, angles have no error."""
FAR_OFF = 90.0
"""Degrees beyond which a head was taken for one that looks elsewhere."""


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


def errors_by_view(predicted: Tensor, true: Tensor) -> dict[str, dict[str, float]]:
    """Errors of poses (N, 3) over `all` heads and those of each of `VIEWS` that has some, see `upright_pose`.

    Each has `geodesic`, the share `over_90` of errors above 90 degrees, and `n`; front and behind also the `mae` of the upright
    angles and their `yaw`, in degrees.
    """
    predicted, true = upright_pose(predicted.double()), upright_pose(true.double())
    views = {"all": torch.ones(len(true), dtype=torch.bool)}
    views |= {name: (true[:, 0].abs() >= low) & (true[:, 0].abs() < high) for name, (low, high) in VIEWS.items()}
    found: dict[str, dict[str, float]] = {}
    for name, inside in views.items():
        if inside.any():
            errors = pose_errors(predicted[inside], true[inside])
            far = geodesic_distance(predicted[inside], true[inside]) > FAR_OFF
            shown = ("geodesic", "mae", "yaw") if name in ("front", "behind") else ("geodesic",)
            found[name] = {key: errors[key] for key in shown} | {"over_90": float(far.double().mean()), "n": int(inside.sum())}
    return found
