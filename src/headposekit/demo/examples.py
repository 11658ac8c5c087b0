"""Pictures to try the page with: synthetic heads, rendered when it starts, whose poses are known."""

from dataclasses import dataclass

import numpy as np

from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Image

FIRST_INDEX = 3 * 10**6
"""Of heads: other people than those of any training set."""
HEADS = (
    ((19, (-8.0, 6.0, 4.0)),),
    ((9, (-48.0, -4.0, -6.0)),),
    ((6, (38.0, -22.0, 10.0)),),
    ((27, (12.0, 32.0, -18.0)),),
    ((15, (76.0, 4.0, 3.0)),),
    ((1, (-30.0, 2.0, 5.0)), (2, (26.0, -12.0, -14.0))),
)
"""Of each picture the people, from the left, with yaw, pitch and roll in degrees."""


@dataclass(frozen=True)
class Example:
    """A picture (H, W, 3) RGB, and of each head `box` (tight, in pixels) and `pose` (yaw, pitch, roll in degrees)."""

    picture: Image
    truth: list[dict[str, list[float]]]


def render_examples(size: int = 400) -> list[Example]:
    """The pictures, each person `size` pixels wide and high."""
    sampler = HeadSampler(photo=0.0, borders=0.0, occluder=0.0, box_jitter=0.0, visible21=0.0)
    examples = []
    for people in HEADS:
        heads = [sampler.render(FIRST_INDEX + 2 * person, size, pose) for person, pose in people]
        boxes = [head.box + [place * size, 0, place * size, 0] for place, head in enumerate(heads)]
        truth = [{"box": box.tolist(), "pose": head.pose.tolist()} for box, head in zip(boxes, heads, strict=True)]
        examples.append(Example(np.concatenate([head.image for head in heads], axis=1), truth))
    return examples
