"""What may happen to a training face: mirror, rotation, and transforms of what is cut out or of the finished square."""

import functools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFilter
from numpy.typing import NDArray

from headposekit.data.draws import Draws, integers
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLE_LIMIT
from headposekit.types import Image

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]

CUT, PIPELINE = 8, 32  # streams of random numbers; each transform takes the next


class Augmentation:
    """What may happen to a face in training, as a function of seed, epoch and face.

    Args:
        mirror: probability that the whole face is mirrored, its annotations with it.
        rotation: standard deviation, in degrees, of a rotation in the picture, likewise; drawn anew where it would lead
            beyond `limit`.
        cut: transforms of what the crop rule cuts out, at the picture's own resolution, labels untouched; null for none.
        pipeline: transforms of the finished square, labels untouched; null for none.
        limit: of yaw, pitch and roll after a rotation, in degrees; null in the full range, see `upright_pose`.

    Each transform is one of this file, drawn for a whole batch at once, or any of albumentations, drawn face by face.
    """

    neutral: ClassVar[dict[str, Any]] = {"limit": ANGLE_LIMIT}

    def __init__(
        self,
        mirror: float = 0.0,
        rotation: float = 0.0,
        cut: Sequence[Any] | None = None,
        pipeline: Sequence[Any] | None = None,
        limit: float | None = ANGLE_LIMIT,
    ) -> None:
        if not isinstance(mirror, int | float) or not 0 <= mirror <= 1:
            raise InputError(f"augmentation.mirror={mirror} is not a probability; give 0 to 1")
        if not isinstance(rotation, int | float) or not 0 <= rotation <= 180:
            raise InputError(f"augmentation.rotation={rotation} is no spread of angles; give 0 to 180 degrees")
        self.mirror, self.rotation, self.limit = mirror, rotation, limit
        self.cut, self.pipeline = _transforms("cut", cut), _transforms("pipeline", pipeline)


def _transforms(key: str, given: Any) -> list[Any]:
    transforms = [] if given is None else list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    for transform in transforms:
        name = type(transform).__name__
        if not isinstance(transform, Transform) and not callable(transform):
            raise InputError(f"augmentation.{key}: {name} is no transform; give those of albumentations or of this suite")
        if key == "cut" and isinstance(transform, FourWayCrop | RandomZoom):
            raise InputError(f"augmentation.cut: {name} takes finished squares only; put it into augmentation.pipeline")
    return transforms


@dataclass
class Step:
    """Something done to some pictures of a batch."""

    chosen: Flags  # (B,), to which
    do: Callable[[int, Image], Image]  # to picture i of the batch, (H, W, 3)


@dataclass
class Pixels:
    """Whole pixels moved: output row i copies row `rows[i]`, column j column `columns[j]`; -1 stands for `fill`."""

    rows: NDArray[np.int16]  # (B, H)
    columns: NDArray[np.int16]  # (B, W)
    fill: NDArray[np.uint8]  # (B,)

    @functools.cached_property
    def leaves(self) -> Flags:
        """(B,), which copy anything from outside."""
        return np.logical_or((self.rows < 0).any(axis=1), (self.columns < 0).any(axis=1))

    @functools.cached_property
    def chosen(self) -> Flags:
        """(B,), whose pixels move at all."""
        rows, columns = ((table != np.arange(table.shape[1])).any(axis=1) for table in (self.rows, self.columns))
        moved: Flags = rows | columns
        return moved

    def merge(self, then: "Pixels") -> "Pixels | None":
        """Both in one, unless the second fills."""
        if then.leaves.any():
            return None
        rows, columns = (np.take_along_axis(a, b, axis=1) for a, b in ((self.rows, then.rows), (self.columns, then.columns)))
        return Pixels(rows, columns, self.fill)

    def do(self, i: int, picture: Image) -> Image:
        """Whole rows are copied fast, single pixels are not: columns are copied as rows of the transposed picture."""
        for table in (self.rows[i], self.columns[i]):
            if self.leaves[i]:  # a last row of this value, which is row -1
                longer = np.empty((len(picture) + 1, *picture.shape[1:]), dtype=np.uint8)
                longer[:-1], longer[-1] = picture, self.fill[i]
                picture = longer
            picture = cv2.transpose(picture.take(table, axis=0))
        return picture


Steps = list[Step | Pixels]


class Transform(ABC):
    """A transform that is drawn for a whole batch at once, with probability `p`."""

    def __init__(self, p: float = 1.0) -> None:
        self.p = p

    @abstractmethod
    def plan(self, draws: Floats, chosen: Flags, size: int) -> Steps:
        """What to do: `draws` (B, 7) in [0, 1); `chosen` (B,), which pictures; `size`, the side of finished squares."""


def plan_transforms(
    transforms: Sequence[Any], size: int, draws: Draws, key: tuple[int, int], indices: NDArray[np.int64], stream: int
) -> Steps:
    """What transforms of `Augmentation` do to B faces, in order; the first of them draws from `stream`."""
    steps: Steps = []
    for number, transform in enumerate(transforms, start=stream):
        if not isinstance(transform, Transform):
            steps.append(_face_by_face(transform, key, indices, number))
            continue
        drawn = draws(number, 8)
        for step in transform.plan(drawn[:, 1:], drawn[:, 0] < transform.p, size):
            last = steps[-1] if steps else None
            merged = last.merge(step) if isinstance(last, Pixels) and isinstance(step, Pixels) else None
            steps[-1 if merged else len(steps) :] = [merged or step]
    return steps


def _face_by_face(transform: Any, key: tuple[int, int], indices: NDArray[np.int64], stream: int) -> Step:
    """A transform of albumentations, which draws its own random numbers and leaves some pictures alone by itself."""

    def do(i: int, picture: Image) -> Image:
        reseed(transform, *key, int(indices[i]), stream)
        made = transform(image=np.array(picture))["image"]
        if not isinstance(made, np.ndarray) or made.dtype != np.uint8 or made.ndim != 3 or made.shape[2] != 3:
            made = f"{getattr(made, 'dtype', type(made).__name__)} of shape {tuple(getattr(made, 'shape', ()))}"
            name = type(transform).__name__
            raise InputError(f"augmentation: {name} made {made} of a picture; (H, W, 3) uint8 is needed, so leave it out")
        return made

    return Step(np.ones(len(indices), dtype=np.bool_), do)


class FourWayCrop(Transform):
    """FSA-Net's random cropping: a quarter each of zoomed in, shifted on black, shifted on white, left alone.

    A patch of side S - d, d uniform in 1..max_shift, is cut at a random place; then it is resized to S (bicubic), or pasted
    at a random place on black, or on white.

    Args:
        max_shift: largest d, in pixels.
        p: probability of the whole transform.

    Reference: shamangary/FSA-Net, training_and_testing/TYY_generators.py, `augment_data`.
    """

    def __init__(self, max_shift: int = 15, p: float = 1.0) -> None:
        super().__init__(p)
        self.max_shift = max_shift

    def plan(self, draws: Floats, chosen: Flags, size: int) -> Steps:
        """Which of the four ways, how much is cut, from where, to where."""
        way = np.where(chosen, integers(draws[:, 0], 4), 3)
        shrink = 1 + integers(draws[:, 1], self.max_shift)
        source, target = (integers(draws[:, first : first + 2], shrink[:, None]) for first in (2, 4))  # (B, 2): y, x
        part = np.stack([source[:, 1], source[:, 0], source[:, 1] + size - shrink, source[:, 0] + size - shrink], axis=-1)
        position, is_pasted = np.arange(size), (way == 1) | (way == 2)

        def moved(axis: int) -> NDArray[np.int16]:
            start, end = target[:, axis, None], target[:, axis, None] + size - shrink[:, None]
            inside = (position >= start) & (position < end)
            from_patch = np.where(inside, position - start + source[:, axis, None], -1)
            return np.where(is_pasted[:, None], from_patch, position).astype(np.int16)

        def enlarge(i: int, picture: Image) -> Image:
            (height, width), (x0, y0, x1, y1) = picture.shape[:2], part[i].tolist()
            enlarged = cv2.resize(picture[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_CUBIC)
            return np.asarray(enlarged, dtype=np.uint8)

        fill = np.where(way == 2, 255, 0).astype(np.uint8)
        return [Step(way == 0, enlarge), Pixels(moved(0), moved(1), fill)]


class RandomZoom(Transform):
    """Keras' `random_zoom` as FSA-Net uses it: both axes scaled independently about the centre, nearest pixel, edges held.

    A factor below 1 magnifies. The centre is that of the picture, 31.5 of 64 rows counted from 0. Keras of FSA-Net's time had
    32.5 (`transform_matrix_offset_center`: half the side plus 0.5), so its picture lies (1 - factor) pixels elsewhere: at most
    0.2, on average none, as the factors lie evenly around 1.

    Args:
        zoom_range: smallest and largest factor.
        p: probability.
    """

    def __init__(self, zoom_range: tuple[float, float] = (0.8, 1.2), p: float = 0.7) -> None:
        super().__init__(p)
        self.zoom_range = tuple(zoom_range)

    def plan(self, draws: Floats, chosen: Flags, size: int) -> Steps:
        """Factors of the rows and of the columns."""
        low, high = self.zoom_range
        factor = np.where(chosen[:, None], low + (high - low) * draws[:, :2], 1.0)
        center, position = (size - 1) / 2, np.arange(size)
        source = np.floor(center + factor[:, :, None] * (position - center) + 0.5).clip(0, size - 1).astype(np.int16)
        return [Pixels(source[:, 0], source[:, 1], np.zeros(len(factor), np.uint8))]


class LowResolution(Transform):
    """Hopenet's counter-measure: down-sampled by a factor drawn from `factors` and enlarged again, both nearest pixel.

    Args:
        factors: by which the sides are divided, 1 or more; 1 leaves the picture alone.
        p: probability.

    Reference: natanielruiz/deep-head-pose, code/datasets.py, `Pose_300W_LP_random_ds`.
    """

    def __init__(self, factors: Sequence[int] = (1, 6, 11, 16), p: float = 1.0) -> None:
        super().__init__(p)
        self.factors = tuple(factors)
        if not self.factors or min(self.factors) < 1:
            raise InputError(f"factors={list(factors)} cannot divide a picture's sides; give whole numbers of 1 or more")

    def plan(self, draws: Floats, chosen: Flags, size: int) -> Steps:
        """The factors."""
        factor = np.asarray(self.factors)[integers(draws[:, 0], len(self.factors))]

        def coarsen(i: int, picture: Image) -> Image:
            height, width = picture.shape[:2]
            small = (max(width // int(factor[i]), 1), max(height // int(factor[i]), 1))
            for side in (small, (width, height)):
                picture = np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_NEAREST_EXACT), dtype=np.uint8)
            return picture

        return [Step(chosen & (factor > 1), coarsen)]


class PILBlur(Transform):
    """PIL's fixed 5×5 `BLUR`, as Hopenet's loader applies it now and then; the two outermost rows and columns stay.

    Args:
        p: probability.
    """

    def __init__(self, p: float = 0.05) -> None:
        super().__init__(p)

    def plan(self, draws: Floats, chosen: Flags, size: int) -> Steps:
        """Which pictures."""

        def blur(i: int, picture: Image) -> Image:
            return np.asarray(PIL.Image.fromarray(picture).filter(PIL.ImageFilter.BLUR), dtype=np.uint8)

        return [Step(chosen, blur)]


def reseed(transform: Any, seed: int, epoch: int, index: int, stream: int = 0) -> None:
    """Make the next call of a transform of albumentations a function of these numbers; each transform in it has its own stream.

    (`set_random_seed` gives all of them the same stream.) Philox is a counter, so choosing a stream costs little.
    """
    for number, part in enumerate(_walk(transform)):
        generator = getattr(part, "random_generator", None)
        if generator is None:  # not of albumentations; it has nothing to draw
            continue
        if not isinstance(generator.bit_generator, np.random.Philox):
            part.set_random_state(np.random.Generator(np.random.Philox(key=0)), random.Random(0))
            generator = part.random_generator
        generator.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": [0, stream, index, number], "key": [seed, epoch]},
            "buffer": [0, 0, 0, 0],
            "buffer_pos": 4,  # used up
            "has_uint32": 0,
            "uinteger": 0,
        }
        part.py_random.seed(int(generator.integers(2**63)))


def _walk(node: Any) -> list[Any]:
    """A transform and all in it, parents first: a parent's seeding also seeds its children, whose own comes after."""
    return [node, *(below for child in getattr(node, "transforms", []) for below in _walk(child))]
