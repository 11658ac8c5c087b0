"""AFLW's 21 points of a synthetic head, and which of them a camera sees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

AFLW21_FROM_68: list[int | tuple[int, int] | None] = [
    17,
    19,
    21,
    22,
    24,
    26,
    36,
    (37, 40),
    39,
    42,
    (43, 46),
    45,
    None,
    31,
    30,
    35,
    None,
    48,
    (62, 66),
    54,
    8,
]
"""AFLW's 21 points as iBUG's: one, the middle of two, or (ears) a point of the mesh."""
EARS = np.array([[-2.12, 0.3, -1.95], [2.12, 0.3, -1.95]])


def points21(plane68: Array, plane_ears: Array, yaw: float) -> Array:
    """AFLW's 21 points on the camera plane; NaN for those on the half that is turned away."""
    points = np.empty((21, 2))
    ears = iter(plane_ears)
    for row, source in enumerate(AFLW21_FROM_68):
        points[row] = next(ears) if source is None else plane68[np.atleast_1d(source)].mean(axis=0)
    left, right = [0, 1, 2, 6, 7, 8, 12, 13, 17], [3, 4, 5, 9, 10, 11, 15, 16, 19]
    hidden = left if yaw > 0 else right
    if abs(yaw) > 38:
        points[hidden] = np.nan
    elif abs(yaw) > 22:
        points[12 if yaw > 0 else 16] = np.nan
    return points
