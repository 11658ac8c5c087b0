"""Landmarks of a face and a 3D face model to the head's pose: by weak perspective, all faces at once, or by perspective.

Points are in pixels, y down; rotations in frame A (x right, y up, z toward the viewer), as in `geometry/rotations.py`.
"""

from typing import Literal, NamedTuple, Protocol, get_args

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from headposekit.errors import InputError
from headposekit.geometry.conventions import FLIP_FRAME

Array = NDArray[np.float64]
Method = Literal["iterative", "iterative_frontal", "epnp", "sqpnp", "ransac"]

FLAGS = {"iterative": cv2.SOLVEPNP_ITERATIVE, "epnp": cv2.SOLVEPNP_EPNP, "sqpnp": cv2.SOLVEPNP_SQPNP}
MIN_POINTS = 4
MIN_POINTS_OWN_START = 6
"""OpenCV's iterative solver finds a start of its own from six points on, and RANSAC ends with it."""
FLATNESS = 1e-3
"""Points whose spread across is below this share of the spread along lie on a line, which no turn of a face explains."""


class Solution(NamedTuple):
    """What a solver finds for B faces."""

    matrix: Array  # (B, 3, 3), frame A; NaN where the face was refused or no solution found
    is_behind: NDArray[np.bool_]  # (B,), the solution stands behind the camera


class Solver(Protocol):
    """What finds poses of B faces; points that are NaN are left out.

    Attributes:
        needs_picture: whether it must know the sizes of the pictures.
        min_points: with fewer it refuses every face.
    """

    needs_picture: bool
    min_points: int

    def __call__(self, points: Array, face: Array, sizes: Array | None = None) -> Solution:
        """Landmarks (B, N, 2) in pixels, face model (N, 3), sizes (B, 2) of the pictures (width, height) to poses.

        Raises:
            InputError: see `checked_face`.
        """


class WeakPerspective:
    """A camera far away: the affine map that fits best, then the rotation next to it; all faces at once, in closed form.

    A face is refused if fewer than four points remain, or if they lie on a line (in the picture) or in a plane (in the model).
    """

    needs_picture = False
    min_points = MIN_POINTS

    def __call__(self, points: Array, face: Array, sizes: Array | None = None) -> Solution:
        """See `Solver`."""
        face = checked_face(face)
        known = np.isfinite(points[..., 0] + points[..., 1])
        pixels = points if known.all() else np.where(known[..., None], points, 0.0)
        # Normal equations of [x, y, z, 1] against [u, v], each face with the points it has.
        face1 = np.concatenate([face, np.ones((len(face), 1))], axis=1)
        normal = (known @ (face1[:, :, None] * face1[:, None, :]).reshape(-1, 16)).reshape(-1, 4, 4)
        count = known.sum(axis=-1)
        usable = (count >= MIN_POINTS) & (np.linalg.det(normal) > 1e-8 * np.maximum(count, 1) ** 4.0)
        normal[~usable] = np.eye(4)
        fit = np.linalg.solve(normal, face1.T @ pixels)
        usable &= np.linalg.norm(fit[:, :3], axis=(1, 2)) > 1e-9 * np.linalg.norm(fit[:, 3], axis=1)  # not all in one place
        matrix, flatness = nearest_rotation(fit[:, :3].swapaxes(-1, -2) * np.array([[1.0], [-1.0]]))  # y up
        matrix[~usable | ~(flatness > FLATNESS)] = np.nan
        return Solution(matrix, np.zeros(len(pixels), dtype=np.bool_))


class Perspective:
    """A pinhole camera without distortion that looks at the middle of the picture, by OpenCV, one face after the other.

    What EPnP and SQPnP find is refined by Levenberg and Marquardt's iteration, of which `iterative` is the whole.
    A face is refused if too few points remain, if they lie on a line, or if the solver fails.

    Args:
        method: the solver. `iterative` starts from a linear solution of its own, which often lies behind the camera where the
            points hold little perspective; `iterative_frontal` from a frontal face at the distance that its size says.
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
        self.method, self.focal = method, float(focal)
        self.min_points = MIN_POINTS_OWN_START if method in ("iterative", "ransac") else MIN_POINTS

    def __call__(self, points: Array, face: Array, sizes: Array | None = None) -> Solution:
        """See `Solver`."""
        assert sizes is not None  # it said that it needs them
        face = checked_face(face) @ FLIP_FRAME
        matrix, is_behind = np.full((len(points), 3, 3), np.nan), np.zeros(len(points), dtype=np.bool_)
        for index, (pixels, size) in enumerate(zip(points, sizes, strict=True)):
            known = np.isfinite(pixels).all(axis=-1)
            if known.sum() < self.min_points or not _is_spread(pixels[known]) or not _is_spread(face[known]):
                continue
            focal, (x, y) = self.focal * size.max(), size / 2
            camera = np.array([[focal, 0, x], [0, focal, y], [0, 0, 1.0]])
            found = _solve(face[known], pixels[known], camera, self.method)
            if found is not None:
                rotation, depth = found
                matrix[index], is_behind[index] = FLIP_FRAME @ rotation @ FLIP_FRAME, depth <= 0
        return Solution(matrix, is_behind)


def _solve(face: Array, pixels: Array, camera: Array, method: Method) -> tuple[Array, float] | None:
    """Rotation in frame B and depth of the model's middle; None where OpenCV gives up."""
    try:
        if method == "ransac":
            cv2.setRNGSeed(0)  # a face's pose depends on no other face
            is_found, turn, shift, _ = cv2.solvePnPRansac(face, pixels, camera, None)
        elif method == "iterative_frontal":
            depth = camera[0, 0] * _extent(face[:, :2])[0] / _extent(pixels)[0]
            across = (pixels.mean(axis=0) - camera[:2, 2]) / camera[0, 0] * depth
            shift = np.array([*(across - face[:, :2].mean(axis=0)), depth]).reshape(3, 1)
            is_found, turn, shift = cv2.solvePnP(face, pixels, camera, None, np.zeros((3, 1)), shift, useExtrinsicGuess=True)
        else:
            is_found, turn, shift = cv2.solvePnP(face, pixels, camera, None, flags=FLAGS[method])
            if is_found and method != "iterative":
                turn, shift = cv2.solvePnPRefineLM(face, pixels, camera, None, turn, shift)
    except cv2.error:  # degenerate points
        return None
    rotation = np.asarray(cv2.Rodrigues(turn)[0], dtype=np.float64)
    depth = float((face.mean(axis=0) @ rotation.T)[2] + shift[2, 0])
    return (rotation, depth) if is_found and np.isfinite([*rotation.flat, depth]).all() else None


def checked_face(face: ArrayLike) -> Array:
    """A face model about its middle, in units of its spread, neither of which changes a rotation.

    Raises:
        InputError: it is no (N, 3) array of numbers, has fewer than four points, or is flat.
    """
    face = np.asarray(face, dtype=np.float64)
    if face.ndim != 2 or face.shape[1] != 3 or not np.isfinite(face).all():
        raise InputError(
            f"a face model is (N, 3) finite coordinates, not {face.shape} or anything with NaN; correct face_model"
        )
    centred: Array = face - face.mean(axis=0)
    if len(face) < MIN_POINTS or np.linalg.svd(centred, compute_uv=False)[2] <= FLATNESS * face.std():
        raise InputError(f"{len(face)} points of a face model that lie in a plane give no pose; take 4 or more that do not")
    return np.asarray(centred / face.std(), dtype=np.float64)


def nearest_rotation(affine: Array) -> tuple[Array, Array]:
    """The rotations (B, 3, 3) whose first two rows are next to given maps (B, 2, 3), up to scale.

    Also (B,), from 0 to 1, how far from flat each map is: 2 s t / (s² + t²) of its singular values s and t.
    """
    gram = affine @ affine.swapaxes(-1, -2)
    trace, det = gram[:, 0, 0] + gram[:, 1, 1], gram[:, 0, 0] * gram[:, 1, 1] - gram[:, 0, 1] ** 2
    with np.errstate(all="ignore"):  # what is degenerate becomes NaN and is refused
        root_det = np.sqrt(np.maximum(det, 0.0))
        # gram^(-1/2) of a 2x2 matrix, from (gram + sqrt(det)) / sqrt(trace + 2 sqrt(det)) = gram^(1/2).
        adjugate = np.stack([gram[:, 1, 1] + root_det, -gram[:, 0, 1], -gram[:, 0, 1], gram[:, 0, 0] + root_det], axis=-1)
        rows = adjugate.reshape(-1, 2, 2) @ affine / (root_det * np.sqrt(trace + 2 * root_det))[:, None, None]
        return np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], axis=1), 2 * root_det / trace


def _is_spread(points: Array) -> bool:
    """Whether (N, D) points lie neither in one place nor on a line."""
    along, across = _extent(points - points[0])[:2]  # equal points span exactly nothing
    return bool(across > FLATNESS * along)


def _extent(points: Array) -> Array:
    """Spread of (N, D) points along their D axes, the longest first."""
    extent: Array = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) / len(points) ** 0.5
    return extent
