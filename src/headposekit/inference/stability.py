"""How steadily a network follows a head: rendered videos in which one thing changes, and everything is known."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.detectors.base import Detections, as_detections
from headposekit.errors import InputError
from headposekit.geometry.rotations import geodesic_distance
from headposekit.inference.estimator import PoseEstimator
from headposekit.inference.smoothing import NoSmoothing, Smoothing
from headposekit.inference.sources import Frame, Input
from headposekit.inference.stream import PoseStream
from headposekit.inference.tracking import Tracker
from headposekit.synthesis.actor import Actor, Moment
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Image
from headposekit.weights.checkpoint import LoadedNetwork

FIRST_INDEX = 3 * 10**6
"""Of heads: other people than those of any data set or layout."""
STEP, SWING, PERIOD = 30.0, 25.0, 2.0
"""Degrees of the sudden turn, degrees and seconds of the steady swing."""
SETTLED = 1.0
"""Seconds at the start that do not count."""
MEASURES = {
    **{"rest": "°", "noise": "°", "boxes": "°", "blink": "°", "talk": "°", "light": "°"},
    **{"step_lag": "s", "swing_lag": "s", "swing_gain": ""},
}
"""What is measured, and its unit."""


@dataclass(frozen=True)
class Scene:
    """What changes in a video, as functions of its seconds."""

    turn: Callable[[float], float] = lambda time: 0.0  # degrees of yaw beyond the person's own pose
    moment: Callable[[float], Moment] = lambda time: Moment()
    noise: float = 0.0  # standard deviation of the sensor's noise, grey levels of 255
    shake: float = 0.0  # standard deviation of each side of the box, as a share of its size


def scenes(seconds: float) -> dict[str, Scene]:
    """All of them; the step comes in the middle."""
    return {
        "rest": Scene(noise=2.0, shake=0.01),  # a good camera and a good detector
        "noise": Scene(noise=16.0),
        "boxes": Scene(shake=0.04),
        "blink": Scene(moment=lambda time: Moment(lids=float(time % 1.0 > 0.8))),
        "talk": Scene(moment=lambda time: Moment(mouth=0.5 - 0.5 * np.cos(2 * np.pi * 2.5 * time))),
        "light": Scene(moment=lambda time: Moment(light=60 * np.sin(2 * np.pi * time / 2))),
        "step": Scene(turn=lambda time: STEP * ((time >= seconds / 2) - 0.5)),
        "swing": Scene(turn=lambda time: SWING * np.sin(2 * np.pi * time / PERIOD)),
    }


class _KnownBoxes:
    """A detector that knows the box of each frame."""

    name, boxes_are_crops = "known", False

    def __init__(self) -> None:
        self.boxes: dict[str, NDArray[np.float64]] = {}

    def __call__(self, image: Image, name: str = "") -> Detections:
        """The box; where there is none, no face."""
        boxes = [self.boxes[name]] if name in self.boxes else np.empty((0, 4))
        return as_detections(boxes, np.full(len(boxes), np.nan))


@dataclass
class Stability:
    """Measures a network with each smoothing; called with its members (of a late fusion, several).

    Of a head that does not turn, a measure is how far the estimates stray: the root mean square angle (degrees) between
    each and their mean. `rest`: little noise and boxes that shake by 1 %; `noise`, `boxes`: much of either; `blink`, `talk`,
    `light`: nothing but eyelids, jaw or light moves. `step_lag`: seconds that the estimated yaw is late after a sudden turn of
    30 degrees (the area above its rise). `swing_lag`, `swing_gain`: seconds by which it is late, and its share of the
    amplitude, where the head swings by 25 degrees each 2 seconds.

    Args:
        heads: the sampler, as `Actor` changes it.
        smoothings: of each name, what makes the filter of a video.
        num_people: means are over so many, each with its own pose.
        seconds: of a video.
        fps: frames a second.
        size: side of a frame in pixels.
        seed: of noise, boxes and poses.
    """

    heads: HeadSampler
    smoothings: Mapping[str, Callable[[], Smoothing]]
    num_people: int = 4
    seconds: float = 4.0
    fps: float = 25.0
    size: int = 160
    seed: int = 0
    _actor: Actor = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.num_people < 1 or self.seconds < SETTLED + PERIOD or self.fps < 5:
            raise InputError(
                f"stability.num_people={self.num_people} seconds={self.seconds} fps={self.fps}: "
                f"give 1 or more people, {SETTLED + PERIOD:g} or more seconds, 5 or more frames a second"
            )
        self._actor = Actor(**self.heads.options)

    def __call__(self, members: Sequence[LoadedNetwork], device: str | None = None) -> dict[str, dict[str, float]]:
        """Name of each smoothing to `MEASURES`."""
        detector = _KnownBoxes()
        stream = PoseStream(PoseEstimator(members, detector, device), Tracker, NoSmoothing)
        found: dict[str, dict[str, list[float]]] = {name: {} for name in self.smoothings}
        for scene_name, scene in scenes(self.seconds).items():
            for person in range(self.num_people):
                raw = [
                    (frame.time or 0.0, poses[0].track or 0, poses[0].pose.pose)
                    for frame, poses in stream(self._frames(scene_name, scene, person, detector))
                ]
                for name, new_smoothing in self.smoothings.items():
                    smoothing = new_smoothing()
                    shown = np.array([smoothing(track, time, pose) for time, track, pose in raw])
                    for measure, value in self._measure(scene_name, shown).items():
                        found[name].setdefault(measure, []).append(value)
        return {name: {key: float(np.mean(values)) for key, values in own.items()} for name, own in found.items()}

    def _frames(self, name: str, scene: Scene, person: int, detector: _KnownBoxes) -> Iterator[Frame]:
        """A scene of one person; the detector gets to know the boxes."""
        rng = np.random.default_rng([self.seed, person])
        yaw, pitch, roll = rng.uniform([-30, -15, -15], [30, 15, 15])
        source = Input(Path(f"{name}_{person}"), f"{name}_{person}")
        render = lru_cache(maxsize=8)(self._actor.act)
        for number in range(round(self.seconds * self.fps)):
            time = number / self.fps
            index = FIRST_INDEX + person * self._actor.poses_per_identity
            head = render(index, self.size, (yaw + scene.turn(time), pitch, roll), scene.moment(time))
            box, size = head.box, np.tile(head.box[2:] - head.box[:2], 2)
            noisy = head.image + scene.noise * rng.standard_normal(head.image.shape, dtype=np.float32)
            frame = Frame(source, np.clip(noisy + 0.5, 0, 255).astype(np.uint8), number, time, self.fps)
            detector.boxes[frame.name] = box + scene.shake * size * rng.standard_normal(4)
            yield frame

    def _measure(self, scene: str, poses: NDArray[np.float64]) -> dict[str, float]:
        """What a scene tells, of its poses (frames, 3)."""
        time, yaw = np.arange(len(poses)) / self.fps, poses[:, 0]
        counted = time >= SETTLED
        if scene == "step":
            turns = time >= self.seconds / 2
            before, after = yaw[counted & ~turns].mean(), yaw[time >= self.seconds - 0.5].mean()
            return {"step_lag": float((1 - (yaw[turns] - before) / (after - before)).sum() / self.fps)}
        if scene == "swing":
            angle = 2 * np.pi * time[counted] / PERIOD
            design = np.stack([np.sin(angle), np.cos(angle), np.ones_like(angle)], axis=1)
            sine, cosine, _ = np.linalg.lstsq(design, yaw[counted])[0]
            lag = np.arctan2(-cosine, sine) / (2 * np.pi) * PERIOD
            return {"swing_lag": float(lag), "swing_gain": float(np.hypot(sine, cosine) / SWING)}
        shown = torch.from_numpy(poses[counted])
        strayed = geodesic_distance(shown, shown.mean(dim=0).expand_as(shown))
        return {scene: float(strayed.square().mean().sqrt())}
