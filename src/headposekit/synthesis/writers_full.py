"""Synthetic heads of the full range in the layouts of CMU Panoptic and AGORA as prepared for head pose, and of DAD-3DHeads."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.files import write_json, write_picture
from headposekit.geometry.conventions import FLIP_FRAME
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis.sampler import Head
from headposekit.synthesis.writers import HeadsWriter

FIRST_INDEX = 3 * 10**6
"""Of heads: other people than those of other layouts."""


@dataclass(eq=False)
class FullRangeWriter(HeadsWriter):
    """A head a picture; a list of all is written when they are there."""

    unit = "head"
    heads_options: ClassVar[dict[str, Any]] = {"perspective": None, "box_jitter": 0.0, "full_range": True}
    size: int = 320

    def head(self, number: int) -> tuple[Head, NDArray[np.float64]]:
        """Head number so and so, and its matrix (3, 3)."""
        head = self.render(FIRST_INDEX + number)
        return head, pose_to_matrix(torch.tensor(head.pose, dtype=torch.float64)).numpy()

    def box(self, number: int) -> list[float]:
        """Its x, y, width and height."""
        x0, y0, x1, y1 = self.head(number)[0].box.tolist()
        return [x0, y0, x1 - x0, y1 - y0]


class WriteCocoHeads(FullRangeWriter):
    """`images/train/N.jpg` and `annotations/coco_style_sampled_train_v2.json`, as DirectMHP's scripts leave them."""

    def __getitem__(self, number: int) -> list[str]:
        name = f"images/train/{number:06d}"
        self.write_picture(name, self.head(number)[0].image)
        return [name]

    def finish(self) -> None:
        """Write the annotations."""
        pictures = [{"id": number, "file_name": f"{number:06d}.jpg", "seq": f"seq{number % 3}"} for number in range(len(self))]
        heads = [
            {"id": 100 * n, "image_id": n, "bbox": self.box(n), "euler_angles": whenet_angles(self.head(n)[1])}
            for n in range(len(self))
        ]
        (self.root / "annotations").mkdir(parents=True, exist_ok=True)
        content = {"images": pictures, "annotations": heads, "categories": [{"id": 1, "name": "person"}]}
        write_json(self.root / "annotations" / "coco_style_sampled_train_v2.json", content)


class WriteDAD3DHeads(FullRangeWriter):
    """`val/images/ID.png`, `val/annotations/ID.json` and `val/val.json`; without vertices."""

    def __getitem__(self, number: int) -> list[str]:
        head, rotation = self.head(number)
        for folder in ("images", "annotations"):
            (self.root / "val" / folder).mkdir(parents=True, exist_ok=True)
        view, projection = np.eye(4), np.diag([1.0, 1.0, -1e-3, 1.0])
        view[:3, :3], view[:3, 3] = rotation, [self.size / 2, self.size / 2, -500.0]
        content = {"vertices": [], "model_view_matrix": view.tolist(), "projection_matrix": projection.tolist()}
        write_picture(self.root / "val" / "images" / f"head{number:06d}.png", head.image)
        write_json(self.root / "val" / "annotations" / f"head{number:06d}.json", content)
        return [f"head{number:06d}"]

    def finish(self) -> None:
        """Write the list."""
        items = [{"item_id": f"head{number:06d}", "bbox": self.box(number)} for number in range(len(self))]
        write_json(self.root / "val" / "val.json", items)


def whenet_angles(rotation: NDArray[np.float64]) -> list[float]:
    """Pitch, yaw and roll in degrees by WHENet's formulas, of a matrix (3, 3) in frame A.

    Reference: hnuzhy/DirectMHP, exps/CMU/hpe_utils.py, `inverse_rotate_zyx` and `select_euler`.
    """
    m = FLIP_FRAME @ rotation @ FLIP_FRAME
    first = np.arcsin(-m[0, 2])
    for y in (first, np.pi - first):
        pitch = np.degrees(np.arctan2(m[1, 2] / np.cos(y), m[2, 2] / np.cos(y)))
        roll = np.degrees(np.arctan2(m[0, 1] / np.cos(y), m[0, 0] / np.cos(y)))
        if abs(pitch) < 90:
            break
    return [float(pitch), float(-np.degrees(y)), float(-roll)]
