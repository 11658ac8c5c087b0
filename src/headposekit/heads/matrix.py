"""What the matrix Fisher and the rotation Laplace distributions share: a 3×3 matrix, whose nearest rotation is the mode.

With R the mode, P = RᵀA (symmetric) and x the vector part of the unit quaternion from R to another rotation R', the density
of R' depends on the energy E = tr(AᵀR) - tr(AᵀR') = 2 xᵀHx alone, where H = tr(P) I - P.
"""

import functools
import math
from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from headposekit.geometry.rotations import pose_to_matrix
from headposekit.geometry.so3 import matrix_to_upright_pose, special_orthogonal, stiffness, trace
from headposekit.heads.base import HeadOutput, ProbabilisticHead, spreads_of

FINE, COARSE = (16, 6, 12), (12, 4, 8)
"""Points of a grid over all rotations: of the rotation angle, and of the axis' two angles. The coarse one is for spreads."""
SAMPLES = 1024
"""Rotations by which a level is found."""
SCALE = 5.0
"""Of A: numbers of size 1 are a distribution 18 degrees wide."""


class MatrixHead(ProbabilisticHead):
    """Nine numbers: A without its `SCALE`. The distribution is integrated over a grid that is as narrow as itself.

    Attributes:
        grid_scale: how narrow, beside E of about 1.
    """

    size = 9
    grid_scale = 1.0

    @abstractmethod
    def log_kernel(self, energy: Tensor) -> Tensor:
        """Log density without its normaliser, of energies of any shape."""

    def log_normaliser(self, stiff: Tensor) -> Tensor:
        """(B,) log integral of the kernel over all rotations, of H (B, 3, 3), by the grid."""
        _, energy, weight = self.rotations(stiff, grid(*FINE))
        return torch.logsumexp(self.log_kernel(energy) + weight, dim=-1)

    def start(self) -> Tensor:
        """See `Head`."""
        return torch.eye(3).flatten()

    def forward(self, numbers: Tensor) -> HeadOutput:
        """(B, 9) to poses and rotations, which have no gradient."""
        rotation = special_orthogonal(numbers.detach().unflatten(-1, (3, 3)))
        return HeadOutput(matrix_to_upright_pose(rotation), rotation=rotation, numbers=numbers)

    def log_density(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """See `ProbabilisticHead`."""
        stiff, energy = self._seen(output, true, temperature)
        return self.log_kernel(energy) - self.log_normaliser(stiff)

    def level(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """See `ProbabilisticHead`."""
        stiff, own = self._seen(output, true, temperature)
        _, energy, weight = self.rotations(stiff, samples())
        probability = (self.log_kernel(energy) + weight).softmax(dim=-1)
        return (probability * (energy <= own.unsqueeze(-1))).sum(dim=-1)

    def spreads(self, output: HeadOutput, temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """See `ProbabilisticHead`."""
        assert output.rotation is not None
        stiff = stiffness(SCALE * output.numbers.unflatten(-1, (3, 3)), output.rotation) / temperature
        vector, energy, weight = self.rotations(stiff, grid(*COARSE))
        probability = (self.log_kernel(energy) + weight).softmax(dim=-1)
        length = vector.square().sum(dim=-1).clamp_min(1e-20).sqrt()
        angle = 2 * torch.atan2(length, (1 - length.square()).clamp_min(0).sqrt())
        axis = vector * (angle / length * probability.sqrt()).unsqueeze(-1)
        return spreads_of(output.rotation, axis.transpose(-2, -1) @ axis)

    def _seen(self, output: HeadOutput, true: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """H (B, 3, 3) and the energies (B,) of true poses. To first order the mode does not move with A."""
        assert output.rotation is not None
        matrix = SCALE * output.numbers.unflatten(-1, (3, 3))
        between = output.rotation - pose_to_matrix(true).to(matrix)
        energy = trace(between.transpose(-2, -1) @ matrix).clamp_min(0)
        return stiffness(matrix, output.rotation) / temperature, energy / temperature

    def rotations(self, stiff: Tensor, points: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Points of a grid, drawn together as the distribution is.

        Each unit quaternion (w, v) becomes w, L⁻ᵀv with LLᵀ = I + grid_scale × H, made a unit again: the angular central
        Gaussian distribution, of known density.

        Returns:
            vector parts (B, N, 3), energies (B, N) and log weights (B, N), with which a sum is the mean over all rotations.
        """
        (w, v), log_weight = (points[0][:, 0], points[0][:, 1:]), points[1]
        w, v, log_weight = w.to(stiff), v.to(stiff), log_weight.to(stiff)
        drawn = self.grid_scale * stiff.detach()
        a, b, c, d, e, f = (drawn[:, i, j].unsqueeze(-1) for i, j in ((0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (2, 2)))
        ll = (a + 1).clamp_min(1e-6).sqrt()  # a 3×3 Cholesky factor, written out for ONNX
        ml, nl = b / ll, c / ll
        mm = (d + 1 - ml.square()).clamp_min(1e-6).sqrt()
        nm = (e - nl * ml) / mm
        nn = (f + 1 - nl.square() - nm.square()).clamp_min(1e-6).sqrt()
        z = v[:, 2] / nn
        y = (v[:, 1] - nm * z) / mm
        x = (v[:, 0] - ml * y - nl * z) / ll
        square = w.square() + x.square() + y.square() + z.square()
        vector = torch.stack([x, y, z], dim=-1) / square.sqrt().unsqueeze(-1)
        energy = 2 * ((vector @ stiff) * vector).sum(dim=-1).clamp_min(0)
        return vector, energy, log_weight - (ll * mm * nn).log() - 2 * square.log()


@functools.cache
def grid(radial: int, polar: int, around: int) -> tuple[Tensor, Tensor]:
    """Unit quaternions (N, 4) of one half of the half sphere, which stand for all, and their log weights (N,)."""
    node, weight = np.polynomial.legendre.leggauss(radial)
    psi, of_psi = (node + 1) * math.pi / 4, weight * np.sin((node + 1) * math.pi / 4) ** 2
    node, weight = np.polynomial.legendre.leggauss(polar)
    cosine = (node + 1) / 2
    phi = 2 * math.pi * np.arange(around) / around
    psi, cosine, phi = np.meshgrid(psi, cosine, phi, indexing="ij")
    sine = np.sqrt(1 - cosine**2)
    vector = np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1) * np.sin(psi)[..., None]
    points = np.concatenate([np.cos(psi)[..., None], vector], axis=-1).reshape(-1, 4)
    weights = np.broadcast_to(of_psi[:, None, None] * weight[:, None], psi.shape).reshape(-1)
    return torch.from_numpy(points), torch.from_numpy(np.log(weights / weights.sum()))


@functools.cache
def samples() -> tuple[Tensor, Tensor]:
    """Unit quaternions (SAMPLES, 4) spread evenly over all rotations, and their equal log weights."""
    engine = torch.quasirandom.SobolEngine(3, scramble=True, seed=0)
    u, v, w = engine.draw(SAMPLES, dtype=torch.float64).unbind(-1)
    one, two = 2 * math.pi * v, 2 * math.pi * w  # Shoemake, Graphics Gems III
    first, second = (1 - u).sqrt(), u.sqrt()
    points = torch.stack([second * two.cos(), first * one.sin(), first * one.cos(), second * two.sin()], dim=-1)
    return points, torch.full((SAMPLES,), -math.log(SAMPLES), dtype=torch.float64)
