"""Pictures and videos to poses: detection, identities, crops, the network in batches, smoothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from headpose.detectors.base import no_detections
from headpose.errors import InputError
from headpose.inference.estimator import Faces, HeadPose, PoseEstimator
from headpose.inference.smoothing import Smoothing
from headpose.inference.sources import Frame, in_batches
from headpose.inference.tracking import Tracker


@dataclass(frozen=True)
class TrackedPose:
    """A face of a frame.

    Attributes:
        pose: its pose, smoothed.
        track: its identity in the video, from 1; None in a picture.
    """

    pose: HeadPose
    track: int | None


@dataclass
class PoseStream:
    """Estimates the poses of frames as they come.

    Args:
        model: the network and its detector.
        new_tracker: makes what gives the faces of one video their identities.
        new_smoothing: makes what smooths the poses of one video.
        batch_size: frames that go through the network together; 1 shows each at once.
    """

    model: PoseEstimator
    new_tracker: Callable[[], Tracker]
    new_smoothing: Callable[[], Smoothing]
    batch_size: int = 32

    def __call__(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[TrackedPose]]]:
        """Each frame with its faces, in order; a frame in which something is wrong has none, and says so."""
        video: str | None = None
        tracker, smoothing = self.new_tracker(), self.new_smoothing()
        for batch in in_batches(frames, self.batch_size):
            faces_of = self.model.poses([self._find(frame) for frame in batch])
            for frame, poses in zip(batch, faces_of, strict=True):
                if frame.index is None or frame.time is None:
                    yield frame, [TrackedPose(pose, None) for pose in poses]
                    continue
                if frame.source.name != video:
                    video, tracker, smoothing = frame.source.name, self.new_tracker(), self.new_smoothing()
                tracks = tracker(np.array([pose.box for pose in poses]).reshape(-1, 4))
                faces = []
                for track, pose in zip(tracks, poses, strict=True):
                    yaw, pitch, roll = smoothing(track, frame.time, pose.pose)
                    faces.append(TrackedPose(replace(pose, yaw=yaw, pitch=pitch, roll=roll), track))
                yield frame, faces

    def _find(self, frame: Frame) -> Faces:
        nobody = np.zeros((1, 1, 3), dtype=np.uint8), no_detections()
        if frame.image is None:
            return self.model.cut(*nobody)
        found = self.model.detector(frame.image, frame.name)
        try:
            return self.model.cut(frame.image, found, self.model.detector.boxes_are_crops)
        except InputError as error:  # a file of boxes may hold anything
            frame.problem = f"{frame.name}: {error}"
            return self.model.cut(*nobody)
