"""What the page shows of a picture: its faces, found once, and what every network says of them."""

import contextlib
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from headposekit.detectors.base import FaceDetector, tried
from headposekit.errors import InputError
from headposekit.files import data_url
from headposekit.geometry.conventions import ANGLES
from headposekit.inference.camera import Camera
from headposekit.inference.estimator import DETECTORS, HeadPose, PoseEstimator, make_detector
from headposekit.inference.neutral import Calibration, calibration_of
from headposekit.inference.outputs import draw_faces
from headposekit.inference.smoothing import NoSmoothing
from headposekit.inference.states import State, States
from headposekit.inference.stream import TrackedPose, Video
from headposekit.inference.tracking import Tracker
from headposekit.pictures import decode_image
from headposekit.types import Image

DRAWN = ("axes", "cube")
LONGER_SIDE = (640, 1280)
"""Least and most pixels of a drawn picture's longer side."""


@dataclass
class Comparison:
    """Networks side by side, and the detectors to choose from."""

    networks: dict[str, PoseEstimator]  # by the names that the page shows
    detectors: dict[str, FaceDetector]  # likewise, the preferred one first
    max_megapixels: float = 50.0  # size of a picture from which it is refused
    _live: tuple[str, list[Video]] | None = field(default=None, repr=False)  # the camera, and what follows its faces
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def describe(self) -> dict[str, Any]:
        """What can be chosen, as plain containers."""
        networks = [{"name": name, "about": _about(network)} for name, network in self.networks.items()]
        return {"networks": networks, "detectors": list(self.detectors), "drawn": list(DRAWN)}

    def __call__(
        self,
        raw: bytes,
        detector: str,
        draw: str = "axes",
        name: str = "",
        field_of_view: float | None = None,
        camera_pitch: float = 0.0,
        camera_roll: float = 0.0,
        live: str = "",
        calibrate: float | None = None,
    ) -> dict[str, Any]:
        """Estimate the pose of every face in a picture's file, by every network.

        `name` is for detectors that look boxes up (no file is opened by it), `field_of_view` and how the camera stands
        (degrees) as in `Camera`. Pictures that carry the same word `live` are frames of one video, now: states then last, and
        poses are relative to those of the first `calibrate` seconds.

        Returns:
            `faces`, the surest first: `box` (pixels of the picture), `score`, and of each network in `poses` yaw, pitch,
            roll, their `spread` (degrees or null), the `state` and the `crop` that it saw; `pictures`, the drawn picture of
            each network; `milliseconds` of detection and networks. Pictures are data URLs.

        Raises:
            InputError: no readable picture, one too large, an unknown detector or way to draw, an impossible field of view.
        """
        if detector not in self.detectors or draw not in DRAWN:
            raise InputError(f"detector={detector} draw={draw}: choose {', '.join(self.detectors)}, and {' or '.join(DRAWN)}")
        camera = Camera(pitch=camera_pitch, roll=camera_roll, field_of_view=field_of_view)
        finder, networks = self.detectors[detector], list(self.networks.values())
        with self._lock:  # one large picture at a time
            picture = decode_image(raw, "", self.max_megapixels)
            start = time.perf_counter()
            found = finder(picture, name)
            if live and (self._live is None or self._live[0] != live):
                self._live = live, [_video(live, calibrate) for _ in networks]
            videos, tracks = (self._live[1] if live and self._live else []), list[int]()
            if videos:
                found, tracks = videos[0].identify(found, start)
            seen, poses = [], []
            for number, network in enumerate(networks):
                network.camera = camera
                seen.append(network.cut(picture, found, finder.boxes_are_crops))
                (of_network,) = network.poses([seen[-1]])
                if videos:
                    people = zip(tracks, of_network, strict=True)
                    poses.append([videos[number].follow(track, start, pose) for track, pose in people])
                else:
                    poses.append([TrackedPose(pose, None, state=State(States().of(pose.pose), start)) for pose in of_network])
            seconds = time.perf_counter() - start
            described = [
                {
                    "box": [round(side, 2) for side in same[0].pose.box],
                    "score": same[0].pose.score,
                    "poses": [_pose(pose, faces.crops[number]) for pose, faces in zip(same, seen, strict=True)],
                }
                for number, same in enumerate(zip(*poses, strict=True))
            ]
            pictures = [data_url(drawn(picture, [face.pose for face in of_network], draw)) for of_network in poses]
        return {"faces": described, "pictures": pictures, "milliseconds": round(1000 * seconds, 1)}


def drawn(picture: Image, poses: Sequence[HeadPose], draw: str) -> Image:
    """A copy of a picture in the size to show it in, with its poses; faces are numbered where there are several."""
    longer = max(picture.shape[:2])
    scale = float(np.clip(longer, *LONGER_SIDE) / longer)
    sides = [max(1, round(scale * side)) for side in picture.shape[1::-1]]
    shown = np.asarray(cv2.resize(picture, sides, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC), np.uint8)
    faces = []
    for number, pose in enumerate(poses, start=1):
        x0, y0, x1, y1 = (scale * side for side in pose.box)
        faces.append(TrackedPose(replace(pose, box=(x0, y0, x1, y1)), number if len(poses) > 1 else None))
    return draw_faces(shown, faces, "axes" if draw == "axes" else "cube")


def detectors_beside(name: str, detector: FaceDetector) -> dict[str, FaceDetector]:
    """A detector and, after it, those that have a short name and what they need; InputError where it lacks something."""
    usable = {name: tried(detector)}
    for other in (key for key in DETECTORS if key != name):
        with contextlib.suppress(InputError):
            usable[other] = tried(make_detector(other))
    return usable


def short_names(paths: Sequence[str]) -> list[str]:
    """Each file's name, with the folders above it that it takes to tell it from the others."""
    full = [Path(path).absolute() for path in paths]
    names = []
    for given, path in zip(paths, full, strict=True):
        tails = ("/".join(path.parts[-depth:]) for depth in range(1, len(path.parts)))
        names.append(next((tail for tail in tails if sum(str(other).endswith(f"/{tail}") for other in full) == 1), given))
    return names


def _video(name: str, calibrate: float | None) -> Video:
    calibration = None if calibrate is None else Calibration(calibration_of(calibrate))
    return Video(name, Tracker(), NoSmoothing(), 0.0, calibration, States())


def _pose(face: TrackedPose, crop: Image) -> dict[str, Any]:
    pose = face.pose
    angles = {name: round(angle, 3) for name, angle in zip(ANGLES, pose.pose, strict=True)}
    spread = pose.spread and [round(value, 3) for value in pose.spread]
    return {**angles, "spread": spread, "state": face.state and face.state.name, "crop": data_url(crop)}


def _about(network: PoseEstimator) -> str:
    """Architecture and training data, as the file says."""
    (member,) = network.members
    models = member.model_config.get("members", [member.model_config])
    names = " + ".join(model["_target_"].rsplit(".")[-1] for model in models)
    if not member.card:
        return f"{names}, published weights"
    sources = member.card.get("sources")  # an exported file says what it was made of
    cards = sources if isinstance(sources, list) and sources else [member.card]
    data = [card.get("training_data") for card in cards if isinstance(card, dict)]
    sets = sorted({str(one["dataset"])[:80] for one in data if isinstance(one, dict) and "dataset" in one})
    return f"{names}, trained on {' and '.join(sets)}" if sets else names
