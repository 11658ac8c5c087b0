"""Errors without the mean rotation, and by band of yaw."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.metrics.alignment import align, aligned_errors, errors_by_view, errors_by_yaw, pose_errors

SMALL = st.floats(-20, 20)  # larger turns lead to poses that have two triples of angles


@given(st.tuples(SMALL, SMALL, SMALL))
def test_a_constant_turn_of_the_head_is_taken_off(offset: tuple[float, float, float]) -> None:
    true = torch.empty(50, 3, dtype=torch.float64).uniform_(-40, 40, generator=torch.Generator().manual_seed(0))
    turn = torch.tensor(offset, dtype=torch.float64)
    predicted = matrix_to_pose(pose_to_matrix(true) @ pose_to_matrix(turn).mT)
    aligned, found = align(predicted, true)
    torch.testing.assert_close(found, turn, atol=1e-6, rtol=0)
    assert pose_errors(aligned, true)["geodesic"] < 1e-6
    errors = aligned_errors(predicted, true)
    assert errors["aligned_mae"] < 1e-6
    assert errors["offset_pitch"] == pytest.approx(offset[1], abs=1e-6)


def test_faces_seen_from_behind_do_not_move_the_mean() -> None:
    true = torch.zeros(10, 3)
    predicted = true.clone()
    predicted[0, 0] = 170.0
    assert aligned_errors(predicted, true)["offset_yaw"] == pytest.approx(0, abs=1e-6)
    assert aligned_errors(predicted, true)["aligned_mae"] == pytest.approx(170 / 30, abs=1e-4)
    backwards = torch.full((2, 3), 180.0)
    torch.testing.assert_close(align(backwards, torch.zeros(2, 3))[0], backwards)


def test_bands_by_the_yaw_of_the_label() -> None:
    true = torch.tensor([[0.0, 0, 0], [-14.9, 0, 0], [15, 0, 0], [-70, 0, 0], [90, 0, 0]])
    predicted = true + torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 0, 6], [9, 0, 0], [3, 0, 0]])
    bands = errors_by_yaw(predicted, true)
    assert {name: band["n"] for name, band in bands.items()} == {"0-15": 2, "15-30": 1, "60-180": 2}
    assert bands["0-15"]["mae"] == pytest.approx(1)
    assert bands["15-30"]["roll"] == pytest.approx(6)
    assert bands["60-180"]["yaw"] == pytest.approx(6)


def test_views_of_the_full_range_are_told_apart_by_the_head_not_by_its_angles() -> None:
    """Each label also in its other angles, as a rotation matrix gives them; all predictions 10 degrees of yaw off, one 170."""
    true = torch.tensor([[10.0, 0, 0], [-90, 0, 0], [179, 0, 0], [-170, 10, 5]])
    predicted = true + torch.tensor([10.0, 0, 0])
    predicted[0, 0] = -160
    for labels in (true, torch.stack([180 - true[:, 0], true[:, 1] + 180, true[:, 2] + 180], dim=1)):
        views = errors_by_view(predicted, labels)
        assert {name: view["n"] for name, view in views.items()} == {"all": 4, "front": 1, "profile": 1, "behind": 2}
        assert views["front"]["yaw"] == pytest.approx(170, abs=1e-3)
        assert views["front"]["over_90"] == 1.0
        assert views["behind"]["yaw"] == pytest.approx(10, abs=1e-3)
        assert views["behind"]["mae"] == pytest.approx(10 / 3, abs=1e-3)
        assert views["behind"]["over_90"] == 0.0
        assert views["all"]["over_90"] == 0.25
        assert "mae" not in views["profile"]
        assert "mae" not in views["all"]
