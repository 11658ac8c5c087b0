"""Landmarks to poses as a model: a source of landmarks, a set of them, a face model and a solver."""

from pathlib import Path

import numpy as np
import torch

from headposekit.errors import InputError
from headposekit.geometry.pnp import Solution, check_face_model
from headposekit.geometry.rotations import matrix_to_pose
from headposekit.landmarks.points import point_set, read_face_model
from headposekit.landmarks.solvers import Solver
from headposekit.landmarks.sources import Source
from headposekit.models.network import PoseNetwork
from headposekit.types import Batch, PoseOutput


class LandmarkPose(PoseNetwork):
    """Pose from landmarks; there is nothing to learn.

    Args:
        source: says where the landmarks are.
        solver: finds the poses.
        points: name of the landmarks that count, see `POINT_SETS`.
        face_model: a file, see `read_face_model`; null for the mean face.
        width, height: by which the face model is stretched.
        use_behind: take a solution behind the camera for a pose as well; it is counted all the same.

    Raises:
        InputError: an unknown set of points, one too small for the solver, an unusable face model, or a stretch that leaves
            nothing of it.
    """

    files = ("face_model",)

    def __init__(
        self,
        source: Source,
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
        check_face_model(self.face)
        self.needs_picture = source.needs_picture or solver.needs_picture

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B faces to their poses."""
        points = self.source(batch)[:, self.indices]
        sizes = np.array([picture.shape[1::-1] for picture in batch["picture"]], float) if self.solver.needs_picture else None
        return to_output(self.solver(points, self.face, sizes), self.use_behind, batch["pose"].device)


def to_output(solution: Solution, use_behind: bool, device: torch.device) -> PoseOutput:
    """Rotations of B faces as poses in degrees, NaN for those that are not to be used."""
    pose = matrix_to_pose(torch.from_numpy(solution.matrix))
    is_refused, is_behind = ~torch.isfinite(pose).all(dim=-1), torch.from_numpy(solution.is_behind)
    pose[is_refused if use_behind else is_refused | is_behind] = float("nan")
    return PoseOutput(pose.float().to(device), None, is_refused.to(device), is_behind.to(device))
