"""Which convention a table's angles follow, judged by poses of the same faces from elsewhere: a network, or landmarks."""

import contextlib
import csv
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from headposekit.data.chunks import Index
from headposekit.datasets.table import CSVTable
from headposekit.detectors.base import Detections
from headposekit.errors import InputError
from headposekit.files import write_text
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.rotations import matrix_to_pose, nearest_pose, wrap_degrees
from headposekit.inference.estimator import PoseEstimator
from headposekit.landmarks.labels import label_poses
from headposekit.pictures import read_image

Array = NDArray[np.float64]

MAX_FACES = 400
"""Of a table, that are looked at."""
MIN_FACES = 20
MIN_MARGIN = 4.0
"""Standard errors by which the best convention must beat another to rule it out; by chance one table in 1,000 or fewer do."""
MIN_GAIN = 0.15
"""Share of the distance that another order of the rotations must take off: networks' own errors take off some as well."""
MAX_DISTANCE = 40.0
"""Degrees from which on a face counts no more: an estimate that failed, or an angle near gimbal lock."""
MIN_ABOVE = 0.02
"""Share of faces above 180 degrees from which on an angle runs from 0 to 360."""
AXES = {"X": 1, "Y": 0, "Z": 2}
"""Of rotations, and the angle that turns about each: pitch, yaw, roll."""
EULER_ORDERS = ("XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX")
"""Of the intrinsic rotations; ours first, see `headposekit.geometry.rotations`."""


@dataclass(frozen=True)
class Convention:
    """How a table writes yaw, pitch and roll; the default is ours.

    Attributes:
        columns: of yaw, pitch, roll, in which of the table's columns yaw, pitch, roll (0, 1, 2) it stands.
        signs: of yaw, pitch, roll, 1 or -1.
        is_radians: whether they are radians.
        euler: one of `EULER_ORDERS`.
    """

    columns: tuple[int, ...] = (0, 1, 2)
    signs: tuple[int, ...] = (1, 1, 1)
    is_radians: bool = False
    euler: str = EULER_ORDERS[0]

    def read(self, table: ArrayLike) -> Array:
        """Angles of a table (n, 3) so written as ours, degrees in [-180, 180] (n, 3)."""
        angles = np.asarray(table, dtype=np.float64)[:, self.columns] * self.signs
        pose = torch.from_numpy(np.degrees(angles) if self.is_radians else angles)
        pose = torch.where(pose.abs() > 180, wrap_degrees(pose), pose)
        if self.euler != EULER_ORDERS[0]:
            turns = Rotation.from_euler(self.euler, -pose[:, [AXES[axis] for axis in self.euler]].numpy(), degrees=True)
            pose = nearest_pose(matrix_to_pose(torch.from_numpy(turns.as_matrix())), pose)
        return np.asarray(pose.numpy(), dtype=np.float64)

    def __str__(self) -> str:
        """What is other than ours, in words."""
        said = [
            f"the column {ANGLES[column]} holds {angle}"
            for angle, column in zip(ANGLES, self.columns, strict=True)
            if ANGLES[column] != angle
        ]
        turned = [angle for angle, sign in zip(ANGLES, self.signs, strict=True) if sign < 0]
        is_inverse = len(turned) == 3 and self.euler == EULER_ORDERS[0][::-1]
        if is_inverse:
            said.append("the rotations are the inverse (transposed) ones")
        elif turned:
            said.append(f"{' and '.join(turned)} {'has' if len(turned) == 1 else 'have'} the other sign")
        if self.is_radians:
            said.append("the angles are radians")
        if self.euler != EULER_ORDERS[0] and not is_inverse:
            said.append(f"the rotations are put together in the order {self.euler} (x pitch, y yaw, z roll)")
        return ", ".join(said) or "as expected"


@dataclass(frozen=True)
class Verdict:
    """What a table's angles look like.

    Attributes:
        convention: the one that fits best.
        rivals: others that fit as well within noise; those of another order of the rotations only where all else is clear.
        margin: standard errors between it and the best of the others that are ruled out.
        is_turn: whether angles run from 0 to 360.
        faces: that were compared.
    """

    convention: Convention
    rivals: tuple[Convention, ...]
    margin: float
    is_turn: bool
    faces: int

    @property
    def is_sure(self) -> bool:
        """Whether nothing else fits as well."""
        return not self.rivals

    @property
    def is_expected(self) -> bool:
        """Whether the table may be as ours are: then nothing is to be said."""
        return not self.is_turn and Convention() in (self.convention, *self.rivals)

    def __str__(self) -> str:
        """One line, for people."""
        if self.faces < MIN_FACES:
            return f"cannot tell the convention of the angles from {self.faces} faces; {MIN_FACES} or more are needed"
        if not self.is_sure:
            names = "; or ".join(str(one) for one in (self.convention, *self.rivals[:3]))
            more = f"; or {len(self.rivals) - 3} more" if len(self.rivals) > 3 else ""
            return f"cannot tell the convention of the angles from {self.faces} faces, which vary too little: {names}{more}"
        said = [text for text in (str(self.convention),) if self.convention != Convention() or not self.is_turn]
        said += ["the angles run from 0 to 360"] if self.is_turn else []
        return f"{', '.join(said)} (by {self.faces} faces; the next best is {self.margin:.0f} standard errors worse)"


def judge(table: ArrayLike, reference: ArrayLike) -> Verdict:
    """Say which convention a table's angles follow.

    All orders of the columns, signs and units are tried. For each the distance from the reference is measured: of every face
    the sum of the three angles' differences, each at most `MAX_DISTANCE`, once the median difference of the table is taken
    off, since a network and a table seldom agree on which head looks straight ahead. So only what varies says something.
    Others than the best are ruled out where they are `MIN_MARGIN` standard errors of the mean worse on the same faces. The
    order of the rotations is tried last, and is ours unless another takes off `MIN_GAIN` of the distance as well.

    Args:
        table: (n, 3), its yaw, pitch and roll as they stand there.
        reference: (n, 3), poses of the same faces in our convention, degrees; NaN where there is none.
    """
    angles, known = np.asarray(table, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    both = np.isfinite(angles).all(axis=1) & np.isfinite(known).all(axis=1)
    angles, known = angles[both], known[both]
    if len(angles) < MIN_FACES:
        return Verdict(Convention(), (), 0.0, False, len(angles))
    tried = [
        Convention(columns, signs, is_radians)
        for is_radians in ((False, True) if np.abs(angles).max() <= 2 * np.pi + 0.1 else (False,))
        for columns in itertools.permutations(range(3))
        for signs in itertools.product((1, -1), repeat=3)
    ]
    best, rivals, margin = _best(tried, angles, known)
    if not rivals:
        orders = [replace(best, euler=euler) for euler in EULER_ORDERS]
        other, near, _ = _best(orders, angles, known)
        left, before = (_distances(one, angles, known).mean() for one in (other, best))
        if other != best and best not in near and left <= (1 - MIN_GAIN) * before:
            best, rivals = other, near
    degrees = np.degrees(angles) if best.is_radians else angles
    is_turn = bool(((degrees > 180).mean(axis=0) >= MIN_ABOVE).any())
    return Verdict(best, tuple(rivals), margin, is_turn, len(angles))


def _best(tried: Sequence[Convention], angles: Array, known: Array) -> tuple[Convention, list[Convention], float]:
    """The convention that fits best, those that fit as well within noise, and the margin to the best of the others."""
    distances = np.stack([_distances(one, angles, known) for one in tried])
    first = int(distances.mean(axis=1).argmin())
    worse = distances - distances[first]
    error = worse.std(axis=1, ddof=1) / np.sqrt(len(angles))
    margins = worse.mean(axis=1) / np.maximum(error, 1e-9)
    margins[first] = np.inf
    rivals = [one for one, margin in zip(tried, margins, strict=True) if margin < MIN_MARGIN]
    return tried[first], rivals, float(margins[margins >= MIN_MARGIN].min())


def _distances(convention: Convention, angles: Array, known: Array) -> Array:
    """How far each face (n,) is from the reference, in degrees."""
    off = torch.from_numpy(known - convention.read(angles)).deg2rad()
    middle = torch.atan2(off.sin().mean(dim=0), off.cos().mean(dim=0))
    off = wrap_degrees(torch.rad2deg(off - middle))
    distance: Array = wrap_degrees(off - off.median(dim=0).values).abs().clamp_max(MAX_DISTANCE).sum(dim=1).numpy()
    return distance


def judge_by_network(table: CSVTable, model: PoseEstimator) -> Verdict:
    """`judge` at most `MAX_FACES` faces of a table by a network; faces that cannot be read are left out.

    Where the table's angles are in the camera's frame (`frame: ray`), the network needs the same field of view.
    """
    chosen = np.linspace(0, len(table.listed) - 1, min(MAX_FACES, len(table.listed))).astype(int)
    angles, faces = [], []
    for number in chosen:
        path = table.listed[number]
        try:
            box = np.asarray(table.read_face(path).box, dtype=np.float64)
            found = Detections(box[None], np.full(1, np.nan))
            face = model.cut(read_image(table.picture_of(path)), found, boxes_are_crops=not table.has_boxes)
        except InputError:
            continue
        angles.append(table.angles_in_file(path))
        faces.append(face)
    poses = [face.pose for (face,) in model.poses(faces)] if faces else []
    return judge(np.reshape(angles, (-1, 3)), np.reshape(poses, (-1, 3)))


def judge_by_landmarks(index: Index) -> Verdict:
    """`judge` at most `MAX_FACES` labels of a pack by the landmarks of the same faces."""
    good = np.flatnonzero((index["reason"] == "") & np.isfinite(index["landmarks"]).all(axis=(1, 2)))
    good = good[np.linspace(0, len(good) - 1, min(MAX_FACES, len(good))).astype(int)]
    kept, source = (index[key][good].astype(np.float64) for key in ("box", "source_box"))
    stretch = (source[:, 2:] - source[:, :2]) / np.maximum(kept[:, 2:] - kept[:, :2], 1e-6)  # of the picture kept
    points = index["landmarks"][good] * stretch[:, None]
    return judge(index["pose"][good], label_poses(points, "rigid_68").pose if len(good) else np.empty((0, 3)))


def write_corrected(path: Path, table: CSVTable, convention: Convention) -> None:
    """Write a table again with our angles; paths become absolute, other columns stay, rows without angles are left out.

    InputError where it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.cells_of(table.listed[0]))
    for face in table.listed:
        with contextlib.suppress(InputError):
            (pose,) = convention.read([table.angles_in_file(face)])
            cells = table.cells_of(face) | {"path": str(table.picture_of(face).absolute())}
            cells |= {angle: f"{value:.4f}" for angle, value in zip(ANGLES, pose, strict=True)}
            writer.writerow(cells.values())
    write_text(path, text.getvalue())
