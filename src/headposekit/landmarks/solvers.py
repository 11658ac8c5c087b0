"""From landmarks and a face model to poses: the solvers of `headposekit.geometry.pnp` as parts of a model."""

from typing import Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.geometry.pnp import (
    MIN_POINTS,
    Method,
    Solution,
    least_points,
    solve_perspective,
    solve_weak_perspective,
)


class Solver(Protocol):
    """What finds poses of B faces.

    Attributes:
        needs_picture: whether it must know the sizes of the pictures.
        min_points: with fewer it refuses every face.
    """

    needs_picture: bool
    min_points: int

    def __call__(self, points: NDArray[np.float64], face: NDArray[np.float64], sizes: NDArray[np.float64] | None) -> Solution:
        """Landmarks (B, N, 2) in pixels, face model (N, 3), sizes (B, 2) of the pictures (width, height) to poses."""


class WeakPerspective:
    """A camera far away: least squares, all faces at once, no focal length to guess."""

    needs_picture = False
    min_points = MIN_POINTS

    def __call__(self, points: NDArray[np.float64], face: NDArray[np.float64], sizes: NDArray[np.float64] | None) -> Solution:
        """See `solve_weak_perspective`."""
        return solve_weak_perspective(points, face)


class Perspective:
    """A pinhole camera that looks at the middle of the picture, by OpenCV.

    Args:
        method: see `solve_perspective`.
        focal: focal length in units of the picture's longer side.
    """

    needs_picture = True

    def __init__(self, method: Method = "iterative_frontal", focal: float = 1.0) -> None:
        if method not in get_args(Method):
            raise InputError(f"model.solver.method={method} is unknown; choose {', '.join(get_args(Method))}")
        if not isinstance(focal, int | float) or not 0 < focal < float("inf"):
            raise InputError(
                f"model.solver.focal={focal} is no focal length; give a number above 0, in longer sides of the picture"
            )
        self.method: Method = method
        self.focal = float(focal)
        self.min_points = least_points(method)

    def __call__(self, points: NDArray[np.float64], face: NDArray[np.float64], sizes: NDArray[np.float64] | None) -> Solution:
        """See `solve_perspective`."""
        assert sizes is not None  # it said that it needs them
        return solve_perspective(points, face, self.focal * sizes.max(axis=-1), sizes / 2, self.method)
