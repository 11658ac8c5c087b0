import pytest
import torch

from headposekit.metrics.uncertainty import rejection_curve, uncertainty_scores


def test_rejection_by_hand() -> None:
    error, spread = torch.tensor([1.0, 9.0, 2.0, 4.0]), torch.tensor([1.0, 3.0, 4.0, 2.0])
    assert rejection_curve(error, error).tolist() == pytest.approx([4, 7 / 3, 1.5, 1])
    assert rejection_curve(error, spread).tolist() == pytest.approx([4, 14 / 3, 2.5, 1])
    scores = uncertainty_scores(error, spread, torch.tensor([1.0, 2.0, 3.0, 6.0]), torch.tensor([0.1, 0.4, 0.93, 0.99]))
    assert scores["ause"] == pytest.approx((14 / 3 - 7 / 3 + 1) / 4)
    assert (scores["nll"], scores["spread"]) == (3, 2.5)
    assert [scores[f"coverage_{percent}"] for percent in (50, 90, 95)] == [50, 50, 75]
    assert (scores["kept_75"], scores["kept_50"]) == (pytest.approx(14 / 3), 2.5)


def test_perfect_order_has_no_area() -> None:
    torch.manual_seed(0)
    error = torch.rand(100)
    scores = uncertainty_scores(error, 3 * error, error, error)
    assert scores["ause"] == pytest.approx(0)
    assert scores["kept_90"] < float(error.mean())
