import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins

ANGLES = st.floats(-99, 98.75, width=32)


def test_hopenets_bins() -> None:
    bins = AngleBins()
    assert bins.num_bins == 66
    edges = np.arange(-99, 102, 3)
    angles = torch.tensor([-99.0, -96.1, -96.0, 0.0, 2.99, 3.0, 98.9])
    assert bins.labels(angles).tolist() == (np.digitize(angles.numpy(), edges) - 1).tolist()  # the published line


@given(ANGLES)
def test_the_centre_of_an_angles_bin_is_near_and_its_lower_edge_below(angle: float) -> None:
    value = torch.tensor([angle])
    centre, left = AngleBins(decoding="centre"), AngleBins()
    label = centre.labels(value)
    assert abs(centre.angles(value)[label] - value) <= 1.5 + 1e-4
    assert 0 <= float(value - left.angles(value)[label]) <= 3


def test_left_edges_are_a_degree_and_a_half_too_low() -> None:
    angles = torch.rand(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 198 - 99
    for decoding, bias, error in (("left", -1.5, 1.5), ("centre", 0.0, 0.75)):
        bins = AngleBins(decoding=decoding)  # type: ignore[arg-type]
        sure = torch.nn.functional.one_hot(bins.labels(angles), 66).double() * 1000
        mean, std = bins.decode(sure)
        assert float((mean - angles).mean()) == pytest.approx(bias, abs=0.02)
        assert float((mean - angles).abs().mean()) == pytest.approx(error, abs=0.02)
        assert std.max() < 1e-6


def test_expectation_and_deviation_by_hand() -> None:
    bins = AngleBins(limit=6, width=3, decoding="left")  # -6, -3, 0, 3
    mean, std = bins.decode(torch.log(torch.tensor([0.5, 0.0, 0.0, 0.5])))
    assert float(mean) == pytest.approx(-1.5)
    assert float(std) == pytest.approx(4.5)


@pytest.mark.parametrize("angle", [99.0, 120.0, -99.1, float("nan")])
def test_an_angle_without_a_bin_is_refused(angle: float) -> None:
    with pytest.raises(InputError, match=r"lies in no bin of ±99; lower data\.max_angle"):
        AngleBins().check(torch.tensor([0.0, angle]))


def test_bins_that_cannot_be() -> None:
    with pytest.raises(InputError, match="not made of whole bins"):
        AngleBins(limit=99, width=4)
    with pytest.raises(InputError, match="not made of whole bins"):
        AngleBins(width=0)
    with pytest.raises(InputError, match="choose left, centre"):
        AngleBins(decoding="middle")  # type: ignore[arg-type]
