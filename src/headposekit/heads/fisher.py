"""The matrix Fisher distribution of rotations: log density tr(AᵀR) - log C."""

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headposekit.geometry.so3 import wide_type
from headposekit.heads.matrix import MatrixHead

NUM_POINTS = 128
LONGEST = 32.0
"""Beyond it e^-y is as good as 0."""


class FisherHead(MatrixHead):
    """Nine numbers, the parameter A of a matrix Fisher distribution.

    References: Lee, Bayesian Attitude Estimation with the Matrix Fisher Distribution on SO(3), arXiv 1710.03746; Mohlin et al.,
    Probabilistic Orientation Estimation with Matrix Fisher Distributions, NeurIPS 2020.
    """

    grid_scale = 2.0

    def log_kernel(self, energy: Tensor) -> Tensor:
        """See `MatrixHead`."""
        return -energy

    def log_normaliser(self, stiff: Tensor) -> Tensor:
        """See `MatrixHead`: the integral in one dimension."""
        wide = stiff.to(wide_type(stiff))
        _, axes = torch.linalg.eigh(wide.detach())  # ascending, so that s1 >= s2 >= s3
        own = ((wide @ axes) * axes).sum(dim=-2)  # eigenvalues whose gradient needs no other one
        singular = own.sum(dim=-1, keepdim=True) / 2 - own
        logarithm: Tensor = log_c(singular) - singular.sum(dim=-1)
        return logarithm.to(stiff.dtype)


def log_c(singular: Tensor) -> Tensor:
    """Log of C(S), the mean of exp(tr(SᵀR)) over all rotations, of proper singular values (B, 3): s1 >= s2 >= |s3|."""
    result: Tensor = _LogC.apply(singular)
    return result


class _LogC(torch.autograd.Function):
    """C = ∫ I0((si - sj)(1 - u)/2) I0((si + sj)(1 + u)/2) exp(sk u) du / 2 over -1 < u < 1, for any order i, j, k.

    The mean of u under this integrand is the derivative of log C by sk.
    """

    @staticmethod
    def forward(context: Any, singular: Tensor) -> Tensor:
        v, log_weight = _points()
        v, log_weight = v.to(singular), log_weight.to(singular)  # v = 1 - u
        means = []
        for k, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
            si, sj, sk = (singular[:, index, None] for index in (i, j, k))
            bessel = torch.special.i0e((si - sj) * v / 2).log() + torch.special.i0e((si + sj) * (2 - v) / 2).log()
            integrand = bessel - (sj + sk) * v + log_weight  # without its part exp(s1 + s2 + s3)
            log_integral = torch.logsumexp(integrand, dim=-1)
            means.append(1 - ((integrand - log_integral.unsqueeze(-1)).exp() * v).sum(dim=-1))
        context.save_for_backward(torch.stack(means, dim=-1))
        return log_integral + singular.sum(dim=-1)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        (means,) = context.saved_tensors
        result: Tensor = gradient.unsqueeze(-1) * means
        return result


@functools.cache
def _points() -> tuple[Tensor, Tensor]:
    """v in (0, 2) as 2 exp(-y), close together where narrow distributions need them, and log weights of ∫ dv / 2."""
    node, weight = np.polynomial.legendre.leggauss(NUM_POINTS)
    y = (node + 1) * LONGEST / 2
    return torch.from_numpy(2 * np.exp(-y)), torch.from_numpy(np.log(weight * LONGEST / 2) - y)
