"""Training augmentations: of the whole face, its label with it (mirror, rotation), then of its crop (albumentations).

What is drawn is a function of a key (seed, epoch, index), so the same epoch of the same training always sees the same
pictures, whatever the number of workers and after any resume.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import PIL.Image
import PIL.ImageFilter
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLE_LIMIT
from headposekit.geometry.face_model import MIRROR_68
from headposekit.types import Image, Sample

ROTATION_TRIALS = 20


class Augmentation:
    """What may happen to a face in training.

    Args:
        mirror: probability that the whole face is mirrored, its annotations with it.
        rotation: standard deviation, in degrees, of a rotation in the picture, likewise; drawn anew where it would lead
            beyond ±99 degrees of yaw, pitch or roll.
        cut: what is done to what the crop rule cuts out, at the picture's own resolution; null for nothing.
        pipeline: what is done to its crop, labels untouched; null for nothing.

    Raises:
        InputError: `mirror` is not a probability, or `rotation` not an angle.
    """

    def __init__(
        self,
        mirror: float = 0.0,
        rotation: float = 0.0,
        cut: A.Compose | None = None,
        pipeline: A.Compose | None = None,
    ) -> None:
        if not isinstance(mirror, int | float) or not 0 <= mirror <= 1:
            raise InputError(f"augmentation.mirror={mirror} is not a probability; give 0 to 1")
        if not isinstance(rotation, int | float) or not 0 <= rotation <= 180:
            raise InputError(f"augmentation.rotation={rotation} is no spread of angles; give 0 to 180 degrees")
        self.mirror, self.rotation, self.cut, self.pipeline = mirror, rotation, cut, pipeline

    def before_crop(self, sample: Sample, *key: int) -> Sample:
        """The sample, or what a mirror or a tilted camera would have made of it."""
        if not self.mirror and not self.rotation:
            return sample
        rng = np.random.default_rng([*key, 1])
        if rng.random() < self.mirror:
            sample = mirror_sample(sample)
        if self.rotation:
            return self._rotate(sample, rng)
        return sample

    def _rotate(self, sample: Sample, rng: np.random.Generator) -> Sample:
        for _ in range(ROTATION_TRIALS):
            rotated = rotate_sample(sample, self.rotation * rng.normal())
            if np.abs(rotated["pose"]).max() <= ANGLE_LIMIT:
                return rotated
        return sample  # it lies beyond the limit itself

    def on_cut(self, cut: Image, *key: int) -> Image:
        """(H, W, 3) to the same."""
        return _through(self.cut, cut, *key, 3)

    def after_crop(self, crop: Image, *key: int) -> Image:
        """(S, S, 3) to the same."""
        return _through(self.pipeline, crop, *key)


def _through(pipeline: A.Compose | None, picture: Image, *key: int) -> Image:
    if pipeline is None or not picture.size:
        return picture
    reseed(pipeline, *key)
    return np.asarray(pipeline(image=picture)["image"], dtype=np.uint8)


def mirror_sample(sample: Sample) -> Sample:
    """The face as a mirror shows it: picture, pose, box and landmarks.

    Box and landmarks count from the left edge of the first pixel, whose centre is 0.5; x becomes width - x. The points of
    300W-LP and AFLW2000 are MATLAB's, whose first pixel's centre is 1, and their mirror image would be width + 1 - x. For
    these the mirrored box and landmarks therefore lie one pixel of the picture further left on the face than the unmirrored.
    That is kept: a training crop of 300W-LP is some 250 pixels wide, and Hopenet's crop alone moves it by ±8.
    """
    width = sample["image"].shape[1]
    x0, y0, x1, y1 = sample["box"]
    yaw, pitch, roll = sample["pose"]
    return {
        "image": np.asarray(cv2.flip(sample["image"], 1), dtype=np.uint8),
        "pose": np.array([-yaw, pitch, -roll], dtype=np.float32),
        "box": np.array([width - x1, y0, width - x0, y1], dtype=np.float32),
        "landmarks": (sample["landmarks"][MIRROR_68] * [-1, 1] + [width, 0]).astype(np.float32),
        "name": sample["name"],
    }


def rotate_pose(pose: Sequence[float] | NDArray[Any], angle: float) -> NDArray[np.float32]:
    """Pose (3,) of a face whose picture is turned counter-clockwise by `angle` degrees; roll alone does not say it.

    It is `matrix_to_pose(Z(angle) @ pose_to_matrix(pose))` of `rotations.py` on plain numbers: one face at a time, forty
    times as fast.
    """
    yaw, pitch, roll = (math.radians(value) for value in pose)
    sin_y, sin_p, sin_r, sin_a = (math.sin(value) for value in (-yaw, -pitch, -roll, math.radians(angle)))
    cos_y, cos_p, cos_r, cos_a = (math.cos(value) for value in (yaw, pitch, roll, math.radians(angle)))
    first = (cos_y * cos_r, -cos_y * sin_r, sin_y)
    second = (sin_p * sin_y * cos_r + cos_p * sin_r, cos_p * cos_r - sin_p * sin_y * sin_r, -sin_p * cos_y)
    x, y, z = (cos_a * one - sin_a * other for one, other in zip(first, second, strict=True))
    height = sin_a * first[2] + cos_a * second[2]
    turned = (math.atan2(-z, math.hypot(x, y)), math.atan2(height, cos_p * cos_y), math.atan2(y, x))
    return np.array([math.degrees(value) for value in turned], dtype=np.float32)


def rotate_sample(sample: Sample, angle: float) -> Sample:
    """The face turned counter-clockwise by `angle` degrees about the centre of its box, which stays; the edges are mirrored."""
    x0, y0, x1, y1 = (float(side) for side in sample["box"])
    turn = cv2.getRotationMatrix2D(((x0 + x1) / 2, (y0 + y1) / 2), angle, 1.0)
    # OpenCV counts from the first pixel's centre, we from its corner.
    of_centers = turn.copy()
    of_centers[:, 2] = turn[:, 2] + turn[:, :2] @ np.full(2, 0.5) - 0.5
    height, width = sample["image"].shape[:2]
    image = cv2.warpAffine(sample["image"], of_centers, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return {
        "image": np.asarray(image, dtype=np.uint8),
        "pose": rotate_pose(sample["pose"], angle),
        "box": sample["box"],
        "landmarks": (sample["landmarks"] @ turn[:, :2].T + turn[:, 2]).astype(np.float32),
        "name": sample["name"],
    }


class FourWayCrop(A.ImageOnlyTransform):
    """FSA-Net's random cropping: a quarter each of zoomed in, shifted on black, shifted on white, left alone.

    A patch of side S - d, d uniform in 1..max_shift, is cut at a random place; then it is resized to S (bicubic), or pasted
    at a random place on black, or on white.

    Args:
        max_shift: largest d, in pixels.
        p: probability of the whole transform.

    Reference: shamangary/FSA-Net, training_and_testing/TYY_generators.py, `augment_data`.
    """

    def __init__(self, max_shift: int = 15, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.max_shift = max_shift

    def get_params(self) -> dict[str, Any]:
        """Which of the four ways, how much is cut, from where, to where."""
        rng = self.random_generator
        shrink = int(rng.integers(1, self.max_shift + 1))
        source_y, source_x, target_y, target_x = (int(value) for value in rng.integers(0, shrink, size=4))
        return {"way": int(rng.integers(4)), "shrink": shrink, "source": (source_y, source_x), "target": (target_y, target_x)}

    def apply(self, img: Image, way: int, shrink: int, source: tuple[int, int], target: tuple[int, int], **_: Any) -> Image:
        """(S, S, 3) uint8 to the same."""
        height, width = img.shape[:2]
        patch = img[source[0] : source[0] + height - shrink, source[1] : source[1] + width - shrink]
        if way == 0:
            return np.asarray(cv2.resize(patch, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        if way == 3:
            return img
        canvas = np.full_like(img, 0 if way == 1 else 255)
        canvas[target[0] : target[0] + patch.shape[0], target[1] : target[1] + patch.shape[1]] = patch
        return canvas


class RandomZoom(A.ImageOnlyTransform):
    """Keras' `random_zoom` as FSA-Net uses it: both axes scaled independently about the centre, nearest pixel, edges held.

    A factor below 1 magnifies. The centre is that of the picture, 31.5 of 64 rows counted from 0. Keras of FSA-Net's time had
    32.5 (`transform_matrix_offset_center`: half the side plus 0.5), so its picture lies (1 - factor) pixels elsewhere: at most
    0.2, on average none, as the factors lie evenly around 1.

    Args:
        zoom_range: smallest and largest factor.
        p: probability.
    """

    def __init__(self, zoom_range: tuple[float, float] = (0.8, 1.2), p: float = 0.7) -> None:
        super().__init__(p=p)
        self.zoom_range = tuple(zoom_range)

    def get_params(self) -> dict[str, Any]:
        """Factors of the rows and of the columns."""
        low, high = self.zoom_range
        return {"zoom": tuple(self.random_generator.uniform(low, high, size=2))}

    def apply(self, img: Image, zoom: tuple[float, float], **_: Any) -> Image:
        """(H, W, 3) uint8 to the same."""
        rows, columns = (self._source(length, factor) for length, factor in zip(img.shape[:2], zoom, strict=True))
        return move_pixels(img, rows, columns)

    @staticmethod
    def _source(length: int, factor: float) -> NDArray[np.intp]:
        """For each output row (column), the input row it copies."""
        center = (length - 1) / 2
        position = np.floor(center + factor * (np.arange(length) - center) + 0.5)
        source: NDArray[np.intp] = np.clip(position, 0, length - 1).astype(np.intp)
        return source


class LowResolution(A.ImageOnlyTransform):
    """Hopenet's counter-measure: down-sampled by a factor drawn from `factors` and enlarged again, both nearest pixel.

    Args:
        factors: by which the sides are divided; 1 leaves the picture alone.
        p: probability.

    Reference: natanielruiz/deep-head-pose, code/datasets.py, `Pose_300W_LP_random_ds`.
    """

    def __init__(self, factors: Sequence[int] = (1, 6, 11, 16), p: float = 1.0) -> None:
        super().__init__(p=p)
        self.factors = tuple(factors)
        if not self.factors or min(self.factors) < 1:
            raise InputError(f"factors={list(factors)} cannot divide a picture's sides; give whole numbers of 1 or more")

    def get_params(self) -> dict[str, Any]:
        """The factor."""
        return {"factor": self.factors[int(self.random_generator.integers(len(self.factors)))]}

    def apply(self, img: Image, factor: int, **_: Any) -> Image:
        """(H, W, 3) uint8 to the same."""
        return lower_resolution(img, factor)


def move_pixels(
    image: Image, rows: NDArray[np.integer[Any]], columns: NDArray[np.integer[Any]], fill: int | None = None
) -> Image:
    """(H, W, 3) to the same: row i copies row `rows[i]` (H,), column j column `columns[j]` (W,); -1 stands for `fill`."""
    # Whole rows are copied fast, single pixels are not: columns are copied as rows of the transposed picture.
    transposed = np.asarray(cv2.transpose(_with_last(image, fill).take(rows, axis=0)), dtype=np.uint8)
    return np.asarray(cv2.transpose(_with_last(transposed, fill).take(columns, axis=0)), dtype=np.uint8)


def _with_last(image: Image, fill: int | None) -> Image:
    """(H, W, 3) with a last row of this value, which is row -1; or as it is."""
    if fill is None:
        return image
    longer = np.empty((len(image) + 1, *image.shape[1:]), dtype=image.dtype)
    longer[:-1], longer[-1] = image, fill
    return longer


def lower_resolution(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """(H, W, ...) to the same, in pixels `factor` times as large."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


class PILBlur(A.ImageOnlyTransform):
    """PIL's fixed 5×5 `BLUR`, as Hopenet's loader applies it now and then.

    Args:
        p: probability.
    """

    def __init__(self, p: float = 0.05) -> None:
        super().__init__(p=p)

    def apply(self, img: Image, **_: Any) -> Image:
        """(H, W, 3) uint8 to the same."""
        return np.asarray(PIL.Image.fromarray(img).filter(PIL.ImageFilter.BLUR), dtype=np.uint8)


def reseed(pipeline: A.Compose, seed: int, epoch: int, *key: int) -> None:
    """Make the pipeline's next call a function of seed, epoch and up to two more numbers.

    Each transform gets its own stream: albumentations' own `set_random_seed` gives all of them the same one, which ties
    their draws together. Philox counts instead of going from state to state, so that streams need not be spawned, only named;
    that costs a tenth of it.
    """
    first, second = (*key, 0)[:2]
    for number, transform in enumerate(_walk(pipeline)):
        generator = transform.random_generator
        if not isinstance(generator.bit_generator, np.random.Philox):
            transform.set_random_state(np.random.Generator(np.random.Philox(key=0)), random.Random(0))
            generator = transform.random_generator
        generator.bit_generator.state = {
            "bit_generator": "Philox",
            "state": {"counter": [0, second, first, number], "key": [seed, epoch]},
            "buffer": [0, 0, 0, 0],
            "buffer_pos": 4,  # used up
            "has_uint32": 0,
            "uinteger": 0,
        }
        transform.py_random.seed(int(generator.integers(2**63)))


def _walk(node: Any) -> list[Any]:
    """A pipeline and all in it, parents first: a parent's seeding also seeds its children, whose own comes after."""
    return [node, *(below for child in getattr(node, "transforms", []) for below in _walk(child))]
