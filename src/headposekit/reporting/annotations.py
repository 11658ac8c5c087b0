"""By how much a second annotation of AFLW2000's faces disagrees with the labels that networks were tested on."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.landmarks.labels import read_labels
from headposekit.metrics.alignment import pose_errors
from headposekit.reporting.tables import WITHIN, Measured, Table
from headposekit.training.rules import is_official


class Disagreement(NamedTuple):
    """Of two annotations."""

    mae: float  # degrees
    words: str


class Annotations:
    """A second annotation, to be laid beside every result on AFLW2000 with its official labels.

    Args:
        path: a file of `headposekit.landmarks.labels.read_labels`; null for none.

    Raises:
        InputError: see `read_labels`.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = None if path is None else Path(path)
        self.poses: Mapping[str, NDArray[np.float64]] = {} if self.path is None else read_labels(self.path)
        self.is_used = False

    def disagreement(self, measured: Measured) -> Disagreement | None:
        """With the labels of a test, over the faces that both have; None where it is of another data set, or there are none."""
        if not self.poses or measured.rules["dataset"] != "AFLW2000" or not is_official(measured.rules):
            return None
        predictions = measured.predictions[0] if measured.predictions else {}
        official = {name: true for name, (true, _) in predictions.items() if np.isfinite(true).all()}
        names = [name for name in official if name in self.poses]
        if not names:
            return None
        self.is_used = True
        ours, theirs = (torch.from_numpy(np.stack([poses[name] for name in names])) for poses in (official, self.poses))
        errors = pose_errors(theirs, ours)
        words = (
            f"A second annotation ({self.path.name if self.path else ''}) disagrees with the official labels by MAE "
            f"{errors['mae']:.2f}, geodesic {errors['geodesic']:.2f} degrees on {len(names):,} of these faces; "
            f"differences below {errors['mae']:.2f} degrees are within the disagreement of two annotations"
        )
        return Disagreement(errors["mae"], words)

    def annotate(self, table: Table) -> None:
        """Say the disagreement below a table, and have its smaller differences marked."""
        for test_set, name in table.test_sets.items():
            for measured in (row.measured[test_set] for row in table.rows if test_set in row.measured):
                if found := self.disagreement(measured):
                    table.tolerances[test_set] = found.mae
                    marked = f"marked {WITHIN} (from the least error; in the column difference, from the published one)"
                    table.remarks.append(f"{name}: {found.words}, {marked}.")
                    break

    def check_used(self) -> None:
        """Refuse a file that could be laid beside nothing."""
        if self.path is not None and not self.is_used:
            raise InputError(
                f"annotations={self.path}: no run was tested on a face that it names, with AFLW2000's official labels; "
                "names are such as image00002"
            )
