"""Grids of vertices to a shaded picture, with OpenCV's triangle rasteriser.

The rasteriser interpolates three numbers a vertex; they are (u, v, shade), and the atlas is looked up afterwards per pixel, so
a coarse mesh carries fine features. Measured conventions of cv2.triangleRasterize (OpenCV 5.0): with an identity camera and a
field of view of 90 degrees a point (X, Y, -Z) falls on ((X/Z + 1) W/2, (1 - Y/Z) H/2), pixel centres at .5, depth Z.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.synthesis.appearance import FACE_HEIGHT, MATERIALS, WIDTH, noise

Array = NDArray[Any]
NEAR, FAR = 1.0, 120.0  # head units; the depth buffer loses precision as their ratio grows
EMPTY = -1.0
EYE = np.eye(4, dtype=np.float32)
"""The camera, as the rasteriser wants it."""
SETTINGS = cv2.TriangleRasterizeSettings()
SETTINGS.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
SETTINGS.setCullingMode(cv2.RASTERIZE_CULLING_CW)  # half the work; sheets with two sides are drawn both ways round


@dataclass(frozen=True)
class Light:
    """Light on a head, relative to the camera."""

    ambient: float  # everywhere the same
    direct: float  # strength of the main light
    direction: Array  # (3,), unit vector toward the main light, frame A
    second: float  # strength of a weak light
    second_direction: Array  # (3,), unit vector toward it
    sky: float  # how much more light falls from above than from below
    shadow: float  # share of the main light that a cast shadow takes away


@dataclass
class Sheet:
    """A grid of vertices at rest, frame A."""

    vertices: Array  # (rows, columns, 3)
    uv: Array  # (rows, columns, 2), texels
    outward: bool = False  # the outside of something solid; other sheets are seen from both sides
    follows_body: bool = False  # its lower part stays with the shoulders when the head turns
    darken: Array | float = 1.0  # (rows, columns) or for all, factor on the shade


class Mesh:
    """Sheets as one mesh of V vertices: flat arrays, because a head is too small a mesh for a loop over its parts."""

    def __init__(self, sheets: list[Sheet]) -> None:
        shapes = [sheet.vertices.shape[:2] for sheet in sheets]
        sizes = [rows * columns for rows, columns in shapes]
        darken = [np.broadcast_to(sheet.darken, shape).ravel() for sheet, shape in zip(sheets, shapes, strict=True)]
        closed = [bool(np.abs(sheet.vertices[:, 0] - sheet.vertices[:, -1]).max() < 1e-3) for sheet in sheets]
        self.vertices = np.concatenate([sheet.vertices.reshape(-1, 3) for sheet in sheets], dtype=np.float32)
        self.uv = np.concatenate([sheet.uv.reshape(-1, 2) for sheet in sheets], dtype=np.float32)
        self.darken = np.concatenate(darken, dtype=np.float32)
        self.outward = np.repeat([sheet.outward for sheet in sheets], sizes)
        self.follows_body = np.repeat([sheet.follows_body for sheet in sheets], sizes)
        grids = tuple((*shape, sheet.outward, tube) for shape, sheet, tube in zip(shapes, sheets, closed, strict=True))
        # (T, 3), counter-clockwise from outside; of sheets with two sides, both ways round.
        self.triangles, self.coarse_triangles = _triangles(grids, 1), _triangles(grids, 2)
        self._neighbors = _neighbors(grids)

    def normals(self, vertices: Array) -> Array:
        """Unit normals (V, 3) of the mesh with its vertices (V, 3) moved; those of two-sided sheets face the camera."""
        above, below, before, after = (vertices.take(index, axis=0) for index in self._neighbors)
        (dx, dy, dz), (rx, ry, rz) = (below - above).T, (after - before).T
        n = np.column_stack([dy * rz - dz * ry, dz * rx - dx * rz, dx * ry - dy * rx])
        n[~self.outward & (n[:, 2] < 0)] *= -1
        n /= np.sqrt(np.einsum("vc,vc->v", n, n) + np.float32(1e-18))[:, None]
        return n


Grids = tuple[tuple[int, int, bool, bool], ...]
"""Rows, columns, whether seen from outside only, whether first and last column are one."""


@lru_cache(maxsize=256)
def _triangles(grids: Grids, step: int) -> NDArray[np.int32]:
    """Triangles of grids one after the other, taking every `step`-th row and column of large ones."""
    start, parts = 0, []
    for rows, columns, one_sided, _closed in grids:
        index = np.arange(start, start + rows * columns, dtype=np.int32).reshape(rows, columns)
        if rows > 30:
            index = index[::step, ::step]
        a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
        front = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])
        parts += [front] if one_sided else [front, front[:, ::-1]]
        start += rows * columns
    return np.concatenate(parts)


@lru_cache(maxsize=256)
def _neighbors(grids: Grids) -> list[NDArray[np.intp]]:
    """Of each vertex the one above, below, before and after; at an edge without any, the vertex itself."""
    start, parts = 0, []
    for rows, columns, _one_sided, closed in grids:
        row, column = np.indices((rows, columns))
        above, below = np.maximum(row - 1, 0), np.minimum(row + 1, rows - 1)
        before, after = np.maximum(column - 1, 0), np.minimum(column + 1, columns - 1)
        if closed:
            before[:, 0], after[:, -1] = columns - 2, 1
        places = [above * columns + column, below * columns + column, row * columns + before, row * columns + after]
        parts.append(start + np.stack(places).reshape(4, -1))
        start += rows * columns
    return list(np.concatenate(parts, axis=1))


def shade(mesh: Mesh, vertices: Array, light: Light) -> Array:
    """Brightness (V,) of a mesh whose vertices were moved to (V, 3)."""
    normals = mesh.normals(vertices)
    facing = normals @ np.array([light.direction, light.second_direction], np.float32).T
    np.maximum(facing, 0, out=facing)
    direct = np.float32(light.direct) * facing[:, 0]
    if light.shadow:
        direct *= 1 - np.float32(light.shadow) * (1 - _lit(mesh, vertices, light.direction))
    soft = np.float32(light.second) * facing[:, 1] + np.float32(light.sky) * normals[:, 1]
    ambient = np.float32(light.ambient) * (1 + np.float32(0.25) * normals[:, 2])
    brightness: Array = np.maximum(ambient + direct + soft, np.float32(0.03)) * mesh.darken
    return brightness


def _lit(mesh: Mesh, vertices: Array, toward: Array, size: int = 96) -> Array:
    """Share of the main light that reaches each vertex (V,): a depth map from the light, four taps."""
    side = np.cross([0.0, 1.0, 0.0], toward)
    side /= np.linalg.norm(side) + 1e-9
    turned = vertices @ np.stack([side, np.cross(toward, side), toward], axis=1).astype(np.float32)
    half_width, away = np.float32(6.5), np.float32(40)  # of the light's view, in head units
    screen, distance = turned[:, :2] / half_width, away - turned[:, 2]
    depth = np.full((size, size), FAR, np.float32)
    # What casts shadows may be coarser than what receives them.
    casting = np.column_stack([screen * distance[:, None], -distance])
    cv2.triangleRasterizeDepth(casting, mesh.coarse_triangles, depth, EYE, np.pi / 2, NEAR, FAR, SETTINGS)
    column = np.floor((screen[:, 0] + 1) * (size / 2) - 0.5).astype(np.int32).clip(0, size - 2)
    row = np.floor((1 - screen[:, 1]) * (size / 2) - 0.5).astype(np.int32).clip(0, size - 2)
    first, flat, limit = row * size + column, depth.reshape(-1), distance - np.float32(0.16)
    taps = [flat.take(first + offset) > limit for offset in (0, 1, size, size + 1)]
    return np.stack(taps).mean(axis=0, dtype=np.float32)


def draw(mesh: Mesh, attributes: Array, screen: Array, depth: Array, size: int) -> tuple[Array, Array]:
    """Interpolate what is known at a mesh's V vertices over the pixels that they cover.

    Args:
        mesh: the mesh.
        attributes: (V, 3), none negative.
        screen: (V, 2), pixels of the picture (pixel centres at .5).
        depth: (V,), distance from the camera plane.
        size: side of the picture in pixels.

    Returns:
        attributes (size, size, 3), negative where nothing was drawn; depth (size, size), about FAR there.
    """
    z = depth.astype(np.float32)
    x = (screen[:, 0] * (2 / size) - 1).astype(np.float32) * z
    y = (1 - screen[:, 1] * (2 / size)).astype(np.float32) * z
    buffer = np.full((size, size, 3), EMPTY, np.float32)
    zbuffer = np.full((size, size), FAR, np.float32)
    points = np.column_stack([x, y, -z])
    cv2.triangleRasterize(points, mesh.triangles, attributes, buffer, zbuffer, EYE, np.pi / 2, NEAR, FAR, SETTINGS)
    return buffer, zbuffer


def fray(buffer: Array, zbuffer: Array, reach: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Let hair end in strands: what `draw` returns, moved about by up to about `reach` pixels near edges of hair."""
    first, width = MATERIALS["hair"]
    u, v, _shade = cv2.split(buffer)
    hair = ((v > FACE_HEIGHT) & (u >= first) & (u < first + width)).astype(np.float32)
    near = cv2.GaussianBlur(hair, (0, 0), 0.6 * reach)
    amount = 4 * near * (1 - near) * np.float32(reach)
    size = len(u)
    cell = max(1.2, 0.45 * reach)
    x, y = np.meshgrid(np.arange(size, dtype=np.float32), np.arange(size, dtype=np.float32))
    x += amount * (0.6 * noise(rng, size, size, cell) + 0.4 * noise(rng, size, size, 2 * cell))
    y += amount * (
        0.7 * cv2.resize(noise(rng, max(2, size // 4), size, cell), (size, size)) + 0.4 * noise(rng, size, size, cell)
    )
    moved = [cv2.remap(image, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE) for image in (buffer, zbuffer)]
    return np.asarray(moved[0]), np.asarray(moved[1])


def rasterize(
    mesh: Mesh,
    brightness: Array,
    screen: Array,
    depth: Array,
    atlas: Array,
    size: int,
    frayed: float = 0.0,
    rng: np.random.Generator | None = None,
) -> tuple[Array, NDArray[np.uint8], Array]:
    """Draw a mesh of V vertices with its colours.

    Args:
        mesh, screen, depth, size: see `draw`.
        brightness: (V,), see `shade`.
        atlas: (FACE_HEIGHT + STRIP, WIDTH, 3) uint8.
        frayed, rng: how far in pixels hair ends in strands, and what draws them.

    Returns:
        colours (size, size, 3), about 0 to 1; 1 where anything was drawn (size, size); depth (size, size), about FAR elsewhere.
    """
    buffer, zbuffer = draw(mesh, np.column_stack([mesh.uv, brightness]), screen, depth, size)
    if frayed and rng is not None:
        buffer, zbuffer = fray(buffer, zbuffer, frayed, rng)
    u, v, shade = cv2.split(buffer)
    texels = cv2.remap(atlas, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colors = cv2.multiply(texels, cv2.merge([shade, shade, shade]), scale=1 / 255, dtype=cv2.CV_32F)
    return np.asarray(colors, np.float32), (np.asarray(u) >= 0).astype(np.uint8), zbuffer


@lru_cache
def head_uv(rows: int, columns: int) -> Array:
    """Texels (rows, columns, 2) of the head's own grid."""
    u, v = np.meshgrid(np.linspace(0, WIDTH - 1, columns), np.linspace(0, FACE_HEIGHT - 1, rows))
    return np.stack([u, v], axis=-1)
