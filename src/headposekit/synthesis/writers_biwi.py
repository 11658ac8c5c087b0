"""Synthetic heads on disk as BIWI is: sequences of pictures, depth, poses, calibrations, and boxes of several origins."""

import csv
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.files import replacing, write_bytes, write_picture, write_text
from headposekit.geometry.conventions import FLIP_FRAME, project_pose_para
from headposekit.geometry.crops import fsanet_box, square_box
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis.sampler import MILLIMETRES, PARALLEL_DISTANCE, Head
from headposekit.synthesis.writers import HeadsWriter, write_csv

BIWI_SIZE = 200
BIWI_POSES = 10_000
"""More frames than a sequence has, so that each sequence is one person."""
BIWI_HEADS = {"perspective": None, "poses_per_identity": BIWI_POSES}
BIWI_FOCAL, BIWI_CENTER = 575.816, np.array([320.0, 240.0])
"""Focal length and principal point of BIWI's depth camera in pixels, centres at whole numbers."""
HEAD_CENTER = np.array([[0.0, 0.0, -0.8]])
"""The point that BIWI's `pose.txt` names, head units: seven centimetres behind the tip of the nose."""
CALIBRATION = """575.816 0 320 \n0 575.816 240 \n0 0 1 \n\n0 0 0 0 \n
1 0 0 \n0 1 0 \n0 0 1 \n\n0 0 0 \n\n640 480 \n"""


@dataclass(eq=False)
class WriteBIWI(HeadsWriter):
    """BIWI: sequences of one person each, with the detections of a face detector that is always right.

    One camera sees colour and depth, so `rgb.cal` and `depth.cal` are alike and need no rotation. The head is as far away as
    makes it as large as it is drawn, 36 mm a head unit: faces are about 15 cm wide and 0.8 to 1.3 m away. Only the head has
    depth; it is drawn by a parallel camera, so points before or behind the head's centre are seen a little off their rays.
    """

    unit = "sequence"
    heads_options = BIWI_HEADS
    num_units: int = 24
    num_frames: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_units > 24 or self.num_frames < 1:
            given = f"num_units={self.num_units} num_frames={self.num_frames}"
            raise InputError(f"{given}: BIWI has 24 sequences of 1 frame or more")

    def __getitem__(self, number: int) -> list[str]:
        folder = self.root / f"{number + 1:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([self.heads.seed, number])
        room = np.full((480, 640, 3), rng.integers(60, 200, size=3), dtype=np.uint8)
        rows = []
        for frame in range(self.num_frames):
            head = self.heads.render((10**6 + number) * BIWI_POSES + frame, BIWI_SIZE)
            corner = np.array([300, 160]) + rng.integers(-8, 9, size=2)
            x, y = corner.tolist()
            picture = room.copy()
            picture[y : y + BIWI_SIZE, x : x + BIWI_SIZE] = head.image
            name = f"frame_{frame + 3:05d}"
            write_picture(folder / f"{name}_rgb.png", picture)
            rotation = FLIP_FRAME @ pose_to_matrix(torch.as_tensor(head.pose)).numpy() @ FLIP_FRAME
            center, depth = biwi_depth(head, corner)
            write_depth(folder / f"{name}_depth.bin", depth)
            lines = ["".join(f"{value:.6g} " for value in line) for line in (*rotation, [], center)]
            write_text(folder / f"{name}_pose.txt", "\n".join([*lines, ""]))
            box = [f"{value:.2f}" for value in head.box + np.tile(corner, 2)]
            rows.append([f"{folder.name}/{name}", "0.99", *box])
            write_text(folder / f"dockerface-{name}_rgb.txt", f"{name}_rgb.png {' '.join(box)} 0.99\n")
        for camera in ("depth", "rgb"):
            write_text(folder / f"{camera}.cal", CALIBRATION)
        write_csv(folder / "detections.csv", [["name", "confidence", "x0", "y0", "x1", "y1"], *rows])
        return [row[0] for row in rows]

    def finish(self) -> None:
        """Write headposeplus' lists: square boxes of all frames, and FSA-Net's crops of all but every eighth frame."""
        rows: list[list[str]] = []
        for number in range(self.num_units):
            with (self.root / f"{number + 1:02d}" / "detections.csv").open(newline="") as file:
                rows += list(csv.reader(file))[1:]
        images = np.array([f"{row[0]}_rgb.png" for row in rows])
        boxes = np.array([row[2:] for row in rows], dtype=np.float64)
        everywhere, kept = np.ones(len(rows), bool), np.arange(len(rows)) % 8 > 0
        squares, crops = square_box(boxes, 0.1), fsanet_box(boxes, 0.4, 640, 480)
        for name, corners, counted in (
            ("Biwi_plus", squares, everywhere),
            ("Biwi_plus_non_cal", squares, everywhere),
            ("Biwi_FSA-Net", crops, kept),
        ):
            x0, y0, x1, y1 = corners[counted].T
            with replacing(self.root / f"{name}.npz") as partial, partial.open("wb") as file:
                np.savez(file, images=images[counted], bbox=np.stack([x0, y0, x1 - x0, y1 - y0], axis=1))


def biwi_depth(head: Head, corner: NDArray[np.int_]) -> tuple[NDArray[np.float64], NDArray[np.int16]]:
    """Head centre (3,) in mm, frame B, and depth picture (480, 640) in mm, 0 where there is background.

    Args:
        head: of a parallel camera, `BIWI_SIZE` pixels.
        corner: (2,), x and y of its upper left pixel in the picture.
    """
    if head.pose_para is None:
        raise InputError("a near camera's picture has no single scale; render the head with perspective=null")
    scale = head.pose_para[6]  # pixels a head unit
    x, y, toward = project_pose_para(HEAD_CENTER, head.pose_para, BIWI_SIZE)[0]
    away = BIWI_FOCAL * MILLIMETRES / scale
    center = np.append((corner + [x - 1, y - 1] - BIWI_CENTER) * (away / BIWI_FOCAL), away)
    depth = np.zeros((480, 640), np.int16)
    drawn = np.isfinite(head.depth)
    behind = head.depth[drawn] - (PARALLEL_DISTANCE - toward / scale)
    left, top = corner
    depth[top : top + BIWI_SIZE, left : left + BIWI_SIZE][drawn] = np.rint(away + MILLIMETRES * behind)
    return center, depth


def write_depth(path: Path, depth: NDArray[np.int16]) -> None:
    """BIWI's `depth.bin` of (H, W) millimetres, 0 where there is nothing; see `headposekit.datasets.biwi.read_depth`."""
    if depth.ndim != 2 or depth.dtype != np.int16:
        raise InputError(f"{path}: a depth picture is (H, W) int16 millimetres, not {depth.dtype} of shape {depth.shape}")
    pixels = depth.astype("<i2").ravel()
    edges = np.flatnonzero(np.diff(pixels != 0, prepend=False, append=False))  # start and end of each full run by turns
    parts, before = [struct.pack("<ii", *depth.shape[::-1])], 0
    for start, end in edges.reshape(-1, 2).tolist():
        parts += [struct.pack("<ii", start - before, end - start), pixels[start:end].tobytes()]
        before = end
    if before < len(pixels):
        parts.append(struct.pack("<ii", len(pixels) - before, 0))
    write_bytes(path, b"".join(parts))
