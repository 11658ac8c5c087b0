"""How faces differ: modes of the 68 landmarks, estimated from labels alone (no picture).

`python tools/fit_face_modes.py aflw2000_labels_500.csv` writes `src/headposekit/synthesis/face_modes_68.csv`. A probabilistic
principal component analysis (Tipping and Bishop, 1999) with known cameras: each row's pose is its label, its scale and
position follow from the mean face, and the modes explain what is left of its 2-D landmarks.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.files import replacing
from headposekit.geometry.face_model import MIRROR_68, symmetric_face_68
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis import head

FILE = Path(head.__file__).with_name("face_modes_68.csv")
NUM_MODES = 14


def fit_modes(
    pose: NDArray[np.float64], points: NDArray[np.float64], num_modes: int = NUM_MODES, iterations: int = 40
) -> tuple[NDArray[np.float64], float]:
    """Estimate modes by expectation maximisation.

    Args:
        pose: (n, 3), degrees.
        points: (n, 68, 2), pixels, y down.
        num_modes: number of modes.
        iterations: of expectation maximisation.

    Returns:
        modes (num_modes, 68, 3) and the standard deviation of what they leave, both in units of the mean face.
    """
    mean = symmetric_face_68()
    # A face and its mirror are equally likely: both are used, so the modes are symmetric or antisymmetric.
    pose = np.concatenate([pose, pose * [-1, 1, -1]])
    points = np.concatenate([points, points[:, MIRROR_68] * [-1, 1]])
    cameras, residuals = [], []
    for rotation, xy in zip(pose_to_matrix(torch.tensor(pose)).numpy(), points * [1, -1], strict=True):
        flat = rotation[:2]
        model = mean @ flat.T
        centred, target = model - model.mean(axis=0), xy - xy.mean(axis=0)
        scale = (centred * target).sum() / (centred**2).sum()
        cameras.append(flat)
        residuals.append(target / scale - centred)
    camera, residual = np.array(cameras), np.array(residuals).reshape(len(pose), 136)
    modes = np.random.default_rng(0).normal(scale=0.05, size=(num_modes, 68, 3))
    variance = 0.01
    for _ in range(iterations):
        design = np.einsum("nab,kpb->nkpa", camera, modes)  # what each mode does in each picture
        design -= design.mean(axis=2, keepdims=True)
        a = design.reshape(len(pose), num_modes, 136)
        covariance = np.linalg.inv(np.eye(num_modes) + a @ a.transpose(0, 2, 1) / variance)
        code = np.einsum("nkl,nlx,nx->nk", covariance, a, residual) / variance
        second = covariance + code[:, :, None] * code[:, None, :]
        # Maximisation: for each landmark, its 3 coordinates in all modes at once.
        left = np.einsum("nkl,nab,nac->kblc", second, camera, camera).reshape(3 * num_modes, 3 * num_modes)
        right = np.einsum("nk,nab,npa->pkb", code, camera, residual.reshape(-1, 68, 2)).reshape(68, 3 * num_modes)
        solved = np.linalg.solve(left + 1e-6 * np.eye(len(left)), right.T).T.reshape(68, num_modes, 3)
        modes = solved.transpose(1, 0, 2) * np.sqrt((code**2).mean(axis=0))[:, None, None]
        predicted = np.einsum("nk,nkx->nx", code, a)
        spread = np.einsum("nkl,nkx,nlx->n", covariance, a, a)
        variance = float((((residual - predicted) ** 2).sum(axis=1) + spread).mean() / 136)
    order = np.argsort(-(modes**2).sum(axis=(1, 2)))
    return modes[order], float(np.sqrt(variance))


def main(path: str) -> None:
    """Read label rows (name, yaw, pitch, roll, x0, y0, ... y67), fit, write the figures."""
    rows = np.genfromtxt(path, delimiter=",", skip_header=1, usecols=range(1, 140))
    rows = rows[np.abs(rows[:, :3]).max(axis=1) <= 99]
    modes, rest = fit_modes(rows[:, :3], rows[:, 3:].reshape(-1, 68, 2))
    header = f"{len(modes)} modes of 68 x 3, from {len(rows)} rows of {Path(path).name}; they leave {rest:.4f}"
    with replacing(FILE) as partial:
        np.savetxt(partial, modes.reshape(len(modes), -1), delimiter=",", fmt="%.5f", header=header)
    print(header)


if __name__ == "__main__":
    main(sys.argv[1])
