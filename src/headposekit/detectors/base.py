"""What every face detector is: called with a picture, it says where the heads in it are."""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from headposekit.types import Image


class Detections(NamedTuple):
    """The faces of one picture, the surest first."""

    boxes: NDArray[np.float64]
    """(N, 4) tight boxes as of all 68 landmarks, x0 y0 x1 y1 in pixels: what every crop rule starts from."""
    scores: NDArray[np.float64]
    """(N,) how sure the detector is, in its own units; NaN where it does not say."""


class FaceDetector(Protocol):
    """A detector. Whatever box it finds by itself, it returns the tight one, by a mapping that it states."""

    name: str
    boxes_are_crops: bool
    """Whether its boxes are crops already, which a crop rule only resizes: then use `rule.for_dataset("crops")`."""

    def __call__(self, image: Image, name: str = "") -> Detections:
        """Find the faces of a picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            name: of the picture, for detectors that look boxes up in a file.
        """


def tried(detector: FaceDetector) -> FaceDetector:
    """The detector, after a first call: some look for their package or file only then, and raise InputError without it."""
    detector(np.zeros((64, 64, 3), dtype=np.uint8))
    return detector


def no_detections() -> Detections:
    """What a detector returns for a picture without a face."""
    return Detections(np.empty((0, 4), dtype=np.float64), np.empty(0, dtype=np.float64))


def as_detections(boxes: Any, scores: Any) -> Detections:
    """Boxes and scores as arrays, the surest first."""
    boxes, scores = np.asarray(boxes, dtype=np.float64).reshape(-1, 4), np.asarray(scores, dtype=np.float64).reshape(-1)
    order = np.argsort(-scores, kind="stable")
    return Detections(boxes[order], scores[order])
