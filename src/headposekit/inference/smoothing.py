"""Temporal filters for the poses of a video: they work on rotations, so ±180 degrees is no edge.

A filter is called with the identity of a face, the time and the pose of each frame; of the two triples of angles that name
the smoothed rotation, it returns the one nearest to the estimate.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from headposekit.errors import InputError
from headposekit.geometry.rotations import matrix_to_pose, nearest_pose, pose_to_matrix
from headposekit.types import Triple

Smoothing = Callable[[int, float, Triple], Triple]
"""Identity, seconds, pose in degrees to the smoothed pose."""


class NoSmoothing:
    """Leaves every pose as it is."""

    def __call__(self, track: int, time: float, pose: Triple) -> Triple:
        """The pose."""
        return pose


class _State(NamedTuple):
    time: float
    estimated: Rotation
    smoothed: Rotation
    speed: NDArray[np.float64]  # (3,), filtered angular velocity, degrees a second


class OneEuro:
    """The One-Euro filter on rotations: a still head is smoothed much, a turning one little.

    The cutoff frequency is `min_cutoff + beta × speed`, so a head that turns steadily at `speed` degrees a second is shown
    where it was 1 / (2π (min_cutoff + beta × speed)) seconds ago; see `lag`.

    Args:
        min_cutoff: Hz, of a still head; less is smoother.
        beta: Hz by which a degree a second raises it; more follows turns faster.
        speed_cutoff: Hz, at which the speed itself is smoothed.

    Raises:
        InputError: a cutoff that is not more than 0, or a negative beta.

    Reference: Casiez, Roussel and Vogel, 1€ Filter, CHI 2012.
    """

    def __init__(self, min_cutoff: float = 1.0, beta: float = 0.05, speed_cutoff: float = 1.0) -> None:
        self.min_cutoff, self.speed_cutoff = _positive("min_cutoff", min_cutoff), _positive("speed_cutoff", speed_cutoff)
        if not beta >= 0:
            raise InputError(f"smoothing.beta={beta} is less than 0; give 0 or more")
        self.beta = beta
        self._states: dict[int, _State] = {}

    def lag(self, speed: float) -> float:
        """Seconds by which a head is late that turns at so many degrees a second."""
        return 1 / (2 * math.pi * (self.min_cutoff + self.beta * speed))

    def __call__(self, track: int, time: float, pose: Triple) -> Triple:
        """The smoothed pose: a step of a first-order low-pass filter whose lag depends on the speed."""
        estimate = torch.tensor(pose, dtype=torch.float64)
        estimated = Rotation.from_matrix(pose_to_matrix(estimate).numpy())
        before = self._states.get(track)
        if before is None or time <= before.time:
            self._states[track] = _State(time, estimated, estimated, np.zeros(3))
            return pose
        step = time - before.time
        moved = np.degrees((before.estimated.inv() * estimated).as_rotvec()) / step
        speed = before.speed + step / (step + 1 / (2 * math.pi * self.speed_cutoff)) * (moved - before.speed)
        share = step / (step + self.lag(float(np.linalg.norm(speed))))  # a ramp then comes exactly `lag` late
        smoothed = before.smoothed * (before.smoothed.inv() * estimated) ** share
        self._states[track] = _State(time, estimated, smoothed, speed)
        yaw, pitch, roll = nearest_pose(matrix_to_pose(torch.from_numpy(smoothed.as_matrix())), estimate).tolist()
        return yaw, pitch, roll


class Slerp(OneEuro):
    """Each smoothed rotation lies on the way (SLERP) from the one before to the estimate: One-Euro at a fixed cutoff.

    The lag is the same at every speed and frame rate: a head that turns steadily is shown where it was `lag` seconds ago.

    Args:
        lag: seconds, more than 0.

    Raises:
        InputError: another lag.
    """

    def __init__(self, lag: float = 0.08) -> None:
        super().__init__(min_cutoff=1 / (2 * math.pi * _positive("lag", lag)), beta=0)


def _positive(name: str, value: float) -> float:
    if not value > 0:
        raise InputError(f"smoothing.{name}={value} is not more than 0; give another, or smoothing=none")
    return value
