"""A checkpoint put to use: faces are found, cropped by the checkpoint's own rule, and estimated in batches."""

import math
import pkgutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import PIL.Image
import torch
from numpy.typing import ArrayLike, NDArray

from headposekit.detectors.base import Detections, FaceDetector
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.crops import CropRule, check_box
from headposekit.geometry.rotations import matrix_to_pose, nearest_pose, pose_to_matrix
from headposekit.inference.camera import Camera
from headposekit.pictures import as_picture
from headposekit.types import Image, Triple
from headposekit.weights.checkpoint import LoadedNetwork, build
from headposekit.weights.load import fastest, load_all
from headposekit.weights.shipped import DEFAULT

Picture = str | Path | NDArray[Any] | PIL.Image.Image
"""A path, or an array or PIL image as `headposekit.pictures.as_picture` takes it."""

DETECTORS = {
    "default": "headposekit.detectors.centers.CenterDetector",
    "cascade": "headposekit.detectors.native.Cascade",
    "dlib": "headposekit.detectors.native.DlibHog",
    "mtcnn": "headposekit.detectors.native.MTCNN",
    "none": "headposekit.detectors.whole.WholePicture",
}
"""Detectors that need no options, by their short names."""


@dataclass(frozen=True)
class HeadPose:
    """The pose of one face.

    Attributes:
        box: tight box in the picture, x0, y0, x1, y1 in pixels.
        score: how sure the detector is, in its own units; None where it does not say.
        yaw, pitch, roll: degrees, signs of 300W-LP: positive yaw turns the nose to the image's left, positive pitch looks up,
            positive roll leans clockwise.
        spread: standard deviations of yaw, pitch and roll in degrees, where the network says how sure it is.
        rotation_spread: likewise, the root mean square angle to the true rotation in degrees.
        turn: three rows of the rotation, frame A, from the pose that the crop shows to this one; None where they are the same.
    """

    box: tuple[float, float, float, float]
    score: float | None
    yaw: float
    pitch: float
    roll: float
    spread: Triple | None = None
    rotation_spread: float | None = None
    turn: tuple[Triple, ...] | None = field(default=None, repr=False)

    @property
    def pose(self) -> Triple:
        """Yaw, pitch, roll in degrees."""
        return self.yaw, self.pitch, self.roll

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) rotation of the head to the camera: x right, y up, z toward the viewer."""
        matrix: NDArray[np.float64] = pose_to_matrix(torch.tensor(self.pose, dtype=torch.float64)).numpy()
        return matrix

    @property
    def seen(self) -> Triple:
        """Yaw, pitch, roll in degrees as the picture shows them, which is how they are drawn."""
        if self.turn is None:
            return self.pose
        yaw, pitch, roll = matrix_to_pose(torch.from_numpy(np.array(self.turn).T @ self.matrix)).tolist()
        return yaw, pitch, roll

    def turned(self, rotation: NDArray[np.float64]) -> "HeadPose":
        """The same face after a rotation (3, 3), frame A, in the angles nearest to what they were; drawn as before."""
        ((yaw, pitch, roll),) = _turned(np.array([self.pose]), rotation).tolist()
        first, second, third = (rotation if self.turn is None else rotation @ np.array(self.turn)).tolist()
        return replace(self, yaw=yaw, pitch=pitch, roll=roll, turn=(tuple(first), tuple(second), tuple(third)))

    def __str__(self) -> str:
        spread = [""] * 3 if self.spread is None else [f" ± {value:.1f}" for value in self.spread]
        angles = zip(ANGLES, self.pose, spread, strict=True)
        box = ", ".join(f"{side:.0f}" for side in self.box)
        return f"{'  '.join(f'{name} {angle:+.1f}{off}' for name, angle, off in angles)}  box ({box})"


class Faces(NamedTuple):
    """The N faces of one picture on their way into the network."""

    boxes: NDArray[np.float64]  # (N, 4), pixels
    scores: NDArray[np.float64]  # (N,), NaN where the detector does not say
    crops: NDArray[np.uint8]  # (N, S, S, 3), RGB
    turns: NDArray[np.float64] | None = None  # (N, 3, 3), see `Camera.turns`; None where poses stay as the crops show them


class PoseEstimator:
    """A network with its crop rule and a detector; called with pictures, it returns poses. `headposekit.load` makes one.

    Args:
        members: one network, or those of a late fusion.
        detector: finds faces where no boxes are given; or the short name of one that needs no options.
        device: of torch, such as `cpu` or `cuda`; None for a GPU where there is one.
        batch_size: faces in a batch.
        field_of_view: of the camera, degrees from side to side of a picture; poses are then those in the camera's frame (as
            by `headposekit.geometry.perspective`). None leaves them as the crops show them, relative to the ray to each head.
        camera: how the camera stands, and its lens; poses are then those in the world's frame. In place of `field_of_view`.
    """

    def __init__(
        self,
        members: Sequence[LoadedNetwork],
        detector: FaceDetector | str = "default",
        device: str | None = None,
        batch_size: int = 64,
        field_of_view: float | None = None,
        camera: Camera | None = None,
    ) -> None:
        self.members = tuple(members)
        self.batch_size, self.camera = batch_size, camera or Camera(field_of_view=field_of_view)
        if camera is not None and field_of_view is not None:
            raise InputError("field_of_view= and camera= were both given; give Camera(field_of_view=...)")
        if not isinstance(batch_size, int) or batch_size < 1:
            raise InputError(f"batch_size={batch_size} is less than 1; give a whole number of faces")
        self.detector = make_detector(detector)
        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.network = fastest(self.members, self.device)
        except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
            raise InputError(f"device={device} cannot be used ({str(error).splitlines()[0]}); give cpu or cuda") from error
        self.crop: CropRule = build(self.members[0].crop_config)
        blank = np.zeros((1, self.crop.size, self.crop.size, 3), dtype=np.uint8)
        self.has_spread = self.estimate(blank)[1] is not None

    @overload
    def __call__(
        self, images: Picture, boxes: ArrayLike | None = None, detector: FaceDetector | str | None = None
    ) -> list[HeadPose]: ...

    @overload
    def __call__(
        self,
        images: list[Any] | tuple[Any, ...],
        boxes: Sequence[ArrayLike] | None = None,
        detector: FaceDetector | str | None = None,
    ) -> list[list[HeadPose]]: ...

    def __call__(self, images: Any, boxes: Any = None, detector: FaceDetector | str | None = None) -> Any:
        """Estimate the pose of every face.

        Args:
            images: a picture, or a list of pictures: a path, an (H, W, 3) uint8 RGB array, or a PIL image. (OpenCV reads
                BGR: give `cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)`, or `frame[..., ::-1]`.)
            boxes: (N, 4) tight boxes (as of all 68 landmarks) in pixels, then nothing is detected; a list of such for a list
                of pictures. FSA-Net's crops end at the picture's edge, the others are black beyond it.
            detector: another than the estimator's own.

        Returns:
            the faces of the picture: those given, or those found, the surest first; a list of such lists for a list.

        Raises:
            InputError: an unreadable picture; boxes that are not (N, 4) numbers; a box without area, wholly outside its
                picture, or more than twice as large.
        """
        if not isinstance(images, list | tuple):
            return self._faces([images], None if boxes is None else [boxes], detector)[0]
        given = len(boxes) if hasattr(boxes, "__len__") else type(boxes).__name__
        if boxes is not None and given != len(images):
            raise InputError(f"{len(images)} pictures, but boxes of {given}; give a (N, 4) array of boxes for each picture")
        found: list[list[HeadPose]] = []
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            found += self._faces(images[part], None if boxes is None else boxes[part], detector)
        return found

    def _faces(self, images: Sequence[Picture], boxes: Any, detector: FaceDetector | str | None) -> list[list[HeadPose]]:
        finder = self.detector if detector is None and boxes is None else make_detector(detector or "none")
        faces = []
        for number, image in enumerate(images):  # a picture is let go as soon as its faces are cut out
            picture = as_picture(image)
            if boxes is None:
                found = finder(picture, str(image) if isinstance(image, str | Path) else "")
                faces.append(self.cut(picture, found, finder.boxes_are_crops))
            else:
                given = _as_boxes(boxes[number])
                faces.append(self.cut(picture, Detections(given, np.full(len(given), np.nan))))
        return self.poses(faces)

    def cut(self, picture: Image, found: Detections, boxes_are_crops: bool = False) -> Faces:
        """Cut the faces out of a picture (H, W, 3) uint8 RGB; InputError see `check_box` and `Camera.turns`.

        `boxes_are_crops` says that the boxes are no tight ones, but what the network is to see.
        """
        rule = self.crop.for_dataset("crops") if boxes_are_crops else self.crop
        height, width = picture.shape[:2]
        for number, box in enumerate(found.boxes):
            check_box(box, width, height, f"box {number}")
        squares = np.array([rule(picture, box) for box in found.boxes], dtype=np.uint8)
        centers = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        turns = None if self.camera.is_plain else self.camera.turns(centers, (width, height))
        return Faces(*found, squares.reshape(-1, rule.size, rule.size, 3), turns)

    def poses(self, faces: Sequence[Faces]) -> list[list[HeadPose]]:
        """The poses of several pictures' faces, in one batch."""
        pose, spread = self.estimate(np.concatenate([one.crops for one in faces]))
        spreads: list[Any] = [(None, None)] * len(pose)
        if spread is not None:
            spreads = [((a, b, c), total) for a, b, c, total in spread.tolist()]
        poses, start = [], 0
        for one in faces:
            part = slice(start, start + len(one.boxes))
            shown = pose[part]
            turns: list[Any] = [None] * len(one.boxes)
            if one.turns is not None:
                shown = _turned(shown, one.turns)
                turns = [tuple(map(tuple, turn)) for turn in one.turns.tolist()]
            rows = zip(one.boxes.tolist(), one.scores.tolist(), shown.tolist(), spreads[part], turns, strict=True)
            poses.append(
                [
                    HeadPose((x0, y0, x1, y1), None if math.isnan(score) else score, yaw, pitch, roll, off, total, turn)
                    for (x0, y0, x1, y1), score, (yaw, pitch, roll), (off, total), turn in rows
                ]
            )
            start = part.stop
        return poses

    def estimate(self, crops: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Poses (N, 3) of crops (N, S, S, 3) uint8 RGB, any N; and spreads (N, 4), of the angles and the rotation, if any."""
        poses, spreads = [np.empty((0, 3))], [np.empty((0, 4))]
        with torch.inference_mode():
            for start in range(0, len(crops), self.batch_size):
                batch = torch.from_numpy(crops[start : start + self.batch_size]).to(self.device)
                output = self.network({"image": batch.permute(0, 3, 1, 2)})
                poses.append(output.pose.double().cpu().numpy())
                if output.spread is not None and output.rotation_spread is not None:
                    every = torch.cat([output.spread, output.rotation_spread.unsqueeze(-1)], dim=-1)
                    spreads.append(every.double().cpu().numpy())
        return np.concatenate(poses), np.concatenate(spreads) if len(spreads) == len(poses) > 1 else None


def load(
    paths: str | Path | Iterable[str | Path] = DEFAULT,
    detector: FaceDetector | str = "default",
    device: str | None = None,
    batch_size: int = 64,
    field_of_view: float | None = None,
    camera: Camera | None = None,
) -> PoseEstimator:
    """Load a network to call with pictures.

    Args:
        paths: a checkpoint (.ckpt), a .safetensors file with its .json, an exported .onnx file, or published weights (.h5 of
            FSA-Net and SSR-Net-MD, .pkl of Hopenet, and others in docs/models.md), or the name of a network of the package (by
            default `resnet`; the others: docs/shipped.md); several make their late fusion.
        detector, device, batch_size, field_of_view, camera: see `PoseEstimator`.

    Raises:
        InputError: an unusable file, networks of different crops, an impossible option.
    """
    files = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str | bytes) else [paths]
    for file in files:
        if not isinstance(file, str | Path):
            raise InputError(f"{file!r} is no path of a network's file; give a str or Path, or a list of these")
    return PoseEstimator(load_all(files), detector, device, batch_size, field_of_view, camera)


def make_detector(detector: FaceDetector | str) -> FaceDetector:
    """A detector by its short name; one that is made already as it is. InputError for an unknown name."""
    if not isinstance(detector, str):
        if not callable(detector):
            raise InputError(f"detector={detector!r} is no detector; choose {', '.join(DETECTORS)}, or give a detector object")
        return detector
    if detector not in DETECTORS:
        raise InputError(f"detector={detector} is unknown; choose {', '.join(DETECTORS)}, or give a detector object")
    made: FaceDetector = pkgutil.resolve_name(DETECTORS[detector])()
    return made


def _turned(pose: NDArray[np.float64], turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (N, 3) after rotations (N, 3, 3) or (3, 3) in frame A, in the angles nearest to what they were."""
    seen = torch.from_numpy(pose)
    turned: NDArray[np.float64] = nearest_pose(matrix_to_pose(torch.from_numpy(turns) @ pose_to_matrix(seen)), seen).numpy()
    return turned


def _as_boxes(boxes: Any) -> NDArray[np.float64]:
    """(N, 4) numbers; one box, or none, may be given flat."""
    try:
        given = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("boxes that are no numbers; give (N, 4): x0, y0, x1, y1 in pixels") from error
    if given.size and given.shape[-1:] != (4,):
        raise InputError(f"boxes of shape {given.shape}; give (N, 4): x0, y0, x1, y1 in pixels")
    return given.reshape(-1, 4)
