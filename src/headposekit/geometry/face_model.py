"""The mean 68-point face, in frame A (x right, y up, z toward the viewer); one unit is about 36 mm."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MIRROR_68 = np.array(
    [
        *range(16, -1, -1),  # jaw
        *range(26, 16, -1),  # brows
        *range(27, 31),  # bridge of the nose
        *range(35, 30, -1),  # below the nose
        *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
        *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # lips, outside
        *(64, 63, 62, 61, 60, 67, 66, 65),  # lips, inside
    ]
)
"""For each iBUG landmark, its partner on the other half of the face."""


@cache
def mean_face_68() -> NDArray[np.float64]:
    """Mean iBUG landmarks (68, 3), zero mean, unit variance: least squares over 500 public labels of AFLW2000-3D."""
    points: NDArray[np.float64] = np.loadtxt(Path(__file__).with_name("mean_face_68.csv"), delimiter=",", skiprows=1)
    points.setflags(write=False)
    return points


def symmetric_face_68() -> NDArray[np.float64]:
    """The mean face made exactly symmetric, (68, 3)."""
    points = mean_face_68()
    symmetric: NDArray[np.float64] = (points + points[MIRROR_68] * np.array([-1.0, 1.0, 1.0])) / 2
    return symmetric
