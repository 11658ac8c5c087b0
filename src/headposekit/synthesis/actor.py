"""A synthetic head that blinks, talks and stands in a moving light."""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headposekit.synthesis import head
from headposekit.synthesis.renderer import Light
from headposekit.synthesis.sampler import Head, HeadSampler, Rng

PLAIN = {"photo": 0.0, "borders": 0.0, "occluder": 0.0, "box_jitter": 0.0, "visible21": 0.0, "perspective": None}
"""Options of heads without anything that a video would add: its noise changes from frame to frame."""
JAW = {5: 0.55, 6: 0.8, 7: 0.95, 8: 1.0, 9: 0.95, 10: 0.8, 11: 0.55, **dict.fromkeys((55, 56, 57, 58, 59, 65, 66, 67), 0.9)}
"""Landmarks that a falling jaw takes along, and how much of the way."""
FALL = 0.45
"""Way of the chin, in head units (36 mm), of a mouth that is wide open."""


class Moment(NamedTuple):
    """What a frame shows beside the pose."""

    lids: float = 0.0  # 0 as they are to 1 closed
    mouth: float = 0.0  # 0 as it is to 1 wide open
    light: float = 0.0  # degrees by which the main light is turned to the right


class Actor(HeadSampler):
    """Heads of a sampler's options, but for `PLAIN`, at a moment."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, **PLAIN})
        self.moment = Moment()

    def act(self, index: int, size: int, pose: tuple[float, float, float], moment: Moment) -> Head:
        """Head number `index` in a pose (degrees), see `HeadSampler.render`."""
        self.moment = moment
        return self.render(index, size, pose)

    def _shape(self, person: Rng, late: Rng, rng: Rng) -> tuple[NDArray[Any], NDArray[Any]]:
        surface, landmarks = super()._shape(person, late, rng)
        movement = np.zeros((68, 3))
        for upper, lower in ((37, 41), (38, 40), (43, 47), (44, 46)):
            movement[upper] = 0.95 * self.moment.lids * (landmarks[lower] - landmarks[upper])
        for point, share in JAW.items():
            movement[point, 1] -= share * FALL * self.moment.mouth
        model = head.head_model()
        moved = surface + model.deform(movement) - model.deform(0 * movement)
        return moved, model.landmarks(moved)

    def _draw_light(self, rng: Rng, late: Rng) -> Light:
        light = super()._draw_light(rng, late)
        x, y, z = light.direction
        cos, sin = np.cos(np.radians(self.moment.light)), np.sin(np.radians(self.moment.light))
        return replace(light, direction=np.array([cos * x + sin * z, y, cos * z - sin * x]))
