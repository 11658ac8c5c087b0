import numpy as np
import torch

from fit_face_modes import fit_modes
from headposekit.geometry.face_model import symmetric_face_68
from headposekit.geometry.rotations import pose_to_matrix


def test_fit_recovers_a_planted_mode() -> None:
    rng = np.random.default_rng(0)
    planted = np.zeros((68, 3))
    planted[5:12, 1] = -0.15  # a longer chin, symmetric
    pose = rng.uniform([-50, -30, -20], [50, 30, 20], (150, 3))
    code = rng.normal(size=150)
    faces = symmetric_face_68() + code[:, None, None] * planted
    rotation = pose_to_matrix(torch.tensor(pose)).numpy()
    points = np.einsum("nab,npb->npa", rotation[:, :2], faces) * 60 * [1, -1] + 200 + rng.normal(0, 0.2, (150, 68, 2))
    modes, rest = fit_modes(pose, points, num_modes=2, iterations=30)
    first = modes[0] - modes[0].mean(axis=0)
    target = planted - planted.mean(axis=0)
    cosine = abs((first * target).sum()) / np.linalg.norm(first) / np.linalg.norm(target)
    assert cosine > 0.85  # scale and position come from the mean face, which takes a part of it
    assert rest < 0.02
