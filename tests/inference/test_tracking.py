import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headposekit.errors import InputError
from headposekit.inference.tracking import Tracker

LEFT, RIGHT = np.array([0.0, 0, 100, 100]), np.array([200.0, 0, 300, 100])


def test_people_keep_their_identity_while_they_move_and_swap_places_in_the_list() -> None:
    tracker = Tracker()
    assert tracker(np.array([LEFT, RIGHT])) == [1, 2]
    for step in range(1, 20):
        assert tracker(np.array([RIGHT + 9 * step, LEFT + 9 * step])) == [2, 1]


def test_the_sum_of_overlaps_decides_not_the_first_come() -> None:
    tracker = Tracker()
    tracker(np.array([[0.0, 0, 100, 100], [30.0, 0, 130, 100]]))
    # Both new boxes overlap most with the second; only one may have it.
    assert tracker(np.array([[28.0, 0, 128, 100], [8.0, 0, 108, 100]])) == [2, 1]


@pytest.mark.parametrize(("missing", "identity"), [(5, 1), (6, 2)], ids=["found in time", "too late"])
def test_patience(missing: int, identity: int) -> None:
    tracker = Tracker(patience=5)
    tracker(LEFT[None])
    for _ in range(missing):
        assert tracker(np.empty((0, 4))) == []
    assert tracker(LEFT[None]) == [identity]


def test_a_jump_is_somebody_else() -> None:
    tracker = Tracker()
    tracker(LEFT[None])
    assert tracker(RIGHT[None]) == [2]


@given(st.lists(st.lists(st.tuples(*[st.integers(0, 50)] * 4), max_size=5), max_size=6))
def test_identities_of_a_frame_differ(frames: list[list[tuple[int, ...]]]) -> None:
    tracker = Tracker()
    for faces in frames:
        boxes = np.array([[x, y, x + 1 + w, y + 1 + h] for x, y, w, h in faces], dtype=float).reshape(-1, 4)
        found = tracker(boxes)
        assert len(found) == len(boxes) == len(set(found))
        assert min(found, default=1) >= 1


@pytest.mark.parametrize("options", [{"min_overlap": 0}, {"min_overlap": 1.1}, {"patience": -1}], ids=str)
def test_refusals(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give an overlap in"):
        Tracker(**options)
