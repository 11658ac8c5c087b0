"""The rotation Laplace distribution: a sharper peak and heavier tails than the matrix Fisher, so outliers count for less."""

from torch import Tensor

from headposekit.heads.matrix import MatrixHead

FLOOR = 1e-6
"""Energy at which the peak, which has no top, is cut off."""


class LaplaceHead(MatrixHead):
    """Nine numbers, the parameter A: the log density is -√E - log √E - log F, F by a grid.

    Reference: Yin et al., A Laplace-inspired Distribution on SO(3) for Probabilistic Rotation Estimation, ICLR 2023.
    """

    grid_scale = 0.25

    def log_kernel(self, energy: Tensor) -> Tensor:
        """See `MatrixHead`."""
        root = (energy + FLOOR).sqrt()
        return -root - root.log()
