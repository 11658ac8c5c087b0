"""Predict the hidden test set of DAD-3DHeads and write the file that its authors score: `rotation_matrix` of each head.

    python tools/dad_submission.py CHECKPOINT ROOT SUBMISSION.json [--side test]

ROOT holds `test/test.json`, whose boxes are used, and `test/images/`. The benchmark's own program scores that of `--side val`.
"""

import argparse
import sys
from pathlib import Path

from headposekit import load
from headposekit.datasets.dad3dheads import read_boxes, write_submission
from headposekit.errors import InputError


def submit(checkpoint: str, root: Path, out: Path, side: str = "test") -> int:
    """Write the file; returns the number of heads."""
    model, boxes = load(checkpoint), read_boxes(root, side)
    poses = {}
    for name, box in boxes.items():
        (head,) = model(str(root / side / "images" / f"{name}.png"), boxes=box[None])
        poses[name] = [head.yaw, head.pitch, head.roll]
    write_submission(out, poses)
    return len(poses)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint")
    parser.add_argument("root", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", default="test", choices=("train", "val", "test"))
    arguments = parser.parse_args()
    try:
        print(f"{submit(**vars(arguments)):,} heads")
    except InputError as error:
        sys.exit(f"error: {error}")
