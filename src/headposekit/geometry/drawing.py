"""Poses drawn on faces."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.geometry.rotations import pose_to_matrix
from headposekit.types import Image

Point = Sequence[float] | NDArray[np.float64]
AXIS_COLORS = ((220, 50, 47), (60, 170, 60), (50, 110, 230))
"""RGB of the head's right (red), down (green) and forward (blue) axis, as Hopenet's `draw_axis` has them."""
CUBE_EDGES = tuple((a, b) for a in range(8) for b in range(a) if (a ^ b) in (1, 2, 4))
"""Pairs of corners; bit 0 of a corner's number is right, bit 1 up, bit 2 forward."""


def draw_axes(image: Image, pose: Sequence[float], center: tuple[float, float], length: float, thickness: int = 2) -> None:
    """Draw the head's axes into an RGB picture, in place: the columns of the pose's matrix, the second one downwards.

    `pose` is in degrees; `center`, `length` (of an axis in the picture plane) and `thickness` in pixels.
    """
    axes = _matrix(pose).T * [[1], [-1], [1]]
    # The axis that points farthest away from the viewer first, so that nearer ones cover it.
    for axis, color in sorted(zip(axes, AXIS_COLORS, strict=True), key=lambda pair: pair[0][2]):
        _line(image, center, (0, 0, 0), length * axis, color, thickness)


def draw_cube(image: Image, pose: Sequence[float], center: tuple[float, float], size: float, thickness: int = 2) -> None:
    """Draw a cube around a head into an RGB picture, in place: its front, toward which the head looks, blue.

    The other edges are red (left to right), green (down) and, behind the front, paler. See `draw_axes`; `size` is of an edge.
    """
    corners = (np.array([[number >> axis & 1 for axis in range(3)] for number in range(8)]) - 0.5) @ _matrix(pose).T * size
    for a, b in sorted(CUBE_EDGES, key=lambda edge: corners[edge[0], 2] + corners[edge[1], 2]):  # the farthest first
        is_front = a & b & 4
        color = AXIS_COLORS[2] if is_front or (a ^ b) == 4 else AXIS_COLORS[(a ^ b) - 1]
        shown = color if is_front else tuple((value + 255) // 2 for value in color)
        _line(image, center, corners[a], corners[b], shown, thickness + 1 if is_front else thickness)


def draw_examples(
    crops: Sequence[Image], true: Sequence[Sequence[float]], predicted: Sequence[Sequence[float]], columns: int = 4
) -> Image:
    """An RGB picture of faces (S, S, 3) in a grid: predicted (thick; none where NaN) and true (thin) axes, poses in degrees."""
    side, caption, gap, title = 224, 46, 8, 34
    columns = min(columns, len(crops))
    rows = -(-len(crops) // columns)
    sheet = np.full((title + rows * (side + caption + gap) + gap, columns * (side + gap) + gap, 3), 255, dtype=np.uint8)
    _write(sheet, "thick, p: predicted   thin, t: true   degrees", (gap, 23), (60, 60, 60))
    for index, (crop, truth, guess) in enumerate(zip(crops, true, predicted, strict=True)):
        x = gap + (index % columns) * (side + gap)
        y = title + gap + (index // columns) * (side + caption + gap)
        sheet[y : y + side, x : x + side] = draw_face(crop, truth, guess, side)
        _write(sheet, "p " + (_angles(guess) if _is_pose(guess) else "no pose"), (x + 2, y + side + 17), (20, 20, 20))
        _write(sheet, "t " + _angles(truth), (x + 2, y + side + 37), (110, 110, 110))
    return sheet


def draw_face(crop: Image, true: Sequence[float], predicted: Sequence[float], side: int = 224) -> Image:
    """A face, (side, side, 3), with predicted (thick; none where NaN) and true (thin) axes."""
    cell = np.asarray(cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    if _is_pose(predicted):
        draw_axes(cell, predicted, (side / 2, side / 2), 0.36 * side, thickness=4)
    draw_axes(cell, true, (side / 2, side / 2), 0.46 * side, thickness=1)
    return cell


def _matrix(pose: Sequence[float]) -> NDArray[np.float64]:
    return np.asarray(pose_to_matrix(torch.tensor(list(pose), dtype=torch.float64)))


def _line(image: Image, center: Point, start: Point, end: Point, color: tuple[int, ...], thickness: int) -> None:
    """A line between two points relative to the centre (y up)."""
    ends = [[round(16 * (center[0] + point[0])), round(16 * (center[1] - point[1]))] for point in (start, end)]
    cv2.line(image, ends[0], ends[1], color, thickness, cv2.LINE_AA, shift=4)


def _is_pose(pose: Sequence[float]) -> bool:
    return all(math.isfinite(angle) for angle in pose)


def _angles(pose: Sequence[float]) -> str:
    yaw, pitch, roll = pose
    return f"y {yaw:+.1f} p {pitch:+.1f} r {roll:+.1f}"


def _write(image: Image, text: str, origin: tuple[int, int], color: tuple[int, int, int]) -> None:
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
