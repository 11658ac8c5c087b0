"""Tracker: the identity of faces from frame to frame, by the overlap of their boxes."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

from headposekit.errors import InputError


class Tracker:
    """Gives the faces of a video identities 1, 2, ...; called with each frame's boxes in turn.

    Faces of a frame are paired with those seen before so that the overlaps add up to the most (Hungarian method); a face
    without a partner is a new one.

    Args:
        min_overlap: intersection over union that two boxes of one face have at least.
        patience: frames for which a face that is not found is waited for; its last box counts.

    Raises:
        InputError: an overlap not in (0, 1], or a negative patience.
    """

    def __init__(self, min_overlap: float = 0.3, patience: int = 10) -> None:
        if not 0 < min_overlap <= 1 or patience < 0:
            raise InputError(f"min_overlap={min_overlap} patience={patience}: give an overlap in (0, 1] and 0 frames or more")
        self.min_overlap, self.patience = min_overlap, patience
        self._known: dict[int, tuple[NDArray[np.float64], int]] = {}  # identity to last box and frames since
        self._count = 0

    def __call__(self, boxes: NDArray[np.float64]) -> list[int]:
        """Identities of the N boxes (N, 4) of the next frame."""
        self._known = {track: (box, age + 1) for track, (box, age) in self._known.items() if age <= self.patience}
        tracks = list(self._known)
        found = [0] * len(boxes)
        if tracks and len(boxes):
            known = np.stack([self._known[track][0] for track in tracks])
            overlap = box_iou(torch.from_numpy(known), torch.from_numpy(np.asarray(boxes, dtype=np.float64))).numpy()
            # What overlaps too little is no pair, rather than a bad one that keeps a good one from being made.
            rows, columns = linear_sum_assignment(np.where(overlap < self.min_overlap, 0, overlap), maximize=True)
            for row, column in zip(rows, columns, strict=True):
                if overlap[row, column] >= self.min_overlap:
                    found[column] = tracks[row]
        for number, box in enumerate(boxes):
            if not found[number]:
                self._count += 1
                found[number] = self._count
            self._known[found[number]] = (box, 0)
        return found
