"""Which landmarks count, by name, and where they lie on a face at rest."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.geometry.face_model import mean_face_68
from headposekit.safe_files import read_npy, read_text

NUM_LANDMARKS = 68
MAX_PTS = 2**20
"""Bytes of a .pts file."""

POINT_SETS: dict[str, tuple[int, ...]] = {
    "68": tuple(range(68)),
    "51": tuple(range(17, 68)),  # all but the jaw line
    "14": (17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54, 57, 8),  # ends of brows, eyes, nostrils, mouth; lower lip, chin
    "12": (17, 21, 22, 26, 36, 39, 42, 45, 31, 35, 48, 54),  # the same without lip and chin
    "6": (30, 8, 36, 45, 48, 54),  # tip of the nose, chin, outer corners of the eyes, corners of the mouth
    "5": (30, 36, 45, 48, 54),  # the same without the chin
}
"""Indices of iBUG's 68 landmarks, counted from 0.

The 14 are those of a widespread tutorial on head pose with dlib and OpenCV. The Hopenet study does not say which points it
took; its tables speak of 12 for FAN and 68 for dlib.
"""


def point_set(name: str | int) -> list[int]:
    """Indices of a set of `POINT_SETS`; InputError where there is none of that name."""
    if str(name) not in POINT_SETS:
        raise InputError(f"model.points={name} is no set of landmarks; choose {', '.join(POINT_SETS)}")
    return list(POINT_SETS[str(name)])


def read_face_model(path: str | Path | None) -> NDArray[np.float64]:
    """Landmarks of a face at rest, (68, 3), frame A (x right, y up, z toward the viewer), in any unit.

    Args:
        path: a CSV file with a header and 68 rows x,y,z, or a .npy file of (68, 3); NaN where the model has no such point; null
            for `mean_face_68`.

    Raises:
        InputError: no such file, or anything else in it.
    """
    if path is None:
        return mean_face_68()
    path = Path(path)
    if not path.is_file():
        raise InputError(f"model.face_model={path}: no such file; give a CSV (header, 68 rows x,y,z) or .npy file, or null")
    text = "" if path.suffix == ".npy" else read_text(path)
    try:
        face = read_npy(path) if path.suffix == ".npy" else np.loadtxt(io.StringIO(text), delimiter=",", skiprows=1)
        face = np.asarray(face, dtype=np.float64)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"model.face_model={path}: holds no numbers; a header and 68 rows x,y,z are expected") from error
    if face.shape != (NUM_LANDMARKS, 3):
        raise InputError(f"model.face_model={path}: shape {face.shape}; 68 rows x,y,z are expected")
    return face


def read_pts(path: Path) -> NDArray[np.float64]:
    """Landmarks of a .pts file (iBUG's format), (68, 2), as they stand there; its header and braces may be missing.

    Raises:
        InputError: no such file, or anything else than 68 points in it.
    """
    text = read_text(path, MAX_PTS)
    inner = text.partition("{")[2].partition("}")[0] if "{" in text else text
    words = inner.replace(",", " ").split()
    try:
        points = np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"{path}: holds something else than the numbers of 68 points; restore or remove it") from error
    if len(points) != 2 * NUM_LANDMARKS:
        raise InputError(f"{path}: {len(points)} numbers, expected 68 lines x y; restore or remove it")
    return points.reshape(NUM_LANDMARKS, 2)
