"""What happens to each face of a training batch, drawn for all of them at once: labels, and what to do with the pictures.

Labels and geometry have the same distribution as those that `Augmentation` and the crop rule give face by face; sharpness has
not. Here mirror, rotation, crop and resizing are one map from the square's pixels into the picture, bilinear and without a
filter against aliasing. Face by face a turned picture is interpolated twice, and Hopenet's crop is filtered as PIL does. So
these squares are sharper (docs/packs.md has numbers). What moves whole pixels is one table of rows and one of columns.
`batch_opencv.py` and `batch_torch.py` carry a plan out.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from headposekit.data.augmentation import (
    ROTATION_TRIALS,
    Augmentation,
    FourWayCrop,
    LowResolution,
    PILBlur,
    RandomZoom,
    lower_resolution,
)
from headposekit.data.draws import Draws, integers
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLE_LIMIT
from headposekit.geometry.crops import CropRule
from headposekit.geometry.face_model import MIRROR_68
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix

MIRROR, ROTATE, CROP, CUT, PIPELINE = 1, 2, 3, 8, 32
"""Streams of random numbers; of the last two, each transform takes the next."""

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


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


@dataclass
class Patch:
    """A part of some pictures (x0, y0, x1, y1) enlarged to all of it, bicubic."""

    part: NDArray[np.int64]  # (B, 4)
    chosen: Flags  # (B,)


@dataclass
class Blur:
    """PIL's 5×5 blur of some pictures."""

    chosen: Flags  # (B,)


Step = Pixels | Patch | Blur


@dataclass
class Labels:
    """What is known of B faces."""

    pose: Floats  # (B, 3), degrees
    box: Floats  # (B, 4), pixels
    landmarks: Floats  # (B, 68, 2), pixels


@dataclass
class Plan:
    """What to do with B pictures (P, P, 3), of which the first rows and columns may be all that counts.

    Attributes:
        extent: (B, 2), height and width that count.
        mirrored: (B,), which are mirrored first.
        before: done to the mirrored pictures.
        rotated: (B,), which are turned then; what comes in over their edges is their reflection.
        matrix: (B, 2, 3), from a pixel of the square (x, y, 1), counted from the first one's centre, to one of the picture as
            it lies in the pack (mirror and rotation included).
        shown: (B, 4), the part of the mirrored, turned picture that fills the square; from the corner of the first pixel.
        clips: see `CropRule`.
        after: done to the squares.
        size: of the square.
    """

    extent: NDArray[np.int64]
    mirrored: Flags
    before: list[Step]
    rotated: Flags
    matrix: Floats
    shown: Floats
    clips: bool
    after: list[Step]
    size: int

    @property
    def is_shown_whole(self) -> bool:
        """Whether the squares are the pictures."""
        moved = self.mirrored | self.rotated | (self.shown != [0, 0, self.size, self.size]).any(axis=1)
        return not moved.any()


class Planner:
    """Draws plans.

    Args:
        crop: the crop rule.
        augmentation: what may happen to a face.

    Raises:
        InputError: the augmentation holds what only its own code can do.
    """

    def __init__(self, crop: CropRule, augmentation: Augmentation) -> None:
        if obstacle := obstacle_to_plans(augmentation):
            raise InputError(f"data.feed=device: {obstacle}; set data.feed=workers")
        self.crop, self.augmentation, self.size = crop, augmentation, crop.size

    def __call__(
        self, labels: Labels, extent: NDArray[np.int64], key: tuple[int, int], indices: NDArray[np.int64]
    ) -> tuple[Plan, Labels]:
        """What to do, and what is known of the faces afterwards.

        Args:
            labels: of B faces.
            extent: (B, 2), height and width of their pictures.
            key: seed and epoch.
            indices: (B,), which faces; all that is drawn for one depends on its key and index alone.

        Raises:
            InputError: a crop without area.
        """
        height, width = extent.T
        draws = Draws(key, indices)
        mirrored = draws(MIRROR, 1)[:, 0] < self.augmentation.mirror
        labels = mirror_labels(labels, mirrored, width)
        labels, angle = self._rotate(labels, draws)
        cut, shown = self.crop.regions(labels.box, width, height, draws(CROP, 3))
        before = _steps(self.augmentation.cut, cut, extent, draws, CUT)
        square = np.broadcast_to(np.array([0, 0, self.size, self.size]), (len(indices), 4))
        after = _steps(self.augmentation.pipeline, square, square[:, 2:], draws, PIPELINE)
        matrix = _matrix(shown, self.size, labels.box, angle, mirrored, width)
        return Plan(extent, mirrored, before, angle != 0, matrix, shown, self.crop.clips, after, self.size), labels

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
        cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        turn = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], axis=1)  # (B, 2, 2), of image coordinates
        landmarks = (labels.landmarks - center[:, None]) @ turn.swapaxes(1, 2) + center[:, None]
        return Labels(pose, labels.box, landmarks.astype(np.float32)), angle


def obstacle_to_plans(augmentation: Augmentation) -> str | None:
    """Why an augmentation cannot be planned, or None if it can."""
    for pipeline, known in ((augmentation.cut, (LowResolution, PILBlur)), (augmentation.pipeline, (FourWayCrop, RandomZoom))):
        for transform in [] if pipeline is None else pipeline.transforms:
            if not isinstance(transform, known):
                return f"{type(transform).__name__} has no form for whole batches"
        if pipeline is not None and pipeline.p != 1:
            return "a pipeline that is left out now and then has no form for whole batches"
    if augmentation.cut is not None and augmentation.rotation:
        return "what is done to a turned cut has no form for whole batches (augmentation.rotation with augmentation.cut)"
    return None


def rotate_poses(pose: Floats, angle: Floats) -> NDArray[np.float32]:
    """`augmentation.rotate_pose` of (B, 3) poses by (B,) angles, degrees."""
    radians = torch.from_numpy(np.radians(angle))
    turn = torch.zeros(len(angle), 3, 3, dtype=torch.float64)
    turn[:, 0, 0] = turn[:, 1, 1] = radians.cos()
    turn[:, 1, 0] = radians.sin()
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1
    turned: NDArray[np.float32] = matrix_to_pose(turn @ pose_to_matrix(torch.from_numpy(pose).double())).float().numpy()
    return turned


def mirror_labels(labels: Labels, mirrored: Flags, width: NDArray[np.int64]) -> Labels:
    """`augmentation.mirror_sample` of the labels of some of B faces in pictures of these widths."""
    if not mirrored.any():
        return labels
    pose = np.where(mirrored[:, None], labels.pose * np.array([-1, 1, -1], np.float32), labels.pose)
    other = labels.box[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1], np.float32)
    other[:, [0, 2]] += width[:, None]
    landmarks = labels.landmarks.copy()
    landmarks[mirrored] = landmarks[mirrored][:, MIRROR_68] * np.array([-1, 1], np.float32)
    landmarks[mirrored, :, 0] += width[mirrored, None]
    return Labels(pose, np.where(mirrored[:, None], other, labels.box), landmarks)


def _matrix(shown: Floats, size: int, box: Floats, angle: Floats, mirrored: Flags, width: NDArray[np.int64]) -> Floats:
    """Square to picture: scaled and moved, turned back about the box's centre, mirrored back."""
    scale = (shown[:, 2:] - shown[:, :2]) / size
    matrix = np.zeros((len(shown), 2, 3))
    matrix[:, 0, 0], matrix[:, 1, 1] = scale.T
    matrix[:, :, 2] = shown[:, :2] + 0.5 * scale
    center = ((box[:, :2] + box[:, 2:]) / 2).astype(np.float64)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    back = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], axis=1)
    matrix[:, :, 2] -= center
    matrix = back @ matrix
    matrix[:, :, 2] += center
    matrix[mirrored, 0] *= -1
    matrix[mirrored, 0, 2] += width[mirrored]
    matrix[:, :, 2] -= 0.5  # from the first pixel's corner to its centre
    return matrix


def _steps(pipeline: Any, area: NDArray[Any], extent: NDArray[Any], draws: Draws, stream: int) -> list[Step]:
    """A pipeline's transforms of the area (B, 4) of pictures of this extent (B, 2), which is the same for all or the area."""
    steps: list[Step] = []
    for number, transform in enumerate([] if pipeline is None else pipeline.transforms):
        drawn = draws(stream + number, 8)
        chosen, drawn = drawn[:, 0] < transform.p, drawn[:, 1:]
        if isinstance(transform, FourWayCrop):
            steps += plan_four_way(transform, drawn, chosen, int(extent[0, 0]))
        elif isinstance(transform, RandomZoom):
            steps += plan_zoom(transform, drawn, chosen, int(extent[0, 0]))
        elif isinstance(transform, LowResolution):
            steps += plan_low_resolution(transform, drawn, chosen, area, extent)
        else:
            steps += [Blur(chosen)]
    merged: list[Step] = []
    for step in steps:
        if merged and isinstance(step, Pixels) and isinstance(merged[-1], Pixels) and (together := _merge(merged[-1], step)):
            merged[-1] = together
        else:
            merged.append(step)
    return merged


def _merge(first: Pixels, second: Pixels) -> Pixels | None:
    """Both in one, unless both fill."""
    if (second.rows < 0).any() or (second.columns < 0).any():
        return None
    rows, columns = (
        np.take_along_axis(one, other, axis=1) for one, other in ((first.rows, second.rows), (first.columns, second.columns))
    )
    return Pixels(rows, columns, first.fill)


def plan_four_way(transform: FourWayCrop, draws: Floats, chosen: Flags, size: int) -> list[Step]:
    """`FourWayCrop` of (B, size, size) squares."""
    way = np.where(chosen, integers(draws[:, 0], 4), 3)
    shrink = 1 + integers(draws[:, 1], transform.max_shift)
    source, target = (integers(draws[:, first : first + 2], shrink[:, None]) for first in (2, 4))  # (B, 2): y, x
    part = np.stack([source[:, 1], source[:, 0], source[:, 1] + size - shrink, source[:, 0] + size - shrink], axis=-1)
    position = np.arange(size)
    pasted = (way == 1) | (way == 2)

    def moved(axis: int) -> NDArray[np.int16]:
        start, end = target[:, axis, None], target[:, axis, None] + size - shrink[:, None]
        inside = (position >= start) & (position < end)
        from_patch = np.where(inside, position - start + source[:, axis, None], -1)
        return np.where(pasted[:, None], from_patch, position).astype(np.int16)

    fill = np.where(way == 2, 255, 0).astype(np.uint8)
    return [Patch(part, way == 0), Pixels(moved(0), moved(1), fill)]


def plan_zoom(transform: RandomZoom, draws: Floats, chosen: Flags, size: int) -> list[Step]:
    """`RandomZoom` of (B, size, size) squares."""
    low, high = transform.zoom_range
    factor = np.where(chosen[:, None], low + (high - low) * draws[:, :2], 1.0)
    center, position = (size - 1) / 2, np.arange(size)
    source = np.floor(center + factor[:, :, None] * (position - center) + 0.5).clip(0, size - 1).astype(np.int16)
    return [Pixels(source[:, 0], source[:, 1], np.zeros(len(factor), np.uint8))]


def plan_low_resolution(
    transform: LowResolution, draws: Floats, chosen: Flags, area: NDArray[np.int64], extent: NDArray[np.int64]
) -> list[Step]:
    """`LowResolution` of the areas (B, 4) of pictures, whose other pixels stay; what lies outside a picture is black."""
    factor = np.where(chosen, np.asarray(transform.factors)[integers(draws[:, 0], len(transform.factors))], 1)

    def source(axis: int) -> NDArray[np.int16]:
        length = int(extent[:, 1 - axis].max())
        table = np.tile(np.arange(length), (len(area), 1))
        for i in np.flatnonzero(factor > 1):
            line = np.arange(area[i, axis], area[i, axis + 2], dtype=np.int16)
            # OpenCV itself says which pixels it takes: its rounding at ties is its own.
            pixels, inside = lower_resolution(line[:, None], int(factor[i]))[:, 0], (line >= 0) & (line < length)
            table[i, line[inside]] = pixels[inside]
        return np.where((table >= 0) & (table < extent[:, 1 - axis, None]), table, -1).astype(np.int16)

    return [Pixels(source(1), source(0), np.zeros(len(factor), np.uint8))]
