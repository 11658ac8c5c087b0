"""Head-pose-C: twelve things that go wrong with the picture of a face, in five strengths; a function of name and seed."""

import functools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.data.augmentation import Floats, reseed
from headposekit.geometry.face_model import mean_face_68
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.types import Image

Rng = np.random.Generator
Kind = Literal[
    "motion_blur",
    "defocus",
    "noise",
    "dark",
    "backlight",
    "jpeg",
    "infrared",
    "resolution",
    "mask",
    "sunglasses",
    "hand",
    "box",
]
KINDS: tuple[str, ...] = get_args(Kind)
STRENGTHS = (1, 2, 3, 4, 5)
FACE = 80
"""Pixels: longer side of the box in the picture that is disturbed, about that of a face one metre before a webcam."""
REACH = 0.8
"""What is disturbed: the box and so many of its sides around it, more than any crop rule takes."""
LEVELS: dict[str, Sequence[Any]] = {
    "motion_blur": (7, 11, 17, 25, 35),  # length of the path, pixels of a face of 80
    "defocus": (2, 4, 6, 9, 13),  # radius of the disc, likewise
    "noise": (0.06, 0.12, 0.2, 0.32, 0.5),  # standard deviation, as a share of white
    "dark": (0.6, 0.35, 0.2, 0.12, 0.07),  # of the light that is left
    "backlight": (0.3, 0.5, 0.7, 0.85, 1.0),  # share of the worst
    "jpeg": (30, 18, 10, 6, 3),  # quality
    "infrared": (0.2, 0.4, 0.6, 0.8, 1.0),  # share of the worst
    "resolution": (24, 16, 11, 8, 6),  # pixels of the longer side of the box
    "mask": ((3, 57), (4, 51), (5, 33), (6, 29), (7, 28)),  # jaw points on each side of the chin; landmark of the upper edge
    "sunglasses": ((1.1, 0.6), (1.3, 0.8), (1.5, 1.0), (1.8, 1.0), (2.3, 1.0)),  # size in eyes, opacity
    "hand": (0.15, 0.3, 0.5, 0.7, 0.95),  # how far the fingertips reach over the box, as a share of its longer side
    "box": ((0.06, 0.1), (0.12, 0.2), (0.18, 0.35), (0.25, 0.5), (0.33, 0.7)),  # shift and zoom, as shares of the box
}
"""What a strength means, one entry for each."""
CLOTHS = ((0.62, 0.78, 0.88), (0.93, 0.94, 0.95), (0.08, 0.08, 0.1), (0.55, 0.12, 0.18))
FAR_LENS = 65.0
"""Degrees of yaw from which the lens on the far side is hidden."""


@dataclass(frozen=True)
class Corruption:
    """One of `KINDS` with a strength of 1 to 5, done to faces of a test set.

    What is drawn at random (a direction, a colour, noise) depends on the seed, the kind and the name of the face and not on the
    strength, so that a face is disturbed more and more in the same way.
    """

    kind: str
    strength: int
    seed: int = 0

    @property
    def level(self) -> Any:
        """What the strength means."""
        return LEVELS[self.kind][self.strength - 1]

    def box(self, box: Floats, name: str) -> NDArray[np.float32]:
        """A box (4,), moved in a random direction and made larger or smaller, where that is the kind; otherwise as it is."""
        if self.kind != "box":
            return np.asarray(box, np.float32)
        rng, (shift, zoom) = self._rng(name), self.level
        angle, grows = rng.uniform(0, 2 * np.pi), rng.random() < 0.5
        size = box[2:] - box[:2]
        center = (box[:2] + box[2:]) / 2 + shift * size * [np.cos(angle), np.sin(angle)]
        half = size / 2 * (1 + zoom if grows else 1 / (1 + zoom))
        return np.concatenate([center - half, center + half]).astype(np.float32)

    def picture(self, picture: Image, pose: Floats, box: Floats, landmarks: Floats, name: str) -> Image:
        """A whole picture (H, W, 3), disturbed around the face; see `Labels` for what is known of it.

        Noise, blur and the like are those of a camera that shows the box with `FACE` pixels. Mask, sunglasses and hand are laid
        on the picture as it is, at the landmarks or, where the set has none, at those of the mean face of this pose in the box.
        """
        if self.kind == "box":
            return picture
        size = float(max(box[2:] - box[:2]))
        low = np.floor(box[:2] - REACH * size).astype(int).clip(0)
        x1, y1 = np.minimum(np.ceil(box[2:] + REACH * size).astype(int), picture.shape[1::-1])
        part = picture[low[1] : y1, low[0] : x1]
        if not part.size:
            return picture
        scale, (height, width) = FACE / size, part.shape[:2]
        shape = (max(1, round(width * scale)), max(1, round(height * scale)))
        seen = _resized(part, shape)
        points = landmarks if np.isfinite(landmarks).all() else points_of_mean_face(pose, box)
        face = _Face(seen, (points - low) * scale, (box.reshape(2, 2) - low) * scale, float(pose[0]))
        if self.kind in OCCLUDERS:
            color, alpha = OCCLUDERS[self.kind](face, self.level, self._rng(name))
            color, cover = _resized(color, (width, height)), _resized(alpha, (width, height))[..., None]
            part = np.clip(part * (1 - cover) + 255 * color * cover, 0, 255)
        elif self.kind in EFFECTS:
            changed = EFFECTS[self.kind](seen.astype(np.float32) / 255, face, self.level, self._rng(name))
            part = _resized(np.clip(255 * changed + 0.5, 0, 255).astype(np.uint8), (width, height))
        else:
            transform = _of_albumentations(self.kind, self.strength)
            reseed(transform, self.seed, 0, _number(name), KINDS.index(self.kind))
            part = _resized(transform(image=seen)["image"], (width, height))
        changed_picture = picture.copy()
        changed_picture[low[1] : y1, low[0] : x1] = part
        return changed_picture

    def _rng(self, name: str) -> Rng:
        return np.random.default_rng([self.seed, KINDS.index(self.kind), _number(name)])


@dataclass(frozen=True)
class _Face:
    """A face in the part of the picture that is disturbed, scaled so that its box has `FACE` pixels."""

    image: Image
    points: Floats  # (68, 2)
    box: Floats  # (2, 2), two corners
    yaw: float

    @property
    def middle(self) -> Floats:
        return np.asarray(self.box.mean(axis=0))

    def offsets(self) -> Floats:
        """From the middle of the box to each pixel (H, W, 2), in longer sides of the box."""
        rows, columns = np.indices(self.image.shape[:2], dtype=np.float32) + 0.5
        return (np.stack([columns, rows], axis=-1) - self.middle.astype(np.float32)) / np.float32(FACE)

    def blank(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A layer without anything on it: colour (H, W, 3) and opacity (H, W)."""
        return np.zeros(self.image.shape, np.float32), np.zeros(self.image.shape[:2], np.float32)


def points_of_mean_face(pose: Floats, box: Floats) -> NDArray[np.float64]:
    """Landmarks (68, 2) of the mean face, turned by a pose (3,) and stretched into a tight box (4,), pixels."""
    rotation = pose_to_matrix(torch.from_numpy(np.asarray(pose, np.float64))).numpy()
    flat = (mean_face_68() @ rotation.T)[:, :2] * [1, -1]
    low = flat.min(axis=0)
    points: NDArray[np.float64] = box[:2] + (flat - low) / np.ptp(flat, axis=0) * (box[2:] - box[:2])
    return points


def _number(name: str) -> int:
    return zlib.crc32(name.encode())


def _resized(image: Any, size: tuple[int, int]) -> Any:
    """To width and height, each pixel the mean of those that it covers."""
    shrinks = size[0] < image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


@functools.cache
def _of_albumentations(kind: str, strength: int) -> Any:
    import albumentations as A  # takes a second

    level = LEVELS[kind][strength - 1]
    if kind == "dark":  # what the sensor adds does not become less
        scaled = A.MultiplicativeNoise((level, level), p=1)
        return A.Compose([scaled, A.GaussNoise((0.012, 0.012), p=1)])
    ways = {"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR}
    make: dict[str, Callable[[], Any]] = {
        "motion_blur": lambda: A.MotionBlur((level, level), allow_shifted=False, direction_range=(0, 0), p=1),
        "defocus": lambda: A.Defocus((level, level), alias_blur=(0.2, 0.2), p=1),
        "noise": lambda: A.GaussNoise((level, level), p=1),
        "jpeg": lambda: A.ImageCompression(quality_range=(level, level), p=1),
        "resolution": lambda: A.Downscale((level / FACE, level / FACE), interpolation_pair=ways, p=1),
    }
    return make[kind]()


def _backlight(image: Any, face: _Face, level: float, rng: Rng) -> Any:
    """A bright window behind the head: the head dark, the rest bright, and a veil of its light over all."""
    off = face.offsets()
    head = np.hypot(off[..., 0] / 0.72, (off[..., 1] + 0.1) / 0.9) - 1
    body = np.abs(off[..., 0]) - 0.45 - 1.5 * np.maximum(off[..., 1] - 0.7, 0) + 2 * np.maximum(0.3 - off[..., 1], 0)
    behind = 1 / (1 + np.exp(-np.minimum(head, body) / 0.12))[..., None]
    lit = image * (1 - 0.8 * level) * (1 - behind) + (image + level * (1.1 - image)) * behind
    veil = cv2.GaussianBlur(lit * behind, (0, 0), 0.22 * FACE)
    return lit + 0.45 * level * veil * (1 - 0.5 * lit)


def _infrared(image: Any, face: _Face, level: float, rng: Rng) -> Any:
    """A camera with its own infrared lamp: grey, pale skin without contrast, bright in the middle, dark around, noise."""
    grey = image @ np.array([0.75, 0.2, 0.05], np.float32)
    pale = cv2.GaussianBlur(grey, (0, 0), 0.6 + 1.2 * level) ** (1 - 0.5 * level)
    off = face.offsets() - rng.uniform(-0.15, 0.15, 2)
    lamp = np.exp(-(off**2).sum(axis=-1) / (2 * (1.3 - 0.8 * level) ** 2))
    seen = pale * (0.8 + 0.7 * level**2) * ((1 - level) + level * lamp)
    return np.repeat((seen + rng.normal(0, 0.02 + 0.13 * level, seen.shape))[..., None], 3, axis=-1)


EFFECTS: dict[str, Callable[[Any, _Face, float, Rng], Any]] = {"backlight": _backlight, "infrared": _infrared}
"""What albumentations has not: of colours (H, W, 3) in [0, 1]."""


def _mask(face: _Face, level: tuple[int, int], rng: Rng) -> tuple[Any, Any]:
    """A cloth from below the chin to a landmark of the midline."""
    color, alpha = face.blank()
    jaw, top = level
    points = face.points
    hull = cv2.convexHull(points[[*range(8 - jaw, 9 + jaw), top]].astype(np.float32))[:, 0]
    hull = hull.mean(axis=0) + 1.06 * (hull - hull.mean(axis=0))
    _fill(alpha, hull, 1.0)
    cloth, up = np.array(CLOTHS[rng.integers(len(CLOTHS))]), points[27] - points[8]
    height = (face.offsets() * FACE + face.middle - points[8]) @ up / (up @ up)
    folds = 1 - 0.12 * (np.sin(height * 40) > 0.8) - 0.25 * np.clip(0.2 - height, 0, 1)
    color[:] = cloth * np.clip(folds, 0, 1)[..., None]
    return color, alpha


def _sunglasses(face: _Face, level: tuple[float, float], rng: Rng) -> tuple[Any, Any]:
    """Dark lenses over both eyes, or over the one that is seen, with a bridge and the arms that are seen."""
    color, alpha = face.blank()
    size, opacity = level
    points, angle = face.points, np.linspace(0, 2 * np.pi, 40)
    color[:] = rng.uniform(0.02, 0.14) * np.array(rng.uniform(0.7, 1.0, 3))
    down, centers = 0.3 * (points[33] - points[27]), []
    for eye, ear, sign in ((points[36:42], points[0], -1), (points[42:48], points[16], 1)):
        if sign * face.yaw < -FAR_LENS:
            continue
        along, center = 0.75 * (eye[3] - eye[0]), eye.mean(axis=0) + 0.25 * down
        rim = [np.sign(wave) * np.abs(wave) ** 0.7 for wave in (np.cos(angle), np.sin(angle))]  # rounder than a box
        _fill(alpha, center + size * (rim[0][:, None] * along + rim[1][:, None] * down), opacity)
        centers.append(center)
        if sign * face.yaw > -15:
            _line(alpha, center + sign * size * along, ear + [0, -0.04 * FACE], 0.045)
    if len(centers) == 2:
        _line(alpha, centers[0], centers[1], 0.05)
    return color, alpha


def _hand(face: _Face, level: float, rng: Rng) -> tuple[Any, Any]:
    """A hand that comes from the side or from below, of the colour of the face; its fingertips reach over the box."""
    color, alpha = face.blank()
    angle = rng.uniform(-0.1, np.pi + 0.1)
    toward = -np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-toward[1], toward[0]])
    edge = face.middle - toward * (np.abs(toward) @ np.ptp(face.box, axis=0)) / 2  # where it meets the box
    tip = edge + toward * level * FACE + across * rng.uniform(-0.1, 0.1) * FACE
    inner = ((face.points + face.points.mean(axis=0)) / 2).astype(int).clip(0, np.array(face.image.shape[1::-1]) - 1)
    skin = np.median(face.image[inner[:, 1], inner[:, 0]], axis=0) / 255 * rng.uniform(0.8, 1.05)
    color[:] = skin
    knuckle = tip - toward * 0.42 * FACE
    _line(alpha, knuckle - toward * 0.1 * FACE, knuckle - toward * FACE, 0.44)  # palm and wrist
    for place, length in zip((-1.5, -0.5, 0.5, 1.5), (0.36, 0.42, 0.4, 0.3), strict=True):
        start = knuckle + across * place * 0.115 * FACE - toward * 0.08 * FACE
        end = start + toward * (length + 0.04) * FACE
        _line(alpha, start, end, 0.105)
        side = across * 0.055 * FACE
        dark = tuple(float(value) for value in skin * 0.6)
        for edge_of_finger in (side, -side):
            cv2.line(color, _pixel(start + edge_of_finger), _pixel(end + edge_of_finger), dark, 1, cv2.LINE_AA, SHIFT)
    return color, alpha


OCCLUDERS: dict[str, Callable[[_Face, Any, Rng], tuple[Any, Any]]] = {
    "mask": _mask,
    "sunglasses": _sunglasses,
    "hand": _hand,
}
"""Of a face a layer of colours (H, W, 3) and opacity (H, W), both in [0, 1]."""
SHIFT = 4
"""Fractional bits of OpenCV's coordinates."""


def _pixel(point: Floats) -> tuple[int, int]:
    x, y = ((point - 0.5) * 2**SHIFT).round().astype(int).tolist()
    return x, y


def _fill(alpha: Any, outline: Floats, opacity: float) -> None:
    cv2.fillPoly(alpha, [np.array([_pixel(point) for point in outline], np.int32)], opacity, cv2.LINE_AA, SHIFT)


def _line(alpha: Any, start: Floats, end: Floats, width: float) -> None:
    """With round ends, `width` in longer sides of the box."""
    cv2.line(alpha, _pixel(start), _pixel(end), 1.0, max(1, round(width * FACE)), cv2.LINE_AA, SHIFT)
