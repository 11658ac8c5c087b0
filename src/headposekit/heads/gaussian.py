"""A normal distribution in the tangent space of a quaternion."""

import math
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.geometry.so3 import (
    conjugate,
    matrix_to_upright_pose,
    multiply,
    pose_to_quaternion,
    quaternion_to_matrix,
    quaternion_to_vector,
    rotation_angle,
)
from headposekit.heads.base import HeadOutput, ProbabilisticHead, chi_square_3, rotation_of, spreads_of
from headposekit.types import Batch

START = 1.0
LIKELIHOOD = 0.1
"""Weight of the likelihood in the loss: its gradient grows with certainty, and would rule the trunk."""


class GaussianHead(ProbabilisticHead):
    """Ten numbers: a quaternion, and the Cholesky factor of the covariance of the rotation vector that is left, in radians.

    Its own loss is the angle to the true rotation in radians, and the negative log likelihood of a mixture with the uniform
    distribution, which trains the covariance alone: where the truth is far off, a likelihood teaches the covariance to be wide,
    and the quaternion next to nothing.

    Args:
        outliers: share of the uniform distribution, so that a wrong label counts for no more than a constant.

    Reference: Stirn et al., Faithful Heteroscedastic Regression with Neural Networks, AISTATS 2023, for what trains what.
    """

    size = 10

    def __init__(self, outliers: float = 0.01) -> None:
        super().__init__()
        if not 0 <= outliers < 1:
            raise InputError(f"head.outliers={outliers} is no share; give 0 or more, and less than 1")
        self.outliers = outliers

    def start(self) -> Tensor:
        """See `Head`: 57 degrees wide in each direction."""
        return torch.tensor([1.0, 0.0, 0.0, 0.0, *[math.log(START)] * 3, 0.0, 0.0, 0.0])

    def forward(self, numbers: Tensor) -> HeadOutput:
        """(B, 10) to poses and rotations."""
        rotation = quaternion_to_matrix(numbers[:, :4])
        return HeadOutput(matrix_to_upright_pose(rotation), rotation=rotation, numbers=numbers)

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar."""
        quaternion, factor = output.numbers.split([4, 6], dim=-1)
        distance = rotation_angle(rotation_of(output), pose_to_matrix(batch["pose"])).mean()
        seen = replace(output, numbers=torch.cat([quaternion.detach(), factor], dim=-1))
        return distance + LIKELIHOOD * super().loss(seen, batch)

    def log_density(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """See `ProbabilisticHead`."""
        vector, squares = self._seen(output, true, temperature)
        log_scale = output.numbers[:, 4:7].sum(dim=-1) + 1.5 * torch.as_tensor(temperature).to(squares).log()
        normal = -squares / 2 - log_scale - 1.5 * math.log(2 * math.pi)
        # The uniform distribution seen in the tangent space: sin²(a/2) / (a/2)² / (8 pi²), a the angle.
        half = vector.square().sum(dim=-1).clamp_min(1e-12).sqrt() / 2
        normal = normal + math.log(8 * math.pi**2) - 2 * (half.sin() / half).log()
        uniform = torch.full_like(normal, math.log(self.outliers) if self.outliers else -math.inf)
        return torch.logaddexp(normal + math.log1p(-self.outliers), uniform)

    def level(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """See `ProbabilisticHead`; of the normal distribution alone."""
        return chi_square_3(self._seen(output, true, temperature)[1])

    def spreads(self, output: HeadOutput, temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """See `ProbabilisticHead`; of the normal distribution alone."""
        assert output.rotation is not None
        (a, b, c), (d, e, f) = (part.unbind(-1) for part in output.numbers[:, 4:].split(3, dim=-1))
        zero = 0 * a
        factor = torch.stack([a.exp(), zero, zero, d, b.exp(), zero, e, f, c.exp()], dim=-1).unflatten(-1, (3, 3))
        return spreads_of(output.rotation, temperature * (factor @ factor.transpose(-2, -1)))

    def _seen(self, output: HeadOutput, true: Tensor, temperature: float | Tensor) -> tuple[Tensor, Tensor]:
        """Rotation vectors (B, 3) from the prediction to the truth, and their squared length (B,) in standard deviations."""
        quaternion = functional.normalize(output.numbers[:, :4], dim=-1)
        vector = quaternion_to_vector(multiply(conjugate(quaternion), pose_to_quaternion(true).to(quaternion)))
        (a, b, c), (d, e, f) = (part.unbind(-1) for part in output.numbers[:, 4:].split(3, dim=-1))
        x = vector[:, 0] * (-a).exp()
        y = (vector[:, 1] - d * x) * (-b).exp()
        z = (vector[:, 2] - e * x - f * y) * (-c).exp()
        return vector, (x.square() + y.square() + z.square()) / temperature
