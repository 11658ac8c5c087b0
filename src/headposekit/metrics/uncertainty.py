"""How far the uncertainty that a network states can be trusted."""

import torch
from torch import Tensor

NOMINAL = (50, 90, 95)
"""Percent of the regions whose coverage is measured."""
KEPT = (90, 75, 50)
"""Percent of the faces that are left when the least certain ones are refused."""


def uncertainty_scores(error: Tensor, spread: Tensor, nll: Tensor, level: Tensor) -> dict[str, float]:
    """Scores of N faces, from (N,) each.

    Args:
        error: geodesic error in degrees.
        spread: of the rotation in degrees.
        nll: negative log density at the true rotation; the uniform distribution has 0.
        level: probability of the smallest region that reaches to the true rotation.

    Returns:
        means `nll` and `spread`; `coverage_50` and so on, percent of faces inside; `kept_90` and so on, mean error in degrees
        of the most certain 90 percent; `ause`, the area in degrees between the error over the share refused by spread and that
        refused by the error itself (the oracle), 0 for a perfect order.
    """
    by_spread, by_error = rejection_curve(error, spread), rejection_curve(error, error)
    scores = {"nll": nll.mean(), "spread": spread.mean()}
    scores |= {f"coverage_{percent}": 100 * (level <= percent / 100).double().mean() for percent in NOMINAL}
    scores |= {f"kept_{percent}": by_spread[-max(1, round(len(error) * percent / 100))] for percent in KEPT}
    scores["ause"] = (by_spread - by_error).mean()
    return {name: float(value) for name, value in scores.items()}


def rejection_curve(error: Tensor, order: Tensor) -> Tensor:
    """(N,) mean error of the faces that are left when none, one, two and so on with the largest `order` are refused."""
    ascending = error[torch.argsort(order, stable=True)].double()
    means = ascending.cumsum(0) / torch.arange(1, len(error) + 1)
    return means.flip(0)
