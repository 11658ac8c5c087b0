"""Pictures and videos to poses: detection, identities, crops, the network in batches, smoothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.detectors.base import Detections, no_detections
from headposekit.errors import InputError
from headposekit.inference.estimator import Faces, HeadPose, PoseEstimator
from headposekit.inference.smoothing import Smoothing
from headposekit.inference.sources import Frame, in_batches
from headposekit.inference.tracking import Tracker


@dataclass(frozen=True)
class TrackedPose:
    """A face of a frame: its pose, smoothed, and its identity in the video, from 1; None in a picture.

    A pose is refused, and not smoothed, where its spread is too large.
    """

    pose: HeadPose
    track: int | None
    is_refused: bool = False


class _Video:
    """What is remembered from frame to frame of one video."""

    def __init__(self, name: str, tracker: Tracker, smoothing: Smoothing, box_lag: float) -> None:
        self.name, self.tracker, self.smoothing, self.box_lag = name, tracker, smoothing, box_lag
        self._boxes: dict[int, tuple[float, NDArray[np.float64]]] = {}

    def identify(self, found: Detections, time: float) -> tuple[Detections, list[int]]:
        """The faces of the next frame with their boxes smoothed, and who they are."""
        tracks = self.tracker(found.boxes)
        boxes = found.boxes.copy()
        for box, track in zip(boxes, tracks, strict=True):
            before, last = self._boxes.get(track, (time, box))
            step = time - before
            if step > 0 and self.box_lag > 0:
                box[:] = last + step / (step + self.box_lag) * (box - last)
            self._boxes[track] = (time, box)
        return Detections(boxes, found.scores), tracks


@dataclass
class PoseStream:
    """Estimates the poses of frames as they come.

    Args:
        model: the network and its detector.
        new_tracker: makes what gives the faces of one video their identities.
        new_smoothing: makes what smooths the poses of one video.
        box_lag: seconds by which the boxes of a video are smoothed before faces are cut out; 0 leaves them as found. A face
            that moves steadily then stands off the middle of its crop by its way in that time. Not negative (InputError).
        batch_size: frames that go through the network together; 1 shows each at once.
        max_spread: of the rotation in degrees, above which a pose is refused; None refuses none. InputError where it is not
            above 0, or the network does not say how sure it is.
    """

    model: PoseEstimator
    new_tracker: Callable[[], Tracker]
    new_smoothing: Callable[[], Smoothing]
    box_lag: float = 0.0
    batch_size: int = 32
    max_spread: float | None = None

    def __post_init__(self) -> None:
        if self.max_spread is not None and not self.max_spread > 0:
            raise InputError(f"max_spread={self.max_spread} is not above 0; give degrees, or null to refuse no pose")
        if self.max_spread is not None and not self.model.has_spread:
            raise InputError(
                f"max_spread={self.max_spread}: the network does not say how sure it is; leave it out, or use one of "
                "model=hopenet, or of model=pose with head=fisher, laplace, gaussian or bins"
            )
        if not self.box_lag >= 0:
            raise InputError(f"box_lag={self.box_lag} is less than 0; give seconds, or 0 for boxes as they are found")
        self.new_tracker(), self.new_smoothing()  # which refuse impossible options, before anything is read

    def __call__(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[TrackedPose]]]:
        """Each frame with its faces, in order; a frame in which something is wrong has none, and says so."""
        video: _Video | None = None
        for batch in in_batches(frames, self.batch_size):
            faces: list[Faces] = []
            who: list[tuple[_Video | None, list[int]]] = []
            for frame in batch:
                found, tracks = self._find(frame), list[int]()
                if frame.time is not None:
                    if video is None or video.name != frame.source.name:
                        video = _Video(frame.source.name, self.new_tracker(), self.new_smoothing(), self.box_lag)
                    found, tracks = video.identify(found, frame.time)
                faces.append(self._cut(frame, found))
                who.append((video, tracks))
            for frame, poses, (shown, tracks) in zip(batch, self.model.poses(faces), who, strict=True):
                if shown is None or frame.time is None:
                    yield frame, [TrackedPose(pose, None, self._refuses(pose)) for pose in poses]
                    continue
                smoothed = []
                for track, pose in zip(tracks, poses, strict=False):  # no poses where something is wrong
                    if self._refuses(pose):
                        smoothed.append(TrackedPose(pose, track, is_refused=True))
                        continue
                    yaw, pitch, roll = shown.smoothing(track, frame.time, pose.pose)
                    smoothed.append(TrackedPose(replace(pose, yaw=yaw, pitch=pitch, roll=roll), track))
                yield frame, smoothed

    def _refuses(self, pose: HeadPose) -> bool:
        return self.max_spread is not None and pose.rotation_spread is not None and not pose.rotation_spread <= self.max_spread

    def _find(self, frame: Frame) -> Detections:
        try:
            return no_detections() if frame.image is None else self.model.detector(frame.image, frame.name)
        except (cv2.error, MemoryError) as error:  # of a picture, not of the detector: it was tried before
            frame.problem = f"{frame.name}: the detector fails on it ({type(error).__name__}); try another detector="
            return no_detections()

    def _cut(self, frame: Frame, found: Detections) -> Faces:
        blank = np.zeros((1, 1, 3), dtype=np.uint8)
        try:
            picture = blank if frame.image is None else frame.image
            return self.model.cut(picture, found, self.model.detector.boxes_are_crops)
        except InputError as error:  # a file of boxes may hold anything
            frame.problem = f"{frame.name}: {error}"
            return self.model.cut(blank, no_detections())
