"""Pose labels from any file of 68 landmarks, and how far two sets of labels disagree.

    python tools/label_landmarks.py write LANDMARKS LABELS.csv [--rule modes_68] [--face-model FILE]
    python tools/label_landmarks.py compare A.csv B.csv [--page PAGE.md]

LANDMARKS is a CSV or .npz file or a folder of .pts files, see `headposekit.landmarks.sources.LandmarkFile`. Labels are files
for `test.aflw2000.labels=`. `compare` leaves out faces of which A has an angle beyond 99 degrees, as the protocol does.
"""

import argparse
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from headposekit.errors import InputError
from headposekit.files import write_text
from headposekit.geometry.conventions import ANGLE_LIMIT, ERRORS
from headposekit.geometry.rotations import geodesic_distance
from headposekit.landmarks.labels import LabelRule, label_poses, read_labels, write_labels
from headposekit.landmarks.points import read_face_model
from headposekit.landmarks.sources import LandmarkFile
from headposekit.metrics import aligned_errors, errors_by_yaw, pose_errors

NUM_SUSPECTS = 30
FAR = 10.0


def write(landmarks: Path, out: Path, rule: LabelRule, face_model: Path | None) -> None:
    """Label each face, and say how well the poses explain the points."""
    faces = LandmarkFile(landmarks).faces
    face = None if face_model is None else read_face_model(face_model)
    labels = label_poses(np.stack(list(faces.values())), rule, face)
    write_labels(out, list(faces), labels)
    found = np.isfinite(labels.residual)
    print(
        f"{found.sum():,} of {len(faces):,} faces labelled by {rule}; median residual {np.median(labels.residual[found]):.3f}"
    )


def compare(first: Path, second: Path, page: Path | None) -> None:
    """Print the disagreement of two sets of labels, whole and by yaw, and the faces on which they disagree most."""
    ours, theirs = read_labels(first), read_labels(second)
    names = [name for name in ours if name in theirs and np.abs(ours[name]).max() <= ANGLE_LIMIT]
    if not names:
        raise InputError(f"{first} and {second} name no face in common; check the names")
    a, b = (torch.tensor(np.stack([labels[name] for name in names])) for labels in (ours, theirs))
    geodesic = geodesic_distance(b, a)
    aligned = aligned_errors(b, a)
    lines = [
        f"# Labels of {first.name} against {second.name}",
        "",
        f"{len(names):,} faces, {int((geodesic > FAR).sum())} of them more than {FAR:g} degrees apart (geodesic). "
        f"Without the mean rotation (pitch {aligned['offset_pitch']:+.2f}): MAE {aligned['aligned_mae']:.2f}, "
        f"geodesic {aligned['aligned_geodesic']:.2f}.",
        "",
        f"| yaw of {first.name} | faces | {' | '.join(ERRORS)} |",
        f"|---|{'---:|' * (len(ERRORS) + 1)}",
    ]
    rows = {"all": {**pose_errors(b, a), "n": len(names)}, **errors_by_yaw(b, a)}
    lines += [
        f"| {band} | {errors['n']} | {' | '.join(f'{errors[name]:.2f}' for name in ERRORS)} |" for band, errors in rows.items()
    ]
    lines += [
        "",
        "Faces on which they disagree most, degrees:",
        "",
        "| face | first | second | geodesic |",
        "|---|---|---|---:|",
    ]
    for index in geodesic.argsort(descending=True)[:NUM_SUSPECTS].tolist():
        shown = (" / ".join(f"{angle:.1f}" for angle in pose[index].tolist()) for pose in (a, b))
        lines.append(f"| {names[index]} | {' | '.join(shown)} | {geodesic[index]:.1f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if page is not None:
        write_text(page, text)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    writing = commands.add_parser("write", help="make labels")
    writing.add_argument("landmarks", type=Path)
    writing.add_argument("out", type=Path)
    writing.add_argument("--rule", choices=get_args(LabelRule), default="modes_68")
    writing.add_argument("--face-model", type=Path)
    comparing = commands.add_parser("compare", help="compare labels")
    comparing.add_argument("first", type=Path)
    comparing.add_argument("second", type=Path)
    comparing.add_argument("--page", type=Path)
    given = parser.parse_args()
    try:
        if given.command == "write":
            write(given.landmarks, given.out, given.rule, given.face_model)
        else:
            compare(given.first, given.second, given.page)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
