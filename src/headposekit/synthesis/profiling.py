"""A photograph on the surface of its own head, turned further away: "face profiling" (Zhu et al., CVPR 2016, section 4)."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.synthesis import renderer
from headposekit.synthesis.head import CENTER, HeadModel, smoothstep
from headposekit.synthesis.renderer import Mesh, Sheet
from headposekit.synthesis.sampler import PARALLEL_DISTANCE, PIVOT
from headposekit.types import Image

Array = NDArray[Any]

SILHOUETTE = np.radians(78.0)
"""Angle from the camera's axis, seen from the head's centre, up to which the surface shows what the photograph shows there."""
SPREAD = 0.4
"""Beyond it, how far what lies beside the face in the photograph (ears, hair) is drawn onto the sides of the head."""
FADE = np.radians([98.0, 122.0])
"""Beyond these angles the head is transparent: the photograph shows nothing of its back."""
REACH, TRUST = 0.35, 0.3
"""A landmark's correction of the surface: how far it reaches, in head units (36 mm), and the weight of none."""
SUPERSAMPLE = 2


class PhotographedHead:
    """The head in a photograph, under a parallel camera.

    Args:
        image: (S, S, 3), RGB.
        surface: (rows, columns, 3), of `HeadModel.deform`, frame A.
        rotation: (3, 3), of the head.
        scale: pixels of a head unit.
        place: (2,), where the origin of frame A lies in the photograph, y up (minus the pixel's row).
    """

    def __init__(self, image: Image, surface: Array, rotation: Array, scale: float, place: Array) -> None:
        self.image, self.surface, self.rotation, self.scale, self.place = image, surface, rotation, scale, place
        offset = (surface - CENTER) @ rotation.T
        distance, radius = np.linalg.norm(offset, axis=-1), np.linalg.norm(offset[..., :2], axis=-1)
        angle = np.arctan2(radius, offset[..., 2])
        reach = np.where(angle < SILHOUETTE, np.sin(angle), np.sin(SILHOUETTE) + SPREAD * (angle - SILHOUETTE))
        outward = offset[..., :2] / np.maximum(radius, 1e-9)[..., None]
        source = self._pixels((CENTER @ rotation.T)[:2] + outward * (distance * reach)[..., None], place)
        self._mesh = Mesh([Sheet(surface, (source - 0.5).clip(0, len(image) - 1), outward=True)])
        self._opacity = (1 - smoothstep((angle - FADE[0]) / (FADE[1] - FADE[0]))).ravel().astype(np.float32)
        self._behind = self._without_head()

    def turned(self, rotation: Array) -> tuple[Image, Array]:
        """The photograph with the head turned about its pivot to another rotation; the picture and the new place (2,)."""
        place = self.place + self.scale * ((self.rotation - rotation) @ PIVOT)[:2]
        texels, opacity = self._draw(rotation, place, SUPERSAMPLE)
        opacity = cv2.GaussianBlur(cv2.erode(opacity, np.ones((3, 3))), (0, 0), 1.2)
        size = (len(self.image), len(self.image))
        weight = cv2.resize(opacity, size, interpolation=cv2.INTER_AREA)[..., None]
        head = cv2.resize(texels, size, interpolation=cv2.INTER_AREA)
        picture = self._behind * (1 - weight) + head * weight
        return picture.round().clip(0, 255).astype(np.uint8), place

    def _pixels(self, plane: Array, place: Array) -> Array:
        return (self.scale * plane + place) * [1, -1]

    def _draw(self, rotation: Array, place: Array, enlarged: int) -> tuple[Array, Array]:
        """Colours (S', S', 3) and opacity (S', S') of the head alone."""
        vertices = self.surface.reshape(-1, 3) @ rotation.T
        screen = self._pixels(vertices[:, :2], place) * enlarged
        attributes = np.column_stack([self._mesh.uv, self._opacity])
        size = enlarged * len(self.image)
        buffer, _ = renderer.draw(self._mesh, attributes, screen, PARALLEL_DISTANCE - vertices[:, 2], size)
        u, v, opacity = cv2.split(buffer)
        # Beyond the head's edge its colour goes on, so that no dark line is drawn around it.
        texels = cv2.remap(self.image, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = (np.asarray(opacity) >= 0).astype(np.uint8)
        total = cv2.blur(mask.astype(np.float32), (9, 9))[..., None]
        around = cv2.blur(texels.astype(np.float32) * mask[..., None], (9, 9)) / np.maximum(total, 1e-3)
        return np.where(mask[..., None] > 0, texels, around).astype(np.float32), np.asarray(opacity).clip(0, 1)

    def _without_head(self) -> Array:
        """The photograph (S, S, 3) with what surrounds the head drawn over it."""
        _, opacity = self._draw(self.rotation, self.place, 1)
        size, coarse = len(self.image), len(self.image) // 4
        small = cv2.resize(self.image, (coarse, coarse), interpolation=cv2.INTER_AREA)
        hole = cv2.dilate((opacity > 0).astype(np.uint8), np.ones((5, 5)))
        filled = cv2.inpaint(small, cv2.resize(hole, (coarse, coarse), interpolation=cv2.INTER_NEAREST), 3, cv2.INPAINT_TELEA)
        filled = cv2.resize(filled, (size, size), interpolation=cv2.INTER_CUBIC)
        soft = cv2.GaussianBlur(cv2.dilate(hole, np.ones((5, 5))).astype(np.float32), (0, 0), 3)[..., None]
        return np.asarray(self.image * (1 - soft) + filled * soft, dtype=np.float32)


def corrected(model: HeadModel, surface: Array, shift: Array, which: Array) -> Array:
    """A surface (rows, columns, 3) whose landmarks follow `shift` (68, 3) nearly, `which` of them, and what lies around."""
    anchors = model.landmarks(surface)[which]
    flat = surface.reshape(-1, 3).astype(np.float64)
    weight = np.exp(-((flat[:, None] - anchors) ** 2).sum(axis=-1) / (2 * REACH**2))
    moved = flat + weight @ shift[which] / (weight.sum(axis=1, keepdims=True) + TRUST)
    return moved.reshape(surface.shape)
