"""From rendered colours to a photograph: exposure, things in the way, the edges of the picture, the camera and the web."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.files import encode_picture

Array = NDArray[Any]
Rng = np.random.Generator


def expose(colors: Array, mask: NDArray[np.uint8], rng: Rng | None) -> Array:
    """Bring the head to a random mean brightness, tint the light a little, roll off what is too bright."""
    mean = float(np.mean(cv2.mean(colors, mask)[:3])) or 0.4
    gain = (0.4 if rng is None else rng.uniform(0.32, 0.7)) / max(mean, 1e-3)
    warm = 0.0 if rng is None else rng.normal(0, 0.06)
    exposed = colors * np.array([gain * (1 + warm), gain, gain * (1 - warm)], np.float32)
    knee = np.float32(0.8)
    excess = np.tanh(np.maximum(exposed - knee, 0) / (1 - knee))
    rolled: Array = np.minimum(exposed, knee) + (1 - knee) * excess
    return rolled


def occlude(image: Array, rng: Rng, points: Array, skin: Array) -> None:
    """Something before the face, in place: a hand's fingers, a microphone, a cup, a scarf."""
    low, high = points.min(axis=0), points.max(axis=0)
    extent = float((high - low).max())
    anchor = low + rng.uniform([0.0, 0.35], [1.0, 1.15]) * (high - low)
    if rng.random() < 0.45:
        color = np.clip(skin * rng.uniform(0.4, 0.9), 0, 1)
        angle = rng.uniform(0, 2 * np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        for finger in range(4):
            start = anchor + across * (finger - 1.5) * 0.11 * extent
            end = start + along * extent * rng.uniform(0.6, 0.9)
            tone = tuple(float(c) for c in color * rng.uniform(0.9, 1.08))
            ends = [tuple(round(float(v)) for v in p) for p in (start, end)]
            cv2.line(image, ends[0], ends[1], tone, max(2, round(0.105 * extent)), cv2.LINE_AA)
        return
    tone = tuple(float(c) for c in rng.uniform(0, 0.9, 3))
    center = tuple(round(float(v)) for v in anchor)
    if rng.random() < 0.5:
        axes = tuple(max(1, round(float(v))) for v in rng.uniform(0.08, 0.28, 2) * extent)
        cv2.ellipse(image, center, axes, float(rng.uniform(0, 180)), 0, 360, tone, -1, cv2.LINE_AA)
    else:
        polygon = anchor + rng.normal(0, 0.22 * extent, (int(rng.integers(3, 6)), 2))
        cv2.fillPoly(image, [np.round(polygon).astype(np.int32)], tone, cv2.LINE_AA)


def hand(image: Array, rng: Rng, points: Array, skin: Array) -> None:
    """A hand at chin or cheek, in place: forearm, palm and fingers in the colour of the skin."""
    extent = float((points.max(axis=0) - points.min(axis=0)).max())
    edge = points[int(rng.integers(3, 14))]
    place = edge + (edge - points[27:36].mean(axis=0)) * rng.uniform(0.1, 0.6)
    tone = skin * rng.uniform(0.65, 1.15)
    up = np.radians(rng.normal(-90, 35))  # y points down
    along, across = np.array([np.cos(up), np.sin(up)]), np.array([-np.sin(up), np.cos(up)])
    scale = extent * rng.uniform(0.6, 1.0)

    def limb(start: Array, end: Array, width: float, light: float) -> None:
        for share, factor in ((1.0, 0.62), (0.82, 0.85), (0.5, 1.0)):  # darker toward its edge
            color = tuple(float(c) for c in np.clip(tone * light * factor, 0, 1))
            ends = [tuple(round(float(v)) for v in point) for point in (start, end)]
            cv2.line(image, ends[0], ends[1], color, max(1, round(width * share)), cv2.LINE_AA)

    elbow = place - along * scale * 1.6 + across * scale * rng.normal(0, 0.5)
    limb(place - along * 0.2 * scale, elbow, 0.3 * scale, rng.uniform(0.8, 1.0))
    limb(place - along * 0.12 * scale, place + along * 0.05 * scale, 0.42 * scale, rng.uniform(0.9, 1.05))
    bend, spread = rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.16)
    for finger in rng.permutation(4):
        base = place + across * (finger - 1.5) * 0.105 * scale + along * 0.1 * scale
        turned = along + across * (finger - 1.5) * spread
        limb(base, base + turned * scale * bend * rng.uniform(0.85, 1.1), 0.11 * scale, rng.uniform(0.85, 1.1))
    if rng.random() < 0.5:
        side = -1 if rng.random() < 0.5 else 1
        thumb = place + across * side * 0.2 * scale
        limb(thumb, thumb + (along + across * side * 0.6) * 0.28 * scale, 0.12 * scale, rng.uniform(0.85, 1.1))


def shrink(image: Array, rng: Rng) -> Array:
    """A picture of fewer pixels, enlarged again: 30 to 100 % of its side."""
    size = len(image)
    small = max(8, round(size * rng.uniform(0.3, 1.0)))
    way = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    return np.asarray(
        cv2.resize(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA), (size, size), interpolation=way)
    )


def black_borders(image: Array, rng: Rng, box: Array) -> None:
    """Black where a photo ended, in place; never over the face's box."""
    size = len(image)
    for side in range(4):
        if rng.random() < 0.4:
            room = (box[0], box[1], size - box[2], size - box[3])[side]
            width = int(rng.uniform(0, 0.9) * max(room, 0))
            region = (np.s_[:, :width], np.s_[:width], np.s_[:, size - width :], np.s_[size - width :])[side]
            image[region] = 0


def develop(image: Array, rng: Rng, strength: float) -> NDArray[np.uint8]:
    """What a camera and the web do to a picture (S, S, 3), RGB in [0, 1]: contrast, colour, blur, noise, compression.

    How often and how much is said by the strength: 0 for nothing, 1 for the worst snapshots.
    """

    def happens(probability: float) -> bool:
        return bool(rng.random() < probability * strength)

    def around_one(low: float, high: float) -> np.float32:
        return np.float32(1 + strength * (rng.uniform(low, high) - 1))

    image = np.clip(image, 0, 1) ** around_one(0.65, 1.45)
    image = (image - 0.5) * around_one(0.7, 1.35) + 0.5
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    image = np.repeat(grey, 3, axis=2) if happens(0.18) else grey + around_one(0.4, 1.6) * (image - grey)
    if happens(0.07):
        image = image * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    if happens(0.35):
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.3 + 0.9 * strength) * len(image) / 80)
    if happens(0.5):
        sigma = np.float32(rng.uniform(0.005, 0.005 + 0.045 * strength))
        image = image + sigma * rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    picture = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if happens(0.4):
        quality = int(rng.uniform(95 - 60 * strength, 95))
        data = encode_picture(Path("photograph.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB), dtype=np.uint8)
    return picture
