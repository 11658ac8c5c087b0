"""Pictures and videos to poses: detection, identities, crops, the network in batches, smoothing."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.detectors.base import Detections, no_detections
from headposekit.errors import InputError
from headposekit.inference.estimator import Faces, HeadPose, PoseEstimator
from headposekit.inference.neutral import Calibration, Neutral
from headposekit.inference.smoothing import Smoothing
from headposekit.inference.sources import Frame, in_batches
from headposekit.inference.states import CALIBRATING, State, States
from headposekit.inference.tracking import Tracker


@dataclass(frozen=True)
class TrackedPose:
    """A face of a frame.

    Attributes:
        pose: smoothed, and relative to the neutral pose where that is known.
        track: identity in the video, from 1; None in a picture.
        is_refused: whether its spread is too large; the pose is then as it was estimated.
        state: where the head faces, see `States`; None where nobody asks.
    """

    pose: HeadPose
    track: int | None
    is_refused: bool = False
    state: State | None = None


class Video:
    """What is remembered from frame to frame of one video; arguments see `PoseStream`."""

    def __init__(
        self,
        name: str,
        tracker: Tracker,
        smoothing: Smoothing,
        box_lag: float = 0.0,
        calibration: Calibration | None = None,
        states: States | None = None,
    ) -> None:
        self.name, self.tracker, self.smoothing, self.box_lag = name, tracker, smoothing, box_lag
        self.calibration, self.states = calibration, states
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

    def follow(self, track: int, time: float, pose: HeadPose) -> TrackedPose:
        """A face of the next frame as it is shown."""
        yaw, pitch, roll = self.smoothing(track, time, pose.pose)
        pose = replace(pose, yaw=yaw, pitch=pitch, roll=roll)
        if self.calibration is not None:
            neutral = self.calibration(track, time, pose.pose)
            if not isinstance(neutral, Neutral):
                return TrackedPose(pose, track, state=State(CALIBRATING, neutral))
            pose = neutral(pose)
        return TrackedPose(pose, track, state=None if self.states is None else self.states(track, time, pose.pose))


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
        calibrate: seconds for which people look straight ahead at first, or their neutral pose; poses are then relative to it.
            In a picture they are so only where it is given.
        new_states: makes what names the states of the faces of one video; None for no states.
    """

    model: PoseEstimator
    new_tracker: Callable[[], Tracker]
    new_smoothing: Callable[[], Smoothing]
    box_lag: float = 0.0
    batch_size: int = 32
    max_spread: float | None = None
    calibrate: float | Neutral | None = None
    new_states: Callable[[], States] | None = None
    neutrals: dict[tuple[str, int], Neutral] = field(default_factory=dict, init=False)
    """Those that were measured, by video and identity in it."""

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
        self.new_video("")  # its parts refuse impossible options, before anything is read

    def new_video(self, name: str) -> Video:
        """What follows the faces of a video."""
        calibration = None if self.calibrate is None else Calibration(self.calibrate)
        states = None if self.new_states is None else self.new_states()
        return Video(name, self.new_tracker(), self.new_smoothing(), self.box_lag, calibration, states)

    def __call__(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[TrackedPose]]]:
        """Each frame with its faces, in order; a frame in which something is wrong has none, and says so."""
        video: Video | None = None
        for batch in in_batches(frames, self.batch_size):
            faces: list[Faces] = []
            who: list[tuple[Video | None, list[int]]] = []
            for frame in batch:
                found, tracks = self._find(frame), list[int]()
                if frame.time is not None:
                    if video is None or video.name != frame.source.name:
                        video = self.new_video(frame.source.name)
                    found, tracks = video.identify(found, frame.time)
                faces.append(self._cut(frame, found))
                who.append((video, tracks))
            for frame, poses, (shown, tracks) in zip(batch, self.model.poses(faces), who, strict=True):
                if shown is None or frame.time is None:
                    yield frame, [self._picture(pose) for pose in poses]
                    continue
                followed = [
                    TrackedPose(pose, track, is_refused=True) if self._refuses(pose) else shown.follow(track, frame.time, pose)
                    for track, pose in zip(tracks, poses, strict=False)  # no poses where something is wrong
                ]
                yield frame, followed
                if shown.calibration is not None:
                    self.neutrals |= {(shown.name, track): found for track, found in shown.calibration.neutrals.items()}

    def _picture(self, pose: HeadPose) -> TrackedPose:
        if self._refuses(pose):
            return TrackedPose(pose, None, is_refused=True)
        pose = self.calibrate(pose) if isinstance(self.calibrate, Neutral) else pose
        return TrackedPose(pose, None, state=State(self.new_states().of(pose.pose), 0.0) if self.new_states else None)

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
