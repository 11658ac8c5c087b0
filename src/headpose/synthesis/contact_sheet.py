"""A picture of what a sampler draws, to be looked at before anything is trained on it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headpose.errors import InputError
from headpose.synthesis.sampler import HeadSampler

ANGLES = (-90, -60, -30, 0, 30, 60, 90)
PLAIN = {"photo": 0.0, "borders": 0.0, "occluder": 0.0, "box_jitter": 0.0, "visible21": 0.0}
TILTS = (-60, -40, -20, 0, 20, 40, 60)


class ContactSheet(Dataset[list[str]]):
    """One PNG: people by yaw, one person by pitch and by roll, and below them heads as they are trained on.

    The upper part shows heads plainly (no photo effects, nothing before the face), the lower one with all ingredients.

    Args:
        root: folder to write `contact_sheet.png` into.
        heads: the sampler.
        num_units: people, a row each.
        num_random: rows of random heads.
        size: side of a head's picture in pixels.
    """

    unit = "sheet"

    def __init__(self, root: str | Path, heads: HeadSampler, num_units: int = 8, num_random: int = 3, size: int = 160) -> None:
        if min(num_units, size) < 1 or num_random < 0:
            raise InputError(f"a sheet of {num_units} + {num_random} rows of {size} pixels cannot be drawn; give 1 or more")
        self.root, self.heads, self.num_units, self.num_random, self.size = Path(root), heads, num_units, num_random, size
        self.plain = HeadSampler(**{**heads.options, **PLAIN})

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> list[str]:
        """Draw and write the sheet."""
        rows = [self._row(person, [(yaw, 0, 0) for yaw in ANGLES]) for person in range(self.num_units)]
        rows.append(self._row(0, [(20, pitch, 0) for pitch in TILTS]))
        rows.append(self._row(0, [(0, 0, roll) for roll in TILTS]))
        for row in range(self.num_random):
            first = self.num_units + row * len(ANGLES)
            indices = [self.heads.poses_per_identity * (first + column) for column in range(len(ANGLES))]
            rows.append(np.concatenate([self.heads.render(index, self.size).image for index in indices], axis=1))
        self.root.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(self.root / "contact_sheet.png"), cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
        return ["contact_sheet.png"]

    def _row(self, person: int, poses: list[Any]) -> NDArray[np.uint8]:
        index = person * self.plain.poses_per_identity
        return np.concatenate([self.plain.render(index, self.size, pose).image for pose in poses], axis=1)
