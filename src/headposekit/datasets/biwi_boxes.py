"""Boxes of BIWI's faces: a detector's, chosen frame by frame as FSA-Net did, or a published test set's list.

Reference: shamangary/FSA-Net, data/type3/TYY_create_db_biwi.py and TYY_create_db_biwi_70_30.py; kuhnkeF/headposeplus, data/;
natanielruiz/deep-head-pose, code/datasets.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headposekit.detectors.files import read_boxes
from headposekit.errors import InputError
from headposekit.geometry.crops import fsanet_box
from headposekit.safe_files import check_file, has_arrays, read_npz

Array = NDArray[Any]
BoxRule = Literal["fsanet_protocol1", "fsanet_protocol2", "listed", "listed_crops", "dockerface"]

MAX_LIST = 2**26
"""Bytes of a list of boxes."""
MARGIN = 0.4
"""By which boxes are enlarged before they are compared."""
MAX_JUMP = 80
"""Pixels that the left side of the enlarged box may move from one frame to the next."""
DOCKERFACE_MISSES = frozenset(
    f"{sequence}/frame_{number:05d}"
    for sequence, numbers in {"15": (346, 348), "18": (473, *range(476, 482)), "21": (456, 457, 458)}.items()
    for number in numbers
)
"""The twelve frames of which Hopenet's test set has no box; 15,666 of 15,678 are left."""


def read_detections(path: Path) -> dict[str, Array]:
    """A detector's file: CSV with the columns name, confidence, x0, y0, x1, y1, a row for every face found.

    Or one of headposeplus' .npz files, which list the frames of a published test set: `images` (n,) and `bbox` (n, 4) as x, y,
    width, height. Their authors cut one pixel less than that in each direction, and so do we.

    Args:
        path: the file; names are those of the dataset, such as `01/frame_00003`.

    Returns:
        name to (n, 5): confidence and box in pixels, in the order of the file.

    Raises:
        InputError: no such file, a missing column, or a row that is no box.
    """
    return _read_list(path) if path.suffix == ".npz" else read_boxes(path)


def _read_list(path: Path) -> dict[str, Array]:
    check_file(path, what="box file; headposeplus publishes them")
    arrays = read_npz(path, MAX_LIST)
    if not has_arrays(arrays, {"images": ("US", (None,)), "bbox": ("fiu", (None, 4))}):
        raise InputError(f"{path}: not a list of BIWI frames (images and bbox); fetch it again")
    images, boxes = arrays["images"].astype(str), arrays["bbox"].astype(np.float64)
    if len(boxes) != len(images) or not np.isfinite(boxes).all() or (boxes[:, 2:] < 2).any():
        raise InputError(f"{path}: bbox does not hold x, y, width, height of each image; fetch it again")
    x, y, width, height = boxes.T
    rows = np.stack([np.ones(len(x)), x, y, x + width - 1, y + height - 1], axis=1)
    return {str(image).removesuffix("_rgb.png"): row[None] for image, row in zip(images, rows, strict=True)}


def dockerface_frames(names: Sequence[str]) -> list[str]:
    """The frames of Hopenet's test set among names such as `01/frame_00003`."""
    return [name for name in names if name not in DOCKERFACE_MISSES]


def read_dockerface(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """A frame's `dockerface-frame_NNNNN_rgb.txt`; its first line is a word, x0, y0, x1, y1 and perhaps the confidence.

    Args:
        path: the file.
        width, height: of the picture, which is the box where the line has fewer than four columns, as in Hopenet's loader.

    Returns:
        (4,) pixels.

    Raises:
        InputError: missing, another number of columns, no number, or a box without area.

    Reference: natanielruiz/deep-head-pose, code/datasets.py (class BIWI).
    """
    try:
        columns = (path.read_text().splitlines() or [""])[0].split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the frame's box cannot be read; restore the file Dockerface wrote") from error
    if len(columns) < 4:
        return np.array([0, 0, width, height], dtype=np.float32)
    if len(columns) not in (5, 6):
        raise InputError(f"{path}: {len(columns)} columns where a word, x0, y0, x1, y1 and perhaps a confidence are expected")
    try:
        box = np.array(columns[1:5], dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{path}: x0, y0, x1, y1 are not all numbers; restore the file Dockerface wrote") from error
    if not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(f"{path}: the box has no area; x0 < x1 and y0 < y1 in pixels are needed")
    return box


def choose_face(faces: Array, confidence: float, width: int, height: int) -> Array | None:
    """Of several faces the one whose enlarged box has its upper left corner nearest to two thirds of the picture's sides.

    Args:
        faces: (n, 5), confidence and box.
        confidence: faces must have more.
        width, height: of the picture.

    Returns:
        (4,), or None where no face is sure enough.
    """
    sure = faces[faces[:, 0] > confidence][:, 1:] if len(faces) else faces
    if not len(sure):
        return None
    corners = np.array([fsanet_box(box, MARGIN, width, height)[:2] for box in sure])
    chosen: Array = sure[np.abs(corners - [2 * width / 3, 2 * height / 3]).sum(axis=1).argmin()]
    return chosen


def fsanet_protocol1(frames: Sequence[Array], width: int, height: int) -> list[Array | None]:
    """Boxes of a sequence for testing: frames without a face, or whose face has jumped, are dropped.

    A face must be surer than .9; where all are less sure, the box before is taken again. The jump is measured from the last
    frame that was kept, so one that is missed loses all frames until the head comes back.

    Args:
        frames: (n, 5) faces of each frame.
        width, height: of the pictures.

    Returns:
        (4,) or None for each frame.
    """
    boxes: list[Array | None] = []
    kept: Array | None = None
    current: Array | None = None
    for faces in frames:
        if len(faces):
            found = choose_face(faces, 0.9, width, height)
            current = current if found is None else found
        accepted = len(faces) > 0 and current is not None and not _jumps(kept, current, width, height)
        boxes.append(current if accepted else None)
        kept = current if accepted else kept
    return boxes


def fsanet_protocol2(frames: Sequence[Array], width: int, height: int) -> list[Array | None]:
    """Boxes of a sequence for training on BIWI: no frame is dropped, a missing or jumping one has the box before it.

    A face must be surer than .95. Frames before the first face have the first face's box.

    Args:
        frames: (n, 5) faces of each frame.
        width, height: of the pictures.

    Returns:
        (4,) for each frame; None for all of a sequence without any face.
    """
    boxes: list[Array | None] = []
    last: Array | None = None
    for faces in frames:
        found = choose_face(faces, 0.95, width, height)
        if found is not None and not _jumps(last, found, width, height):
            last = found
        boxes.append(last)
    first = next((box for box in boxes if box is not None), None)
    return [first if box is None else box for box in boxes]


def listed(frames: Sequence[Array], width: int, height: int) -> list[Array | None]:
    """Frames count that the file lists, with the first box it has for them.

    Args:
        frames: (n, 5) faces of each frame.
        width, height: of the pictures.

    Returns:
        (4,) or None for each frame.
    """
    return [faces[0, 1:] if len(faces) else None for faces in frames]


RULES: dict[str, Callable[[Sequence[Array], int, int], list[Array | None]]] = {
    "fsanet_protocol1": fsanet_protocol1,
    "fsanet_protocol2": fsanet_protocol2,
    "listed": listed,
    "listed_crops": listed,  # and the crop rule adds nothing to them
    "dockerface": listed,  # each frame's one box, see `read_dockerface`, but for `DOCKERFACE_MISSES`
}


def box_rule(name: BoxRule) -> Callable[[Sequence[Array], int, int], list[Array | None]]:
    """A rule by its name; raises InputError for another."""
    if name not in RULES:
        raise InputError(f"box_rule={name} is unknown; choose {', '.join(get_args(BoxRule))}")
    return RULES[name]


def _jumps(before: Array | None, box: Array, width: int, height: int) -> bool:
    if before is None:
        return False
    left, left_before = (fsanet_box(side, MARGIN, width, height)[0] for side in (box, before))
    return bool(abs(left - left_before) >= MAX_JUMP)
