"""A person's neutral pose, measured while they look straight ahead; other poses are then relative to it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.inference.estimator import HeadPose
from headposekit.safe_files import read_json
from headposekit.types import Triple

MIN_FACES = 5
"""Frames without which a neutral pose says nothing."""
NUM_STEPS = 30
MAX_NEUTRAL = 10**5
"""Bytes of a file of neutral poses."""


@dataclass(frozen=True)
class Neutral:
    """A neutral pose. Called with a pose, it says that pose relative to itself: N^T R, angles about the neutral head's axes.

    So the tilt of a camera that is not known is taken off with it.

    Attributes:
        yaw, pitch, roll: degrees.
        spread: median rotation in degrees of the frames away from it.
        faces: frames that it was made of.
    """

    yaw: float
    pitch: float
    roll: float
    spread: float = 0.0
    faces: int = 0

    @classmethod
    def of(cls, poses: Sequence[Triple]) -> "Neutral":
        """The robust mean of poses; InputError for fewer than `MIN_FACES`.

        A geometric median first, then a mean in which what lies far off counts nothing (Tukey's weights), so that blinks and
        glances aside, for less than half of the time, move it little.
        """
        if len(poses) < MIN_FACES:
            raise InputError(f"{len(poses)} poses are too few for a neutral one; give {MIN_FACES} or more")
        turns = Rotation.from_matrix(pose_to_matrix(torch.tensor(poses, dtype=torch.float64)).numpy())
        middle = turns.mean()
        for step in range(NUM_STEPS):
            off = (middle.inv() * turns).as_rotvec(degrees=True)
            distance = np.linalg.norm(off, axis=1)
            weight = 1 / np.maximum(distance, 0.1)
            if step >= NUM_STEPS // 2:
                weight = np.clip(1 - (distance / (3 * np.median(distance) + 0.1)) ** 2, 0, 1) ** 2
            middle = middle * Rotation.from_rotvec(weight @ off / weight.sum(), degrees=True)
        yaw, pitch, roll = matrix_to_pose(torch.from_numpy(middle.as_matrix())).tolist()
        return cls(yaw, pitch, roll, float(np.median(distance)), len(poses))

    def __call__(self, pose: HeadPose) -> HeadPose:
        """A face's pose relative to this one."""
        return pose.turned(self.rotation.T)

    @property
    def rotation(self) -> NDArray[np.float64]:
        """(3, 3), frame A."""
        matrix: NDArray[np.float64] = pose_to_matrix(
            torch.tensor([self.yaw, self.pitch, self.roll], dtype=torch.float64)
        ).numpy()
        return matrix


def write_neutrals(path: Path, people: Mapping[tuple[str, int], Neutral]) -> None:
    """Write the neutral poses of people, by the name of the video and the identity in it, as a JSON file."""
    rows = [{"file": name, "track": track, **asdict(neutral)} for (name, track), neutral in people.items()]
    write_json(path, {"neutral": rows})


def read_neutral(path: str | Path) -> Neutral:
    """The neutral pose in a file of `write_neutrals`; InputError where it does not hold exactly one."""
    content = read_json(path, MAX_NEUTRAL)
    people = content.get("neutral") if isinstance(content, dict) else None
    if not isinstance(people, list) or not all(isinstance(one, dict) for one in people):
        raise InputError(f"{path}: not a file of neutral poses; make one by calibrate=SECONDS")
    if len(people) != 1:
        raise InputError(f"{path}: the neutral poses of {len(people)} people; leave in it the one who is to be seen")
    yaw, pitch, roll = angles = [people[0].get(angle) for angle in ANGLES]
    if not all(type(angle) in (int, float) and abs(angle) <= 360 for angle in angles):
        raise InputError(f"{path}: its yaw, pitch and roll are no three angles in degrees; make it again by calibrate=SECONDS")
    return Neutral(float(yaw), float(pitch), float(roll))


class Calibration:
    """Finds the neutral poses of the faces of a video, called with identity, seconds and pose of each.

    Args:
        given: seconds from the first sight of a face on, in which it looks straight ahead; or a neutral pose for all faces.
    """

    def __init__(self, given: float | Neutral) -> None:
        self.given = given
        self.neutrals: dict[int, Neutral] = {}
        self._seen: dict[int, tuple[float, list[Triple]]] = {}

    def __call__(self, track: int, time: float, pose: Triple) -> Neutral | float:
        """The neutral pose; or, where it is not known yet, the second at which the face was first seen."""
        if isinstance(self.given, Neutral):
            return self.given
        if track not in self.neutrals:
            first, poses = self._seen.setdefault(track, (time, []))
            poses.append(pose)
            if time - first < self.given or len(poses) < MIN_FACES:
                return first
            self.neutrals[track] = Neutral.of(self._seen.pop(track)[1])
        return self.neutrals[track]


def calibration_of(value: float | str | Path | Neutral) -> float | Neutral:
    """What `calibrate=` means: seconds, or a file of a neutral pose; InputError for anything else."""
    if isinstance(value, str | Path):
        return read_neutral(value)
    if not isinstance(value, Neutral) and not 0 < value <= 3600:
        raise InputError(f"calibrate={value} is no time; give seconds, or a file that calibrate=SECONDS has made")
    return value
