"""Pictures of docs/ are those that their tools draw today."""

import cv2
import numpy as np
import pytest

import draw_conventions
import draw_perspective
from face_scenes import plain_heads
from headposekit.files import encode_picture
from headposekit.paths import ROOT
from headposekit.types import Image

HEADS = plain_heads(0, poses_per_identity=2, hat=0.0, glasses=0.0, beard=0.0, expression=0.0)


@pytest.mark.parametrize("name", ["conventions.jpg", "crops.jpg", "perspective.png"])
def test_picture_is_up_to_date(name: str) -> None:
    drawn: Image = {
        "conventions.jpg": lambda: draw_conventions.signs(HEADS),
        "crops.jpg": lambda: draw_conventions.crops(HEADS),
        "perspective.png": draw_perspective.draw,
    }[name]()
    path = ROOT / "docs" / name
    written = cv2.imdecode(np.frombuffer(encode_picture(path, drawn), np.uint8), cv2.IMREAD_COLOR_RGB)
    shown = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
    assert shown.shape == written.shape
    assert np.abs(shown.astype(int) - written).mean() < 0.5
