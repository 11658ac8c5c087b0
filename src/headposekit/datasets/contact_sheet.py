"""Pictures of what a sampler draws, and of what Head-pose-C does to faces, to be looked at before they are used."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch.utils.data import Dataset

from headposekit.data.corruption import KINDS, STRENGTHS, Corruption
from headposekit.datasets.aflw2000 import AFLW2000
from headposekit.datasets.synthetic import RENDER_SCALE
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.geometry.crops import CropRule
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Image

ANGLES = (-90, -60, -30, 0, 30, 60, 90)
ALL_AROUND = tuple(range(-180, 180, 15))
TILT = 60
PLAIN = {"photo": 0.0, "borders": 0.0, "occluder": 0.0, "box_jitter": 0.0, "visible21": 0.0}
GAP = 8
MAX_SIZE = 1024
MAX_FACES = 8


class ContactSheet(Dataset[list[str]]):
    """One PNG: people by yaw, one person by pitch and by roll; below them crops as networks see them, and real ones.

    Heads of the full range are shown every 15 degrees of yaw, and pitch and roll from behind.

    The upper part shows heads plainly (no photo effects, nothing before the face), the crops have all ingredients.

    Args:
        root: folder to write `contact_sheet.png` into.
        heads: the sampler.
        crop: the crop rule of the lower rows.
        num_units: people, a row each.
        num_random: rows of random heads' crops.
        size: side of a head's picture in pixels.
        real: folder of AFLW2000, whose first faces make the last row; null for none.
    """

    unit = "sheet"

    def __init__(
        self,
        root: str | Path,
        heads: HeadSampler,
        crop: CropRule,
        num_units: int = 8,
        num_random: int = 3,
        size: int = 160,
        real: str | Path | None = None,
    ) -> None:
        if num_units < 1 or num_random < 0 or not 1 <= size <= MAX_SIZE:
            raise InputError(
                f"a sheet of {num_units} + {num_random} rows of {size} pixels cannot be drawn; give 1 or more, "
                f"and {MAX_SIZE} pixels at most"
            )
        self.root, self.heads, self.crop = Path(root), heads, crop
        self.num_units, self.num_random, self.size = num_units, num_random, size
        self.photographs = None if real is None else AFLW2000(Path(real), box=crop.aflw2000_box)
        self.yaws = ALL_AROUND if heads.full_range else ANGLES
        self.plain = HeadSampler(**{**heads.options, **PLAIN})

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> list[str]:
        """Draw and write the sheet."""
        poses = [(person, [(yaw, 0, 0) for yaw in self.yaws]) for person in range(self.num_units)]
        tilts, around = np.linspace(-TILT, TILT, len(self.yaws)), 180 if self.heads.full_range else 0
        poses += [(0, [(around - 20, pitch, 0) if around else (20, pitch, 0) for pitch in tilts])]
        poses += [(0, [(around, 0, roll) for roll in tilts])]
        blocks = [np.concatenate([self._row(*person_and_poses) for person_and_poses in poses])]
        if self.num_random:
            blocks.append(np.concatenate([self._crops(row) for row in range(self.num_random)]))
        if self.photographs is not None:
            samples = [self.photographs[index] for index in range(min(len(self.photographs), len(self.yaws)))]
            blocks.append(self._enlarged([self.crop(sample["image"], sample["box"]) for sample in samples]))
        gap = np.full((GAP, blocks[0].shape[1], 3), 255, dtype=np.uint8)
        sheet = np.concatenate([part for block in blocks for part in (block, gap)][:-1])
        self.root.mkdir(parents=True, exist_ok=True)
        write_picture(self.root / "contact_sheet.png", sheet)
        return ["contact_sheet.png"]

    def _row(self, person: int, poses: list[Any]) -> Image:
        index = person * self.plain.poses_per_identity
        return np.concatenate([self.plain.render(index, self.size, pose).image for pose in poses], axis=1)

    def _crops(self, row: int) -> Image:
        people = range(self.num_units + row * len(self.yaws), self.num_units + (row + 1) * len(self.yaws))
        size = round(RENDER_SCALE * self.crop.size)
        heads = [self.heads.render(person * self.heads.poses_per_identity, size) for person in people]
        return self._enlarged([self.crop(head.image, head.box) for head in heads])

    def _enlarged(self, crops: list[Image]) -> Image:
        """A row of crops; white where there are fewer than in the other rows."""
        side = (self.size, self.size)
        row = [cv2.resize(crop, side, interpolation=cv2.INTER_NEAREST) for crop in crops]
        row += [np.full((*side, 3), 255, dtype=np.uint8)] * (len(self.yaws) - len(crops))
        return np.concatenate(row, axis=1).astype(np.uint8)


class CorruptionSheet(Dataset[list[str]]):
    """One PNG: for each face 12 rows of corruptions, unharmed at the left and then in strengths 1 to 5, cropped.

    Args:
        root: folder to write `corruption_sheet.png` into.
        heads: the sampler.
        crop: the crop rule, with the size at which faces are shown.
        num_units: synthetic faces.
        real: folder of AFLW2000, of which as many faces follow; null for none.
        seed: of what is random.
    """

    unit = "sheet"

    def __init__(
        self,
        root: str | Path,
        heads: HeadSampler,
        crop: CropRule,
        num_units: int = 2,
        real: str | Path | None = None,
        seed: int = 0,
    ) -> None:
        if not 1 <= num_units <= MAX_FACES or not 1 <= crop.size <= MAX_SIZE:
            raise InputError(f"{num_units} faces of {crop.size} pixels: give 1 to {MAX_FACES} of 1 to {MAX_SIZE} pixels")
        self.root, self.heads, self.crop, self.num_units, self.seed = Path(root), heads, crop, num_units, seed
        self.photographs = None if real is None else AFLW2000(Path(real), box=crop.aflw2000_box)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, number: int) -> list[str]:
        """Draw and write the sheet."""
        faces = []
        for person in range(self.num_units):
            head = self.heads.render(person * self.heads.poses_per_identity, round(RENDER_SCALE * self.crop.size))
            faces.append((head.image, head.pose, head.box, head.landmarks[:, :2], f"head {person}"))
        if self.photographs is not None:
            chosen = np.linspace(0, len(self.photographs) - 1, self.num_units).astype(int)
            for sample in (self.photographs[int(index)] for index in chosen):
                faces.append((sample["image"], sample["pose"], sample["box"], sample["landmarks"], sample["name"]))
        sheet = np.concatenate([self._block(*face) for face in faces], axis=1)
        self.root.mkdir(parents=True, exist_ok=True)
        write_picture(self.root / "corruption_sheet.png", sheet)
        return ["corruption_sheet.png"]

    def _block(self, image: Image, pose: Any, box: Any, landmarks: Any, name: str) -> Image:
        """All of one face."""
        rows = []
        for kind in KINDS:
            row = [self.crop(image, box)]
            for strength in STRENGTHS:
                corruption = Corruption(kind, strength, self.seed)
                row.append(self.crop(corruption.picture(image, pose, box, landmarks, name), corruption.box(box, name)))
            rows.append(np.concatenate(row, axis=1))
        return np.concatenate(rows)
