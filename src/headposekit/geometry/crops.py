"""From a tight box to the square the network sees, by the rules of both papers and by a clean one.

A crop rule is a small object that is written into the checkpoint, so training, evaluation and prediction share it. Boxes are
x0, y0, x1, y1 in pixels. The functions under the classes are the papers' arithmetic, pixel for pixel, oddities included.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple, Self, get_args

import cv2
import numpy as np
import PIL.Image
from numpy.typing import ArrayLike, NDArray

from headposekit.errors import InputError
from headposekit.types import Image

AFLW2000Box = Literal["official", "visible21", "pt3d_68"]
Boxes = NDArray[np.floating]
Uniform = NDArray[np.float64] | None  # random numbers in [0, 1); None in a test, where nothing varies

HOPENET_SIDES: dict[str, tuple[float, float, float, float]] = {
    "300w_lp": (0.6, 2.0, 0.6, 0.6),
    "aflw2000": (2.0, 2.0, 2.0, 0.6),
    "biwi": (0.6, 1.0, 0.6, 0.6),
    "crops": (0.0, 0.0, 0.0, 0.0),
    "afw": (0.8, 2.0, 0.8, 1.0),
}
"""Left, top, right, bottom factors of Hopenet's loaders, multiplied by k."""
HOPENET_K: dict[str, tuple[float, float]] = {
    "300w_lp": (0.2, 0.4),
    "aflw2000": (0.2, 0.2),
    "biwi": (0.35, 0.35),
    "crops": (0.0, 0.0),  # boxes that are crops already
    "afw": (0.32, 0.32),
}
"""Range from which Hopenet's loaders draw k uniformly, per sample."""
HOPENET_TRAINING_SIDE = 240 / 224
"""Shorter side before the random crop of training, over the side of the square."""
NO_FACE = "the face box lies outside its picture or has no area; check the annotation's points or box"
MAX_BOX = 2
"""Side of the largest box, over the picture's longer side."""
MAX_PIXELS = 2**27
"""Of anything that is cut out of a picture or made of a cut: with a fourth channel in PIL, half a gigabyte."""


class Regions(NamedTuple):
    """What the squares show of B pictures."""

    cut: NDArray[np.int64]  # (B, 4), what is cut out of each; whole pixels, ends exclusive
    shown: NDArray[np.float64]  # (B, 4), what `fit` leaves of it; pixels counted from the corner of the first


class CropRule(ABC):
    """From a picture and a tight box to the square: a part of the picture is cut out (`regions`), then resized (`fit`).

    What lies outside the picture is black.
    """

    name: str
    size: int  # side of the square in pixels
    aflw2000_box: AFLW2000Box  # which points of AFLW2000 make the tight box
    drop_negative_points: bool = False  # whether 300W-LP's points with negative coordinates are left out of the tight box
    varies: bool = False  # whether training draws anew what is cut out of a picture

    def __call__(self, image: Image, box: ArrayLike) -> Image:
        """(H, W, 3) picture and tight box (4,) to the (size, size, 3) square; InputError where nothing would be in it."""
        height, width = image.shape[:2]
        return self.fit(crop_with_black_border(image, self.regions(np.asarray(box)[None], width, height).cut[0]))

    @property
    @abstractmethod
    def reach(self) -> float:
        """How far a cut may leave the box, as a share of its longer side beyond the square around its centre."""

    @abstractmethod
    def cut(self, box: Boxes, width: ArrayLike, height: ArrayLike) -> NDArray[np.int64]:
        """What a test cuts out, (B, 4), for boxes (B, 4) in pictures of B sizes."""

    def regions(self, box: Boxes, width: ArrayLike, height: ArrayLike, draws: Uniform = None) -> Regions:
        """Of B boxes (B, 4) in pictures of B sizes; with `draws` (B, 3) in [0, 1), as training varies them."""
        cut = self.cut(box, width, height)
        return Regions(cut, cut.astype(np.float64))

    def fit(self, cut: Image, place: Uniform = None) -> Image:
        """What was cut out, (h, w, 3), to the (size, size, 3) square: bilinear, its shape not kept.

        `place` is the second and third draw of a rule that varies. Raises InputError where the cut holds nothing.
        """
        if cut.size == 0:
            raise InputError(NO_FACE)
        return np.asarray(cv2.resize(cut, (self.size, self.size)), dtype=np.uint8)

    def for_dataset(self, name: str) -> "CropRule":
        """Variant of this rule for the boxes of a dataset; detector boxes, for example, are larger and get a smaller margin."""
        return self


class FSANetCrop(CropRule):
    """FSA-Net's crop: the box grown by `margin` on each side, clipped to the picture, resized without keeping its shape.

    Boxes that are crops already (dataset `crops`) are taken as they are.

    Args:
        size: side of the square in pixels.
        margin: share of the box's width (height) added left and right (above and below).
        aflw2000_box: which points of AFLW2000 make the tight box, see `aflw2000_box`.
        detector_margin: the margin around a face detector's box, as in BIWI; the last row and column then belong to it.

    Reference: shamangary/FSA-Net, data/type1/TYY_create_db_type1.py and data/type3/TYY_create_db_biwi.py.
    """

    name = "fsanet"
    drop_negative_points = True

    def __init__(
        self,
        size: int = 64,
        margin: float = 0.6,
        aflw2000_box: AFLW2000Box = "visible21",
        detector_margin: float = 0.4,
    ) -> None:
        _check(size, aflw2000_box, margin=margin, detector_margin=detector_margin)
        self.size, self.margin, self.aflw2000_box, self.detector_margin = size, margin, aflw2000_box, detector_margin
        self.dataset = ""

    @property
    def reach(self) -> float:
        """The margin of the dataset's boxes."""
        return {"biwi": self.detector_margin, "crops": 0.0}.get(self.dataset, self.margin)

    def for_dataset(self, name: str) -> "FSANetCrop":
        """With the margin of the dataset's boxes."""
        rule = copy.copy(self)
        rule.dataset = name
        return rule

    def cut(self, box: Boxes, width: ArrayLike, height: ArrayLike) -> NDArray[np.int64]:
        """The grown box, clipped."""
        cut = fsanet_box(box, self.reach, width, height)
        cut[..., 2:] += self.dataset == "biwi"
        return cut


class MarginCrop(CropRule):
    """The clean crop: a square around the box's centre, its side the box's longer side times 1 + 2 margin; nothing is clipped.

    Args:
        size: side of the square in pixels.
        margin: share of the longer side added on each side.
        aflw2000_box: which points of AFLW2000 make the tight box, see `aflw2000_box`.
    """

    name = "margin"

    def __init__(self, size: int = 64, margin: float = 0.3, aflw2000_box: AFLW2000Box = "pt3d_68") -> None:
        _check(size, aflw2000_box, margin=margin)
        self.size, self.margin, self.aflw2000_box = size, margin, aflw2000_box

    @property
    def reach(self) -> float:
        """The margin."""
        return self.margin

    def cut(self, box: Boxes, width: ArrayLike, height: ArrayLike) -> NDArray[np.int64]:
        """The square."""
        return square_box(box, self.margin)

    def for_dataset(self, name: str) -> "MarginCrop":
        """The same, but for boxes that are crops already: detectors' differ more among each other than from landmarks'."""
        return MarginCrop(self.size, 0.0, self.aflw2000_box) if name == "crops" else self


class ThreeDDFACrop(CropRule):
    """3DDFA_V2's crop: a square of 1.58 times the box's mean side, its centre 0.14 of that side further down, black outside.

    Args:
        size: side of the square in pixels.
        aflw2000_box: which points of AFLW2000 make the tight box, see `aflw2000_box`.

    Reference: cleardusk/3DDFA_V2, utils/functions.py, `parse_roi_box_from_bbox` and `crop_img`.
    """

    name = "threeddfa"
    scale, down = 1.58, 0.14
    reach = (scale - 1) / 2 + down

    def __init__(self, size: int = 120, aflw2000_box: AFLW2000Box = "pt3d_68") -> None:
        _check(size, aflw2000_box)
        self.size, self.aflw2000_box = size, aflw2000_box

    def cut(self, box: Boxes, width: ArrayLike, height: ArrayLike) -> NDArray[np.int64]:
        """The square."""
        x0, y0, x1, y1 = _sides(box)
        mean = (x1 - x0 + y1 - y0) / 2
        side = np.trunc(self.scale * mean)
        left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2 + self.down * mean
        square: NDArray[np.int64] = np.rint(np.stack([left, top, left + side, top + side], axis=-1)).astype(np.int64)
        return square

    def for_dataset(self, name: str) -> CropRule:
        """The same; boxes that are crops already (`crops`) become squares around them, neither larger nor moved."""
        return MarginCrop(self.size, 0.0, self.aflw2000_box) if name == "crops" else self


class HopenetCrop(CropRule):
    """Hopenet's crop: a loose box with factors of its dataset, the shorter side resized, a square taken from the middle.

    In training the looseness k is drawn for every face, the shorter side becomes 240/224 of the square's, and the square is
    taken anywhere. A dataset that the published code does not have gets the factors of 300W-LP.

    Args:
        size: side of the square in pixels.
        aflw2000_box: which points of AFLW2000 make the tight box, see `aflw2000_box`.
        order_free: take every margin of the tight box instead of in the original's order, see `hopenet_box`.

    Reference: natanielruiz/deep-head-pose, code/datasets.py, code/train_hopenet.py and code/test_hopenet.py.
    """

    name = "hopenet"
    varies = True
    test_side = 1.0  # shorter side in a test, over the side of the square

    def __init__(self, size: int = 224, aflw2000_box: AFLW2000Box = "official", order_free: bool = False) -> None:
        _check(size, aflw2000_box)
        self.size, self.aflw2000_box, self.order_free = size, aflw2000_box, order_free
        self.dataset = "300w_lp"

    @property
    def reach(self) -> float:
        """The widest margin of the loosest box."""
        k = HOPENET_K[self.dataset][1]
        left, top, right, bottom = (side * k for side in HOPENET_SIDES[self.dataset])
        return max(left, top, *((right, bottom) if self.order_free else (right * (1 + left), bottom * (1 + top))))

    def for_dataset(self, name: str) -> Self:
        """With the factors of the dataset."""
        rule = copy.copy(self)
        rule.dataset = name if name in HOPENET_K else "300w_lp"
        return rule

    def fit(self, cut: Image, place: Uniform = None) -> Image:
        """Shorter side to `size` and its middle, or to 240/224 of it and anywhere.

        Filtered as PIL does in a test; in training bilinear where that still sees every pixel, which is six times as fast.
        """
        if cut.size == 0:
            raise InputError(NO_FACE)
        resized = self._resized(np.array(cut.shape[1::-1]), place is not None)
        width, height = resized.tolist()
        check_size(width, height)
        if place is not None and max(cut.shape) <= 2 * max(width, height):
            picture = cv2.resize(cut, (width, height))
        else:
            picture = np.asarray(PIL.Image.fromarray(cut).resize((width, height), PIL.Image.Resampling.BILINEAR))
        left, top = self._corner(resized, place).astype(int)
        return np.asarray(picture[top : top + self.size, left : left + self.size], dtype=np.uint8)

    def cut(self, box: Boxes, width: ArrayLike, height: ArrayLike, draw: Uniform = None) -> NDArray[np.int64]:
        """The loose box; the draw (B,) is of k, the middle of its range in a test."""
        low, high = HOPENET_K[self.dataset]
        k = low + (high - low) * (np.full(len(box), 0.5) if draw is None else draw)
        return hopenet_box(box, k, HOPENET_SIDES[self.dataset], self.order_free)

    def regions(self, box: Boxes, width: ArrayLike, height: ArrayLike, draws: Uniform = None) -> Regions:
        """A square of the loose box; the draws are of k and of the square's place."""
        cut = self.cut(box, width, height, None if draws is None else draws[:, 0])
        start, extent = cut[:, :2], cut[:, 2:] - cut[:, :2]
        resized = self._resized(extent, draws is not None)
        corner = self._corner(resized, None if draws is None else draws[:, 1:])
        scale = extent / np.maximum(resized, 1)
        return Regions(cut, np.concatenate([start + corner * scale, start + (corner + self.size) * scale], axis=-1))

    def _corner(self, resized: NDArray[np.int64], place: Uniform) -> NDArray[np.float64]:
        """Where the square begins, x and y (..., 2), in a resized cut (..., 2)."""
        room = resized - self.size
        return np.asarray(np.rint(room / 2) if place is None else np.floor(place * (room + 1)), np.float64)

    def _resized(self, extent: NDArray[np.int64], in_training: bool) -> NDArray[np.int64]:
        """Width and height (..., 2) of cuts (..., 2) once the shorter side is as long as the square's, or as training wants."""
        shorter = round(self.size * (HOPENET_TRAINING_SIDE if in_training else self.test_side))
        is_tall = extent[..., 0] <= extent[..., 1]
        longer = (shorter * extent.max(axis=-1) / np.maximum(extent.min(axis=-1), 1)).astype(np.int64)
        return np.stack([np.where(is_tall, shorter, longer), np.where(is_tall, longer, shorter)], axis=-1)


class SixDRepNetCrop(HopenetCrop):
    """Hopenet's crop as 6DRepNet takes it: in a test the shorter side becomes 256/224 of the square's, not the same.

    Args:
        size, aflw2000_box, order_free: see `HopenetCrop`.

    Reference: thohemp/6DRepNet, sixdrepnet/datasets.py and test.py; a crop that is given (`crops`) is only resized, as there.
    """

    name = "sixdrepnet"
    test_side = 256 / 224

    def for_dataset(self, name: str) -> Self:
        """With the factors of the dataset."""
        rule = super().for_dataset(name)
        if name == "crops":
            rule.test_side = 1.0
        return rule


class ReadyCrop(CropRule):
    """For squares that a rule has made already: it takes a picture for one, whatever the box."""

    reach = 0.0  # there is nothing around a finished crop

    def __init__(self, rule: CropRule) -> None:
        self.name, self.size, self.aflw2000_box = rule.name, rule.size, rule.aflw2000_box
        self.drop_negative_points = rule.drop_negative_points

    def fit(self, cut: Image, place: Uniform = None) -> Image:
        """The picture."""
        return cut

    def cut(self, box: Boxes, width: ArrayLike, height: ArrayLike) -> NDArray[np.int64]:
        """All of each picture."""
        return np.stack(np.broadcast_arrays(0, 0, width, height, np.zeros(len(box), np.int64))[:4], axis=-1)


def check_box(box: ArrayLike, width: int, height: int, name: str = "the box") -> None:
    """Refuse a box (4,) in pixels that no face of a picture can have; a crop of it could fill the memory."""
    x0, y0, x1, y1 = (float(side) for side in np.asarray(box))
    shown, picture = f"{name} ({x0:g}, {y0:g}, {x1:g}, {y1:g})", f"its picture of {width}×{height}"
    if not (x0 < x1 and y0 < y1):  # so written, NaN is refused
        raise InputError(
            f"{shown} has no area; x0 < x1 and y0 < y1 in pixels are needed (x1, y1 are a corner, not width and height)"
        )
    if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
        raise InputError(f"{shown} lies outside {picture}; give x0, y0, x1, y1 in pixels of the upright picture")
    if max(x1 - x0, y1 - y0) > MAX_BOX * max(width, height):
        raise InputError(f"{shown} is more than twice as large as {picture}; give x0, y0, x1, y1 in pixels")


def landmarks_box(points: ArrayLike) -> NDArray[np.float32]:
    """Tight box of (N, 2) points."""
    points = np.asarray(points)
    return np.concatenate([points.min(axis=0), points.max(axis=0)]).astype(np.float32)


def drop_negative_points(points: ArrayLike) -> NDArray[np.float64]:
    """FSA-Net's filter of (N, 2) points: those with x > 0, or those with y > 0 if they are fewer."""
    points = np.asarray(points, dtype=np.float64)
    keep_x, keep_y = points[:, 0] > 0, points[:, 1] > 0
    return points[keep_y if keep_x.sum() > keep_y.sum() else keep_x]


def aflw2000_box(points21: ArrayLike, points68: ArrayLike, rule: AFLW2000Box) -> NDArray[np.float32]:
    """Tight box of an AFLW2000 face.

    Args:
        points21: (21, 2), `pt2d`; invisible points have x = -1.
        points68: (68, 2), x and y of `pt3d_68`.
        rule: `official`: all of `pt2d` with its -1s, as Hopenet's released test does (86 % of the crops become too wide);
            `visible21`: those with positive coordinates, as FSA-Net does (no jaw line, so tighter than in training);
            `pt3d_68`: the 68 points, as in 300W-LP.

    Returns:
        (4,) x0, y0, x1, y1; of no points, NaN.
    """
    points = {"official": points21, "visible21": drop_negative_points(points21), "pt3d_68": points68}
    if rule not in points:
        raise InputError(f"box={rule} is unknown; choose {', '.join(points)}")
    return landmarks_box(points[rule]) if np.size(points[rule]) else np.full(4, np.nan, dtype=np.float32)


def fsanet_box(box: ArrayLike, margin: float, width: ArrayLike, height: ArrayLike) -> NDArray[np.int64]:
    """FSA-Net's enlarged boxes (..., 4), whole pixels, their ends exclusive: never reach a picture's last row and column."""
    x0, y0, x1, y1 = np.trunc(_sides(box))
    box_width, box_height = x1 - x0, y1 - y0
    left, top = np.maximum(np.trunc(x0 - margin * box_width), 0), np.maximum(np.trunc(y0 - margin * box_height), 0)
    right = np.minimum(np.trunc(x1 + margin * box_width), np.subtract(width, 1))
    bottom = np.minimum(np.trunc(y1 + margin * box_height), np.subtract(height, 1))
    return np.stack([left, top, right, bottom], axis=-1).astype(np.int64)


def hopenet_box(
    box: ArrayLike, k: ArrayLike, sides: tuple[float, float, float, float], order_free: bool = False
) -> NDArray[np.int64]:
    """Hopenet's loose boxes, margins in the original's order: right and bottom grow from the already enlarged box.

    For a 100 px box, k = 0.3 and factors of 0.6, that is 18 px on the left and 21 px on the right. Ends are exclusive and
    may lie outside the picture (black there, see `crop_with_black_border`).

    Args:
        box: (..., 4) tight boxes.
        k, sides: overall factors (...), and those of left, top, right, bottom; see `HOPENET_K` and `HOPENET_SIDES`.
        order_free: every margin is a share of the tight box instead.

    Reference: natanielruiz/deep-head-pose, code/datasets.py.
    """
    x0, y0, x1, y1 = _sides(box)
    left, top, right, bottom = (side * np.asarray(k) for side in sides)
    width, height = abs(x1 - x0), abs(y1 - y0)
    x0, y0 = x0 - left * width, y0 - top * height
    if not order_free:
        width, height = abs(x1 - x0), abs(y1 - y0)
    return np.stack([x0, y0, x1 + right * width, y1 + bottom * height], axis=-1).astype(np.int64)  # towards zero


def square_box(box: ArrayLike, margin: float) -> NDArray[np.int64]:
    """Squares (..., 4) around the boxes' centres, side (1 + 2 margin) × the longer side, in whole pixels."""
    x0, y0, x1, y1 = _sides(box)
    side = np.rint((1 + 2 * margin) * np.maximum(x1 - x0, y1 - y0))
    left, top = np.rint((x0 + x1 - side) / 2), np.rint((y0 + y1 - side) / 2)
    return np.stack([left, top, left + side, top + side], axis=-1).astype(np.int64)


def _sides(box: ArrayLike) -> NDArray[np.float64]:
    """(..., 4) to (4, ...)."""
    return np.moveaxis(np.asarray(box, dtype=np.float64), -1, 0)


def crop_with_black_border(image: Image, box: Sequence[int] | NDArray[np.int64]) -> Image:
    """The cut of a whole-pixel box, ends exclusive, a view where it can be; black where it leaves the picture (as PIL)."""
    x0, y0, x1, y1 = map(int, box)
    height, width = image.shape[:2]
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return image[y0 : y1 if y1 > 0 else 0, x0 : x1 if x1 > 0 else 0]
    check_size(x1 - x0, y1 - y0)
    cut = np.zeros((max(y1 - y0, 0), max(x1 - x0, 0), 3), dtype=np.uint8)
    inner = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if inner.size and y0 < height and x0 < width:
        top, left = max(-y0, 0), max(-x0, 0)
        cut[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return cut


def check_size(width: int, height: int) -> None:
    """Refuse a cut, or what is made of one, that could fill the memory; raises InputError."""
    if max(width, 0) * max(height, 0) > MAX_PIXELS:
        raise InputError(f"a crop of {width}×{height} pixels is too large; check the box, or give a smaller margin or picture")


def _check(size: int, box: AFLW2000Box, **margins: float) -> None:
    if not isinstance(size, int) or size < 1:
        raise InputError(f"crop.size={size} is not a number of pixels; give 1 or more")
    if box not in get_args(AFLW2000Box):
        raise InputError(f"crop.aflw2000_box={box} is unknown; choose {', '.join(get_args(AFLW2000Box))}")
    for name, margin in margins.items():
        if not isinstance(margin, int | float) or not margin >= 0:
            raise InputError(f"crop.{name}={margin} is not a share of the box; give 0 or more")
