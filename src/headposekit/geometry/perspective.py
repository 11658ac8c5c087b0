"""Heads that are not in the middle of a picture: pose relative to the viewing ray ↔ pose in the camera's frame.

A face crop shows a head as seen along the ray from the camera to it, so networks and the labels of synthetic heads give the
pose relative to that ray. It should go to the point around which the head turns, which lies behind the face; the middle of the
box is used instead (docs/detectors.md says how much that costs).
"""

import math
from typing import Literal

import torch
from torch import Tensor

from headposekit.errors import InputError
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix

Frame = Literal["camera", "ray"]
"""Of a label: along the camera's axes, or along the ray from the camera to the head."""


def focal_length(field_of_view: float, width: float) -> float:
    """Focal length in pixels of a camera that sees `field_of_view` degrees from side to side of `width` pixels.

    >>> round(focal_length(90, 640), 6)
    320.0
    """
    if not 0 < field_of_view < 180:
        raise InputError(f"a field of view of {field_of_view} degrees does not exist; give one between 0 and 180")
    return width / 2 / math.tan(math.radians(field_of_view) / 2)


def ray_rotation(center: Tensor, size: tuple[float, float], focal: float) -> Tensor:
    """The smallest rotations (..., 3, 3), frame A, that take the optical axis to the rays through pixels `center` (..., 2).

    `size` is width and height of the picture, whose middle the optical axis meets; `focal` the focal length in pixels.
    """
    if not focal > 0:
        raise InputError(f"a focal length of {focal} pixels does not exist; give a positive number")
    across = (center - center.new_tensor(size) / 2) * center.new_tensor([1, -1]) / focal  # y up
    x, y = across.unbind(-1)
    length = (1 + x**2 + y**2).sqrt()
    x, y, cosine = x / length, y / length, 1 / length
    # Rodrigues' formula for the rotation from (0, 0, -1) to (x, y, -cosine), written out.
    share = 1 / (1 + cosine)
    entries = [
        1 - x * x * share, -x * y * share, -x,
        -x * y * share, 1 - y * y * share, -y,
        x, y, cosine,
    ]  # fmt: skip
    rotation: Tensor = torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
    return rotation


def ray_to_camera(pose: Tensor, center: Tensor, size: tuple[float, float], focal: float) -> Tensor:
    """Poses relative to the viewing rays, as networks and labels say them, to poses in the camera's frame.

    Args:
        pose: (..., 3), degrees; the result has its dtype.
        center: (..., 2), where the heads are, x and y in pixels: the middles of their boxes.
        size: width and height of the picture.
        focal: focal length in pixels, see `focal_length`; InputError where it is not positive.

    >>> pose = ray_to_camera(torch.zeros(3), torch.tensor([640.0, 240.0]), (640, 480), focal_length(60, 640))
    >>> pose.round().tolist()  # looks straight at the camera from the right edge, so turned to the left
    [30.0, 0.0, 0.0]
    """
    return matrix_to_pose(ray_rotation(center.to(pose.dtype), size, focal) @ pose_to_matrix(pose))


def camera_to_ray(pose: Tensor, center: Tensor, size: tuple[float, float], focal: float) -> Tensor:
    """The inverse of `ray_to_camera`: how a head of a known pose in the camera's frame looks in its crop."""
    return matrix_to_pose(ray_rotation(center.to(pose.dtype), size, focal).mT @ pose_to_matrix(pose))
