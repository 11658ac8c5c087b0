"""The slow way to augment a face, one at a time with generators of its own: what the plan is compared with.

FSA-Net's and Hopenet's transforms are written for albumentations, as the papers' code does them picture by picture.
"""

import math
from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
import PIL.Image
import PIL.ImageFilter

from headposekit.geometry.face_model import MIRROR_68
from headposekit.types import Image, Sample


def mirror_sample(sample: Sample) -> Sample:
    """The face as a mirror shows it."""
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


def rotate_pose(pose: Any, angle: float) -> np.ndarray:
    """Pose (3,) of a face whose picture is turned counter-clockwise by `angle` degrees, on plain numbers."""
    yaw, pitch, roll = (math.radians(value) for value in pose)
    sin_y, sin_p, sin_r, sin_a = (math.sin(value) for value in (-yaw, -pitch, -roll, math.radians(angle)))
    cos_y, cos_p, cos_r, cos_a = (math.cos(value) for value in (yaw, pitch, roll, math.radians(angle)))
    first = (cos_y * cos_r, -cos_y * sin_r, sin_y)
    second = (sin_p * sin_y * cos_r + cos_p * sin_r, cos_p * cos_r - sin_p * sin_y * sin_r, -sin_p * cos_y)
    x, y, z = (cos_a * a - sin_a * b for a, b in zip(first, second, strict=True))
    height = sin_a * first[2] + cos_a * second[2]
    turned = (math.atan2(-z, math.hypot(x, y)), math.atan2(height, cos_p * cos_y), math.atan2(y, x))
    return np.array([math.degrees(value) for value in turned], dtype=np.float32)


def rotate_sample(sample: Sample, angle: float) -> Sample:
    """The face turned counter-clockwise by `angle` degrees about the centre of its box, which stays; the edges are mirrored."""
    x0, y0, x1, y1 = (float(side) for side in sample["box"])
    turn = cv2.getRotationMatrix2D(((x0 + x1) / 2, (y0 + y1) / 2), angle, 1.0)
    of_centers = turn.copy()  # OpenCV counts from the first pixel's centre, we from its corner
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


class PaperFourWayCrop(A.ImageOnlyTransform):
    """shamangary/FSA-Net, training_and_testing/TYY_generators.py, `augment_data`."""

    def __init__(self, max_shift: int = 15, p: float = 1.0) -> None:
        super().__init__(p=p)
        self.max_shift = max_shift

    def get_params(self) -> dict[str, Any]:
        rng = self.random_generator
        shrink = int(rng.integers(1, self.max_shift + 1))
        source_y, source_x, target_y, target_x = (int(value) for value in rng.integers(0, shrink, size=4))
        return {"way": int(rng.integers(4)), "shrink": shrink, "source": (source_y, source_x), "target": (target_y, target_x)}

    def apply(self, img: Image, way: int, shrink: int, source: tuple[int, int], target: tuple[int, int], **_: Any) -> Image:
        height, width = img.shape[:2]
        patch = img[source[0] : source[0] + height - shrink, source[1] : source[1] + width - shrink]
        if way == 0:
            return np.asarray(cv2.resize(patch, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
        if way == 3:
            return img
        canvas = np.full_like(img, 0 if way == 1 else 255)
        canvas[target[0] : target[0] + patch.shape[0], target[1] : target[1] + patch.shape[1]] = patch
        return canvas


class PaperZoom(A.ImageOnlyTransform):
    """Keras' `random_zoom`, about the centre of the picture."""

    def __init__(self, zoom_range: tuple[float, float] = (0.8, 1.2), p: float = 0.7) -> None:
        super().__init__(p=p)
        self.zoom_range = zoom_range

    def get_params(self) -> dict[str, Any]:
        return {"zoom": tuple(self.random_generator.uniform(*self.zoom_range, size=2))}

    def apply(self, img: Image, zoom: tuple[float, float], **_: Any) -> Image:
        rows, columns = (self._source(length, factor) for length, factor in zip(img.shape[:2], zoom, strict=True))
        return np.asarray(img[rows][:, columns])

    @staticmethod
    def _source(length: int, factor: float) -> np.ndarray:
        center = (length - 1) / 2
        position = np.floor(center + factor * (np.arange(length) - center) + 0.5)
        return np.clip(position, 0, length - 1).astype(int)


class PaperLowResolution(A.ImageOnlyTransform):
    """natanielruiz/deep-head-pose, code/datasets.py, `Pose_300W_LP_random_ds`."""

    def __init__(self, factors: Sequence[int] = (1, 6, 11, 16), p: float = 1.0) -> None:
        super().__init__(p=p)
        self.factors = tuple(factors)

    def get_params(self) -> dict[str, Any]:
        return {"factor": self.factors[int(self.random_generator.integers(len(self.factors)))]}

    def apply(self, img: Image, factor: int, **_: Any) -> Image:
        return lower_resolution(img, factor)


def lower_resolution(image: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, ...) to the same, in pixels `factor` times as large."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(width // factor, 1), max(height // factor, 1)), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT))


def blur(image: Image) -> Image:
    """PIL's 5×5 blur."""
    return np.asarray(PIL.Image.fromarray(image).filter(PIL.ImageFilter.BLUR))
