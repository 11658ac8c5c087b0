"""States of a head, with hysteresis and dwell time, and their events."""

import itertools

import numpy as np
import pytest

from headposekit.errors import InputError
from headposekit.inference.states import Events, State, States


@pytest.mark.parametrize(
    ("pose", "state"),
    [
        ((0, 0, 0), "facing"),
        ((19, -14, 40), "facing"),
        ((30, 0, 0), "left"),
        ((-30, 10, 0), "right"),
        ((10, 25, 0), "up"),
        ((-21, -25, 0), "down"),
        ((24, 16, 0), "left"),
        ((75, 0, 0), "away"),
        ((-50, 50, 0), "away"),  # 66 degrees off
        ((180, 0, 0), "away"),
    ],
)
def test_state_of_a_pose(pose: tuple[float, float, float], state: str) -> None:
    assert States().of(pose) == state
    assert States()(1, 0.0, pose) == State(state, 0.0)


def test_limits_are_wider_for_the_state_that_is() -> None:
    states = States(dwell=0.0)
    shown = [states(1, time, (yaw, 0.0, 0.0)).name for time, yaw in enumerate([0, 22, 24, 18, 16, 62, 64, 58, 56, -56])]
    assert shown == ["facing", "facing", "left", "left", "facing", "left", "away", "away", "left", "right"]
    states = States(dwell=0.0)
    assert [states(1, time, (25 * time, 14.0, 0.0)).name for time in (1, 0)] == ["left", "facing"]  # 14 of pitch is facing


def test_no_flicker_and_events_from_their_beginning() -> None:
    """A head turns to 40 degrees for 2 seconds; noise of 2 degrees at the limits, and a blink, change nothing."""
    rng = np.random.default_rng(0)
    time = np.arange(250) / 25
    yaw = np.interp(time, [0, 3, 3.5, 5.5, 6, 10], [17, 17, 40, 40, 0, 0]) + rng.normal(0, 2, 250)
    yaw[20:23] = 50  # 0.12 seconds
    written: list[dict] = []
    events, states = Events(written.extend), States()
    shown = [states(7, t, (y, 0.0, 0.0)) for t, y in zip(time, yaw, strict=True)]
    for t, state in zip(time, shown, strict=True):
        events.add("a.mp4", 7, t, state)
    assert len(written) == 2
    events.close()
    assert [row["state"] for row in written] == ["facing", "left", "facing"]
    assert written[1]["start"] == pytest.approx(3.1, abs=0.1)
    assert written[1]["end"] == pytest.approx(5.8, abs=0.1)
    assert (written[0]["start"], written[-1]["end"]) == (0, time[-1])
    assert [row["end"] for row in written[:-1]] == [row["start"] for row in written[1:]]
    names = [state.name for state in shown]
    assert names.index("left") / 25 == pytest.approx(written[1]["start"] + 0.3, abs=0.05)  # the frames' column comes later
    plain = [States().of((y, 0.0, 0.0)) for y in yaw]
    assert sum(one != other for one, other in itertools.pairwise(plain)) > 10


def test_events_end_with_the_video_and_with_a_face_that_is_lost() -> None:
    written: list[dict] = []
    events = Events(written.extend)
    facing = State("facing", 0.0)
    for time in range(3):
        events.add("a.mp4", 1, time, facing)
    for time in range(1, 12):
        events.add("a.mp4", 2, time, State("left", 1.0))
    assert written == [{"file": "a.mp4", "track": 1, "state": "facing", "start": 0.0, "end": 2}]
    events.add("b.mp4", 1, 0.0, facing)
    assert written[-1] == {"file": "a.mp4", "track": 2, "state": "left", "start": 1.0, "end": 11}
    events.close()
    assert written[-1]["file"] == "b.mp4"


@pytest.mark.parametrize("options", [{"margin": 20}, {"away": 10}, {"yaw": -1}, {"pitch": float("nan")}, {"dwell": -1}])
def test_refusals(options: dict) -> None:
    with pytest.raises(InputError, match="states"):
        States(**options)
