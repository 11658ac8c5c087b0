"""The camera that took the pictures: how it stands in the world, and its lens; poses turned into the world's frame."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import yaml
from numpy.typing import ArrayLike, NDArray

from headposekit.errors import InputError, refusing
from headposekit.geometry.perspective import focal_length, ray_rotation
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.safe_files import parse_json, read_file

Array = NDArray[np.float64]
NAMES = {
    "matrix": ("cameramatrix", "intrinsicmatrix", "k", "mtx"),
    "distortion": ("distortioncoefficients", "distcoeffs", "distcoeff", "d", "dist"),
}
"""What calibration files call them, in small letters and without underscores."""
NUM_COEFFICIENTS = (4, 5, 8, 12, 14)
MAX_CALIBRATION = 2**21
"""Bytes of a calibration file."""
FISHEYE = ("equidistant", "fisheye")
"""ROS's names of the lens that OpenCV's module `fisheye` describes by four coefficients."""
MAX_ERROR = 0.5
"""Pixels by which a point may miss itself after the lens is taken off and put on again."""
MAX_STRETCH = 1.02
"""Ratio of the shapes (width over height) of two pictures that count as one shape."""
REMEDY = "give a file of OpenCV's or ROS's calibration, or the three rows [[fx,0,cx],[0,fy,cy],[0,0,1]]"


class Lens(NamedTuple):
    """A pinhole camera with distortion."""

    matrix: Array  # (3, 3), pixels
    distortion: Array  # (k,), OpenCV's coefficients
    size: tuple[float, float] | None = None  # width and height of the pictures that it is for
    is_fisheye: bool = False


@dataclass(eq=False)
class Camera:
    """A camera that stands level and looks straight ahead, unless it is said otherwise.

    The world's axes are x right, y up, z toward the viewer, as a level camera sees them. The camera is first turned by yaw,
    then by pitch, then by roll. Without `matrix` and `field_of_view` every head counts as in the middle of its picture.

    Args:
        yaw, pitch, roll: degrees: positive yaw turns the camera to its own right, positive pitch makes it look up, positive
            roll lowers its right side. A camera on a ceiling that looks down by 20 degrees has pitch -20.
        matrix: three rows of OpenCV's camera matrix in pixels, or a calibration file, see `read_lens`.
        distortion: OpenCV's 4, 5, 8, 12 or 14 coefficients, or a calibration file; None for those of the matrix' file.
        field_of_view: degrees from side to side, where there is no matrix.

    Raises:
        InputError: an unreadable file, an impossible number, or both a matrix and a field of view.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    matrix: str | Path | Sequence[Sequence[float]] | None = None
    distortion: str | Path | Sequence[float] | None = None
    field_of_view: float | None = None
    lens: Lens | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("yaw", "pitch", "roll"):
            angle = getattr(self, name)
            if not isinstance(angle, int | float) or not abs(angle) <= 360:
                raise InputError(f"camera.{name}={angle!r} is not a number of degrees from -360 to 360")
        if self.field_of_view is not None:
            if not isinstance(self.field_of_view, int | float):
                raise InputError(f"field_of_view={self.field_of_view!r} is not a number of degrees, nor None")
            focal_length(self.field_of_view, 1)
        if self.matrix is None and self.distortion is not None:
            raise InputError("camera.distortion= needs the camera matrix as well; give camera.matrix=")
        if self.matrix is not None and self.field_of_view is not None:
            raise InputError("field_of_view= and camera.matrix= both say how wide the camera sees; leave one of them out")
        self.lens = _lens(self.matrix, self.distortion)

    @property
    def is_plain(self) -> bool:
        """Whether poses stay as networks say them."""
        return self.lens is None and self.field_of_view is None and not any((self.yaw, self.pitch, self.roll))

    @property
    def rotation(self) -> Array:
        """(3, 3), frame A, from the camera's frame to the world's."""
        across, up, along = (
            pose_to_matrix(torch.tensor(pose, dtype=torch.float64))
            for pose in ((self.yaw, 0.0, 0.0), (0.0, -self.pitch, 0.0), (0.0, 0.0, self.roll))
        )
        turn: Array = (across @ up @ along).numpy()
        return turn

    def turns(self, centers: ArrayLike, size: tuple[int, int]) -> Array:
        """(N, 3, 3) rotations, frame A, of N heads: from the pose that a crop shows to the pose in the world.

        Args:
            centers: (N, 2), where the heads are, x and y in pixels: the middles of their boxes.
            size: width and height of the picture.

        Raises:
            InputError: a picture of another shape than the matrix is for, or a head where the lens' coefficients mean nothing.
        """
        points = np.asarray(centers, dtype=np.float64).reshape(-1, 2)
        if not len(points):
            return np.empty((0, 3, 3))
        rays = np.zeros_like(points)  # x and y at distance 1, y down
        if self.lens is not None:
            rays = _rays(self.lens, points, size)
        elif self.field_of_view is not None:
            rays = (points - np.array(size) / 2) / focal_length(self.field_of_view, size[0])
        turns: Array = self.rotation @ ray_rotation(torch.from_numpy(rays), (0, 0), 1.0).numpy()
        return turns


def read_lens(path: str | Path) -> tuple[Array | None, Lens]:
    """Camera matrix, where there is one, and lens of a calibration file.

    Taken are the files that OpenCV's FileStorage writes (YAML, XML, JSON) and ROS's camera_info, with `camera_matrix` and
    `distortion_coefficients` (other usual names: `NAMES`), and the size of the pictures where it is said.

    Raises:
        InputError: an unreadable file, or one without either of them.
    """
    with refusing(path, "not a readable calibration file", REMEDY):
        content = _parse(read_file(path, MAX_CALIBRATION), path)
        if not isinstance(content, dict):
            raise ValueError("no names in it")
        found = {str(name).lower().replace("_", ""): value for name, value in content.items()}
        matrix, distortion = (
            next((_numbers(found[name]) for name in names if name in found), None) for names in NAMES.values()
        )
        if matrix is None and distortion is None:
            raise InputError(f"neither camera_matrix nor distortion_coefficients in it; {REMEDY}")
        sides = [found.get(name) for name in ("imagewidth", "imageheight")]
        size = (float(str(sides[0])), float(str(sides[1]))) if None not in sides else None
        is_fisheye = str(found.get("distortionmodel")).strip() in FISHEYE
    coefficients = np.zeros(0) if distortion is None else distortion
    return matrix, Lens(np.eye(3), coefficients, size, is_fisheye)


def _lens(matrix: Any, distortion: Any) -> Lens | None:
    if matrix is None:
        return None
    values, lens = (
        read_lens(matrix) if isinstance(matrix, str | Path) else (_given("matrix", matrix), Lens(np.eye(3), np.zeros(0)))
    )
    if values is None:
        raise InputError(f"{matrix}: no camera_matrix in it; {REMEDY}")
    if distortion is not None:
        is_file = isinstance(distortion, str | Path)
        other = read_lens(distortion)[1] if is_file else Lens(np.eye(3), _given("distortion", distortion))
        lens = lens._replace(distortion=other.distortion, is_fisheye=other.is_fisheye)
    where = f"camera.matrix={matrix}" if isinstance(matrix, str | Path) else "camera.matrix"
    values = values.reshape(3, 3) if values.size == 9 else values
    is_camera = values.shape == (3, 3) and np.isfinite(values).all() and values[0, 0] > 0 and values[1, 1] > 0
    if not is_camera or not np.allclose(values[2], [0, 0, 1]) or not np.allclose(values[1, 0], 0):
        raise InputError(f"{where}: not a camera matrix; {REMEDY}")
    allowed = (4,) if lens.is_fisheye else (0, *NUM_COEFFICIENTS)
    if lens.distortion.size not in allowed or not np.isfinite(lens.distortion).all():
        raise InputError(
            f"camera.distortion: {lens.distortion.size} numbers; give OpenCV's {', '.join(map(str, allowed))} coefficients"
        )
    if lens.size is not None and not all(0 < side < 10**6 for side in lens.size):
        raise InputError(f"{where}: image_width and image_height are no size of a picture; correct or remove them")
    return lens._replace(matrix=values)


def _rays(lens: Lens, points: Array, size: tuple[int, int]) -> Array:
    """Where the rays through points (N, 2) of a picture meet the plane at distance 1, (N, 2), y down."""
    matrix, (width, height) = lens.matrix.copy(), size
    if lens.size is not None:
        scale = np.array([width, height]) / lens.size
        if not 1 / MAX_STRETCH < scale[0] / scale[1] < MAX_STRETCH:
            raise InputError(
                f"the camera matrix is for pictures of {lens.size[0]:g}×{lens.size[1]:g} pixels, not for one of "
                f"{width}×{height}; give that of the cut-out, or pictures of that shape"
            )
        matrix[:2] *= scale[:, None]
    elif not (0 < matrix[0, 2] < width and 0 < matrix[1, 2] < height):
        raise InputError(
            f"the camera matrix has its middle at {matrix[0, 2]:g}, {matrix[1, 2]:g}, outside a picture of {width}×{height} "
            "pixels; give the matrix for pictures of this size"
        )
    there, coefficients = points.reshape(-1, 1, 2), lens.distortion
    if lens.is_fisheye:
        rays = cv2.fisheye.undistortPoints(there, matrix, coefficients)
        again = cv2.fisheye.distortPoints(rays, matrix, coefficients)
    else:
        stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-9)
        flat = cv2.undistortImagePoints(there, matrix, coefficients, None, stop)
        rays = (flat - matrix[:2, 2]) / matrix[[0, 1], [0, 1]]
        solid = np.concatenate([rays, np.ones_like(rays[..., :1])], axis=-1)
        again = cv2.projectPoints(solid, np.zeros(3), np.zeros(3), matrix, coefficients)[0]
    off = np.linalg.norm(np.asarray(again) - there, axis=-1).ravel()
    if not (off < MAX_ERROR).all():
        x, y = points[np.argmax(np.where(np.isfinite(off), off, np.inf))]
        raise InputError(
            f"camera.distortion does not describe the lens at {x:.0f}, {y:.0f} pixels; calibrate with points there too"
        )
    return np.asarray(rays, dtype=np.float64).reshape(-1, 2)


def _parse(content: bytes, path: str | Path) -> Any:
    text = content.decode("utf-8-sig").lstrip()
    if text.startswith("{"):
        return parse_json(text, path)
    if text.startswith("<"):
        if "<!" in text.replace("<!--", ""):  # declarations could make it grow without end
            raise InputError("XML with declarations, which a calibration does not need; remove them")
        return {
            element.tag: {part.tag: part.text for part in element} if len(element) else element.text
            for element in ElementTree.fromstring(text)
        }
    if text.startswith("%YAML"):  # OpenCV writes %YAML:1.0, which YAML does not know
        text = text.partition("\n")[2]
    return yaml.load(text, _Loader)  # a safe one


class _Loader(yaml.SafeLoader):
    """A safe loader that knows OpenCV's tags."""


_Loader.add_multi_constructor("tag:yaml.org,2002:opencv-", lambda loader, _, node: loader.construct_mapping(node, deep=True))


def _numbers(value: Any) -> Array:
    """The numbers of a matrix as FileStorage and ROS write it, or as rows; flat, at most 100."""
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, str):
        value = value.split()
    if not isinstance(value, list) or len(value) > 100:
        raise ValueError("no list of numbers where a matrix is expected")
    rows = value if all(isinstance(row, list) for row in value) else [value]
    cells = [cell for row in rows[:3] for cell in row[:100]]
    if any(isinstance(cell, list | dict | bool) or cell is None for cell in cells):
        raise ValueError("no number where one is expected")
    return np.array([float(cell) for cell in cells])


def _given(name: str, value: Any) -> Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"camera.{name}={value!r} holds something else than numbers; {REMEDY}") from error
