"""What a test set's faces go through so that one sees what an estimator can bear: a function of seed and face alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from headposekit.data.augmentation import Floats, LowResolution
from headposekit.data.corruption import STRENGTHS, Corruption, Kind
from headposekit.data.dataset import check_seed
from headposekit.data.plan import Labels
from headposekit.errors import InputError
from headposekit.types import Image

BOX, POINTS = 0, 1
"""Streams of random numbers; a landmark's noise depends on no other option, and is the same in every set of points."""


@dataclass(eq=False)
class Perturbation:
    """Coarser pixels, landmarks that shake, boxes that are off; or one of Head-pose-C's corruptions.

    Args:
        low_resolution: how many times as large the pixels of each cut face are made before it is resized.
        jitter: noise of each landmark, uniform in x and in y up to this share of the face's size, which is the square root
            of the area of the box around its 68 landmarks.
        jitter_pixels: likewise, up to this many pixels of the whole picture.
        shift: the box is moved in a random direction by this share of its width and height.
        padding: what is added to the box on each side, as a share of its width and height.
        corruption: what goes wrong with the picture or the box, see `headposekit.data.corruption`; `clean` for nothing.
        strength: of the corruption, 1 to 5; 0 where it is `clean`.
        seed: of all that is random.
    """

    neutral: ClassVar[dict[str, Any]] = {
        **{"low_resolution": 1, "jitter": 0, "jitter_pixels": 0, "shift": 0, "padding": 0},
        **{"corruption": "clean", "strength": 0},
    }
    """Values that change nothing, and so do not count in a test's identity."""
    uncounted = ("_target_",)

    low_resolution: int = 1
    jitter: float = 0.0
    jitter_pixels: float = 0.0
    shift: float = 0.0
    padding: float = 0.0
    corruption: Literal["clean"] | Kind = "clean"
    strength: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        factor = self.low_resolution
        if not isinstance(factor, int) or factor < 1:
            raise InputError(f"perturb.low_resolution={factor} cannot enlarge pixels; give whole numbers of 1 or more")
        for key in ("jitter", "jitter_pixels", "shift", "padding"):
            value = getattr(self, key)
            if not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InputError(f"perturb.{key}={value} is no size of a perturbation; give a number from 0 on")
        if self.strength not in ((0,) if self.corruption == "clean" else STRENGTHS):
            wanted = "has no strength; leave it out" if self.corruption == "clean" else "needs a strength of 1 to 5"
            raise InputError(f"perturb.strength={self.strength}: perturb.corruption={self.corruption} {wanted}")
        check_seed("perturb.seed", self.seed)

    def on_faces(self, pictures: list[Image], labels: Labels, names: Sequence[str]) -> tuple[list[Image], Labels]:
        """The corruption: other pictures of B faces or other boxes; the same where there is none. Names say which faces."""
        if self.corruption == "clean":
            return pictures, labels
        corruption = Corruption(self.corruption, self.strength, self.seed)
        known = [*zip(labels.pose, labels.box, labels.landmarks, names, strict=True)]
        pictures = [corruption.picture(picture, *face) for picture, face in zip(pictures, known, strict=True)]
        boxes = np.stack([corruption.box(box, name) for box, name in zip(labels.box, names, strict=True)])
        return pictures, Labels(labels.pose, boxes, labels.landmarks)

    def on_labels(self, labels: Labels, indices: NDArray[np.int64]) -> Labels:
        """Other boxes and landmarks of B faces; the same labels where nothing is asked for."""
        box, landmarks = labels.box, labels.landmarks
        if self.shift or self.padding:
            box = np.stack([self._moved(known, index) for known, index in zip(box, indices, strict=True)])
        if self.jitter or self.jitter_pixels:
            landmarks = np.stack([self._shaken(known, index) for known, index in zip(landmarks, indices, strict=True)])
        return Labels(labels.pose, box, landmarks)

    @property
    def on_cut(self) -> list[LowResolution]:
        """Transforms of the cut face: coarser pixels."""
        return [LowResolution([self.low_resolution])] if self.low_resolution > 1 else []

    @property
    def changed(self) -> dict[str, Any]:
        """The options that change something, but for the seed."""
        return {key: getattr(self, key) for key, value in self.neutral.items() if getattr(self, key) != value}

    @property
    def rules(self) -> dict[str, float]:
        """What is done and how much of it, for results.json: options as they are, a corruption by its name."""
        changed = self.changed
        kind, strength = changed.pop("corruption", None), changed.pop("strength", 0)
        return changed | ({kind: strength} if kind else {})

    def _moved(self, box: Floats, index: int) -> NDArray[np.float32]:
        size = box[2:] - box[:2]
        angle = np.random.default_rng([self.seed, index, BOX]).uniform(0, 2 * np.pi)
        step = self.shift * size * np.array([np.cos(angle), np.sin(angle)])
        grown = np.concatenate([box[:2] - self.padding * size, box[2:] + self.padding * size])
        moved: NDArray[np.float32] = (grown + np.tile(step, 2)).astype(np.float32)
        return moved

    def _shaken(self, landmarks: Floats, index: int) -> NDArray[np.float32]:
        """NaN stays NaN."""
        known = landmarks[np.isfinite(landmarks).all(axis=-1)]
        size = float(np.sqrt(np.prod(np.ptp(known, axis=0)))) if len(known) else 0.0
        noise = np.random.default_rng([self.seed, index, POINTS]).uniform(-1, 1, landmarks.shape)
        return (landmarks + (self.jitter * size + self.jitter_pixels) * noise).astype(np.float32)
