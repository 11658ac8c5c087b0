"""The probabilistic heads against what is known of their distributions."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import ive
from torch import Tensor

from headposekit.geometry.bins import AngleBins
from headposekit.geometry.rotations import matrix_to_pose, nearest_pose, pose_to_matrix
from headposekit.geometry.so3 import quaternion_to_matrix, vector_to_quaternion
from headposekit.heads.base import HeadOutput, ProbabilisticHead
from headposekit.heads.bins import BinsHead
from headposekit.heads.fisher import FisherHead, log_c
from headposekit.heads.gaussian import GaussianHead
from headposekit.heads.laplace import LaplaceHead
from headposekit.heads.matrix import FINE, SCALE, MatrixHead, grid

SINGULAR = [(0.0, 0.0, 0.0), (1.0, 0.5, -0.3), (5.0, 5.0, 5.0), (300.0, 200.0, 100.0), (3000.0, 10.0, 1.0), (5e4, 5e4, 5e4)]
MODE = pose_to_matrix(torch.tensor([[35.0, -20.0, 10.0]]))
WIDTHS = torch.tensor([0.10, 0.05, 0.02])
"""Standard deviations in radians about the head's three axes."""


def concentrated(head: ProbabilisticHead) -> HeadOutput:
    """A distribution about MODE with WIDTHS."""
    if isinstance(head, GaussianHead):
        quaternion = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
        output = head(torch.cat([quaternion, WIDTHS.log().unsqueeze(0), torch.zeros(1, 3)], dim=-1))
        output.rotation = quaternion_to_matrix(quaternion)
        return output
    precision = WIDTHS**-2
    singular = precision.sum() / 2 - precision  # of each axis, the other two sum to its precision
    return head((MODE @ torch.diag(singular) / SCALE).flatten(1))


@pytest.mark.parametrize("singular", SINGULAR)
def test_normaliser_of_the_matrix_fisher_is_that_of_quadrature(singular: tuple[float, float, float]) -> None:
    s1, s2, s3 = singular

    def integrand(v: float) -> float:  # scaled by exp(-(s1 + s2 + s3)), v = 1 - u
        return ive(0, (s1 - s2) * v / 2) * ive(0, (s1 + s2) * (2 - v) / 2) * math.exp(-(s2 + s3) * v) / 2

    scale = 1 / max(s2 + s3, 0.5)
    edges = [0.0, *(min(2.0, scale * step) for step in (1, 10, 50))]
    expected = sum(quad(integrand, a, b, epsrel=1e-11)[0] for a, b in zip(edges, [*edges[1:], 2.0], strict=True))
    found = log_c(torch.tensor([singular], dtype=torch.float64)) - sum(singular)
    assert float(found) == pytest.approx(math.log(expected), abs=1e-8)


def test_gradient_of_the_normaliser() -> None:
    singular = torch.tensor([[3.0, 2.0, -1.0], [20.0, 5.0, 4.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_c, (singular,))


@pytest.mark.parametrize("singular", [*SINGULAR, (30.0, 20.0, 10.0), (500.0, 10.0, 1.0)])
@pytest.mark.parametrize("head", [FisherHead(), LaplaceHead()], ids=["fisher", "laplace"])
def test_grid_agrees_with_a_finer_one_and_with_the_integral(head: MatrixHead, singular: tuple[float, float, float]) -> None:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    values = torch.tensor(singular, dtype=torch.float64)
    stiff = (axes @ torch.diag(values.sum() - values) @ axes.mT).unsqueeze(0)

    def by_grid(*counts: int) -> float:
        _, energy, weight = head.rotations(stiff, grid(*counts))
        return float(torch.logsumexp(head.log_kernel(energy) + weight, dim=-1))

    assert by_grid(*FINE) == pytest.approx(by_grid(40, 20, 40), abs=1e-3)
    assert float(head.log_normaliser(stiff)) == pytest.approx(by_grid(40, 20, 40), abs=1e-3)


@pytest.mark.parametrize("head", [FisherHead(), LaplaceHead()], ids=["fisher", "laplace"])
def test_gradient_of_the_log_density(head: MatrixHead) -> None:
    torch.manual_seed(0)
    numbers = torch.randn(1, 9, dtype=torch.float64)
    true = torch.tensor([[30.0, 10.0, -5.0]], dtype=torch.float64)
    direction = torch.randn(1, 9, dtype=torch.float64)
    numbers.requires_grad_()
    head.log_density(head(numbers), true).sum().backward()
    with torch.no_grad():
        ahead, back = (float(head.log_density(head(numbers + step * direction), true)) for step in (1e-5, -1e-5))
    assert float((numbers.grad * direction).sum()) == pytest.approx((ahead - back) / 2e-5, rel=1e-3)


@pytest.mark.parametrize("head", [FisherHead(), GaussianHead()], ids=["fisher", "gaussian"])
def test_spreads_levels_and_densities_of_a_narrow_distribution(head: ProbabilisticHead) -> None:
    """Truths are drawn from the normal distribution that it is close to."""
    torch.manual_seed(0)
    output = concentrated(head)
    assert output.rotation is not None
    errors = torch.randn(2000, 3) * WIDTHS
    true = matrix_to_pose(output.rotation @ quaternion_to_matrix(vector_to_quaternion(errors)))
    spread, total = head.spreads(output)
    assert float(total) == pytest.approx(math.degrees(WIDTHS.norm()), rel=0.02)
    torch.testing.assert_close(spread[0], nearest_pose(true, output.pose.expand(2000, 3)).std(dim=0), rtol=0.06, atol=0.0)
    repeated = HeadOutput(output.pose, rotation=output.rotation.expand(2000, 3, 3), numbers=output.numbers.expand(2000, -1))
    level = head.level(repeated, true)
    for nominal in (0.5, 0.9, 0.95):
        assert float((level <= nominal).float().mean()) == pytest.approx(nominal, abs=0.025)
    entropy = 1.5 * math.log(2 * math.pi * math.e) + float(WIDTHS.log().sum()) - math.log(8 * math.pi**2)
    assert float(-head.log_density(repeated, true).mean()) == pytest.approx(entropy, abs=0.1)
    wider, _ = head.spreads(output, 4.0)
    torch.testing.assert_close(wider, 2 * spread, rtol=0.03, atol=0.0)


def test_levels_of_the_laplace_are_evenly_spread_over_its_own_samples() -> None:
    head = LaplaceHead()
    output = concentrated(head)
    assert output.rotation is not None
    torch.manual_seed(0)
    drawn = torch.randn(40_000, 4)
    drawn = drawn / drawn.norm(dim=-1, keepdim=True)
    stiff = torch.diag(WIDTHS**-2).unsqueeze(0)
    vector, energy, weight = head.rotations(stiff, (drawn, torch.zeros(40_000)))
    chance = (head.log_kernel(energy) + weight).softmax(dim=-1)[0]
    chosen = torch.multinomial(chance, 1000, replacement=True)
    x = vector[0, chosen]
    quaternion = torch.cat([(1 - x.square().sum(dim=-1, keepdim=True)).sqrt(), x], dim=-1)
    true = matrix_to_pose(output.rotation @ quaternion_to_matrix(quaternion))
    repeated = HeadOutput(output.pose, rotation=output.rotation.expand(1000, 3, 3), numbers=output.numbers.expand(1000, -1))
    level = head.level(repeated, true)
    for nominal in (0.5, 0.9, 0.95):
        assert float((level <= nominal).float().mean()) == pytest.approx(nominal, abs=0.04)


def test_bins_of_a_normal_distribution_have_its_spread() -> None:
    head = BinsHead(AngleBins(decoding="centre"))
    centres = head.bins.angles(torch.zeros(66))
    logits = [-((centres - mean) ** 2) / (2 * width**2) for mean, width in ((20.0, 8.0), (-5.0, 5.0), (3.0, 4.0))]
    output = head(torch.cat(logits).unsqueeze(0))
    spread, total = head.spreads(output)
    torch.testing.assert_close(output.pose, torch.tensor([[20.0, -5.0, 3.0]]), atol=0.05, rtol=0)
    torch.testing.assert_close(spread, torch.tensor([[8.0, 5.0, 4.0]]), rtol=0.03, atol=0.0)
    assert float(total) == pytest.approx(math.sqrt(64 + 25 + 16), rel=0.03)
    torch.manual_seed(0)
    true: Tensor = output.pose + torch.randn(2000, 3) * torch.tensor([8.0, 5.0, 4.0])
    repeated = HeadOutput(output.pose, numbers=output.numbers.expand(2000, -1))
    assert float((head.level(repeated, true) <= 0.9).float().mean()) == pytest.approx(0.9, abs=0.025)
