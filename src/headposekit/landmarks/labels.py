"""Pose labels of photographs that have 68 landmarks and no pose: our own, by a named rule."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from headposekit.csv_file import number_in, read_rows, shown
from headposekit.errors import InputError
from headposekit.files import replacing
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.face_model import mean_face_68, symmetric_face_68
from headposekit.geometry.rotations import matrix_to_pose
from headposekit.landmarks.solvers import WeakPerspective
from headposekit.synthesis.head import face_modes_68

LabelRule = Literal["rigid_68", "rigid_inner", "modes_68", "modes_inner"]
"""`rigid`: least squares of the mean face. `modes`: the face's own shape and expression are fitted as well, robustly.

`inner`: the 51 points within the face and the chin. The contour of a 2-D annotation is the visible outline, not the jaw, and
makes yaw about a quarter too small; use `68` only for points that lie on the head, such as those of AFLW2000 or 3D-FAN.
"""
INNER = np.array([8, *range(17, 68)])
NUM_STEPS = 12
FREEDOM = 4.0
"""Degrees of freedom of the t-distribution of a point's error: a point three deviations off counts about a quarter."""
POINT_ERROR = 0.03
"""Standard deviation of a point's error along each axis, in units of the mean face (about 1 mm)."""


COLUMNS = ("name", *ANGLES)


class FittedFaces(NamedTuple):
    """B faces before a distant camera: each shows the landmarks `scale * rotation @ (rest + codes @ modes) + place`, y up."""

    rotation: NDArray[np.float64]  # (B, 3, 3)
    scale: NDArray[np.float64]  # (B,), pixels of a unit of the mean face
    place: NDArray[np.float64]  # (B, 2), pixels, y up
    codes: NDArray[np.float64]  # (B, K), of the modes of face and expression
    residual: NDArray[np.float64]  # (B,), root mean square distance of the points from the fit, in units of the mean face


class PoseLabels(NamedTuple):
    """Labels of B faces."""

    pose: NDArray[np.float64]  # (B, 3), yaw, pitch, roll in degrees; NaN where no pose explains the points
    residual: NDArray[np.float64]  # (B,), root mean square distance of the points from the fit, in units of the mean face


def label_poses(points: ArrayLike, rule: LabelRule, face: NDArray[np.float64] | None = None) -> PoseLabels:
    """Poses of B faces from their landmarks, all before a distant camera (weak perspective).

    Args:
        points: (B, 68, 2), pixels, y down; NaN where a point is missing.
        rule: see `LabelRule`.
        face: (68, 3), another face at rest, frame A; None for ours.
    """
    fits, is_lost = fit_faces(points, rule, face)
    pose = matrix_to_pose(torch.from_numpy(fits.rotation)).numpy()
    pose[is_lost] = np.nan
    return PoseLabels(pose, np.where(is_lost, np.nan, fits.residual))


def fit_faces(
    points: ArrayLike, rule: LabelRule, face: NDArray[np.float64] | None = None
) -> tuple[FittedFaces, NDArray[np.bool_]]:
    """The faces behind landmarks, arguments as of `label_poses`; and which (B,) no face explains."""
    kind, _, which = rule.partition("_")
    chosen = np.arange(68) if which == "68" else INNER
    pixels = np.asarray(points, dtype=np.float64)[:, chosen]
    modes = face_modes_68()[:, chosen] if kind == "modes" else np.zeros((0, len(chosen), 3))
    rest = (symmetric_face_68() if kind == "modes" else mean_face_68()) if face is None else face
    start = WeakPerspective()(pixels, rest[chosen]).matrix
    return _refine(pixels * [1, -1], start, rest[chosen], modes, robust=kind == "modes")


def write_labels(path: Path, names: Sequence[str], labels: PoseLabels) -> None:
    """A CSV file of labels: name, yaw, pitch, roll in degrees, residual; a face without a pose is left out."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "residual"])
        for name, pose, residual in zip(names, labels.pose, labels.residual, strict=True):
            if np.isfinite(pose).all():
                writer.writerow([name, *(f"{value:.4f}" for value in (*pose, residual))])


def read_labels(path: Path) -> dict[str, NDArray[np.float64]]:
    """Poses (3,) by name, of a CSV file with the columns name, yaw, pitch, roll (degrees; others may stand beside them).

    Raises:
        InputError: no such file, a missing column, a cell that is no number, or a name that stands there twice.
    """
    found: dict[str, NDArray[np.float64]] = {}
    for row in read_rows(path, COLUMNS, f"labels are a CSV file with the columns {','.join(COLUMNS)}"):
        where, name = f"{path}, line {row.line}", row.cells["name"]
        if name in found:
            raise InputError(f"{where}: face {shown(name)} has had its row; remove one of them")
        found[name] = np.array([number_in(where, row, angle) for angle in ANGLES])
    return found


def _refine(
    target: NDArray[np.float64],
    rotation: NDArray[np.float64],
    rest: NDArray[np.float64],
    modes: NDArray[np.float64],
    robust: bool,
) -> tuple[FittedFaces, NDArray[np.bool_]]:
    """Gauss and Newton's steps for rotation, scale, place and the codes of K modes; weights by the t-distribution.

    Args:
        target: (B, P, 2), pixels, y up.
        rotation: (B, 3, 3), the start; NaN where there is none.
        rest: (P, 3). modes: (K, P, 3), of unit variance.
        robust: whether points far from the fit count less.
    """
    known: NDArray[np.bool_] = np.isfinite(target).all(axis=-1) & np.isfinite(rotation[:, :1, 0])
    target, rotation = np.where(known[..., None], target, 0.0), np.where(np.isfinite(rotation), rotation, np.eye(3))
    codes = np.zeros((len(target), len(modes)))
    weight = known.astype(np.float64)
    scale, place = _scale_and_place(target, rest @ rotation[:, :2].swapaxes(1, 2), weight)
    for _ in range(NUM_STEPS):
        head = (rest + np.einsum("bk,kpc->bpc", codes, modes)) @ rotation.swapaxes(1, 2)  # (B, P, 3), turned
        off = (target - place[:, None]) / scale[:, None, None] - head[..., :2]  # in units of the mean face
        if robust:
            weight = known * (FREEDOM + 2) / (FREEDOM + (off**2).sum(axis=-1) / POINT_ERROR**2)
        x, y, z = np.moveaxis(head, -1, 0)
        none, one = np.zeros_like(x), np.ones_like(x)
        by_turn = [(none, -z), (z, none), (-y, x)]  # of a small turn about each axis
        by_mode = np.moveaxis(np.einsum("bac,kpc->bkpa", rotation[:, :2], modes), 1, 0)
        columns = [*by_turn, (x, y), (one, none), (none, one), *(tuple(np.moveaxis(mode, -1, 0)) for mode in by_mode)]
        design = np.stack([np.stack(column, axis=-1) for column in columns], axis=1).reshape(len(target), len(columns), -1)
        weighted = design * np.repeat(weight, 2, axis=1)[:, None] / POINT_ERROR**2
        normal = weighted @ design.swapaxes(1, 2) + 1e-9 * np.eye(len(columns))
        prior = np.arange(6, len(columns))
        normal[:, prior, prior] += 1.0
        right = np.einsum("bcn,bn->bc", weighted, off.reshape(len(off), -1))
        right[:, prior] -= codes
        step = np.linalg.solve(normal, right[..., None])[..., 0]
        rotation = _turns(step[:, :3]) @ rotation
        place = place + scale[:, None] * step[:, 4:6]
        scale = scale * np.exp(step[:, 3])
        codes = codes + step[:, 6:]
    residual = np.sqrt((off**2).sum(axis=-1).sum(axis=1, where=known) / np.maximum(known.sum(axis=1), 1))
    is_lost = np.asarray(~known.any(axis=1))
    return FittedFaces(rotation, scale, place, codes, residual), is_lost


def _scale_and_place(
    target: NDArray[np.float64], flat: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale (B,) and place (B, 2) that put points (B, P, 2) next to their targets, by least squares."""
    total = np.maximum(weight.sum(axis=1), 1)[:, None]
    middle = (weight[..., None] * flat).sum(axis=1) / total
    center = (weight[..., None] * target).sum(axis=1) / total
    flat, target = (flat - middle[:, None]) * weight[..., None], target - center[:, None]
    scale = (flat * target).sum(axis=(1, 2)) / np.maximum((flat**2).sum(axis=(1, 2)), 1e-12)
    scale = np.maximum(scale, 1e-9)
    return scale, center - scale[:, None] * middle


def _turns(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotations (B, 3, 3) of rotation vectors (B, 3) in radians."""
    x, y, z = vectors.T
    none = np.zeros_like(x)
    skew = np.stack([none, -z, y, z, none, -x, -y, x, none], axis=-1).reshape(-1, 3, 3)
    return np.asarray(torch.linalg.matrix_exp(torch.from_numpy(skew)))
