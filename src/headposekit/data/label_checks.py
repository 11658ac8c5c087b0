"""Whether labels can be what they are taken for: degrees of heads, boxes given by two corners."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.geometry.conventions import ANGLE_LIMIT, ANGLES

Floats = NDArray[np.floating[Any]]

MIN_FACES = 8  # different labels without which a set's spread says nothing
MOST = 0.95  # share of a set that counts as all of it
MAX_RADIANS = 1.75  # a little beyond 99 degrees in radians; labels in degrees that stay below it would all be of one pose
MAX_SPREAD = 0.6  # standard deviation of pitch and roll in radians: 34 degrees
MIN_TURNED = 0.05  # share of faces between 261 and 360 degrees from which on they are not stray ones
MAX_BEYOND = 0.25  # share of faces beyond 99 degrees that no published set comes near: AFLW2000 has 1.6 %
SAME_SHAPE = 0.75  # spread of the boxes' shapes in the right reading over that in a wrong one, at most


def label_doubts(
    pose: Floats, box: Floats | None = None, size: NDArray[np.integer[Any]] | None = None, full_range: bool = False
) -> list[str]:
    """What makes labels look like something else than they are taken for; empty where nothing does.

    - Radians (or angles scaled in some other way): 95 % of the faces have all angles within ±1.75, 8 different poses or more,
      and pitch and roll have a standard deviation of 0.6 or less on average, as those of heads have in radians.
      Degrees of real heads vary more, even of people who all look into the camera: each angle's spread would have to be 0.7
      degrees or less.
    - 0 to 360: an angle is never negative, and 5 % of the faces have it from 261 to 360, where it should be from -99 to 0.
    - Anything else: a quarter of the faces lies beyond ±99 degrees, where they are not of the full range.
    - Boxes given as shares of the picture: 95 % of them lie between 0 and 1.
    - Boxes given as x, y, width, height: read so, nearly all lie in their pictures, their middles are at most half as far from
      the middle of the picture as those of x0, y0, x1, y1, and their shapes (width over height) spread by 3/4 or less.

    Args:
        pose: (n, 3) yaw, pitch, roll, before any face is left out by its angles; NaN where not known.
        box: (n, 4) as x0, y0, x1, y1; None or NaN where there is none.
        size: (n, 2) height and width of the pictures; needed for boxes.

    Returns:
        one line each: what was seen, and what to do.
    """
    pose = pose[np.isfinite(pose).all(axis=1)]
    doubts = [_doubt_about_angles(pose, full_range) if len(pose) else None]
    if box is not None and size is not None:
        known = np.isfinite(box).all(axis=1) & (size > 0).all(axis=1)
        doubts.append(_doubt_about_boxes(box[known].astype(np.float64), size[known].astype(np.float64)))
    return [doubt for doubt in doubts if doubt]


def _doubt_about_angles(pose: Floats, full_range: bool) -> str | None:
    n, extent = len(pose), np.abs(pose).max(axis=1)
    is_turn = pose.min() >= 0 and pose.max() <= 2 * np.pi  # radians from 0 to a full turn
    radians = np.where(pose > np.pi, pose - 2 * np.pi, pose) if is_turn else pose
    small = np.abs(radians).max(axis=1) <= MAX_RADIANS
    is_spread_like_heads = bool(small.any()) and radians[small, 1:].std(axis=0).mean() <= MAX_SPREAD
    if small.mean() >= MOST and is_spread_like_heads and len(np.unique(pose[small], axis=0)) >= MIN_FACES:
        return (
            f"the angles of {small.sum():,} of {n:,} faces would all be within ±{MAX_RADIANS} degrees: they look like radians; "
            "multiply them by 180/pi"
        )
    turned = (pose >= 360 - ANGLE_LIMIT) & (pose <= 360)
    is_turned = (pose >= 0).all(axis=0) & (turned.mean(axis=0) >= MIN_TURNED)
    if is_turned.any():
        names = ", ".join(np.array(ANGLES)[is_turned].tolist())
        faces = int(turned[:, is_turned].any(axis=1).sum())
        return (
            f"{names}: from {360 - ANGLE_LIMIT:g} to 360 degrees for {faces:,} of {n:,} faces, and never negative; they look "
            "like angles from 0 to 360: take 360 off those above 180"
        )
    beyond = int((extent > ANGLE_LIMIT).sum())
    if beyond >= MAX_BEYOND * n and not full_range:
        return (
            f"{beyond:,} of {n:,} faces lie beyond ±{ANGLE_LIMIT:g} degrees, which heads in pictures rarely do; check the unit "
            "of the angles and that 0, 0, 0 is a face that looks into the camera"
        )
    return None


def _doubt_about_boxes(box: Floats, size: Floats) -> str | None:
    shares = int(((box >= 0) & (box <= 1)).all(axis=1).sum())
    if shares and shares >= MOST * len(box):
        return (
            f"the boxes of {shares:,} of {len(box):,} faces lie between 0 and 1: they look like shares of the picture; "
            "multiply x by its width and y by its height"
        )
    area = (box[:, 2:] > np.maximum(box[:, :2], 0)).all(axis=1)
    box, size = box[area], size[area]
    if len(np.unique(box, axis=0)) < MIN_FACES:
        return None
    corner, second, extent = box[:, :2], box[:, 2:], size[:, ::-1]
    fits = ((corner >= 0) & (corner + second <= extent + 1)).all(axis=1)
    from_middle = [np.sqrt(np.mean((middle / extent - 0.5) ** 2)) for middle in ((corner + second) / 2, corner + second / 2)]
    shapes = [np.std(np.log(sides[:, 0] / sides[:, 1])) for sides in (second - corner, second)]
    if fits.mean() >= MOST and from_middle[1] < from_middle[0] / 2 and shapes[1] < SAME_SHAPE * shapes[0]:
        return (
            f"the boxes of {len(box):,} faces look like x, y, width, height; give the corners x0, y0, x1, y1 (add x to the "
            "width and y to the height)"
        )
    return None
