"""Figure 5 of FSA-Net: what the structure mapping of a trained network looks at."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.models.fsanet import GRID, NUM_STAGES
from headposekit.reporting.figures import structure_maps
from headposekit.reporting.tables import Table
from headposekit.weights.checkpoint import load_checkpoint


class StructureMaps:
    """Draws rows of a stage's structure map over faces of a test set, from the checkpoint of one row of a table.

    Args:
        datamodules: test sets by name.
        label: the row of the table whose network is looked into.
        stage: which of the three structure maps.
        rows: which of its rows.
        num_faces: faces, evenly spaced over the test set's yaw.
    """

    def __init__(
        self,
        datamodules: Mapping[str, HeadPoseDataModule],
        label: str,
        stage: int = 0,
        rows: tuple[int, ...] = (0, 1, 2, 3),
        num_faces: int = 4,
    ) -> None:
        self.datamodules, self.label, self.stage, self.rows, self.num_faces = datamodules, label, stage, list(rows), num_faces

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
        dataset = datamodule.dataset
        order = np.argsort(dataset.pose[:, 0])
        chosen = order[np.linspace(0, len(order) - 1, self.num_faces + 2).astype(int)[1:-1]].tolist()
        batch = datamodule.faces(chosen)
        with torch.no_grad():
            output: Any = loaded.model(batch)
        if output.structure_map is None:
            raise InputError(f"figures: {self.label} has no structure mapping (scoring=none); name another row")
        maps = output.structure_map[:, self.stage, self.rows].unflatten(-1, (NUM_STAGES, GRID, GRID))
        title = f"{table.title}: structure map of stage {self.stage + 1}, {self.label}, {table.test_sets[test_set]}"
        return structure_maps(title, batch["image"].permute(0, 2, 3, 1).numpy(), maps.numpy())
