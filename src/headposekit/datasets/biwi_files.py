"""The files of BIWI: `frame_NNNNN_pose.txt`, `frame_NNNNN_depth.bin`, `depth.cal`, `rgb.cal`; lengths in millimetres.

Reference: Fanelli et al., IJCV 2013, and the readme published with the data.
"""

from pathlib import Path
from struct import Struct
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError

WIDTH, HEIGHT = 640, 480
PIXELS = WIDTH * HEIGHT
PAIR = Struct("<ii")
"""Width and height, or how many pixels are empty and how many full thereafter."""


class HeadPlace(NamedTuple):
    """Where a head is before the depth camera, frame B (x right, y down, z away)."""

    rotation: NDArray[np.float64]  # (3, 3)
    center: NDArray[np.float64]  # (3,) mm


class Calibration(NamedTuple):
    """A camera of a sequence: a point of the depth camera's frame is `rotation @ point + translation` in its own."""

    intrinsics: NDArray[np.float64]  # (3, 3) pixels
    distortion: NDArray[np.float64]  # (4,)
    rotation: NDArray[np.float64]  # (3, 3)
    translation: NDArray[np.float64]  # (3,) mm
    size: tuple[int, int]  # width, height


def read_pose(path: Path) -> HeadPlace:
    """Rotation and head centre of a `pose.txt`.

    Raises:
        InputError: missing, other than twelve numbers, or no rotation.
    """
    numbers = _numbers(path, 12)
    return HeadPlace(_rotation(path, numbers[:9]), numbers[9:])


def read_calibration(path: Path) -> Calibration:
    """A `depth.cal` or `rgb.cal`.

    Raises:
        InputError: missing, other than 27 numbers, no rotation, or not of a camera of 640×480 pixels.
    """
    numbers = _numbers(path, 27)
    intrinsics, size = numbers[:9].reshape(3, 3), numbers[25:]
    if tuple(size) != (WIDTH, HEIGHT) or not (intrinsics[[0, 1], [0, 1]] > 0).all():
        raise InputError(f"{path}: not the intrinsics of a camera of {WIDTH}×{HEIGHT} pixels; restore the original file")
    return Calibration(intrinsics, numbers[9:13], _rotation(path, numbers[13:22]), numbers[22:25], (WIDTH, HEIGHT))


def read_depth(path: Path) -> NDArray[np.int16]:
    """A `depth.bin`: width, height, then by turns how many pixels are empty, how many are full, and the depths of these.

    Returns:
        (480, 640) mm, 0 where nothing was measured.

    Raises:
        InputError: missing, of another size, cut short, runs beyond the picture, or bytes left over.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the depth picture cannot be read ({error.strerror}); restore the file") from error
    broken = f"{path}: not a whole depth picture, {{}}; restore the original file"
    if len(raw) < PAIR.size:
        raise InputError(broken.format("it is cut short"))
    width, height = PAIR.unpack_from(raw)
    if (width, height) != (WIDTH, HEIGHT):
        raise InputError(broken.format(f"its size is {width}×{height} instead of {WIDTH}×{HEIGHT}"))
    pixels, pixel, offset = bytearray(2 * PIXELS), 0, PAIR.size
    while pixel < PIXELS:
        if offset + PAIR.size > len(raw):
            raise InputError(broken.format("it is cut short"))
        num_empty, num_full = PAIR.unpack_from(raw, offset)
        if num_empty < 0 or num_full < 0:
            raise InputError(broken.format("it has a run of negative length"))
        start, end, offset = pixel + num_empty, pixel + num_empty + num_full, offset + PAIR.size
        if end > PIXELS:
            raise InputError(broken.format("a run goes beyond the picture"))
        run = raw[offset : offset + 2 * num_full]
        if len(run) < 2 * num_full:
            raise InputError(broken.format("it is cut short"))
        pixels[2 * start : 2 * end] = run
        pixel, offset = end, offset + len(run)
    if offset < len(raw):
        raise InputError(broken.format(f"it has {len(raw) - offset} bytes left over"))
    return np.frombuffer(pixels, "<i2").astype(np.int16, copy=False).reshape(HEIGHT, WIDTH)


def _numbers(path: Path, count: int) -> NDArray[np.float64]:
    try:
        numbers = np.array(path.read_text().split(), dtype=np.float64)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    except ValueError as error:
        raise InputError(f"{path}: holds something else than numbers; restore the original file") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{path}: {len(numbers)} numbers where {count} are expected, or one is not finite; restore the file")
    return numbers


def _rotation(path: Path, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = numbers.reshape(3, 3)
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > 1e-2 or np.linalg.det(matrix) < 0:
        raise InputError(f"{path}: its matrix is no rotation; restore the original file")
    return matrix
