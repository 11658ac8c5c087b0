"""Skin, eyes, lips, hair and cloth: an atlas of colours that covers the grids of the head, and backgrounds behind it.

The upper part of the atlas is the head's own grid, TEXELS texels a step, so features are painted once at the landmarks' texels
and follow every identity and expression. A strip below holds the other materials.
"""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from headposekit.synthesis.head import COLUMNS, LATITUDES, LONGITUDES, ROWS, head_model

Rng = np.random.Generator
Color = NDArray[Any]

TEXELS = 5
WIDTH, FACE_HEIGHT, STRIP = (COLUMNS - 1) * TEXELS, (ROWS - 1) * TEXELS, 32
MATERIALS = {
    **{"hair": (0, 112), "hat": (112, 64), "ear": (176, 48), "frame": (224, 16), "lens": (240, 16)},
    **{"skin": (256, 32), "cloth": (288, 64)},
}
"""First column and width of each cell in the strip; skin and cloth are neighbours, as at the collar."""
SKIN = np.array([
    (0.96, 0.83, 0.74), (0.91, 0.74, 0.62), (0.85, 0.66, 0.52), (0.74, 0.54, 0.40), (0.60, 0.42, 0.30), (0.45, 0.30, 0.21),
    (0.30, 0.20, 0.15),
])  # fmt: skip
HAIR = np.array([
    (0.06, 0.05, 0.05), (0.16, 0.10, 0.07), (0.32, 0.20, 0.12), (0.55, 0.38, 0.20), (0.80, 0.65, 0.40), (0.50, 0.20, 0.09),
    (0.66, 0.65, 0.64),
])  # fmt: skip
IRIS = np.array([(0.20, 0.12, 0.07), (0.35, 0.22, 0.12), (0.30, 0.36, 0.20), (0.30, 0.45, 0.60), (0.45, 0.50, 0.52)])


@dataclass(frozen=True)
class Style:
    """Everything of a head's looks that is not shape; drawn by `draw_style`, each field one choice.

    Colours are RGB in [0, 1], probabilities are resolved already.
    """

    skin: tuple[float, ...]
    hair: tuple[float, ...]
    iris: tuple[float, ...]
    cloth: tuple[float, ...]
    hat: tuple[float, ...]
    frame: tuple[float, ...]
    dark_lenses: bool
    brow_width: float  # texels
    lip_red: float  # how much redder than skin, 0 to 1
    beard: float  # 0 none, 1 full and dark
    moustache: float
    teeth: bool
    gaze: tuple[float, float]  # share of half an eye width, right and up
    makeup: float  # darkness of lids and lashes, 0 to 1
    wrinkles: float  # 0 to 1
    texture: bool  # noise, blush, sockets and folds of the skin
    eye_white: float = 1.0  # brightness of the white of the eyes
    eye_opening: float = 1.0  # height of the opening between the lids


def draw_style(rng: Rng, beard: float, texture: bool) -> Style:
    """A random style with a probability of a beard (a moustache is half as likely), and skin with texture or without."""
    tone = rng.uniform(0, len(SKIN) - 1)
    skin = np.array([np.interp(tone, np.arange(len(SKIN)), SKIN[:, c]) for c in range(3)]) * rng.uniform(0.93, 1.05, 3)
    dark = tone > 3.5
    hair = HAIR[rng.choice(2 if dark else len(HAIR))] * rng.uniform(0.7, 1.25)
    bearded, male = rng.random(), rng.random() < 0.5
    return Style(
        skin=tuple(np.clip(skin, 0, 1)),
        hair=tuple(np.clip(hair, 0.02, 0.95)),
        iris=tuple(IRIS[0 if dark else rng.choice(len(IRIS))]),
        cloth=_fabric(rng),
        hat=_fabric(rng),
        frame=tuple(rng.choice([0.05, 0.12, 0.3, 0.55]) * rng.uniform(0.6, 1.2, 3)),
        dark_lenses=bool(rng.random() < 0.33),
        brow_width=float(rng.uniform(1.3, 3.8)),
        lip_red=float(rng.uniform(0.05, 0.35) if male else rng.uniform(0.15, 0.95)),
        beard=float(rng.uniform(0.25, 1)) if bearded < beard else 0.0,
        moustache=float(rng.uniform(0.3, 1)) if bearded < 1.5 * beard and rng.random() < 0.6 else 0.0,
        teeth=bool(rng.random() < 0.65),
        gaze=(float(rng.normal(0, 0.22)), float(rng.normal(0, 0.1))),
        makeup=float(rng.uniform(0, 0.35) if male else rng.uniform(0.1, 1)),
        wrinkles=float(rng.random() ** 2),
        texture=texture,
    )


def with_shaded_eyes(style: Style, rng: Rng) -> Style:
    """A style with eyes as photographs show most of them: in the shade of the brows, narrow, some closed."""
    opening = 0.12 if rng.random() < 0.1 else rng.uniform(0.5, 1)
    gaze = (float(rng.normal(0, 0.35)), float(rng.normal(0, 0.15)))
    return replace(style, eye_white=float(rng.uniform(0.3, 0.8)), eye_opening=float(opening), gaze=gaze)


def _fabric(rng: Rng) -> tuple[float, ...]:
    """A colour that clothes have: half of them black, grey, white or nearly so."""
    value, hue = rng.uniform(0.04, 0.95), rng.uniform(0.05, 0.95, 3)
    saturation = rng.uniform(0, 0.15) if rng.random() < 0.5 else rng.beta(2, 2)
    return tuple(np.clip(value + saturation * (hue - hue.mean()) / max(np.ptp(hue), 0.1), 0.02, 0.97))


def paint_atlas(style: Style, rng: Rng) -> NDArray[np.uint8]:
    """The atlas of a style, (FACE_HEIGHT + STRIP, WIDTH, 3), RGB."""
    skin = np.array(style.skin, dtype=np.float32)
    face = np.tile(skin[:, None, None], (1, FACE_HEIGHT, WIDTH))  # painted plane by plane, which is faster
    points = (head_model().grid68 * TEXELS).astype(np.float32)
    eye = float(np.linalg.norm(points[39] - points[36]))  # width of an eye, the unit of the strokes below
    if style.texture:
        _paint_skin(face, points, eye, style, rng)
    _paint_beard(face, points, eye, style, rng)
    _paint_nose(face, points, eye, skin)
    _paint_mouth(face, points, style)
    for lids, brow, side in ((points[36:42], points[17:22], -1), (points[42:48], points[22:27], 1)):
        _paint_eye(face, lids, style, side, rng)
        _paint_brow(face, brow, style, rng)
    strip = _paint_materials(style, rng)
    return to_bytes(np.concatenate([cv2.merge(list(face)), strip]))


def to_bytes(image: Color) -> NDArray[np.uint8]:
    """Colours in [0, 1], clipped there, to 0..255."""
    return np.asarray(cv2.convertScaleAbs(np.maximum(image, 0), alpha=255), dtype=np.uint8)


def noise(rng: Rng, height: int, width: int, cell: float) -> Color:
    """Smooth noise (height, width) of about unit variance, features `cell` pixels large."""
    small = rng.standard_normal((max(2, round(height / cell) + 1), max(2, round(width / cell) + 1)), dtype=np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


@cache
def _angle_maps(degrees: float) -> Any:
    """Longitude and latitude of each texel of the face, in steps of `degrees`, as OpenCV's fast fixed-point maps."""
    longitude = np.interp(np.arange(WIDTH) / TEXELS, np.arange(COLUMNS), LONGITUDES)
    latitude = np.interp(np.arange(FACE_HEIGHT) / TEXELS, np.arange(ROWS), LATITUDES)
    x, y = np.meshgrid((longitude + 180) / degrees, (90 - latitude) / degrees)
    return cv2.convertMaps(x.astype(np.float32), y.astype(np.float32), cv2.CV_16SC2)


def skin_noise(rng: Rng, degrees: float) -> Color:
    """Smooth noise (FACE_HEIGHT, WIDTH) of about unit variance, its features alike all over the head, `degrees` large."""
    small = rng.standard_normal((round(180 / degrees) + 2, round(360 / degrees) + 2), dtype=np.float32)
    smooth = cv2.INTER_CUBIC if degrees > 1 else cv2.INTER_LINEAR
    x, y = _angle_maps(degrees)
    return np.asarray(cv2.remap(small, x, y, smooth, borderMode=cv2.BORDER_REPLICATE), dtype=np.float32)


@dataclass(frozen=True)
class Patch:
    """Where and how much to paint: a mask in [0, 1] and its place in the atlas (small, as most strokes are)."""

    mask: Color
    place: tuple[slice, slice]

    def __mul__(self, strength: "float | Color | Patch") -> "Patch":
        """Weaker by a number, by a picture of the atlas' size, or by another patch (where they overlap)."""
        if isinstance(strength, Patch):
            whole = np.zeros((FACE_HEIGHT, WIDTH), np.float32)
            whole[strength.place] = strength.mask
            strength = whole
        return Patch(self.mask * (strength[self.place] if isinstance(strength, np.ndarray) else strength), self.place)

    __rmul__ = __mul__


def _blend(image: Color, patch: Patch, color: Any) -> None:
    """Cover an image with a colour where the patch says so, in place."""
    region = image[:, *patch.place]
    region += patch.mask * (np.asarray(color, dtype=np.float32)[:, None, None] - region)


def _multiply(image: Color, patch: Patch, factor: Any) -> None:
    region = image[:, *patch.place]
    region *= 1 + patch.mask * (np.atleast_1d(np.asarray(factor, dtype=np.float32))[:, None, None] - 1)


def _place(low: Any, high: Any) -> tuple[tuple[slice, slice], NDArray[np.float32]]:
    """The texels of the face between two corners, at least one, and their first corner (x, y)."""
    x0, y0 = np.clip(np.floor(low), 0, [WIDTH - 1, FACE_HEIGHT - 1]).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(high) + 1, 1, [WIDTH, FACE_HEIGHT]).astype(int).tolist()
    return (slice(y0, max(y1, y0 + 1)), slice(x0, max(x1, x0 + 1))), np.array([x0, y0], np.float32)


def _fill(points: Any, soft: float, width: float = 0.0) -> Patch:
    """A polygon with soft edges; with a width, a line instead."""
    points = np.asarray(points, dtype=np.float32)
    margin = width + (3 * soft + 1)
    place, corner = _place(points.min(axis=0) - margin, points.max(axis=0) + margin)
    canvas = np.zeros((place[0].stop - place[0].start, place[1].stop - place[1].start), np.uint8)
    sixteenths = np.round((points - corner) * 16).astype(np.int32)
    if width:
        cv2.polylines(canvas, [sixteenths], False, 255, max(1, round(width)), cv2.LINE_AA, shift=4)
    else:
        cv2.fillPoly(canvas, [sixteenths], 255, cv2.LINE_AA, shift=4)
    mask = canvas.astype(np.float32) / 255
    return Patch(np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), dtype=np.float32), place)


def _stroke(line: Any, width: float, soft: float) -> Patch:
    return min(1.0, width) * _fill(line, soft, width)


@cache
def _curve_weights(n: int) -> Color:
    """(4n - 3, n): a cubic spline is linear in its points."""
    return np.asarray(CubicSpline(np.arange(n), np.eye(n))(np.linspace(0, n - 1, 4 * n - 3)), dtype=np.float32)


def _curve(points: Color) -> Color:
    """Four times as many points, on a smooth curve through these."""
    return np.asarray(_curve_weights(len(points)) @ points, dtype=np.float32)


def _blob(center: Any, rx: float, ry: float) -> Patch:
    reach = 2.2 * np.array([rx, ry])
    place, _corner = _place(center - reach, center + reach)
    x = (np.arange(place[1].start, place[1].stop, dtype=np.float32) - center[0]) / rx
    y = (np.arange(place[0].start, place[0].stop, dtype=np.float32) - center[1]) / ry
    return Patch(np.exp(-(y[:, None] ** 2) - x[None] ** 2).astype(np.float32), place)


def _paint_skin(face: Color, points: Color, eye: float, style: Style, rng: Rng) -> None:
    """Mottled skin, red cheeks and nose, dark sockets, folds."""
    face *= 1 + 0.02 * skin_noise(rng, 10) + 0.014 * skin_noise(rng, 2.5) + 0.01 * skin_noise(rng, 1)
    red = np.array([1.08, 0.86, 0.84])
    blush = rng.uniform(0.2, 1)
    for cheek in ((points[36] + points[48]) / 2, (points[45] + points[54]) / 2):
        _multiply(face, blush * _blob(cheek, 0.9 * eye, 0.7 * eye), red)
    _multiply(face, rng.uniform(0, 0.8) * _blob(points[30], 0.5 * eye, 0.4 * eye), red)
    depth = rng.uniform(0.3, 1)
    for lids in (points[36:42], points[42:48]):
        _multiply(face, depth * _blob(lids.mean(axis=0) + [0, 0.1 * eye], 0.95 * eye, 0.62 * eye), 0.72)
        fold = lids[[0, 5, 4, 3]] + [0, 0.28 * eye]
        _multiply(face, (0.25 + 0.5 * style.wrinkles) * _stroke(fold, 1.5, 1.2), 0.75)
        crease = lids[[0, 1, 2, 3]] - [0, 0.2 * eye]
        _multiply(face, rng.uniform(0.2, 0.9) * _stroke(crease, 1.3, 0.9), 0.68)
    _multiply(face, depth * _blob(points[33] + [0, 0.14 * eye], 0.5 * eye, 0.16 * eye), 0.75)
    _multiply(face, depth * _blob(points[57] + [0, 0.22 * eye], 0.55 * eye, 0.2 * eye), 0.78)
    for wing, corner, side in ((31, 48, -1), (35, 54, 1)):
        start, end = points[wing] + [side * 0.12 * eye, -0.1 * eye], points[corner] + [side * 0.25 * eye, -0.05 * eye]
        bend = (start + end) / 2 + [side * 0.12 * eye, 0]
        _multiply(face, (0.2 + 0.8 * style.wrinkles) * _stroke(np.stack([start, bend, end]), 1.6, 1.4), 0.72)
    for step in range(3):
        y = points[19, 1] - (0.7 + 0.4 * step) * eye
        line = np.array([[points[18, 0], y + 2], [points[27, 0], y], [points[25, 0], y + 2]], np.float32)
        _multiply(face, 0.7 * style.wrinkles * _stroke(line, 1.2, 1.0), 0.8)


def _paint_beard(face: Color, points: Color, eye: float, style: Style, rng: Rng) -> None:
    if not style.beard and not style.moustache:
        return
    hair = np.array(style.hair) * 0.85
    grain = np.clip(0.75 + 0.5 * skin_noise(rng, 1), 0, 1)
    if style.beard:
        cheeks = [points[14] - [0.5 * eye, -0.2 * eye], points[2] + [0.5 * eye, 0.2 * eye]]
        mouth = [points[54] + [0.35 * eye, 0], points[57] + [0, 0.3 * eye], points[48] - [0.35 * eye, 0]]
        outline = np.concatenate([points[2:15], cheeks[:1], mouth, cheeks[1:]])
        low = points[4:13] + [0, 0.9 * eye]
        for area in (outline, np.concatenate([points[4:13], low[::-1]])):
            _blend(face, style.beard * _fill(area, 2.5) * grain, hair)
    if style.moustache:
        upper = np.concatenate([points[48:55] - [0, 0.05 * eye], (points[31:36] + [0, 0.1 * eye])[::-1]])
        _blend(face, style.moustache * _fill(upper, 1.2) * grain, hair)


def _paint_nose(face: Color, points: Color, eye: float, skin: Color) -> None:
    for index, side in ((32, -1), (34, 1)):
        center = points[index] + np.array([side * 0.04 * eye, -0.02 * eye], np.float32)
        _blend(face, _blob(center, 0.15 * eye, 0.08 * eye), skin * 0.22)


def _paint_mouth(face: Color, points: Color, style: Style) -> None:
    lip = np.array(style.skin) * (1 - style.lip_red) + style.lip_red * np.array([0.68, 0.16, 0.18])
    outer, upper, lower = _curve(points[48:55]), _curve(points[60:65]), _curve(points[[64, 65, 66, 67, 60]])
    lips = _fill(np.concatenate([outer, _curve(points[[*range(54, 60), 48]])]), 0.7)
    _blend(face, 0.9 * lips, lip * np.array([0.93, 0.74, 0.74]))
    _multiply(face, _fill(np.concatenate([outer, upper[::-1]]), 0.8), 0.88)  # the upper lip is darker
    cavity = _fill(np.concatenate([upper, lower]), 0.3)
    _blend(face, cavity, (0.11, 0.04, 0.04))
    if style.teeth:
        # The upper row; below it the mouth is dark.
        teeth = np.concatenate([upper, (upper + 0.55 * (lower[::-1] - upper))[::-1]])
        _blend(face, cavity * _fill(teeth, 0.5), (0.84, 0.81, 0.76))
    _multiply(face, 0.8 * _stroke(upper, 1.2, 0.6), 0.45)


def _paint_eye(face: Color, lids: Color, style: Style, side: int, rng: Rng) -> None:
    center = lids.mean(axis=0)
    half = float(np.abs(lids[:, 0] - center[0]).max())
    # Openings of the mean face are narrow; eyes are drawn a little wider than the landmarks.
    opening = center + (lids - center) * [1.03, 1.15 * style.eye_opening]
    upper, lower = _curve(opening[[0, 1, 2, 3]]), _curve(opening[[3, 4, 5, 0]])
    inside = _fill(np.concatenate([upper, lower]), 0.4)
    _blend(face, inside, np.array([0.86, 0.84, 0.82]) * rng.uniform(0.6, 0.95) * style.eye_white)
    pupil = center + np.array([style.gaze[0] * half, -style.gaze[1] * half])
    radius = 0.5 * half
    glint = pupil + [-0.3 * radius * side, -0.35 * radius]
    for middle, size, color in (
        (pupil, radius, style.iris),
        (pupil, 0.45 * radius, (0.02, 0.02, 0.02)),
        (glint, 0.22 * radius, (1.0, 1.0, 1.0)),
    ):
        x = np.arange(inside.place[1].start, inside.place[1].stop) - middle[0]
        y = np.arange(inside.place[0].start, inside.place[0].stop)[:, None] - middle[1]
        disc = np.clip(size - np.hypot(x, 0.92 * y) + 0.5, 0, 1).astype(np.float32)
        _blend(face, Patch(inside.mask * disc, inside.place), color)
    _multiply(face, inside * _stroke(upper, 3, 1.5), 0.6)  # the lid's shadow on the eye
    _blend(face, (0.55 + 0.45 * style.makeup) * _stroke(upper, 1.2 + 1.3 * style.makeup, 0.4), (0.07, 0.05, 0.04))
    _blend(face, (0.2 + 0.5 * style.makeup) * _stroke(lower, 1.0, 0.5), (0.2, 0.12, 0.1))


def _paint_brow(face: Color, brow: Color, style: Style, rng: Rng) -> None:
    stroke = _stroke(_curve(brow), style.brow_width, 1.0)
    grain = np.clip(0.8 + 0.35 * noise(rng, stroke.mask.shape[0], stroke.mask.shape[1], 1.3), 0, 1)
    _blend(face, Patch(0.9 * stroke.mask * grain, stroke.place), np.array(style.hair) * 0.8)


def _paint_materials(style: Style, rng: Rng) -> Color:
    strip = np.zeros((STRIP, WIDTH, 3), np.float32)

    def cell(name: str, color: Any) -> None:
        first, width = MATERIALS[name]
        strip[:, first : first + width] = np.clip(color, 0, 1)

    width = MATERIALS["hair"][1]
    strands = 1 + 0.22 * noise(rng, 1, width, 2.2) + 0.12 * noise(rng, STRIP, width, 5) + 0.1 * noise(rng, 1, width, 12)
    cell("hair", np.array(style.hair) * np.clip(strands, 0.35, 1.8)[..., None])
    knit = 1 + 0.06 * noise(rng, STRIP, MATERIALS["hat"][1], 1.5)
    cell("hat", np.array(style.hat) * knit[..., None])
    width = MATERIALS["cloth"][1]
    pattern = rng.integers(4)
    cloth = np.ones((STRIP, width), np.float32) + 0.08 * noise(rng, STRIP, width, 3)
    if pattern == 1:
        cloth *= 1 + 0.4 * np.sign(np.sin(np.arange(width) * rng.uniform(0.2, 1.2)))[None]
    elif pattern == 2:
        cloth *= 1 + 0.4 * np.sign(np.sin(np.arange(STRIP) * rng.uniform(0.4, 1.6)))[:, None]
    cell("cloth", np.array(style.cloth) * np.clip(cloth, 0, 2)[..., None])
    x, y = np.linspace(-1, 1, MATERIALS["ear"][1])[None], np.linspace(-1, 1, STRIP)[:, None]
    hollow = 1 - 0.38 * np.exp(-((x / 0.45) ** 2 + ((y + 0.05) / 0.5) ** 2))
    cell("ear", np.array(style.skin) * np.array([1.02, 0.93, 0.91]) * hollow[..., None])
    mottle = 1 + 0.03 * noise(rng, STRIP, MATERIALS["skin"][1], 5) if style.texture else np.ones((STRIP, MATERIALS["skin"][1]))
    cell("skin", np.array(style.skin) * mottle[..., None])
    cell("frame", np.array(style.frame))
    cell("lens", np.array([0.05, 0.05, 0.06]) * np.linspace(1, 2.5, STRIP)[:, None, None])
    return strip


def material_uv(name: str, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Texels (..., 2) of a material for coordinates of any size; they run back and forth, so no seam shows."""
    first, width = MATERIALS[name]
    u, v = (1 - np.abs(1 - np.mod(coordinate, 2)) for coordinate in (u, v))
    return np.stack([first + 1 + u * (width - 3), FACE_HEIGHT + 1 + v * (STRIP - 3)], axis=-1)


@cache
def sheet_uv(material: str, rows: int, columns: int, repeat: tuple[float, float]) -> NDArray[np.float64]:
    """Texels (rows, columns, 2) of a grid that a material covers, `repeat` times across and down."""
    v, u = np.meshgrid(np.linspace(0, repeat[1], rows), np.linspace(0, repeat[0], columns), indexing="ij")
    return material_uv(material, u, v)


def draw_background(rng: Rng, size: int) -> NDArray[np.uint8]:
    """What may stand behind a head, (size, size, 3) RGB: clouds, gradients, ellipses, polygons, bars, blurred."""
    kind = rng.random()
    base = rng.uniform(0, 1, 3).astype(np.float32)
    image: Color = np.tile(base, (size, size, 1))
    ramp = np.linspace(0, 1, size, dtype=np.float32)
    direction = rng.uniform(-1, 1, 2)
    image += (direction[0] * ramp[None, :, None] + direction[1] * ramp[:, None, None]) * rng.uniform(-0.5, 0.5, 3)
    if kind < 0.6:
        exponent = rng.uniform(0.9, 1.8)
        frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
        frequency[0, 0] = 1 / size
        shared = rng.standard_normal((size, size))
        for channel in range(3):
            spectrum = np.fft.rfft2(shared + 0.35 * rng.standard_normal((size, size))) / frequency**exponent
            cloud = np.fft.irfft2(spectrum, s=(size, size))
            image[..., channel] += (0.22 * (cloud - cloud.mean()) / cloud.std()).astype(np.float32)
    for _ in range(int(rng.integers(0, 9))):
        color = tuple(float(c) for c in rng.uniform(0, 1, 3))
        center = tuple(int(c) for c in rng.uniform(0, size, 2))
        shape = rng.random()
        if shape < 0.4:
            axes = tuple(int(c) for c in rng.uniform(0.03, 0.35, 2) * size)
            cv2.ellipse(image, center, axes, float(rng.uniform(0, 180)), 0, 360, color, -1, cv2.LINE_AA)
        elif shape < 0.75:
            polygon = (np.array(center) + rng.normal(0, 0.2 * size, (int(rng.integers(3, 7)), 2))).astype(np.int32)
            cv2.fillPoly(image, [polygon], color, cv2.LINE_AA)
        else:
            end = tuple(int(c) for c in rng.uniform(0, size, 2))
            cv2.line(image, center, end, color, int(rng.uniform(1, 0.12 * size)), cv2.LINE_AA)
    blur = rng.uniform(0, 0.03) * size if rng.random() < 0.7 else 0
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    grey = image.mean(axis=2, keepdims=True)
    colorful = grey + rng.beta(1.2, 2.5) * (image - grey)
    is_dark = rng.random() < 0.25  # night and flash make a quarter of them nearly black
    image = colorful * float(rng.uniform(0.03, 0.3) if is_dark else rng.uniform(0.5, 1.15))
    image += rng.uniform(0, 0.04) * rng.standard_normal(image.shape, dtype=np.float32)
    return to_bytes(image)
