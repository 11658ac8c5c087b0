"""Types passed between packages: samples from datasets, batches into networks, outputs out of them."""

from dataclasses import dataclass
from typing import NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.uint8]
"""(H, W, 3), RGB."""
Triple = tuple[float, float, float]
"""Yaw, pitch and roll of one face, in degrees."""


class Sample(TypedDict):
    """One annotated face in its whole picture, before any crop."""

    image: NDArray[np.uint8]  # (H, W, 3), RGB
    pose: NDArray[np.float32]  # (3,), yaw, pitch, roll in degrees, signs of 300W-LP
    box: NDArray[np.float32]  # (4,), tight box x0, y0, x1, y1 in pixels of `image`
    landmarks: NDArray[np.float32]  # (68, 2), x, y in pixels of `image`; NaN where there are none
    name: str


class Batch(TypedDict):
    """B cropped faces, as every network takes them."""

    image: Tensor  # (B, 3, S, S), uint8, RGB
    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees
    box: NotRequired[Tensor]  # (B, 4), pixels of the whole picture; this and what follows not in training
    landmarks: NotRequired[Tensor]  # (B, 68, 2), pixels of the whole picture
    name: NotRequired[list[str]]
    picture: NotRequired[list[NDArray[np.uint8]]]  # B whole pictures (H, W, 3), RGB, where the model `needs_picture`


@dataclass
class PoseOutput:
    """What every network returns; subclasses add what their losses and diagnostics need."""

    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees; NaN where a model that can fail has none
    spread: Tensor | None = None  # (B, 3), standard deviation of each angle's distribution in degrees, where there is one
    rotation_spread: Tensor | None = None  # (B,), likewise: root mean square angle between the rotation and the true one
    rotation: Tensor | None = None  # (B, 3, 3), frame A, where a head predicts it
    is_refused: Tensor | None = None  # (B,), of a model that can fail: nothing could be solved
    is_behind: Tensor | None = None  # (B,), likewise: the solution stands behind the camera
