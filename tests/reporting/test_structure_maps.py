from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from configs import write_checkpoint
from headposekit.datasets import AFLW2000DataModule
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop
from headposekit.reporting.structure_maps import StructureMaps, draw_maps, overlay
from headposekit.reporting.tables import Measured, Row, Table
from headposekit.weights.checkpoint import load_checkpoint


def test_nothing_trained_draws_nothing_and_an_unknown_row_is_named() -> None:
    table = Table("Figure 5", {"aflw2000": "AFLW2000"}, [Row("FSA-Caps (1x1)")])
    assert StructureMaps({}, "FSA-Caps (1x1)")(table, "aflw2000") is None
    with pytest.raises(InputError, match="label=FSA-Caps is no row of Figure 5"):
        StructureMaps({}, "FSA-Caps")(table, "aflw2000")


def test_maps_come_from_the_checkpoint(aflw2000_root: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "net.ckpt")
    datamodule = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    measured = Measured(({"mae": 1.0},), (), 10, {"dataset": "p"}, "fsanet", ("abc",))
    row = Row("x", measured={"aflw2000": measured}, checkpoints=[checkpoint])
    maps = StructureMaps({"aflw2000": datamodule}, "x", stage=1, rows=(0, 4), num_faces=3)
    figure = maps(Table("t", {"aflw2000": "AFLW2000"}, [row]), "aflw2000")
    assert isinstance(figure, Figure)
    by_yaw = np.argsort(datamodule.dataset.pose[:, 0])
    faces = datamodule.faces(by_yaw[[2, 4, 6]].tolist())
    with torch.no_grad():
        output = load_checkpoint(checkpoint).model(faces)
    weights = output.structure_map[:, 1, [0, 4]].reshape(-1, 8, 8)  # a face's rows, and of each its three stages
    crops = faces["image"].permute(0, 2, 3, 1).numpy().repeat(6, axis=0)
    expected = [overlay(crop, one) for crop, one in zip(crops, weights.numpy(), strict=True)]
    drawn = [axis.images[0].get_array() for axis in figure.axes if axis.images and axis.get_ylabel() != "weight (sigmoid)"]
    maps_drawn = [array for place, array in enumerate(drawn) if place % 7]  # the first of seven is the face itself
    np.testing.assert_allclose(maps_drawn, expected, atol=1e-3)
    assert len(expected) == 3 * 2 * 3
    assert weights.flatten(1).std(dim=1).min() > 0


def test_structure_maps_stand_over_their_faces() -> None:
    crops = np.stack([np.full((64, 64, 3), shade, np.uint8) for shade in (50, 200)])
    maps = np.random.default_rng(0).random((2, 4, 3, 8, 8))
    figure = draw_maps("Figure 5", crops, maps)
    with_images = [axis for axis in figure.axes if axis.images]
    assert len(with_images) == 2 * (1 + 4 * 3)
    (face,), (shown,) = with_images[13].images, with_images[13 + 1 + 3 * 2 + 1].images  # second face, third row, second stage
    np.testing.assert_array_equal(face.get_array(), crops[1])
    np.testing.assert_allclose(shown.get_array(), overlay(crops[1], maps[1, 2, 1]), atol=1e-6)


def test_each_weight_colours_its_own_part_of_the_face() -> None:
    crop, weights = np.full((64, 64, 3), 100, np.uint8), np.zeros((8, 8))
    weights[2, 5] = 1
    drawn = overlay(crop, weights)
    bright = drawn.sum(axis=-1) > 1
    assert bright[16:24, 40:48].all()
    assert bright.sum() == 64
    assert 0 <= drawn.min() <= drawn.max() <= 1
