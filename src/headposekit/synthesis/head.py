"""The parametric head: a mesh in frame A (x right, y up, z toward the viewer), unit about 36 mm.

Skull and face are one star-shaped surface around a point inside the head: its radius, as a function of direction, is a spline
through the 68 mean landmarks and hand-placed points of the skull. The surface is a grid (longitude × latitude), densest in
front; texture coordinates are grid positions, so whatever is painted at a landmark stays there. Identity and expression move
the landmarks; one fixed matrix carries the movement to the mesh. Everything else (ears, eyes, neck, hair, hat, glasses) is
further grids beside it.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.geometry.face_model import symmetric_face_68

Array = NDArray[Any]

CENTER = np.array([0.0, 0.3, -1.6])
"""Centre of the star-shaped surface; the pivot of rotation has the same x and z, but y = 0."""
COLUMNS, ROWS = 77, 61
"""Grid of the head: longitudes (the first and last are the seam at the back), latitudes from the crown down."""

# Hand-placed points of the skull, after the proportions of an adult head.
MIDLINE = [
    (2.2, 0.45), (2.9, 0.12), (3.5, -0.45), (4.0, -1.3), (4.2, -2.2), (4.0, -3.3), (3.2, -4.3), (2.0, -4.8), (1.0, -4.75),
    (0.2, -4.4), (-0.6, -4.0), (-1.35, 0.48), (-1.7, 0.52), (-2.15, -0.3), (-2.2, -0.9), (-2.2, -1.6), (1.65, 0.52),
]  # fmt: skip
"""(y, z): forehead, crown, back, nape, below the lip, chin, under the chin, between the brows."""
SIDE = [
    (1.5, 2.2, -0.3), (1.85, 1.9, -1.1), (2.12, 1.7, -2.8), (1.85, 0.0, -2.4), (1.6, 0.2, -4.0), (1.25, 0.45, 0.08),
    (1.6, 0.5, -0.45), (0.95, 0.0, 0.32), (1.33, -0.3, -0.2), (1.05, -0.95, 0.0), (1.4, -1.2, -1.7), (0.22, 0.42, 0.86),
    (0.43, 0.0, 0.60), (0.34, 0.13, 0.80), (0.30, 0.7, 0.47), (0.85, 0.72, 0.2), (0.85, 1.42, 0.33), (1.3, 3.2, -0.9),
    (1.75, 2.9, -2.2), (1.4, 3.4, -3.0), (1.7, 1.6, -4.0), (1.0, 2.8, -4.1), (1.2, 2.7, -0.15),
]  # fmt: skip
"""(|x|, y, z): temple, widest part, behind the ear, cheekbone, cheek, jaw, nose, eye socket, vault of the skull."""
FIXED = [
    (0, 4.2, -2.2), (0, 2.0, -4.8), (0, 0.2, -4.4), (2.12, 1.7, -2.8), (1.6, 0.2, -4.0), (1.75, 2.9, -2.2), (0, -2.2, -1.6),
]  # fmt: skip
"""Points of skull and nape that identity and expression leave where they are."""
EARS = np.array([[-2.12, 0.3, -1.95], [2.12, 0.3, -1.95]])
AFLW21_FROM_68: list[int | tuple[int, int] | None] = [
    17, 19, 21, 22, 24, 26, 36, (37, 40), 39, 42, (43, 46), 45, None, 31, 30, 35, None, 48, (62, 66), 54, 8,
]  # fmt: skip
"""AFLW's 21 points from iBUG's: one of them, the middle of two, or None for an ear."""


def direction(longitude: Array, latitude: Array) -> Array:
    """Unit vectors (..., 3) of angles in degrees; longitude 0 looks forward (z), positive toward x."""
    lon, lat = np.radians(longitude), np.radians(latitude)
    return np.stack([np.sin(lon) * np.cos(lat), np.sin(lat), np.cos(lon) * np.cos(lat)], axis=-1)


def _uneven(n: int, low: float, high: float, center: float, half_width: float, gain: float) -> Array:
    """n positions from low to high, up to `gain` times denser around `center`."""
    fine = np.linspace(low, high, 2001)
    density = 1 + (gain - 1) * np.exp(-(((fine - center) / half_width) ** 2))
    mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return np.interp(np.linspace(0, mass[-1], n), mass, fine)


LONGITUDES = _uneven(COLUMNS, -180, 180, 0, 43, 6)
LATITUDES = _uneven(ROWS, -89.4, 89.4, -7, 24, 5)[::-1]


def _distance_kernel(a: Array, b: Array, eps: float) -> Array:
    return -np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=-1) + eps**2)


def _spline(points: Array, targets: Array, at: Array, eps: float, ridge: float) -> Array:
    """Smooth interpolation through scattered points with a distance kernel and a constant."""
    n = len(points)
    system = np.ones((n + 1, n + 1))
    system[:n, :n] = _distance_kernel(points, points, eps) - ridge * np.eye(n)
    system[n, n] = 0
    right = np.concatenate([targets, np.zeros((1, *targets.shape[1:]))])
    return np.concatenate([_distance_kernel(at, points, eps), np.ones((len(at), 1))], axis=1) @ np.linalg.solve(system, right)


@cache
def face_modes_68() -> Array:
    """How faces differ: modes of unit variance of the landmarks, (14, 68, 3); `tools/fit_face_modes.py` makes the file."""
    return np.loadtxt(Path(__file__).with_name("face_modes_68.csv"), delimiter=",").reshape(-1, 68, 3)


def points21(plane68: Array, plane_ears: Array, yaw: float) -> Array:
    """AFLW's 21 points on the camera plane, (21, 2); NaN for those on the half that is turned away."""
    points = np.empty((21, 2))
    ears = iter(plane_ears)
    for row, source in enumerate(AFLW21_FROM_68):
        points[row] = next(ears) if source is None else plane68[np.atleast_1d(source)].mean(axis=0)
    left, right = [0, 1, 2, 6, 7, 8, 12, 13, 17], [3, 4, 5, 9, 10, 11, 15, 16, 19]
    if abs(yaw) > 38:
        points[left if yaw > 0 else right] = np.nan
    elif abs(yaw) > 22:
        points[12 if yaw > 0 else 16] = np.nan
    return points


@dataclass(frozen=True)
class HeadModel:
    """What is computed once: the mean surface, how landmarks move it, and where landmarks sit on the grid."""

    mean: Array  # (ROWS * COLUMNS, 3)
    weights: Array  # (ROWS * COLUMNS, 68): V = mean + weights @ movement of the landmarks
    grid68: Array  # (68, 2): column and row of each landmark on the grid, fractional

    def deform(self, movement: Array) -> Array:
        """Surface (ROWS, COLUMNS, 3) with the landmarks moved by (68, 3)."""
        return (self.mean + self.weights @ movement.astype(np.float32)).reshape(ROWS, COLUMNS, 3)

    def landmarks(self, surface: Array) -> Array:
        """The 68 landmarks (68, 3) of a surface (ROWS, COLUMNS, 3): points of its triangles' edges and faces."""
        column, row = np.floor(self.grid68).astype(int).T
        fx, fy = (self.grid68 - np.floor(self.grid68)).T[..., None]
        top = surface[row, column] * (1 - fx) + surface[row, column + 1] * fx
        bottom = surface[row + 1, column] * (1 - fx) + surface[row + 1, column + 1] * fx
        return top * (1 - fy) + bottom * fy


@cache
def head_model() -> HeadModel:
    """The mean head, computed at first use (a fraction of a second)."""
    face = symmetric_face_68()
    side = np.array(SIDE)
    control = np.concatenate([face, [(0, y, z) for y, z in MIDLINE], side, side * [-1, 1, 1]])
    offset = control - CENTER
    radius = np.linalg.norm(offset, axis=1)
    lon, lat = np.meshgrid(LONGITUDES, LATITUDES)
    directions = direction(lon, lat).reshape(-1, 3)
    log_radius = _spline(offset / radius[:, None], np.log(radius), directions, eps=0.02, ridge=0.004)
    mean = _press_eyeballs(CENTER + directions * np.exp(log_radius)[:, None], face)

    x, y, z = (face - CENTER).T
    longitude, latitude = np.degrees([np.arctan2(x, z), np.arcsin(y / np.linalg.norm(face - CENTER, axis=1))])
    column = np.interp(longitude, LONGITUDES, np.arange(COLUMNS))
    row = np.interp(-latitude, -LATITUDES, np.arange(ROWS))

    fixed = np.array(FIXED, dtype=float)
    anchors = np.concatenate([face, fixed, fixed[fixed[:, 0] > 0] * [-1, 1, 1]])
    unit = np.concatenate([np.eye(68), np.zeros((len(anchors) - 68, 68))])
    weights = _spline(anchors, unit, mean, eps=0.15, ridge=0.01)
    return HeadModel(mean.astype(np.float32), weights.astype(np.float32), np.stack([column, row], axis=-1))


def _press_eyeballs(surface: Array, face: Array) -> Array:
    """Round the surface between the lids outwards, as the eyeball behind does."""
    for lids in (face[36:42], face[42:48]):
        center = lids.mean(axis=0)
        half = np.abs(lids - center).max(axis=0)
        inside = 1 - ((surface[:, 0] - center[0]) / half[0]) ** 2 - ((surface[:, 1] - center[1]) / (1.3 * half[1])) ** 2
        bulge = np.where(surface[:, 2] > -1.6, np.clip(inside, 0, None), 0)
        surface = surface + 0.09 * bulge[:, None] * np.array([0, 0, 1.0])
    return surface


def smoothstep(x: Array) -> Array:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def childlike(landmarks: Array, youth: float) -> Array:
    """Landmarks (68, 3) with a child's proportions, wholly at 1: a short lower face, large eyes, a small flat nose."""
    child = landmarks.copy()
    eyes = landmarks[36:48, 1].mean()
    low = np.r_[2:15, 28:36, 48:68]
    child[low, 1] = eyes + (landmarks[low, 1] - eyes) * (1 - 0.14 * youth)
    child[28:36, 2] -= 0.25 * youth * (landmarks[28:36, 2] - landmarks[39, 2])
    child[1:16, 0] *= 1 + 0.05 * youth
    for lids in (slice(36, 42), slice(42, 48)):
        center = landmarks[lids].mean(axis=0)
        child[lids, :2] = center[:2] + (landmarks[lids, :2] - center[:2]) * (1 + 0.22 * youth)
    return child


def grow_skull(surface: Array, factor: float) -> Array:
    """A surface (ROWS, COLUMNS, 3) whose skull above the brows is larger by a factor."""
    above = smoothstep((surface[..., 1:2] - 1.2) / 1.8)
    return np.asarray(CENTER + (surface - CENTER) * (1 + (factor - 1) * above), np.float32)


def make_ear(surface: Array, side: float, flare: float, tilt: float, size: float) -> Array:
    """One ear, (7, 21, 3): a disc with a raised rim and a hollow, hinged at its front edge on a head (ROWS, COLUMNS, 3).

    `side` is -1 or 1, left or right in the picture; it stands off by `flare` degrees, its top leans back by `tilt` degrees.
    """
    ring, angle = np.linspace(0, 1, 7)[:, None], np.linspace(0, 2 * np.pi, 21)[None]
    up = 0.85 * size * ring * np.sin(angle)
    back = 0.52 * size * ring * np.cos(angle) * (0.86 + 0.2 * np.sin(angle))  # narrower toward the lobe
    relief = 0.13 * np.exp(-(((ring - 0.85) / 0.13) ** 2)) - 0.12 * np.exp(-((ring / 0.5) ** 2))
    t, f = np.radians(tilt), np.radians(flare)
    up, back = up * np.cos(t) - back * np.sin(t), up * np.sin(t) + back * np.cos(t)
    hinge = 0.45 * size
    depth = back + hinge
    column = int(np.argmin(np.abs(LONGITUDES - side * 93)))
    row = int(np.argmin(np.abs(LATITUDES - 8)))
    x = surface[row, column, 0] - side * 0.05 + side * (depth * np.sin(f) + relief * np.cos(f))
    z = -1.72 - depth * np.cos(f) + relief * np.sin(f)
    return np.stack([x, 0.6 + up, z], axis=-1)


def _body_surface(y: Array, angle: Array, neck: float, shoulders: float, depth: float, lift: float) -> Array:
    """Points of neck and torso at heights y and angles around the neck's axis (0 in front), (..., 3)."""
    below = lift - y
    spread = smoothstep((below - 3.0) / 1.9)
    half_x = neck * (1 + 0.06 * spread) + (shoulders - neck) * spread**1.6
    half_z = neck * 0.98 + (2.8 - neck) * smoothstep((below - 3.2) / 4.3)
    # A neck leans forward, by about 17 degrees, down to the shoulders.
    lean = 0.3 * (np.maximum(y, -4.5) + 2.4)
    return np.stack([half_x * np.sin(angle), y, depth + lean + half_z * np.cos(angle)], axis=-1)


BODY_HEIGHTS = (
    *(-0.6, -1.0, -1.5, -2.0, -2.4, -2.8, -3.1, -3.4, -3.7, -4.0),
    *(-4.3, -4.6, -4.9, -5.3, -5.8, -6.5, -7.5, -9.0, -11.0),
)


def make_body(neck: float, shoulders: float, depth: float, lift: float = 0.0) -> Array:
    """Neck and torso, (19, 25, 3): a tube around z = `depth`, with the neck's radius and the shoulders' half width.

    `lift` is how much higher than on a long neck the shoulders are.
    """
    y, angle = np.meshgrid(BODY_HEIGHTS, np.linspace(-np.pi, np.pi, 25), indexing="ij")
    return _body_surface(y, angle, neck, shoulders, depth, lift)


def make_garment(
    neck: float, shoulders: float, depth: float, collar: float, dip: float, point: float, lift: float = 0.0
) -> Array:
    """What covers the torso of `make_body`, (17, 33, 3): its skin, a little larger, from the collar downwards.

    `collar` is its y at the nape, `dip` how much lower it is in front, `point` the dip's shape: 1 is round, 4 a deep V.
    """
    angle = np.linspace(-np.pi, np.pi, 33)[None]
    top = collar - dip * (0.5 + 0.5 * np.cos(angle)) ** point
    fall = np.linspace(0, 1, 17)[:, None] ** 1.5
    y = top + fall * (-11.0 - top)
    surface = _body_surface(y, np.broadcast_to(angle, y.shape), neck, shoulders, depth, lift)
    outward = np.stack([np.sin(angle), np.full_like(angle, 0.4), np.cos(angle)], axis=-1)
    thickness = np.where(fall == 0, -0.03, 0.09)  # the edge lies on the skin
    return surface + thickness[..., None] * outward


SHELL_ROWS = 25
HAIRLINE = np.array(
    [(0, 50), (25, 49), (45, 45), (60, 36), (72, 16), (82, 2), (95, -2), (110, -14), (130, -30), (180, -42)], dtype=float
)
"""Longitude and latitude of the hairline of short hair, degrees."""


def hair_shell(surface: Array, hairline: Array, thickness: Array) -> Array:
    """Hair on a head, (SHELL_ROWS, columns, 3): a grid of its own from a little below the hairline up to the crown.

    Its lowest row lies within the skin, so no gap shows. It uses every second column of the head.

    Args:
        surface: (ROWS, COLUMNS, 3), of the head.
        hairline: (COLUMNS,), latitude in degrees above which hair grows.
        thickness: (ROWS, COLUMNS), of the hair.
    """
    surface, thickness, edge = surface[:, ::2], thickness[:, ::2], hairline[::2] - 3
    share = np.linspace(0, 1, SHELL_ROWS)[:, None] ** 1.3
    latitude = edge + share * (LATITUDES[0] - edge)
    row = np.interp(-latitude, -LATITUDES, np.arange(ROWS))
    above = np.minimum(row.astype(int), ROWS - 2)
    weight, column = (row - above), np.arange(surface.shape[1])[None]
    skin = surface[above, column] * (1 - weight)[..., None] + surface[above + 1, column] * weight[..., None]
    grown = smoothstep((latitude - edge) / 7)
    push = thickness[above, column] * grown - 0.12 * (1 - grown)
    offset = skin - CENTER
    shell: Array = skin + offset / np.linalg.norm(offset, axis=-1, keepdims=True) * push[..., None]
    return shell[::-1]  # rows from the crown down, as the head's own


def hairline_of(front: float, sides: float) -> Array:
    """Hairline at the grid's longitudes: the usual one, moved by `front` degrees in front and `sides` at the sides and back."""
    lon = np.abs(LONGITUDES)
    usual = np.interp(lon, HAIRLINE[:, 0], HAIRLINE[:, 1])
    return usual + front * smoothstep((75 - lon) / 40) + sides * smoothstep((lon - 60) / 30)


def close_seam(values: Array, width: int = 12) -> Array:
    """Values (..., COLUMNS) of the grid's columns whose last `width` run smoothly into the first: one seam at the back."""
    share = smoothstep(np.linspace(0, 1, width))
    closed: Array = values.copy()
    closed[..., -width:] += share * (values[..., :1] - values[..., -1:])
    return closed


def make_curtain(length: float, spread: float, phase: float, top: float = 2.6) -> Array:
    """Hair that hangs, (17, 41, 3): around the back from `top` to y = `length`, standing off by `spread`, in waves."""
    around, fall = np.linspace(-1, 1, 41)[None], np.linspace(0, 1, 17)[:, None]
    # The front edges sway, so that they are no straight cut.
    angle = np.radians(180 + around * (102 - 5 * np.abs(around) ** 6 * (1 + np.sin(7 * fall + phase + around))))
    locks = 0.5 * np.sin(11 * around + phase) + 0.35 * np.sin(23 * around + 3 * phase) + 0.3 * np.sin(41 * around + 5 * phase)
    end = length + 0.28 * locks + 0.5 * around**4 * (length < -2)  # shorter in front
    y = top + fall * (end - top)
    wave = 1 + 0.035 * np.sin(9 * angle + phase + 2 * fall) + 0.03 * np.sin(17 * angle + 2 * phase)
    wide = (2.28 + spread * np.sqrt(fall) * (1 - 0.35 * fall**3)) * wave
    x, z = wide * np.sin(angle), -2.15 + (2.45 + 0.6 * spread * fall) * wave * np.cos(angle)
    return np.stack([x, y, z], axis=-1)


def make_lock(surface: Array, root: float, cheek: float, length: float, width: float, off: float, phase: float) -> Array:
    """A lock of hair beside the face, (17, 7, 3): from the parting over temple and cheek, then hanging.

    Args:
        surface: (ROWS, COLUMNS, 3), of the head.
        root, cheek: longitudes in degrees where it starts and where it passes the cheek.
        length: y of its end.
        width: in degrees of longitude where it is widest.
        off: how far it stands off the skin.
        phase: of its waves.
    """
    fall, across = np.linspace(0, 1, 17)[:, None], np.linspace(-1, 1, 7)[None]
    along = np.minimum(fall / 0.6, 1)  # the part that lies on the head
    latitude = 72 - 82 * along
    middle = root + (cheek - root) * smoothstep(along) + 5 * np.sin(7 * fall + phase)
    longitude = middle + across * width * np.sqrt(np.sin(np.pi * (0.12 + 0.84 * fall)))
    column = np.interp(longitude, LONGITUDES, np.arange(COLUMNS)).round().astype(int)
    row = np.broadcast_to(np.interp(-latitude, -LATITUDES, np.arange(ROWS)).round().astype(int), column.shape)
    skin = surface[row, column]
    outward = direction(longitude, np.broadcast_to(latitude, longitude.shape))
    points: Array = skin + outward * (off * (0.4 + fall) * (1 - 0.5 * across**2))[..., None]
    hang = np.clip((fall - 0.6) / 0.4, 0, 1)
    points[..., 1] += hang * np.minimum(length - points[..., 1], 0)
    points[..., 0] += 0.12 * hang * np.sin(9 * fall + phase)
    return points


def make_tube(path: Array, radius: float, closed: bool, sides: int = 5) -> Array:
    """A tube (n, sides + 1, 3) along a path (n, 3)."""
    if closed:
        tangent = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
        path, tangent = (np.concatenate([ring, ring[:1]]) for ring in (path, tangent))
    else:
        tangent = np.gradient(path, axis=0)
    tangent = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.where(np.abs(tangent[:, 1:2]) > 0.9, np.array([[1.0, 0, 0]]), np.array([[0, 1.0, 0]]))
    normal = np.cross(tangent, helper)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    other = np.cross(tangent, normal)
    around = np.linspace(0, 2 * np.pi, sides + 1)
    return path[:, None] + radius * (np.cos(around)[:, None] * normal[:, None] + np.sin(around)[:, None] * other[:, None])


def make_glasses(landmarks: Array, width: float, height: float, power: float, radius: float) -> tuple[list[Array], list[Array]]:
    """Frames (two rims, bridge, two arms) and lenses (two discs), grids of vertices, for a face's landmarks (68, 3).

    A rim is a superellipse with half axes `width` and `height`: of power 2 it is round, of 4 nearly square.
    """
    angle = np.linspace(0, 2 * np.pi, 25)[:-1]
    c, s = np.cos(angle), np.sin(angle)
    outline = np.stack([np.sign(c) * np.abs(c) ** (2 / power) * width, np.sign(s) * np.abs(s) ** (2 / power) * height], axis=-1)
    frames, lenses, bridge_ends = [], [], []
    depth = landmarks[36:48, 2].max() + 0.33
    for side, eye in ((-1, landmarks[36:42]), (1, landmarks[42:48])):
        center = eye.mean(axis=0) + [side * 0.02, -0.06, 0]
        x, y = center[0] + outline[:, 0], center[1] + outline[:, 1]
        z = depth - 0.16 * np.clip(np.abs(x) - 0.4, 0, None) ** 1.5  # the frame follows the face
        rim = np.stack([x, y, z], axis=-1)
        frames.append(make_tube(rim, radius, closed=True))
        closed = np.concatenate([rim, rim[:1]])
        lenses.append(np.stack([np.broadcast_to(rim.mean(axis=0), closed.shape), closed]))
        bridge_ends.append(rim[np.argmin(rim[:, 0] * side)] + [0, 0.08, 0])
        hinge = rim[np.argmax(rim[:, 0] * side)] + [0, 0.12, 0]
        arm = hinge + np.linspace(0, 1, 6)[:, None] * ([side * 2.16, 0.95, -2.0] - hinge)
        arm[:, 0] += side * 0.22 * np.sin(np.linspace(0, np.pi, 6))
        frames.append(make_tube(arm, radius, closed=False))
    left, right = bridge_ends
    bridge = left + np.linspace(0, 1, 5)[:, None] * (right - left)
    bridge[:, 1:] += 0.08 * np.sin(np.linspace(0, np.pi, 5))[:, None]
    frames.append(make_tube(bridge, radius, closed=False))
    return frames, lenses


def make_brim(hat: Array, reach: float, droop: float) -> Array:
    """Brim of a cap (SHELL_ROWS, columns, 3), (4, 21, 3): it reaches out over the forehead, and its tip droops."""
    columns = np.interp(np.linspace(-62, 62, 21), LONGITUDES[::2], np.arange(hat.shape[1])).round().astype(int)
    edge = hat[SHELL_ROWS - 6, columns]  # where it has its full thickness
    out = np.linspace(0, 1, 4)[:, None]
    bow = np.cos(np.linspace(-np.pi / 2, np.pi / 2, 21))
    x, y, z = edge.T
    return np.stack([x * (1 + 0.05 * out), y - droop * out**2 * bow, z + reach * out * bow], axis=-1)
