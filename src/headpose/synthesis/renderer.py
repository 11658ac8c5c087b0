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

from headpose.synthesis.appearance import FACE_HEIGHT, WIDTH

Array = NDArray[Any]
NEAR, FAR = 1.0, 120.0  # head units; the depth buffer loses precision as their ratio grows
EMPTY = -1.0
SETTINGS = cv2.TriangleRasterizeSettings()
SETTINGS.setShadingType(cv2.RASTERIZE_SHADING_SHADED)
SETTINGS.setCullingMode(cv2.RASTERIZE_CULLING_NONE)  # hair and brims are open sheets


@dataclass(frozen=True)
class Light:
    """Light on a head, relative to the camera.

    Args:
        ambient: everywhere alike.
        direct: strength of the main light.
        direction: unit vector toward the main light, frame A.
        second: strength of a weak light from `second_direction`.
        second_direction: unit vector.
        sky: how much more light falls from above than from below.
        shadow: share of the main light that what stands before it takes away; 0 for no cast shadows.
    """

    ambient: float
    direct: float
    direction: tuple[float, float, float]
    second: float
    second_direction: tuple[float, float, float]
    sky: float
    shadow: float


@dataclass
class Sheet:
    """A grid placed before the camera.

    Args:
        vertices: (rows, columns, 3), frame A, camera at z = +distance looking down -z.
        uv: (rows, columns, 2), texels.
        outward: whether normals point out of the closed surface by construction; open sheets turn toward the camera.
        darken: (rows, columns) factor on the shade, or 1.
    """

    vertices: Array
    uv: Array
    outward: bool = True
    darken: Array | float = 1.0


@lru_cache(maxsize=64)
def _grid_triangles(rows: int, columns: int) -> NDArray[np.int32]:
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    return np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)])


def normals(vertices: Array) -> Array:
    """Unit normals (rows, columns, 3) of a grid, from the differences of its neighbours."""
    down = np.empty_like(vertices)
    down[1:-1] = vertices[2:] - vertices[:-2]
    down[0], down[-1] = vertices[1] - vertices[0], vertices[-1] - vertices[-2]
    right = np.empty_like(vertices)
    right[:, 1:-1] = vertices[:, 2:] - vertices[:, :-2]
    right[:, 0], right[:, -1] = vertices[:, 1] - vertices[:, 0], vertices[:, -1] - vertices[:, -2]
    if np.allclose(vertices[:, 0], vertices[:, -1], atol=1e-5):  # a closed tube has neighbours across its seam
        right[:, 0] = right[:, -1] = vertices[:, 1] - vertices[:, -2]
    x = down[..., 1] * right[..., 2] - down[..., 2] * right[..., 1]
    y = down[..., 2] * right[..., 0] - down[..., 0] * right[..., 2]
    z = down[..., 0] * right[..., 1] - down[..., 1] * right[..., 0]
    length = np.sqrt(x * x + y * y + z * z) + 1e-9
    return np.stack([x / length, y / length, z / length], axis=-1)


def shade(sheets: list[Sheet], light: Light) -> list[Array]:
    """Brightness (rows, columns) of each sheet's vertices."""
    main, weak = np.array(light.direction), np.array(light.second_direction)
    lit: list[Any] = _lit(sheets, main) if light.shadow else [1.0] * len(sheets)
    out = []
    for sheet, reached in zip(sheets, lit, strict=True):
        n = normals(sheet.vertices)
        if not sheet.outward:
            n *= np.where(n[..., 2:] < 0, -1.0, 1.0)
        direct = light.direct * np.clip(n @ main, 0, None) * (1 - light.shadow * (1 - reached))
        soft = light.second * np.clip(n @ weak, 0, None) + light.sky * n[..., 1]
        out.append(np.clip(light.ambient * (1 + 0.25 * n[..., 2]) + direct + soft, 0.03, None) * sheet.darken)
    return out


def _lit(sheets: list[Sheet], direction: Array, size: int = 96) -> list[Array]:
    """Share of the main light that reaches each vertex: a depth map from the light, four taps."""
    side = np.cross([0.0, 1.0, 0.0], direction)
    side /= np.linalg.norm(side) + 1e-9
    basis = np.stack([side, np.cross(direction, side), direction])
    turned = [sheet.vertices.reshape(-1, 3) @ basis.T for sheet in sheets]
    half_width, away = 6.5, 40.0  # of the light's view, in head units

    def view(points: Array) -> tuple[Array, Array]:
        return points[:, :2] / half_width, away - points[:, 2]

    # What casts shadows may be coarser than what receives them.
    coarse = [Sheet(sheet.vertices[::2, ::2] if sheet.vertices.shape[0] > 60 else sheet.vertices, sheet.uv) for sheet in sheets]
    screen, distance = view(np.concatenate([sheet.vertices.reshape(-1, 3) for sheet in coarse]) @ basis.T)
    vertices = np.concatenate([screen * distance[:, None], -distance[:, None]], axis=1).astype(np.float32)
    depth = np.full((size, size), FAR, np.float32)
    cv2.triangleRasterizeDepth(
        vertices, _all_triangles(coarse), depth, np.eye(4, dtype=np.float32), np.pi / 2, NEAR, FAR, SETTINGS
    )
    screen, distance = view(np.concatenate(turned))
    x = (screen[:, 0] + 1) * size / 2 - 0.5
    y = (1 - screen[:, 1]) * size / 2 - 0.5
    reached = np.zeros(len(x))
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column = np.clip(np.floor(x).astype(int) + dx, 0, size - 1)
        row = np.clip(np.floor(y).astype(int) + dy, 0, size - 1)
        reached += depth[row, column] > distance - 0.16
    parts = np.split(reached / 4, np.cumsum([len(part) for part in turned])[:-1])
    return [part.reshape(sheet.vertices.shape[:2]) for part, sheet in zip(parts, sheets, strict=True)]


def _all_triangles(sheets: list[Sheet]) -> NDArray[np.int32]:
    start, parts = 0, []
    for sheet in sheets:
        rows, columns = sheet.vertices.shape[:2]
        parts.append(_grid_triangles(rows, columns) + np.int32(start))
        start += rows * columns
    return np.concatenate(parts)


def rasterize(
    sheets: list[Sheet], brightness: list[Array], screen: list[Array], depth: list[Array], atlas: Array, size: int
) -> tuple[Array, NDArray[np.bool_], Array]:
    """Draw sheets.

    Args:
        sheets, brightness: what to draw, and how bright.
        screen: (rows, columns, 2) of each sheet, pixels of the picture (pixel centres at .5).
        depth: (rows, columns) of each sheet, distance from the camera plane.
        atlas: (FACE_HEIGHT + STRIP, WIDTH, 3).
        size: side of the picture in pixels.

    Returns:
        colours (size, size, 3), where anything was drawn (size, size), and depth (size, size), FAR where nothing was.
    """
    z = np.concatenate([part.reshape(-1) for part in depth])
    pixels = np.concatenate([part.reshape(-1, 2) for part in screen])
    vertices = np.empty((len(z), 3), np.float32)
    vertices[:, 0] = (2 * pixels[:, 0] / size - 1) * z
    vertices[:, 1] = (1 - 2 * pixels[:, 1] / size) * z
    vertices[:, 2] = -z
    attributes = np.concatenate(
        [
            np.concatenate([sheet.uv, bright[..., None]], axis=-1).reshape(-1, 3)
            for sheet, bright in zip(sheets, brightness, strict=True)
        ]
    ).astype(np.float32)
    buffer = np.full((size, size, 3), EMPTY, np.float32)
    zbuffer = np.full((size, size), FAR, np.float32)
    eye = np.eye(4, dtype=np.float32)
    cv2.triangleRasterize(vertices, _all_triangles(sheets), attributes, buffer, zbuffer, eye, np.pi / 2, NEAR, FAR, SETTINGS)
    drawn = buffer[..., 0] >= 0
    colors: Array = cv2.remap(atlas, buffer[..., 0], buffer[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    colors *= buffer[..., 2:3]
    return np.asarray(colors, np.float32), drawn, zbuffer


def head_uv(rows: int, columns: int) -> Array:
    """Texels (rows, columns, 2) of the head's own grid."""
    u, v = np.meshgrid(np.linspace(0, WIDTH - 1, columns), np.linspace(0, FACE_HEIGHT - 1, rows))
    return np.stack([u, v], axis=-1)
