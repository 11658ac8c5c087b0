"""A photograph on its own head: where the head is not turned, it shows what it showed."""

import cv2
import numpy as np
import pytest
import torch

from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis.head import COLUMNS, ROWS, head_model
from headposekit.synthesis.profiling import PhotographedHead

SCALE, PLACE, SIZE = 40.0, np.array([225.0, -225.0]), 450


@pytest.mark.parametrize("yaw", [0.0, 20.0])
def test_a_head_that_is_not_turned_is_drawn_where_it_was(yaw: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(noise, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)
    surface = head_model().mean.reshape(ROWS, COLUMNS, 3).astype(np.float64)
    rotation = pose_to_matrix(torch.tensor([yaw, 0.0, 0.0], dtype=torch.float64)).numpy()
    head = PhotographedHead(image, surface, rotation, SCALE, PLACE)
    picture, place = head.turned(rotation)
    np.testing.assert_allclose(place, PLACE)
    landmarks = (SCALE * (head_model().landmarks(surface) @ rotation.T)[:, :2] + PLACE) * [1, -1]
    inner = landmarks[17:68].astype(int)
    x, y = inner.T
    assert np.abs(picture[y, x].astype(float) - image[y, x]).mean() < 2
    turned, moved = head.turned(np.eye(3) if yaw else pose_to_matrix(torch.tensor([20.0, 0, 0], dtype=torch.float64)).numpy())
    assert np.abs(turned[y, x].astype(float) - image[y, x]).mean() > 10
    assert moved.shape == (2,)
