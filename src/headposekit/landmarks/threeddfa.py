"""Poses from what 3DDFA has predicted (Zhu et al., CVPR 2016; cleardusk/3DDFA), itself not run here."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.geometry.pnp import Solution, nearest_rotation
from headposekit.landmarks.model import to_output
from headposekit.models.network import PoseNetwork
from headposekit.safe_files import read_npz
from headposekit.types import Batch, PoseOutput

NUM_PARAMETERS = 62
NUM_CAMERA = 12
"""The first parameters: a 3×4 matrix, row by row, of which the left 3×3 is the rotation times a scale (frame A)."""


class ThreeDDFA(PoseNetwork):
    """Poses of 62-parameter predictions, by the names of the faces.

    Args:
        path: an .npz file with `names` (N,) and `parameters` (N, 62).
        whitening: an .npz file with the `mean` (62,) and `std` (62,) that turn the network's numbers into parameters
            (`param_mean`, `param_std` of the published param_whitening.pkl); null where that has been done.

    Raises:
        InputError: a file is missing or holds something else, or a face is missing.
    """

    files = ("path", "whitening")

    def __init__(self, path: str | Path, whitening: str | Path | None = None) -> None:
        super().__init__()
        self.path, self.whitening = Path(path), whitening

    @cached_property
    def _predicted(self) -> dict[str, NDArray[np.float64]]:
        names, parameters = _read(self.path, "names", "parameters")
        if parameters.shape != (len(names), NUM_PARAMETERS):
            raise InputError(f"{self.path}: parameters have the shape {parameters.shape}, expected ({len(names)}, 62)")
        if self.whitening is not None:
            mean, std = _read(Path(self.whitening), "mean", "std")
            if mean.shape != (NUM_PARAMETERS,) or std.shape != (NUM_PARAMETERS,):
                raise InputError(f"{self.whitening}: mean and std have the shapes {mean.shape}, {std.shape}, expected (62,)")
            parameters = parameters * std + mean
        return dict(zip(map(str, names), parameters, strict=True))

    def forward(self, batch: Batch) -> PoseOutput:
        """The poses of the named faces; one whose numbers are NaN, or no rotation, is refused."""
        if missing := [name for name in batch["name"] if name not in self._predicted]:
            raise InputError(f"{self.path}: no face {missing[0]} in it; predict it as well")
        camera = np.stack([self._predicted[name][:NUM_CAMERA] for name in batch["name"]]).reshape(-1, 3, 4)
        matrix, _ = nearest_rotation(camera[:, :2, :3])
        return to_output(Solution(matrix, np.zeros(len(matrix), dtype=bool)), False, batch["pose"].device)


def _read(path: Path, *keys: str) -> tuple[NDArray[Any], ...]:
    try:
        arrays = read_npz(path)
    except InputError as error:
        raise InputError(f"{error} (give an .npz file with {' and '.join(keys)})") from error
    if missing := [key for key in keys if key not in arrays or not arrays[key].ndim]:
        raise InputError(f"{path}: no array {missing[0]}, expected an .npz file with {' and '.join(keys)}; write it again")
    return tuple(arrays[key] for key in keys)
