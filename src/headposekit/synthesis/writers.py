"""Synthetic heads on disk in the layouts of the real data sets, file for file, so that their readers are tested for real.

Every .mat has the keys, shapes and types of a real one; what a synthetic head does not have (a morphable model's parameters) is
zero. Pictures of 300W-LP and AFLW2000 are 450×450 under a parallel camera, as their labels assume.
"""

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import scipy.io
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset

from headposekit.errors import InputError
from headposekit.files import replacing, write_picture
from headposekit.geometry.face_model import MIRROR_68
from headposekit.synthesis.sampler import Head, HeadSampler

SIZE = 450
SIZES = (32, 4096)
"""Least and largest side of a picture, in pixels."""
SUBSETS = ("AFW", "HELEN", "IBUG", "LFPW")
Mat = dict[str, NDArray[Any]]


@dataclass(eq=False)
class LayoutWriter(Dataset[list[str]], ABC):
    """Writes the files of one unit (a photo) where it is asked for it; a DataLoader's workers do so in parallel.

    Args:
        root: folder to write into; what stands there already is kept if it has the same name.
    """

    unit: ClassVar[str]
    root: Path

    def __post_init__(self) -> None:
        self.root = Path(self.root)

    @abstractmethod
    def __len__(self) -> int:
        """Number of units."""

    @abstractmethod
    def __getitem__(self, number: int) -> list[str]:
        """Write one unit; returns the names of its faces."""

    def finish(self) -> None:
        """Write what is about all units, once they are there; most layouts have nothing of the kind."""

    def write_pair(self, name: str, image: NDArray[np.uint8], mat: Mat) -> str:
        """Write `<root>/<name>.jpg` and `.mat`, the .mat last."""
        self.write_picture(name, image)
        with replacing(self.root / f"{name}.mat") as partial:
            scipy.io.savemat(str(partial), mat, appendmat=False)
        return name

    def write_picture(self, name: str, image: NDArray[np.uint8]) -> None:
        """Write `<root>/<name>.jpg`, (H, W, 3) RGB."""
        path = self.root / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, image, [cv2.IMWRITE_JPEG_QUALITY, 95])


@dataclass(eq=False)
class HeadsWriter(LayoutWriter):
    """Writes synthetic heads.

    Args:
        root: see `LayoutWriter`.
        heads: the sampler, of which `heads_options` are replaced.
        num_units: photos.
    """

    heads_options: ClassVar[dict[str, Any]] = {"perspective": None}
    size = SIZE
    heads: HeadSampler
    num_units: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_units < 1:
            raise InputError(f"num_units={self.num_units} writes nothing; give 1 or more")
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise InputError(f"layout.size={self.size} is out of range; give {SIZES[0]} to {SIZES[1]} pixels")
        self.heads = HeadSampler(**{**self.heads.options, **self.heads_options})

    def __len__(self) -> int:
        return self.num_units

    def render(self, person: int, pose: Sequence[float] | None = None) -> Head:
        """The first head of a person."""
        return self.heads.render(person * self.heads.poses_per_identity, self.size, pose)


class Write300WLP(HeadsWriter):
    """300W-LP: each person is a photo, with several poses and the mirror of each, in the eight folders."""

    unit = "photo"

    def __getitem__(self, number: int) -> list[str]:
        subset = SUBSETS[number % len(SUBSETS)]
        # Some real names of IBUG hold a space.
        stem = f"IBUG_image_{number:03d} _01" if subset == "IBUG" and number % 8 == 2 else f"{subset}_{number:06d}_1"
        names = []
        for k in range(self.heads.poses_per_identity):
            head = self.heads.render(number * self.heads.poses_per_identity + k, SIZE)
            mat = {**common_mat(head.pose_para, head.landmarks), "pt2d": matlab_points(head.landmarks[:, :2])}
            names.append(self.write_pair(f"{subset}/{stem}_{k}", head.image, mat))
            names.append(self.write_pair(f"{subset}_Flip/{stem}_{k}", head.image[:, ::-1], mirror_mat(mat)))
        return names


class WriteAFLW2000(HeadsWriter):
    """AFLW2000: one face a photo, its 21 points with x = -1 where turned away, one in 64 beyond ±99 degrees."""

    unit = "face"

    def __getitem__(self, number: int) -> list[str]:
        # Faces are of different people, and of other people than those written as 300W-LP from the same seed.
        head = self.render(10**6 + number, (115.0, 12.0, 25.0) if number % 64 == 63 else None)
        points21 = matlab_points(head.points21)
        points21[0, np.isnan(points21[0])] = -1.0
        points21[1, np.isnan(points21[1])] = SIZE / 2  # y of an invisible point stays a number in the real files
        landmarks = head.landmarks + [0.5, 0.5, 0.0]
        mat = {**common_mat(head.pose_para, head.landmarks), "pt2d": points21, "pt3d_68": landmarks.T.astype(np.float32)}
        return [self.write_pair(f"image{number + 1:05d}", head.image, mat)]


def write_csv(path: Path, rows: Iterable[Iterable[Any]]) -> None:
    """Write rows of cells; raises InputError naming the file where that fails."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def matlab_points(points: NDArray[Any]) -> NDArray[np.float64]:
    """(n, 2) pixels, centres at .5, to MATLAB's (2, n), centres at whole numbers from 1."""
    return np.asarray(points.T + 0.5, dtype=np.float64)


def common_mat(pose_para: ArrayLike | None, landmarks: NDArray[Any]) -> Mat:
    """What both data sets store of a face with a label (7,) and landmarks (68, 2 or 3)."""
    box = np.concatenate([landmarks[:, :2].min(axis=0), landmarks[:, :2].max(axis=0)])
    return {
        "Pose_Para": np.asarray(pose_para, dtype=np.float32)[None],
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
