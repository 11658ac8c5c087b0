"""Synthetic heads on disk in the layouts of the real data sets, file for file, so that their readers are tested for real.

Every .mat has the keys, shapes and types of a real one; what a synthetic head does not have (a morphable model's parameters) is
zero. Pictures of 300W-LP and AFLW2000 are 450×450 under a parallel camera, as their labels assume.
"""

import csv
import struct
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import scipy.io
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headpose.errors import InputError
from headpose.geometry.conventions import FLIP_FRAME
from headpose.geometry.face_model import MIRROR_68
from headpose.geometry.projection import project_pose_para
from headpose.geometry.rotations import pose_to_matrix
from headpose.synthesis.sampler import MILLIMETRES, PARALLEL_DISTANCE, Head, HeadSampler

SIZE = 450
BIWI_SIZE = 200
BIWI_POSES = 10_000
"""More frames than a sequence has, so that each sequence is one person."""
BIWI_FOCAL, BIWI_CENTER = 575.816, np.array([320.0, 240.0])
"""Focal length and principal point of BIWI's depth camera in pixels, centres at whole numbers."""
HEAD_CENTER = np.array([[0.0, 0.0, -0.8]])
"""The point that BIWI's `pose.txt` names, head units: seven centimetres behind the tip of the nose."""
CALIBRATION = """575.816 0 320 \n0 575.816 240 \n0 0 1 \n\n0 0 0 0 \n
1 0 0 \n0 1 0 \n0 0 1 \n\n0 0 0 \n\n640 480 \n"""
SUBSETS = ("AFW", "HELEN", "IBUG", "LFPW")
Mat = dict[str, NDArray[Any]]


class LayoutWriter(Dataset[list[str]], ABC):
    """Writes the files of one unit (a photo) where it is asked for it; a DataLoader's workers do so in parallel.

    Args:
        root: folder to write into; what stands there already is kept if it has the same name.
        heads: the sampler; its camera is replaced by a parallel one.
        num_units: photos.
    """

    unit: ClassVar[str]

    def __init__(self, root: str | Path, heads: HeadSampler, num_units: int) -> None:
        if num_units < 1:
            raise InputError(f"num_units={num_units} writes nothing; give 1 or more")
        self.root = Path(root)
        self.heads = HeadSampler(**{**heads.options, "perspective": None})
        self.num_units = num_units

    def __len__(self) -> int:
        return self.num_units

    @abstractmethod
    def __getitem__(self, number: int) -> list[str]:
        """Write one unit; returns the names of its faces."""

    def write_pair(self, name: str, image: NDArray[np.uint8], mat: Mat) -> str:
        """Write `<root>/<name>.jpg` and `.mat`, the .mat last."""
        self.write_picture(name, image)
        scipy.io.savemat(f"{self.root / name}.mat", mat)
        return name

    def write_picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write `<root>/<name>.jpg`, (H, W, 3) RGB."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not with_suffix: it would take the end of a name with a dot for one.
        cv2.imwrite(f"{path}.jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 95])


class Write300WLP(LayoutWriter):
    """300W-LP: each person is a photo, with several poses and the mirror of each, in the eight folders.

    Args:
        root, heads, num_units: see `LayoutWriter`; `heads.poses_per_identity` poses of each photo.
    """

    unit = "photo"

    def __getitem__(self, number: int) -> list[str]:
        subset = SUBSETS[number % len(SUBSETS)]
        # Some real names of IBUG hold a space.
        stem = f"IBUG_image_{number:03d} _01" if subset == "IBUG" and number % 8 == 2 else f"{subset}_{number:06d}_1"
        names = []
        for k in range(self.heads.poses_per_identity):
            head = self.heads.render(number * self.heads.poses_per_identity + k, SIZE)
            mat = {**common_mat(head), "pt2d": matlab_points(head.landmarks[:, :2])}
            names.append(self.write_pair(f"{subset}/{stem}_{k}", head.image, mat))
            names.append(self.write_pair(f"{subset}_Flip/{stem}_{k}", head.image[:, ::-1], mirror_mat(mat)))
        return names


class WriteAFLW2000(LayoutWriter):
    """AFLW2000: one face a photo, its 21 points with x = -1 where turned away, one in 64 beyond ±99 degrees.

    Args:
        root, heads, num_units: see `LayoutWriter`.
    """

    unit = "face"

    def __getitem__(self, number: int) -> list[str]:
        # Faces are of different people, and of other people than those written as 300W-LP from the same seed.
        index = (10**6 + number) * self.heads.poses_per_identity
        pose = (115.0, 12.0, 25.0) if number % 64 == 63 else None
        head = self.heads.render(index, SIZE, pose)
        points21 = matlab_points(head.points21)
        points21[0, np.isnan(points21[0])] = -1.0
        points21[1, np.isnan(points21[1])] = SIZE / 2  # y of an invisible point stays a number in the real files
        landmarks = head.landmarks + [0.5, 0.5, 0.0]
        mat = {**common_mat(head), "pt2d": points21, "pt3d_68": landmarks.T.astype(np.float32)}
        return [self.write_pair(f"image{number + 1:05d}", head.image, mat)]


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
            cv2.imwrite(str(folder / f"{name}_rgb.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            rotation = FLIP_FRAME @ pose_to_matrix(torch.as_tensor(head.pose)).numpy() @ FLIP_FRAME
            center, depth = biwi_depth(head, corner)
            write_depth(folder / f"{name}_depth.bin", depth)
            lines = [*rotation, [], center]
            text = "".join("".join(f"{value:.6g} " for value in line) + "\n" for line in lines)
            (folder / f"{name}_pose.txt").write_text(text)
            box = head.box + np.tile(corner, 2)
            rows.append([f"{folder.name}/{name}", "0.99", *(f"{value:.2f}" for value in box)])
        for camera in ("depth", "rgb"):
            (folder / f"{camera}.cal").write_text(CALIBRATION)
        with (folder / "detections.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["name", "confidence", "x0", "y0", "x1", "y1"], *rows])
        return [row[0] for row in rows]


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
    path.write_bytes(b"".join(parts))


def matlab_points(points: NDArray[Any]) -> NDArray[np.float64]:
    """(n, 2) pixels, centres at .5, to MATLAB's (2, n), centres at whole numbers from 1."""
    return np.asarray(points.T + 0.5, dtype=np.float64)


def common_mat(head: Head) -> Mat:
    """What both data sets store of a face."""
    box = np.concatenate([head.landmarks[:, :2].min(axis=0), head.landmarks[:, :2].max(axis=0)])
    return {
        "Pose_Para": np.asarray(head.pose_para, dtype=np.float32)[None],
        "Shape_Para": np.zeros((199, 1)),
        "Exp_Para": np.zeros((29, 1)),
        "Tex_Para": np.zeros((199, 1)),
        "Illum_Para": np.zeros((1, 10)),
        "Color_Para": np.zeros((1, 7), np.float32),
        "roi": box.round().astype(np.int16)[None],
    }


def mirror_mat(mat: Mat) -> Mat:
    """The label of the horizontally mirrored picture."""
    pitch, yaw, roll, x, y, z, scale = mat["Pose_Para"][0]
    points = mat["pt2d"][:, MIRROR_68].copy()
    points[0] = SIZE + 1 - points[0]
    x0, y0, x1, y1 = mat["roi"][0]
    return {
        **mat,
        "Pose_Para": np.array([[pitch, -yaw, -roll, SIZE + 1 - x, y, z, scale]], dtype=np.float32),
        "pt2d": points,
        "roi": np.array([[SIZE + 1 - x1, y0, SIZE + 1 - x0, y1]], dtype=np.int16),
    }
