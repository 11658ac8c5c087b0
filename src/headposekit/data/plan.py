"""From whole pictures to the squares of a batch: what happens to each face is drawn for all of them at once, then done.

A face that is not turned is cut out and resized as the crop rule does it. For one that is turned, mirror, rotation, crop and
resizing are one map from the square's pixels into the picture, bilinear. Only if there are transforms of the cut, the turned
cut is made first, at the picture's own resolution.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from headposekit.data.augmentation import CUT, PIPELINE, Augmentation, Flags, Floats, Steps, plan_transforms
from headposekit.data.draws import Draws
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLE_LIMIT
from headposekit.geometry.crops import NO_FACE, CropRule, check_size, crop_with_black_border
from headposekit.geometry.face_model import MIRROR_68
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.types import Image

MIRROR, ROTATE, CROP = 1, 2, 3  # streams of random numbers; transforms have those from `CUT` on
ROTATION_TRIALS = 20


@dataclass
class Labels:
    """What is known of B faces."""

    pose: Floats  # (B, 3), degrees
    box: Floats  # (B, 4), pixels
    landmarks: Floats  # (B, 68, 2), pixels


@dataclass
class Plan:
    """What to do with B pictures; what comes in over the edges of one that is turned is its reflection."""

    crop: CropRule
    mirrored: Flags  # (B,), done first
    rotated: Flags  # (B,)
    cut: NDArray[np.int64]  # (B, 4), part of the mirrored picture, of those that are not turned; whole pixels
    place: Floats | None  # (B, 2), where `crop.fit` takes the square, of a rule that varies
    turned: Floats  # (B, 4), part of the mirrored, turned picture, of those that are; from the first pixel's corner
    turned_size: NDArray[np.int64]  # (B, 2), width and height of what is made of it
    matrix: Floats  # (B, 2, 3), from a pixel of that (x, y, 1), counted from the first one's centre, to one of the picture
    on_cut: Steps  # done to the parts
    on_square: Steps

    def carry_out(self, pictures: Sequence[Image], names: Sequence[str]) -> NDArray[np.uint8]:
        """B pictures (H, W, 3) to (B, S, S, 3) squares; raises InputError naming a face that lies outside its picture."""
        shape = (self.crop.size, self.crop.size, 3)
        squares = np.empty((len(pictures), *shape), dtype=np.uint8)
        for i, picture in enumerate(pictures):
            try:
                squares[i] = self._square(i, picture)
            except InputError as error:
                raise InputError(f"{names[i]}: {error}") from error
        for step in self.on_square:
            for i in np.flatnonzero(step.chosen).tolist():
                made = step.do(i, squares[i])
                if made.shape != shape:
                    raise InputError(f"augmentation.pipeline: a transform made {made.shape} of {shape}; keep the square's size")
                squares[i] = made
        return squares

    def _square(self, i: int, picture: Image) -> Image:
        if self.rotated[i]:
            part = self._turn(i, picture)
            if not self.on_cut:
                return part
        else:
            x0, y0, x1, y1 = self.cut[i].tolist()
            if self.mirrored[i]:
                x0, x1 = picture.shape[1] - x1, picture.shape[1] - x0
            part = crop_with_black_border(picture, (x0, y0, x1, y1))
            if not part.size:
                raise InputError(NO_FACE)
            if self.mirrored[i]:
                part = np.asarray(cv2.flip(part, 1), dtype=np.uint8)
        for step in self.on_cut:
            if step.chosen[i]:
                part = step.do(i, part)
        return self.crop.fit(part, None if self.place is None else self.place[i])

    def _turn(self, i: int, picture: Image) -> Image:
        width, height = self.turned_size[i].tolist()
        (x0, y0, x1, y1), (rows, columns) = self.turned[i].tolist(), picture.shape[:2]
        if width < 1 or height < 1 or not (x0 < x1 and y0 < y1):
            raise InputError(NO_FACE)
        check_size(width, height)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        part = cv2.warpAffine(picture, self.matrix[i], (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        # It was turned within its own frame, which may end inside the part.
        for axis, (start, end, size, length) in enumerate(((y0, y1, height, rows), (x0, x1, width, columns))):
            if start < 0 or end > length:
                position = start + (np.arange(size) + 0.5) * (end - start) / size
                part[(slice(None),) * axis + ((position < 0) | (position >= length),)] = 0
        return np.asarray(part, dtype=np.uint8)


class Planner:
    """Draws plans; without an augmentation it crops as a test does. `on_cut` are further transforms of what is cut out."""

    def __init__(self, crop: CropRule, augmentation: Augmentation | None = None, on_cut: Sequence[Any] = ()) -> None:
        self.crop, self.augmentation = crop, augmentation or Augmentation()
        self.varies = augmentation is not None and crop.varies
        self.on_cut = [*on_cut, *self.augmentation.cut]

    def __call__(
        self, labels: Labels, extent: NDArray[np.int64], key: tuple[int, int], indices: NDArray[np.int64]
    ) -> tuple[Plan, Labels]:
        """What to do with B faces, and what is known of them afterwards.

        `extent` (B, 2) is height and width of their pictures, `key` seed and epoch, `indices` (B,) which faces they are.
        """
        height, width = extent.T
        draws = Draws(key, indices)
        mirrored = draws(MIRROR, 1)[:, 0] < self.augmentation.mirror
        labels = mirror_labels(labels, mirrored, width)
        labels, angle = self._rotate(labels, draws)
        drawn = draws(CROP, 3) if self.varies else None
        cut, shown = self.crop.regions(labels.box, width, height, drawn)
        on_cut = plan_transforms(self.on_cut, 0, draws, key, indices, CUT)
        on_square = plan_transforms(self.augmentation.pipeline, self.crop.size, draws, key, indices, PIPELINE)
        turned = cut.astype(np.float64) if on_cut else shown
        size = cut[:, 2:] - cut[:, :2] if on_cut else np.full((len(cut), 2), self.crop.size)
        matrix = _matrix(turned, size, labels.box, angle, mirrored, width) if angle.any() else np.empty(0)
        place = None if drawn is None else drawn[:, 1:]
        return Plan(self.crop, mirrored, angle != 0, cut, place, turned, size, matrix, on_cut, on_square), labels

    def _rotate(self, labels: Labels, draws: Draws) -> tuple[Labels, Floats]:
        """Turned about the centres of their boxes; an angle that leads beyond the limit is drawn anew."""
        angle = np.zeros(len(labels.pose))
        if not self.augmentation.rotation:
            return labels, angle
        trials = self.augmentation.rotation * ndtri(draws(ROTATE, ROTATION_TRIALS).clip(1e-12))
        pose, left = labels.pose.copy(), np.arange(len(angle))
        for trial in trials.T:
            turned = rotate_poses(labels.pose[left], trial[left])
            fits = np.abs(turned).max(axis=1) <= ANGLE_LIMIT
            pose[left[fits]], angle[left[fits]] = turned[fits], trial[left[fits]]
            left = left[~fits]
            if not len(left):
                break
        center = (labels.box[:, :2] + labels.box[:, 2:]) / 2
        landmarks = (labels.landmarks - center[:, None]) @ _turn_back(angle) + center[:, None]
        return Labels(pose, labels.box, landmarks.astype(np.float32)), angle


def turn_far(pose: Floats, rotation: float) -> Iterator[NDArray[np.float32]]:
    """Poses (B, 3) turned as far as `Augmentation.rotation` turns any: by seven standard deviations, but within ±99 degrees."""
    for angle in min(7 * rotation, 180) * np.linspace(-1, 1, 8):
        yield rotate_poses(pose, np.full(len(pose), angle)).clip(-ANGLE_LIMIT, np.nextafter(np.float32(ANGLE_LIMIT), 0))


def rotate_poses(pose: Floats, angle: Floats) -> NDArray[np.float32]:
    """Poses (B, 3) of faces whose pictures are turned counter-clockwise by `angle` (B,) degrees; roll alone does not say it."""
    turn = pose_to_matrix(torch.from_numpy(np.stack([0 * angle, 0 * angle, -angle], axis=-1)))
    turned: NDArray[np.float32] = matrix_to_pose(turn @ pose_to_matrix(torch.from_numpy(pose).double())).float().numpy()
    return turned


def mirror_labels(labels: Labels, mirrored: Flags, width: NDArray[np.int64]) -> Labels:
    """Labels of B faces, some of them as a mirror shows them in pictures of these widths.

    Box and landmarks count from the left edge of the first pixel, whose centre is 0.5; x becomes width - x. The points of
    300W-LP and AFLW2000 are MATLAB's, whose first pixel's centre is 1, and their mirror image would be width + 1 - x. For
    these the mirrored box and landmarks therefore lie one pixel of the picture further left on the face than the unmirrored.
    That is kept: a training crop of 300W-LP is some 250 pixels wide, and Hopenet's crop alone moves it by ±8.
    """
    if not mirrored.any():
        return labels
    pose = np.where(mirrored[:, None], labels.pose * np.array([-1, 1, -1], np.float32), labels.pose)
    other = labels.box[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32)
    other[:, [0, 2]] += width[:, None]
    landmarks = labels.landmarks.copy()
    landmarks[mirrored] = landmarks[mirrored][:, MIRROR_68] * np.array([-1, 1], np.float32)
    landmarks[mirrored, :, 0] += width[mirrored, None]
    return Labels(pose, np.where(mirrored[:, None], other, labels.box), landmarks)


def _matrix(
    region: Floats, size: NDArray[np.int64], box: Floats, angle: Floats, mirrored: Flags, width: NDArray[np.int64]
) -> Floats:
    """Region of this size (B, 2) in pixels to picture: scaled and moved, turned back about the box's centre, mirrored back."""
    scale = (region[:, 2:] - region[:, :2]) / np.maximum(size, 1)
    matrix = np.zeros((len(region), 2, 3))
    matrix[:, 0, 0], matrix[:, 1, 1] = scale.T
    matrix[:, :, 2] = region[:, :2] + 0.5 * scale
    center = ((box[:, :2] + box[:, 2:]) / 2).astype(np.float64)
    matrix[:, :, 2] -= center
    matrix = _turn_back(angle) @ matrix
    matrix[:, :, 2] += center
    matrix[mirrored, 0] *= -1
    matrix[mirrored, 0, 2] += width[mirrored]
    matrix[:, :, 2] -= 0.5  # from the first pixel's corner to its centre
    return matrix


def _turn_back(angle: Floats) -> Floats:
    """(B, 2, 2), from image coordinates (x, y) of turned pictures to those before; row vectors times it are turned."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=1)
