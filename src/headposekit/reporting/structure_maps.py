"""Figure 5 of FSA-Net: what the structure mapping of a trained network looks at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.models.fsanet import GRID, NUM_STAGES
from headposekit.reporting.tables import Table
from headposekit.weights.checkpoint import load_checkpoint

WEIGHTS = ScalarMappable(Normalize(0, 1), "inferno")


@dataclass(frozen=True)
class StructureMaps:
    """Draws rows of a stage's structure map over faces of a test set, from the checkpoint of one row of a table.

    Args:
        datamodules: test sets by name.
        label: the row of the table whose network is looked into.
        stage: which of the three structure maps.
        rows: which of its rows.
        num_faces: faces, evenly spaced over the test set's yaw.
    """

    datamodules: Mapping[str, HeadPoseDataModule]
    label: str
    stage: int = 0
    rows: tuple[int, ...] = (0, 1, 2, 3)
    num_faces: int = 4

    def __call__(self, table: Table, test_set: str) -> Figure | None:
        """The figure; None where the network has not been trained.

        Raises:
            InputError: no such row, or its network has no structure mapping.
        """
        row = next((row for row in table.rows if row.label == self.label), None)
        if row is None:
            raise InputError(f"figures: label={self.label} is no row of {table.title}")
        if not row.checkpoints or test_set not in row.measured:
            return None
        loaded = load_checkpoint(row.checkpoints[0])
        datamodule = self.datamodules[test_set]
        order = np.argsort(datamodule.dataset.pose[:, 0])
        chosen = order[np.linspace(0, len(order) - 1, self.num_faces + 2).astype(int)[1:-1]].tolist()
        batch = datamodule.faces(chosen)
        with torch.no_grad():
            output: Any = loaded.model(batch)
        if output.structure_map is None:
            raise InputError(f"figures: {self.label} has no structure mapping (scoring=none); name another row")
        maps = output.structure_map[:, self.stage, list(self.rows)].unflatten(-1, (NUM_STAGES, GRID, GRID))
        title = f"{table.title}: structure map of stage {self.stage + 1}, {self.label}, {table.test_sets[test_set]}"
        return draw_maps(title, batch["image"].permute(0, 2, 3, 1).numpy(), maps.numpy())


def draw_maps(title: str, crops: NDArray[np.uint8], maps: NDArray[np.floating[Any]]) -> Figure:
    """Rows of a structure map over the faces they were computed for.

    Args:
        title: of the figure.
        crops: (N, 64, 64, 3), RGB.
        maps: (N, R, K, 8, 8): R rows of one stage's map, each folded to the K stages it weighs.
    """
    faces, rows, stages = maps.shape[:3]
    figure = Figure(figsize=(1.1 * (1 + rows * stages) + 0.8, 1.15 * faces + 1.1), layout="constrained")
    grid: Any = figure.subplots(faces, 1 + rows * stages, squeeze=False)
    for (face, column), axis in np.ndenumerate(grid):
        row, stage = divmod(column - 1, stages)
        axis.imshow(overlay(crops[face], maps[face, row, stage]) if column else crops[face])
        axis.set(xticks=[], yticks=[])
        if column and face == 0:
            axis.set_title(f"row {row + 1}\nstage {stage + 1}", fontsize=8)
    figure.colorbar(WEIGHTS, ax=grid, label="weight (sigmoid)", fraction=0.02, pad=0.01)
    figure.suptitle(title)
    return figure


def overlay(crop: NDArray[np.uint8], weights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Weights in [0, 1], (8, 8), as colours over a face (64, 64, 3): RGB in [0, 1] of the face's size.

    Blended here, because what is transparent in a figure takes the colour of the page.
    """
    colors = WEIGHTS.to_rgba(np.kron(weights, np.ones(np.array(crop.shape[:2]) // weights.shape)))[..., :3]
    blended: NDArray[np.float64] = 0.3 * crop / 255 + 0.7 * colors
    return blended
