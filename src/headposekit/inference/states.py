"""Where somebody faces: facing, left, right, up, down or away, without flicker; as a name for each frame, and as events."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from headposekit.errors import InputError
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.types import Triple

CALIBRATING = "calibrating"
"""In place of a state, until the neutral pose is known."""
LOST = 5.0
"""Seconds after which the event of a face that is not seen any more is over."""
EVENT_COLUMNS = ("file", "track", "state", "start", "end")


class State(NamedTuple):
    """A state and the second at which it began."""

    name: str
    since: float


class States:
    """The states of the faces of one video, called with identity, seconds and pose of each.

    `facing`: yaw and pitch are both within their limits. `away`: the nose points more than `away` degrees off straight ahead.
    Between them `left`, `right` (as the picture shows them: positive yaw is left), `up` or `down`, after the angle that is the
    larger share of its limit. A state is left when its limits are passed by `margin` degrees (hysteresis), and another has then
    been true for `dwell` seconds; that one counts from when it became true.

    Args:
        yaw, pitch: degrees on each side of straight ahead.
        away: degrees, more than both.
        margin: degrees, less than both.
        dwell: seconds.

    Raises:
        InputError: limits in another order, or a negative time.
    """

    def __init__(
        self, yaw: float = 20.0, pitch: float = 15.0, away: float = 60.0, margin: float = 3.0, dwell: float = 0.3
    ) -> None:
        if not (0 <= margin < yaw < away <= 180 and margin < pitch < away):
            raise InputError(
                f"states: margin={margin}, yaw={yaw}, pitch={pitch}, away={away}; "
                "give 0 <= margin < yaw and pitch < away <= 180"
            )
        if not dwell >= 0:
            raise InputError(f"states.dwell={dwell} is less than 0; give seconds")
        self.yaw, self.pitch, self.away, self.margin, self.dwell = yaw, pitch, away, margin, dwell
        self._states: dict[int, State] = {}
        self._next: dict[int, State] = {}  # what may become the state

    def of(self, pose: Triple, current: str | None = None) -> str:
        """The state of one pose; of a face that is in another, whose limits are then wider."""
        yaw, pitch, _ = pose
        nose = pose_to_matrix(torch.tensor(pose, dtype=torch.float64))[2, 2].clamp(-1, 1)
        off = float(torch.rad2deg(torch.acos(nose)))
        if off > self.away + {None: 0.0, "away": -self.margin}.get(current, self.margin):
            return "away"
        wider = self.margin if current == "facing" else 0.0
        most_yaw = self.yaw - self.margin if current in ("left", "right") else self.yaw + wider
        most_pitch = self.pitch - self.margin if current in ("up", "down") else self.pitch + wider
        if abs(yaw) <= most_yaw and abs(pitch) <= most_pitch:
            return "facing"
        shares = {"left": yaw / self.yaw, "right": -yaw / self.yaw, "up": pitch / self.pitch, "down": -pitch / self.pitch}
        if current in shares:
            shares[current] += self.margin / (self.yaw if current in ("left", "right") else self.pitch)
        return max(shares, key=lambda name: shares[name])

    def __call__(self, track: int, time: float, pose: Triple) -> State:
        """The state of a face in the next frame."""
        current = self._states.get(track)
        if current is None:
            self._states[track] = State(self.of(pose), time)
            return self._states[track]
        name = self.of(pose, current.name)
        if name == current.name:
            self._next.pop(track, None)
            return current
        if track not in self._next or self._next[track].name != name:
            self._next[track] = State(name, time)
        if time - self._next[track].since >= self.dwell:
            self._states[track] = self._next.pop(track)
        return self._states[track]


class Events:
    """The states of all videos as rows (file, track, state, start, end in seconds), each written when it is over.

    Args:
        write: is given the rows.
    """

    def __init__(self, write: Callable[[list[dict[str, Any]]], None]) -> None:
        self.write = write
        self._file = ""
        self._open: dict[int, tuple[State, float]] = {}  # of each face, and when it was last seen

    def add(self, file: str, track: int, time: float, state: State) -> None:
        """Note the state of a face in a frame."""
        if file != self._file:
            self.close()
            self._file = file
        for other in [key for key, (_, last) in self._open.items() if time - last > LOST]:
            self._end(other, self._open[other][1])
        if track in self._open and self._open[track][0] != state:
            self._end(track, state.since)
        self._open[track] = state, time

    def close(self) -> None:
        """End what is not over yet, at the last sight of each face."""
        for track in sorted(self._open):
            self._end(track, self._open[track][1])

    def _end(self, track: int, end: float) -> None:
        state, _ = self._open.pop(track)
        self.write(
            [{"file": self._file, "track": track, "state": state.name, "start": round(state.since, 4), "end": round(end, 4)}]
        )
