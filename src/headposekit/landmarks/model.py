"""Landmarks to poses as models: a source of landmarks, a set of them, a face model and a solver; or what 3DDFA has found."""

from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.geometry.rotations import matrix_to_pose
from headposekit.landmarks.points import point_set, read_face_model
from headposekit.landmarks.solvers import Solution, Solver, checked_face, nearest_rotation
from headposekit.landmarks.sources import LandmarkSource, read_arrays
from headposekit.models.network import PoseNetwork
from headposekit.types import Batch, PoseOutput

NUM_PARAMETERS = 62
NUM_CAMERA = 12
"""The first parameters of 3DDFA: a 3×4 matrix, row by row, of which the left 3×3 is the rotation times a scale (frame A)."""


class LandmarkPose(PoseNetwork):
    """Pose from landmarks; there is nothing to learn.

    Args:
        source: says where the landmarks are.
        solver: finds the poses.
        points: name of the landmarks that count, see `POINT_SETS`.
        face_model: a file, see `read_face_model`; null for the mean face.
        width, height: by which the face model is stretched.
        use_behind: take a solution behind the camera for a pose as well; it is counted all the same.
    """

    files = ("face_model",)

    def __init__(
        self,
        source: LandmarkSource,
        solver: Solver,
        points: str | int = "68",
        face_model: str | Path | None = None,
        width: float = 1.0,
        height: float = 1.0,
        use_behind: bool = False,
    ) -> None:
        super().__init__()
        for key, value in {"width": width, "height": height}.items():
            if not isinstance(value, int | float) or not 0 < value < float("inf"):
                raise InputError(f"model.{key}={value} stretches a face into nothing; give a number above 0")
        self.source, self.solver, self.use_behind = source, solver, use_behind
        self.indices = point_set(points)
        if len(self.indices) < solver.min_points:
            raise InputError(
                f"model.points={points} are too few for this solver: it needs {solver.min_points}; take more or another solver="
            )
        self.face = read_face_model(face_model)[self.indices] * np.array([width, height, 1.0])
        checked_face(self.face)
        self.needs_picture = source.needs_picture or solver.needs_picture

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B faces to their poses."""
        points = self.source(batch)[:, self.indices]
        sizes = np.array([picture.shape[1::-1] for picture in batch["picture"]], float) if self.solver.needs_picture else None
        return to_output(self.solver(points, self.face, sizes), self.use_behind, batch["pose"].device)


class ThreeDDFA(PoseNetwork):
    """Poses of 62-parameter predictions of 3DDFA, itself not run here, by the names of the faces.

    Args:
        path: an .npz file with `names` (N,) and `parameters` (N, 62).
        whitening: an .npz file with the `mean` (62,) and `std` (62,) that turn the network's numbers into parameters
            (`param_mean`, `param_std` of the published param_whitening.pkl); null where that has been done.

    Reference: Zhu et al., CVPR 2016; cleardusk/3DDFA.
    """

    files = ("path", "whitening")

    def __init__(self, path: str | Path, whitening: str | Path | None = None) -> None:
        super().__init__()
        self.path, self.whitening = Path(path), whitening

    @cached_property
    def _predicted(self) -> dict[str, NDArray[np.float64]]:
        names, parameters = read_arrays(self.path, names=(None,), parameters=(None, NUM_PARAMETERS))
        if self.whitening is not None:
            mean, std = read_arrays(Path(self.whitening), mean=(NUM_PARAMETERS,), std=(NUM_PARAMETERS,))
            parameters = parameters * std + mean
        return dict(zip(map(str, names), parameters, strict=True))

    def forward(self, batch: Batch) -> PoseOutput:
        """The poses of the named faces; one whose numbers are NaN, or no rotation, is refused."""
        if missing := [name for name in batch["name"] if name not in self._predicted]:
            raise InputError(f"{self.path}: no face {missing[0]} in it; predict it as well")
        camera = np.stack([self._predicted[name][:NUM_CAMERA] for name in batch["name"]]).reshape(-1, 3, 4)
        matrix, _ = nearest_rotation(camera[:, :2, :3])
        return to_output(Solution(matrix, np.zeros(len(matrix), dtype=bool)), False, batch["pose"].device)


def to_output(solution: Solution, use_behind: bool, device: torch.device) -> PoseOutput:
    """Rotations of B faces as poses in degrees, NaN for those that are not to be used."""
    pose = matrix_to_pose(torch.from_numpy(solution.matrix))
    is_refused, is_behind = ~torch.isfinite(pose).all(dim=-1), torch.from_numpy(solution.is_behind)
    pose[is_refused if use_behind else is_refused | is_behind] = float("nan")
    return PoseOutput(pose.float().to(device), is_refused=is_refused.to(device), is_behind=is_behind.to(device))
