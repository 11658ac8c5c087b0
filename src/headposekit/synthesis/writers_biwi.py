"""Synthetic heads on disk as BIWI is: sequences of pictures, depth, poses, calibrations, and boxes of several origins."""

import csv
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.files import replacing, write_bytes, write_picture, write_text
from headposekit.geometry.conventions import FLIP_FRAME
from headposekit.geometry.crops import fsanet_box, square_box
from headposekit.geometry.projection import project_pose_para
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis.sampler import MILLIMETRES, PARALLEL_DISTANCE, Head, HeadSampler
from headposekit.synthesis.writers import LayoutWriter

BIWI_SIZE = 200
BIWI_POSES = 10_000
"""More frames than a sequence has, so that each sequence is one person."""
BIWI_FOCAL, BIWI_CENTER = 575.816, np.array([320.0, 240.0])
"""Focal length and principal point of BIWI's depth camera in pixels, centres at whole numbers."""
HEAD_CENTER = np.array([[0.0, 0.0, -0.8]])
"""The point that BIWI's `pose.txt` names, head units: seven centimetres behind the tip of the nose."""
CALIBRATION = """575.816 0 320 \n0 575.816 240 \n0 0 1 \n\n0 0 0 0 \n
1 0 0 \n0 1 0 \n0 0 1 \n\n0 0 0 \n\n640 480 \n"""


class WriteBIWI(LayoutWriter):
    """BIWI: sequences of one person each, with the detections of a face detector that is always right.

    One camera sees colour and depth, so `rgb.cal` and `depth.cal` are alike and need no rotation. The head is as far away as
    makes it as large as it is drawn, 36 mm a head unit: faces are about 15 cm wide and 0.8 to 1.3 m away. Only the head has
    depth; it is drawn by a parallel camera, so points before or behind the head's centre are seen a little off their rays.

    Args:
        root, heads, num_units: see `LayoutWriter`; up to 24 sequences.
        num_frames: of each sequence.
    """

    unit = "sequence"

    def __init__(self, root: str | Path, heads: HeadSampler, num_units: int = 24, num_frames: int = 16) -> None:
        super().__init__(root, heads, num_units)
        if num_units > 24 or num_frames < 1:
            raise InputError(f"num_units={num_units} num_frames={num_frames}: BIWI has 24 sequences of 1 frame or more")
        self.num_frames = num_frames
        self.heads = HeadSampler(**{**self.heads.options, "poses_per_identity": BIWI_POSES})

    def __getitem__(self, number: int) -> list[str]:
        folder = self.root / f"{number + 1:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([self.heads.seed, number])
        room = np.full((480, 640, 3), rng.integers(60, 200, size=3), dtype=np.uint8)
        rows = []
        for frame in range(self.num_frames):
            head = self.heads.render((10**6 + number) * BIWI_POSES + frame, BIWI_SIZE)
            corner = np.array([300, 160]) + rng.integers(-8, 9, size=2)
            x, y = (int(value) for value in corner)
            picture = room.copy()
            picture[y : y + BIWI_SIZE, x : x + BIWI_SIZE] = head.image
            name = f"frame_{frame + 3:05d}"
            write_picture(folder / f"{name}_rgb.png", picture)
            rotation = FLIP_FRAME @ pose_to_matrix(torch.as_tensor(head.pose)).numpy() @ FLIP_FRAME
            center, depth = biwi_depth(head, corner)
            write_depth(folder / f"{name}_depth.bin", depth)
            lines = [*rotation, [], center]
            text = "".join("".join(f"{value:.6g} " for value in line) + "\n" for line in lines)
            write_text(folder / f"{name}_pose.txt", text)
            box = head.box + np.tile(corner, 2)
            rows.append([f"{folder.name}/{name}", "0.99", *(f"{value:.2f}" for value in box)])
            corners = " ".join(f"{value:.2f}" for value in box)
            write_text(folder / f"dockerface-{name}_rgb.txt", f"{name}_rgb.png {corners} 0.99\n")
        for camera in ("depth", "rgb"):
            write_text(folder / f"{camera}.cal", CALIBRATION)
        with replacing(folder / "detections.csv") as partial, partial.open("w", newline="") as file:
            csv.writer(file).writerows([["name", "confidence", "x0", "y0", "x1", "y1"], *rows])
        return [row[0] for row in rows]

    def finish(self) -> None:
        """Write headposeplus' lists: square boxes of all frames, and FSA-Net's crops of all but every eighth frame."""
        rows: list[list[str]] = []
        for number in range(self.num_units):
            with (self.root / f"{number + 1:02d}" / "detections.csv").open(newline="") as file:
                rows += list(csv.reader(file))[1:]
        images = np.array([f"{row[0]}_rgb.png" for row in rows])
        boxes = np.array([row[2:] for row in rows], dtype=np.float64)
        squares = np.array([square_box(box, 0.1) for box in boxes])
        crops = np.array([fsanet_box(box, 0.4, 640, 480) for box in boxes])
        kept = np.arange(len(rows)) % 8 > 0
        for name, corners, counted in (
            ("Biwi_plus", squares, slice(None)),
            ("Biwi_plus_non_cal", squares, slice(None)),
            ("Biwi_FSA-Net", crops, kept),
        ):
            x0, y0, x1, y1 = corners[counted].T
            bbox = np.stack([x0, y0, x1 - x0, y1 - y0], axis=1)
            with replacing(self.root / f"{name}.npz") as partial, partial.open("wb") as file:
                np.savez(file, images=images[counted], bbox=bbox)


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
    pixel = corner + [x - 1, y - 1]
    center = np.append((pixel - BIWI_CENTER) * (away / BIWI_FOCAL), away)
    depth = np.zeros((480, 640), np.int16)
    drawn = np.isfinite(head.depth)
    behind = head.depth[drawn] - (PARALLEL_DISTANCE - toward / scale)
    left, top = corner
    depth[top : top + BIWI_SIZE, left : left + BIWI_SIZE][drawn] = np.rint(away + MILLIMETRES * behind)
    return center, depth


def write_depth(path: Path, depth: NDArray[np.int16]) -> None:
    """BIWI's `depth.bin`: width, height, then by turns how many pixels are empty, how many are full, and the depths of these.

    Args:
        path: the file.
        depth: (H, W) mm, 0 where there is nothing.

    Raises:
        InputError: no whole numbers of 16 bits, or not two axes.
    """
    if depth.ndim != 2 or depth.dtype != np.int16:
        raise InputError(f"{path}: a depth picture is (H, W) int16 millimetres, not {depth.dtype} of shape {depth.shape}")
    pixels = depth.astype("<i2").ravel()
    full = np.concatenate([[False], pixels != 0, [False]])
    edges = np.flatnonzero(full[1:] != full[:-1])  # start and end of each full run by turns
    parts, before = [struct.pack("<ii", *depth.shape[::-1])], 0
    for start, end in edges.reshape(-1, 2).tolist():
        parts += [struct.pack("<ii", start - before, end - start), pixels[start:end].tobytes()]
        before = end
    if before < len(pixels):
        parts.append(struct.pack("<ii", len(pixels) - before, 0))
    write_bytes(path, b"".join(parts))
