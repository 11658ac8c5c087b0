"""How well a detector finds the faces of scenes, and how its boxes lie to the tight ones."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from face_scenes import Scene
from headposekit.detectors.base import Detections, FaceDetector
from headposekit.detectors.native import Mapping, YuNet
from headposekit.errors import InputError
from headposekit.inference.estimator import DETECTORS, make_detector

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


def match(found: Detections, scene: Scene, hit: float = HIT) -> tuple[Array, NDArray[np.bool_]]:
    """Give each box, the surest first, the free face that it covers best, by an intersection over union of `hit` or more.

    Returns:
        (N,) intersection over union with that face, 0 for a false alarm; (N,) whether it counts, as on an unclear face it does
        not.
    """
    shares = overlaps(found.boxes, scene.boxes)
    hits, counts = np.zeros(len(found.boxes)), np.ones(len(found.boxes), dtype=bool)
    for index in range(len(found.boxes)):
        if shares.shape[1] and shares[index].max() >= hit:
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


def fit_mapping(native: Sequence[Array], tight: Array) -> tuple[Mapping, Array]:
    """The mapping of a detector's boxes to tight ones: medians over the boxes whose middle lies in the face of their picture.

    Args:
        native: (n, 4) boxes that the detector draws in each of N pictures.
        tight: (N, 4) of the pictures' faces.

    Returns:
        the mapping, without a shift to the side, as a face and its mirror image are equally likely; and (M, 4) what it is of
        each such box.

    Raises:
        InputError: there is no such box.
    """
    rows = []
    for boxes, (x0, y0, x1, y1) in zip(native, tight, strict=True):
        middle, size = np.array([x0 + x1, y0 + y1]) / 2, np.array([x1 - x0, y1 - y0])
        for box in boxes.reshape(-1, 2, 2):
            if x0 < box[:, 0].mean() < x1 and y0 < box[:, 1].mean() < y1:
                side = np.ptp(box, axis=0)
                rows.append(np.concatenate([(middle - box.mean(axis=0)) / side, size / side]))
    if not rows:
        raise InputError("no box of this detector lies in a face, so no mapping can be fitted; give other pictures")
    each = np.array(rows)
    median = np.median(each, axis=0)
    median[0] = 0
    return Mapping(*(round(float(value), 3) for value in median)), each


def add_detector_options(parser: argparse.ArgumentParser) -> None:
    """The options from which `chosen_detectors` makes detectors."""
    names = [name for name in DETECTORS if name != "none"]
    parser.add_argument("--detectors", nargs="*", choices=names, default=["default", "dlib", "cascade"])
    parser.add_argument("--yunet", type=Path, help="YuNet's model file, to try it as well")


def chosen_detectors(options: argparse.Namespace) -> list[FaceDetector]:
    """The detectors of a command line."""
    found = [make_detector(name) for name in options.detectors]
    return found if options.yunet is None else [*found, YuNet(options.yunet)]
