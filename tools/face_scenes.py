"""Pictures with several heads or none, to train and judge detectors on: cut-out synthetic heads before procedural clutter.

Boxes are exact: those of the 68 landmarks, which go through every turn and resize. What is no face but has parts of one is
there too: backs of heads, bodies without heads, hair and hats without faces, faces in pieces, fingers, balls of skin colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.synthesis import appearance, photograph
from headposekit.synthesis.sampler import HeadSampler

Array = NDArray[Any]
Rng = np.random.Generator
CANVAS = 4.0
"""Boxes in the side of a rendered head's picture, so that shoulders fit in."""
FACE_SIDES = (40.0, 180.0)
"""Longer side of a cut-out's tight box in pixels, its logarithm drawn uniformly."""
BACKS = 0.12
"""Share of heads seen from behind: no faces."""
CLOUDS = 200
"""Clouds to take cuts of for clutter."""
BROW, CHIN = 27, 8
"""Landmarks between which a face lies."""


@dataclass(frozen=True)
class CutOut:
    """A head without background.

    Attributes:
        rgba: (H, W, 4) uint8, colour multiplied by alpha. Its lowest row may be repeated downwards: the body goes on.
        landmarks: (68, 2) in its pixels.
        is_face: whether the face is seen.
    """

    rgba: NDArray[np.uint8]
    landmarks: Array
    is_face: bool


@dataclass(frozen=True)
class Scene:
    """A picture and its faces.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        boxes: (N, 4) tight boxes, which may reach out of the picture.
        unclear: (M, 4) boxes of faces too far outside to count, either way.
    """

    image: NDArray[np.uint8]
    boxes: Array
    unclear: Array


def plain_heads(seed: int, **options: Any) -> HeadSampler:
    """Sampler for cut-out heads: a new person each time; photo effects, background, borders and occluders off."""
    plain = {"photo": 0.0, "backgrounds": False, "borders": 0.0, "occluder": 0.0, "box_jitter": 0.0, "visible21": 0.0}
    return HeadSampler(seed, **{"poses_per_identity": 1, **plain, **options})


def cut_out(heads: HeadSampler, index: int) -> CutOut:
    """Head number `index` as a cut-out of random size."""
    rng = np.random.default_rng([heads.seed, 5, index])
    side = float(np.exp(rng.uniform(*np.log(FACE_SIDES))))
    is_face = rng.random() >= BACKS
    pose = None if is_face else (180 + rng.uniform(-50, 50), rng.normal(0, 15), rng.normal(0, 12))
    size = 2 * round(CANVAS * side / 2)
    head = heads.render(index, 2 * size, pose, supersample=1.0, canvas=CANVAS)  # halved below, with the mask
    seen = np.isfinite(head.depth).astype(np.float32)
    alpha = cv2.erode(seen, np.ones((3, 3), np.uint8))  # what antialiasing mixed with the background
    colors = np.dstack([head.image * alpha[..., None], 255 * alpha])
    rgba = np.asarray(cv2.resize(colors, (size, size), interpolation=cv2.INTER_AREA) + 0.5, np.uint8)
    rows, columns = np.flatnonzero(rgba[..., 3].max(axis=1)), np.flatnonzero(rgba[..., 3].max(axis=0))
    top, left, right = max(rows[0] - 1, 0), max(columns[0] - 1, 0), columns[-1] + 2
    cut = np.ascontiguousarray(rgba[top : rows[-1] + 1, left:right])
    return CutOut(cut, head.landmarks[:, :2] / 2 - [left, top], is_face)


class SceneSampler:
    """Draws scenes from a store of cut-outs.

    Args:
        cut_outs: the store.
        seed: of the textures.
        size: side of a scene in pixels.
        face_sides: range of the longer sides of faces in pixels, their logarithm drawn uniformly.
        photo: strength of what cameras do, see `photograph.develop`.
        occluder: probability that something stands before a face.
        backdrops: pictures without faces to take cuts of instead of clutter.
    """

    def __init__(
        self,
        cut_outs: Sequence[CutOut],
        seed: int = 0,
        size: int = 256,
        face_sides: tuple[float, float] = (14.0, 220.0),
        photo: float = 0.5,
        occluder: float = 0.15,
        backdrops: Sequence[NDArray[np.uint8]] = (),
    ) -> None:
        self.size, self.face_sides, self.photo, self.occluder = size, face_sides, photo, occluder
        self.cut_outs, self.backdrops = cut_outs, backdrops
        self._clouds = cache(lambda number: appearance.draw_background(np.random.default_rng([seed, 6, number]), 160))

    def draw(self, rng: Rng) -> Scene:
        """The next scene of a generator."""
        size = self.size
        image = self._backdrop(rng) if self.backdrops else self._clutter(rng)
        boxes: list[Array] = []
        unclear: list[Array] = []
        for _ in range(int(rng.integers(0, 4)) if rng.random() < 0.6 else 0):
            self._distract(image, rng)
        for _ in range(int(rng.choice(6, p=[0.15, 0.4, 0.2, 0.12, 0.08, 0.05]))):
            item = self.cut_outs[int(rng.integers(len(self.cut_outs)))]
            matrix = self._place(item.landmarks, rng)
            points = cv2.transform(item.landmarks[None], matrix)[0]
            layer = warp(item.rgba, matrix, size)
            if any(covered(layer, box) > 0.3 for box in (*boxes, *unclear)):
                continue
            paste(image, layer)
            if not item.is_face:
                continue
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
            inside = np.prod(np.clip(box[2:], 0, size) - np.clip(box[:2], 0, size)) / np.prod(box[2:] - box[:2])
            if inside > 0.6:
                boxes.append(box)
            elif inside > 0.25:
                unclear.append(box)
            if rng.random() < self.occluder:
                middle = points[30].clip(0, size - 1).astype(int)
                photograph.occlude(image, rng, points, image[middle[1], middle[0]].astype(np.float64))
        picture = photograph.develop(image, rng, self.photo)
        return Scene(picture, np.reshape(boxes, (-1, 4)), np.reshape(unclear, (-1, 4)))

    def _place(self, landmarks: Array, rng: Rng) -> Array:
        """Where a head goes: (2, 3), from pixels of its cut-out to those of the scene."""
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        native = float((high - low).max())
        scale = min(float(np.exp(rng.uniform(*np.log(self.face_sides)))) / native, 1.6)
        angle = rng.uniform(-40, 40) if rng.random() < 0.25 else rng.normal(0, 6)
        mirror = 1.0 if rng.random() < 0.5 else -1.0
        c, s = scale * np.cos(np.radians(angle)), scale * np.sin(np.radians(angle))
        linear = np.array([[c * mirror, -s], [s * mirror, c]])
        side = scale * native
        room = np.maximum(self.size - 0.8 * side, 0.3 * self.size)  # most faces are wholly inside, none half outside
        center = self.size / 2 + rng.uniform(-0.5, 0.5, 2) * room
        return np.column_stack([linear, center - linear @ ((low + high) / 2)])

    def _backdrop(self, rng: Rng) -> Array:
        picture = self.backdrops[int(rng.integers(len(self.backdrops)))]
        side = int(rng.uniform(0.4, 1) * min(picture.shape[:2]))
        y, x = (int(rng.integers(0, whole - side + 1)) for whole in picture.shape[:2])
        cut = cv2.resize(picture[y : y + side, x : x + side], (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cut, np.float32) / np.float32(255)

    def _clutter(self, rng: Rng) -> Array:
        """What lies behind: one texture, or many shapes of many textures."""
        size = self.size
        image = self._texture(rng, size)
        for _ in range(int(np.exp(rng.uniform(0, np.log(40)))) if rng.random() < 0.75 else 0):
            kind, center = rng.random(), rng.uniform(0, size, 2)
            extent = float(np.exp(rng.uniform(np.log(4), np.log(0.7 * size))))
            mask = np.zeros((size, size), np.uint8)
            if kind < 0.35:
                corners = center + rng.uniform(-0.5, 0.5, (int(rng.integers(3, 7)), 2)) * extent * 1.6
                cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
            elif kind < 0.65:
                sides = extent * rng.uniform(0.1, 1, 2)
                rectangle = cv2.boxPoints((center.tolist(), sides.tolist(), rng.normal(0, 8) + 90 * (rng.random() < 0.5)))
                cv2.fillPoly(mask, [np.asarray(rectangle, np.int32)], 255, cv2.LINE_AA)
            elif kind < 0.85:
                axes = [max(1, int(v)) for v in extent * rng.uniform(0.15, 0.5, 2)]
                thick = -1 if rng.random() < 0.7 else int(rng.integers(1, 5))
                place = [int(v) for v in center]
                cv2.ellipse(mask, place, axes, float(rng.uniform(0, 180)), 0, 360, 255, thick, cv2.LINE_AA)
            else:
                end = center + rng.normal(0, extent, 2)
                cv2.line(mask, center.astype(int).tolist(), end.astype(int).tolist(), 255, int(rng.integers(1, 9)), cv2.LINE_AA)
            x, y, width, height = cv2.boundingRect(mask)
            if width < 2 or height < 2:
                continue
            weight = mask[y : y + height, x : x + width, None].astype(np.float32) / 255
            fill = self._texture(rng, max(width, height))[:height, :width]
            image[y : y + height, x : x + width] += weight * (fill - image[y : y + height, x : x + width])
        if rng.random() < 0.2:
            for _ in range(int(rng.integers(1, 5))):
                text = "".join(chr(c) for c in rng.integers(33, 127, int(rng.integers(2, 14))))
                ink, place = np.zeros((size, size), np.uint8), rng.uniform(0, size, 2).astype(int).tolist()
                cv2.putText(ink, text, place, int(rng.integers(0, 8)), rng.uniform(0.3, 2.5), 255, int(rng.integers(1, 4)))
                image += ink[..., None].astype(np.float32) / 255 * (rng.uniform(0, 1, 3).astype(np.float32) - image)
        if rng.random() < 0.35:  # out of focus
            blur = float(np.exp(rng.uniform(np.log(0.5), np.log(0.03 * size))))
            return np.asarray(cv2.GaussianBlur(image, (0, 0), blur), np.float32)
        return image

    def _texture(self, rng: Rng, size: int) -> Array:
        """(size, size, 3) in [0, 1]: one colour, a ramp, stripes or tiles, or one of the clouds behind synthetic heads."""
        kind = rng.random()
        if kind < 0.45:
            texture = self._clouds(int(rng.integers(CLOUDS)))
            side = int(rng.integers(20, 160))
            x, y = (int(v) for v in rng.integers(0, 160 - side + 1, 2))
            cut = texture[y : y + side, x : x + side]
            cut = cut[:: 1 if rng.random() < 0.5 else -1, :: 1 if rng.random() < 0.5 else -1, rng.permutation(3)]
            resized = cv2.resize(np.ascontiguousarray(cut), (size, size), interpolation=cv2.INTER_LINEAR)
            return np.multiply(resized, np.float32(rng.uniform(0.6, 1.3) / 255), dtype=np.float32)
        first, second = rng.uniform(0, 1, (2, 1)) + rng.beta(1, 1.5) * rng.uniform(-0.5, 0.5, (2, 3))
        first, second = np.clip([first, second], 0, 1).astype(np.float32)
        if kind < 0.6:
            second = first
        elif rng.random() < 0.6:  # related colours, as light and shade on one thing
            second = first * np.float32(rng.uniform(0.4, 1))
        angle, wave = rng.uniform(0, np.pi), float(np.exp(rng.uniform(np.log(3), np.log(60))))
        ramp = np.arange(size, dtype=np.float32)
        along = np.cos(angle) * ramp[None] + np.sin(angle) * ramp[:, None]
        across = np.cos(angle) * ramp[:, None] - np.sin(angle) * ramp[None]
        if kind < 0.75:
            share = (along - along.min()) / max(float(np.ptp(along)), 1.0)
        else:
            share = np.sin(2 * np.pi * along / wave)
            share = share * np.sin(2 * np.pi * across / wave / rng.uniform(0.5, 2)) if kind > 0.87 else share
            share = np.clip(0.5 + share * rng.uniform(0.5, 6), 0, 1)
        mixed: Array = first + share[..., None].astype(np.float32) * (second - first)
        return mixed

    def _distract(self, image: Array, rng: Rng) -> None:
        """Something that is no face but could be taken for one, in place."""
        size, kind = self.size, rng.random()
        item = self.cut_outs[int(rng.integers(len(self.cut_outs)))]
        matrix = self._place(item.landmarks, rng)
        points = cv2.transform(item.landmarks[None], matrix)[0]
        skin = item.rgba[tuple(item.landmarks[30, ::-1].clip(0, np.array(item.rgba.shape[:2]) - 1).astype(int))][:3] / 255.0
        if kind < 0.45:  # what is above the brows, or below the chin
            layer = warp(item.rgba, matrix, size)
            axis = points[CHIN] - points[BROW]
            ramp = np.arange(size, dtype=np.float32)
            height = ((ramp[None] - points[BROW, 0]) * axis[0] + (ramp[:, None] - points[BROW, 1]) * axis[1]) / (axis @ axis)
            layer[(height > -0.12) if kind < 0.2 else (height < 1.12)] = 0
            paste(image, layer)
        elif kind < 0.65:  # a face in pieces
            low, high = points.min(axis=0), points.max(axis=0)
            layer = warp(item.rgba, matrix, size)
            x0, y0 = low.clip(0, size).astype(int)
            step = ((high - low) / rng.integers(3, 6)).astype(int).clip(3)
            x1, y1 = (np.array([x0, y0]) + (high - low).astype(int) // step * step).clip(0, size)
            places = [(x, y) for x in range(x0, x1 - step[0] + 1, step[0]) for y in range(y0, y1 - step[1] + 1, step[1])]
            if len(places) < 4:
                return
            pieces = [layer[y : y + step[1], x : x + step[0]].copy() for x, y in places]
            layer[:] = 0
            turn = int(rng.integers(1, len(places)))  # none stays where it was
            for (x, y), number in zip(places, np.roll(np.arange(len(places)), turn), strict=True):
                layer[y : y + step[1], x : x + step[0]] = pieces[number][:: -1 if rng.random() < 0.5 else 1]
            paste(image, layer)
        elif kind < 0.8:  # a hand's fingers, a cup
            photograph.occlude(image, rng, points, skin)
        else:  # a ball or a limb of skin colour, shaded
            center, extent = points.mean(axis=0), np.ptp(points, axis=0).max() * rng.uniform(0.15, 0.8, 2)
            axes, turned = [max(2, int(v)) for v in extent], float(rng.uniform(0, 180))
            for share in np.linspace(1, 0.3, 6):
                color = (skin * (1.25 - 0.5 * share * rng.uniform(0.8, 1.2))).tolist()
                inner = [max(1, int(share * v)) for v in axes]
                place = (center - 0.3 * (1 - share) * np.array(axes)).astype(int).tolist()
                cv2.ellipse(image, place, inner, turned, 0, 360, color, -1, cv2.LINE_AA)


def warp(rgba: NDArray[np.uint8], matrix: Array, size: int) -> Array:
    """A cut-out's layer of a scene, (size, size, 4) float in [0, 1]; made small by areas first, or fine parts would flicker."""
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if scale < 0.75:
        height, width = (max(2, round(scale * side)) for side in rgba.shape[:2])
        ratio = np.array([rgba.shape[1] / width, rgba.shape[0] / height])
        matrix = np.column_stack([matrix[:, :2] * ratio, matrix[:, 2]])
        rgba = np.asarray(cv2.resize(rgba, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    rgba = rgba.copy()
    rgba[0] = rgba[:, 0] = rgba[:, -1] = 0  # only the body goes on beyond its picture
    layer = cv2.warpAffine(rgba, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return layer.astype(np.float32) / 255


def paste(image: Array, layer: Array) -> None:
    """Lay a layer over a picture, in place."""
    image *= 1 - layer[..., 3:]
    image += layer[..., :3]


def covered(layer: Array, box: Array) -> float:
    """Share of a box that a layer would hide."""
    x0, y0, x1, y1 = box.clip(0, len(layer)).astype(int)
    inner = layer[y0:y1, x0:x1, 3]
    return float(inner.mean()) if inner.size else 0.0
