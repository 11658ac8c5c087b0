"""A plan carried out picture by picture, with OpenCV."""

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFilter
from numpy.typing import NDArray

from headposekit.data.augmentation import move_pixels
from headposekit.data.plan import Blur, Patch, Plan, Step
from headposekit.errors import InputError
from headposekit.geometry.crops import NO_FACE

Pictures = NDArray[np.uint8]


def carry_out(plan: Plan, pictures: Pictures) -> Pictures:
    """(B, P, P, 3) pictures, which may be overwritten, to (B, S, S, 3) squares.

    Raises:
        InputError: a square of nothing.
    """
    if not (plan.shown[:, 2:] > plan.shown[:, :2]).all():
        raise InputError(NO_FACE)
    for step in plan.before:
        for i in np.flatnonzero(step.chosen).tolist():
            height, width = plan.extent[i]
            picture = pictures[i, :height, :width]
            seen = cv2.flip(picture, 1) if plan.mirrored[i] else picture
            done = _do(step, i, np.asarray(seen, dtype=np.uint8))
            picture[:] = cv2.flip(done, 1) if plan.mirrored[i] else done
    if not plan.is_shown_whole:
        squares = np.empty((len(pictures), plan.size, plan.size, 3), dtype=np.uint8)
        for i, picture in enumerate(pictures):
            _show(plan, i, picture, squares[i])
        pictures = squares
    for step in plan.after:
        for i in np.flatnonzero(step.chosen).tolist():
            pictures[i] = _do(step, i, pictures[i])
    return pictures


def _show(plan: Plan, i: int, picture: Pictures, square: Pictures) -> None:
    height, width = (int(side) for side in plan.extent[i])
    picture = picture[:height, :width]
    if plan.clips and not plan.rotated[i]:
        x0, y0, x1, y1 = (int(side) for side in plan.shown[i])
        if plan.mirrored[i]:
            x0, x1 = width - x1, width - x0
        if (y1 - y0, x1 - x0) == square.shape[:2]:
            square[:] = picture[y0:y1, x0:x1]
        else:
            cv2.resize(picture[y0:y1, x0:x1], (plan.size, plan.size), dst=square)
        if plan.mirrored[i]:
            square[:] = square[:, ::-1].copy()
        return
    border = cv2.BORDER_REFLECT_101 if plan.rotated[i] else cv2.BORDER_CONSTANT
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(picture, plan.matrix[i], (plan.size, plan.size), dst=square, flags=flags, borderMode=border)
    if plan.rotated[i]:  # it was turned within its own frame, which may end inside the square
        x0, y0, x1, y1 = plan.shown[i]
        centers = np.arange(plan.size) + 0.5
        for axis, (start, end, length) in enumerate(((y0, y1, height), (x0, x1, width))):
            if start < 0 or end > length:
                position = start + centers * (end - start) / plan.size
                outside = (position < 0) | (position >= length)
                square[(slice(None),) * axis + (outside,)] = 0


def _do(step: Step, i: int, picture: Pictures) -> Pictures:
    height, width = picture.shape[:2]
    if isinstance(step, Blur):
        return np.asarray(PIL.Image.fromarray(picture).filter(PIL.ImageFilter.BLUR), dtype=np.uint8)
    if isinstance(step, Patch):
        x0, y0, x1, y1 = (int(side) for side in step.part[i])
        enlarged = cv2.resize(picture[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_CUBIC)
        return np.asarray(enlarged, dtype=np.uint8)
    fill = int(step.fill[i]) if step.leaves[i] else None
    return move_pixels(picture, step.rows[i, :height], step.columns[i, :width], fill)
