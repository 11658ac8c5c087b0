"""Face detectors on photographs: what they find, how their boxes lie, and what that costs a network's poses.

    python tools/measure_detectors.py WEIGHTS OUT --aflw2000 DIR --pointing04 DIR --points68 DIR --detectors default dlib
    python tools/measure_detectors.py --fit --points68 DIR --detectors mtcnn --yunet FILE

Writes OUT.md and OUT.csv (a row for each set, detector and group of faces). `--fit` prints instead the mapping to the tight box
that the first, third, fifth face and so on give, and how boxes lie with it on the others.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from detector_scores import Array, add_detector_options, chosen_detectors, fit_mapping, match, overlaps
from face_scenes import Scene
from headposekit.data.dataset import HeadPoseDataset
from headposekit.datasets import AFLW2000, Pointing04, Points68
from headposekit.datasets.pointing04 import PANS, TILTS
from headposekit.detectors.base import FaceDetector
from headposekit.detectors.native import Mapping, NativeDetector
from headposekit.errors import InputError
from headposekit.files import write_text
from headposekit.geometry.rotations import geodesic_distance
from headposekit.inference.estimator import PoseEstimator, load
from headposekit.metrics import pose_errors
from headposekit.metrics.alignment import yaw_bands
from headposekit.synthesis.writers import write_csv

HIT = 0.4
"""Intersection over union from which a box is the labelled face's."""
SEED = 0
COLUMNS = {
    "faces": "faces", "recall": "found", "false_alarms": "other boxes per picture", "iou": "IoU", "offset": "offset",
    "right": "right", "down": "down", "width": "width", "height": "height", "mae_true": "MAE, true box",
    "mae_found": "MAE, found box", "geodesic_true": "geodesic, true box", "geodesic_found": "geodesic, found box",
    "moved": "moved by",
}  # fmt: skip
"""Of the table: key in the CSV and heading."""


@dataclass(frozen=True)
class Measured:
    """One detector on a data set of N faces; NaN where the face was not found.

    Attributes:
        boxes: (N, 4) the box that was found.
        poses: (N, 3) what the network predicts from it, degrees.
        alarms: (N,) how many other boxes there were in the picture.
    """

    boxes: Array
    poses: Array
    alarms: Array


def measure(
    detectors: Sequence[FaceDetector], dataset: HeadPoseDataset, faces: NDArray[np.int64], estimator: PoseEstimator
) -> tuple[list[Measured], Array]:
    """Each detector on N faces of a data set, and the poses (N, 3) that the network predicts from the true boxes."""
    boxes = np.full((len(detectors), len(faces), 4), np.nan)
    poses = np.full((len(detectors) + 1, len(faces), 3), np.nan)
    alarms = np.zeros((len(detectors), len(faces)))
    for index, face in enumerate(track(faces, dataset.title)):
        sample = dataset[int(face)]
        true = sample["box"][None].astype(np.float64)
        scene = Scene(sample["image"], true, np.empty((0, 4)))
        for number, detector in enumerate(detectors):
            found = detector(scene.image)
            hits, _ = match(found, scene, HIT)
            alarms[number, index] = (hits == 0).sum()
            if hits.any():
                boxes[number, index] = found.boxes[hits.argmax()]
        seen = np.isfinite([0, *boxes[:, index, 0]])
        given = np.concatenate([true, boxes[:, index]])[seen]
        poses[seen, index] = [head.pose for head in estimator(scene.image, given)]
    return [Measured(*one) for one in zip(boxes, poses[1:], alarms, strict=True)], poses[0]


def summary(measured: Measured, true_boxes: Array, true_poses: Array, from_true_boxes: Array) -> dict[str, float]:
    """The `COLUMNS` of N faces: lengths as shares of the true box's side, angles in degrees; NaN where nothing was found.

    `offset` is the mean distance of the centres over the geometric mean of the true box's sides, `right` and `down` are its
    medians along the sides, `width` and `height` median ratios. Angles are means over the faces found: errors with the true
    and with the found box, and the angle `moved` between the two predictions.
    """
    found = np.isfinite(measured.boxes[:, 0])
    nothing = dict.fromkeys(COLUMNS, np.nan)
    counts = {"faces": len(found), "recall": found.mean(), "false_alarms": measured.alarms.mean()}
    if not found.any():
        return nothing | counts
    box, true = measured.boxes[found].reshape(-1, 2, 2), true_boxes[found].reshape(-1, 2, 2)
    side, true_side = np.ptp(box, axis=1), np.ptp(true, axis=1)
    shift = box.mean(axis=1) - true.mean(axis=1)
    right, down = np.median(shift / true_side, axis=0)
    width, height = np.median(side / true_side, axis=0)
    from_found, from_true, label = (torch.from_numpy(poses[found]) for poses in (measured.poses, from_true_boxes, true_poses))
    errors = {"found": pose_errors(from_found, label), "true": pose_errors(from_true, label)}
    lies = {
        "iou": overlaps(measured.boxes[found], true_boxes[found]).diagonal().mean(),
        "offset": (np.hypot(*shift.T) / np.sqrt(true_side.prod(axis=1))).mean(),
        **{"right": right, "down": down, "width": width, "height": height},
        **{f"{key}_{which}": error[key] for which, error in errors.items() for key in ("mae", "geodesic")},
        "moved": geodesic_distance(from_found, from_true).mean().item(),
    }
    return nothing | counts | lies


def groups(pose: Array, has_classes: bool) -> dict[str, NDArray[np.bool_]]:
    """Of N faces all; those of each pan (without tilts of ±90 degrees) and tilt of Pointing'04, or of each band of |yaw|."""
    yaw, pitch = pose[:, 0], pose[:, 1]
    every = {"all": np.ones(len(yaw), dtype=bool)}
    if not has_classes:
        return every | {f"yaw {name}": inside.numpy() for name, inside in yaw_bands(torch.from_numpy(yaw)).items()}
    pans = {f"pan {pan}": (yaw == pan) & (np.abs(pitch) < 90) for pan in PANS}
    tilts = {f"tilt {tilt}": pitch == tilt for tilt in TILTS}
    return every | {name: inside for name, inside in (pans | tilts).items() if inside.any()}


def rows_of(
    dataset: HeadPoseDataset, detectors: Sequence[FaceDetector], estimator: PoseEstimator, max_faces: int | None = None
) -> list[dict[str, Any]]:
    """A row for each detector and group of faces; with `max_faces` of so many, drawn at random."""
    faces = np.sort(np.random.default_rng(SEED).permutation(len(dataset))[:max_faces])
    results, from_true_boxes = measure(detectors, dataset, faces, estimator)
    box, pose = (values[faces].astype(np.float64) for values in (dataset.box, dataset.pose))
    return [
        {
            "set": dataset.title,
            "detector": detector.name,
            "group": group,
            **summary(
                Measured(result.boxes[inside], result.poses[inside], result.alarms[inside]),
                box[inside],
                pose[inside],
                from_true_boxes[inside],
            ),
        }
        for detector, result in zip(detectors, results, strict=True)
        for group, inside in groups(pose, isinstance(dataset, Pointing04)).items()
    ]


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown: a table of all faces, and for each set one of the share found by group, in percent."""
    columns = [key for key in COLUMNS if key not in ("right", "down", "width", "height")]
    lines = [_line("set", "detector", *(COLUMNS[key] for key in columns)), _line("---", "---", *["--:"] * len(columns))]
    for row in rows:
        if row["group"] == "all":
            lines.append(_line(row["set"], row["detector"], *(_shown(key, row[key]) for key in columns)))
    for title in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == title and row["group"] != "all"]
        for kind in dict.fromkeys(row["group"].split()[0] for row in of_set):
            part = [row for row in of_set if row["group"].split()[0] == kind]
            values = dict.fromkeys((row["group"].split()[1], row["faces"]) for row in part)
            lines += ["", f"{title}, found by {kind} (faces), percent:", ""]
            lines.append(_line("detector", *(f"{value} ({faces})" for value, faces in values)))
            lines.append(_line("---", *["--:"] * len(values)))
            for name in dict.fromkeys(row["detector"] for row in part):
                lines.append(_line(name, *(f"{100 * row['recall']:.0f}" for row in part if row["detector"] == name)))
    return "\n".join(lines) + "\n"


def _line(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _shown(key: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    return f"{value:,}" if key == "faces" else f"{100 * value:.1f} %" if key == "recall" else f"{value:.2f}"


def fit(detector: NativeDetector, dataset: HeadPoseDataset) -> str:
    """What every second face says of the mapping, and how well boxes lie on the others with it, with today's and with none."""
    native = [detector.find(dataset.image(index))[0] for index in track(range(len(dataset)), detector.name)]
    tight = dataset.box.astype(np.float64)
    mapping, each = fit_mapping(native[::2], tight[::2])
    lines = [
        f"{detector.name}: {mapping}, {len(each)} boxes; quartiles {np.percentile(each, [25, 75], axis=0).round(3).tolist()}"
    ]
    for title, tried in {"none": Mapping(0, 0, 1, 1), "today's": detector.mapping, "fitted": mapping}.items():
        best = np.array([overlaps(tried(boxes), box[None]).max(initial=0) for boxes, box in zip(native, tight, strict=True)])
        halves = {"fitted on": best[::2], "others": best[1::2]}
        shown = (f"{name}: found {(iou >= HIT).mean():.1%}, IoU {iou[iou >= HIT].mean():.3f}" for name, iou in halves.items())
        lines.append(f"  {title}; {'; '.join(shown)}")
    return "\n".join(lines)


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", help="a network, as `headposekit.load` takes it")
    parser.add_argument("out", nargs="?", type=Path, help="the tables, without suffix")
    parser.add_argument("--aflw2000", type=Path, help="folder of AFLW2000")
    parser.add_argument("--pointing04", type=Path, help="folder of Pointing'04")
    parser.add_argument("--points68", type=Path, help="folder of photographs with .pts files")
    parser.add_argument("--faces", type=int, help="so many of each set, drawn at random; otherwise all")
    parser.add_argument("--fit", action="store_true", help="print the mappings that the photographs of --points68 give")
    add_detector_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        detectors = chosen_detectors(options)
        if options.fit:
            if options.points68 is None:
                raise InputError("--fit needs photographs with points; give --points68 DIR")
            faces = Points68(options.points68)
            for detector in detectors:
                if isinstance(detector, NativeDetector):
                    print(fit(detector, faces))
            return
        if options.weights is None or options.out is None:
            raise InputError("WEIGHTS and OUT are needed: a network, and the tables' path without suffix")
        estimator = load(options.weights, device="cpu")
        sets: list[HeadPoseDataset] = []
        if options.aflw2000 is not None:
            sets.append(AFLW2000(options.aflw2000, box="pt3d_68"))
        if options.pointing04 is not None:
            sets.append(Pointing04(options.pointing04))
        if options.points68 is not None:
            sets.append(Points68(options.points68))
        rows = [row for dataset in sets for row in rows_of(dataset, detectors, estimator, options.faces)]
        if not rows:
            raise InputError("no faces to measure on; give --aflw2000, --pointing04 or --points68")
        write_csv(options.out.with_suffix(".csv"), [list(rows[0]), *(row.values() for row in rows)])
        text = page(rows)
        write_text(options.out.with_suffix(".md"), text)
        print(text)
    except InputError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
