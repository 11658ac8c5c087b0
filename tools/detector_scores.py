"""How well a detector finds the faces of scenes."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from face_scenes import Scene
from headposekit.detectors.base import Detections, FaceDetector

Array = NDArray[np.float64]
HIT = 0.5
"""Intersection over union from which a box is a face's."""


class Scores(NamedTuple):
    """Of all pictures together.

    Attributes:
        faces: how many there were.
        recall: share of them that was found.
        precision: share of what was found that is a face.
        false_alarms: per 100 pictures.
        iou: mean intersection over union of the found ones.
    """

    faces: int
    recall: float
    precision: float
    false_alarms: float
    iou: float


def overlaps(first: Array, second: Array) -> Array:
    """Intersection over union of each of (N, 4) boxes with each of (M, 4)."""
    shares: Array = box_iou(torch.as_tensor(first), torch.as_tensor(second)).numpy()
    return shares


def match(found: Detections, scene: Scene) -> tuple[Array, NDArray[np.bool_]]:
    """Give each box, the surest first, the free face that it covers best.

    Returns:
        (N,) intersection over union with that face, 0 for a false alarm; (N,) whether it counts, as on an unclear face it does
        not.
    """
    shares = overlaps(found.boxes, scene.boxes)
    hits, counts = np.zeros(len(found.boxes)), np.ones(len(found.boxes), dtype=bool)
    for index in range(len(found.boxes)):
        if shares.shape[1] and shares[index].max() >= HIT:
            face = int(shares[index].argmax())
            hits[index] = shares[index, face]
            shares[:, face] = 0
        else:
            counts[index] = not (overlaps(found.boxes[index : index + 1], scene.unclear) > 0.3).any()
    return hits, counts


def score(detector: FaceDetector, scenes: Sequence[Scene]) -> Scores:
    """Run a detector over scenes."""
    matches = [match(detector(scene.image), scene) for scene in scenes]
    hits = np.concatenate([hit[counts] for hit, counts in matches])
    faces, found = sum(len(scene.boxes) for scene in scenes), int((hits > 0).sum())
    alarms = len(hits) - found
    return Scores(
        faces,
        found / max(faces, 1),
        found / max(len(hits), 1),
        100 * alarms / len(scenes),
        float(hits[hits > 0].mean()) if found else float("nan"),
    )


def best_threshold(detector: FaceDetector, scenes: Sequence[Scene]) -> float:
    """The score from which boxes should count to have the largest harmonic mean of recall and precision, in hundredths.

    Args:
        detector: with a threshold below all that come into question.
        scenes: to choose on.
    """
    scores, hits = [], []
    for scene in scenes:
        found = detector(scene.image)
        hit, counts = match(found, scene)
        scores.append(found.scores[counts])
        hits.append(hit[counts] > 0)
    score, is_face = np.concatenate(scores), np.concatenate(hits)
    faces = sum(len(scene.boxes) for scene in scenes)
    candidates = np.arange(5, 96) / 100
    quality = [2 * is_face[score >= value].sum() / max((score >= value).sum() + faces, 1) for value in candidates]
    return float(candidates[int(np.argmax(quality))])
