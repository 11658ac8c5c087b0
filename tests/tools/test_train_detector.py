from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import train_detector as train
from detector_scores import overlaps
from face_scenes import Scene
from headposekit.detectors.centers import decode, load_network

NONE = np.empty((0, 4))


def scene(boxes: np.ndarray, unclear: np.ndarray = NONE, side: int = 256) -> Scene:
    return Scene(np.zeros((side, side, 3), np.uint8), boxes, unclear)


def as_cells(wanted: np.ndarray) -> torch.Tensor:
    """What a perfect network would say."""
    heat = torch.logit(torch.from_numpy(wanted[:1]), eps=1e-6)
    return torch.cat([heat, torch.from_numpy(wanted[1:5])])


@given(st.lists(st.tuples(*[st.floats(12, 60)] * 2, *[st.floats(-8, 8)] * 2), min_size=1, max_size=9))
@settings(max_examples=25)
def test_boxes_come_back_from_their_cells(faces: list[tuple[float, float, float, float]]) -> None:
    middles = [np.array([45 + 83 * (k % 3) + dx, 45 + 83 * (k // 3) + dy]) for k, (_, _, dx, dy) in enumerate(faces)]
    halves = [np.array([width, height]) / 2 for width, height, _, _ in faces]
    boxes = np.array([[*(middle - half), *(middle + half)] for middle, half in zip(middles, halves, strict=True)])
    found, scores = decode(as_cells(train.targets(scene(boxes))), 0.9)
    assert len(found) == len(boxes) == len(scores)
    np.testing.assert_allclose(overlaps(boxes, found.numpy().astype(float)).max(axis=1), 1, atol=1e-3)


def test_cells_of_unclear_faces_cost_nothing() -> None:
    boxes, unclear = np.array([[16.0, 16, 80, 80]]), np.array([[128.0, 128, 248, 248]])
    wanted = torch.from_numpy(train.targets(scene(boxes, unclear)))[None]
    perfect = as_cells(wanted[0].numpy())[None]
    alarmed, elsewhere = perfect.clone(), perfect.clone()
    alarmed[0, 0, 22, 22], elsewhere[0, 0, 22, 4] = 9, 9
    assert train.loss(alarmed, wanted) == pytest.approx(train.loss(perfect, wanted).item(), abs=1e-6)
    assert train.loss(elsewhere, wanted) > train.loss(perfect, wanted) + 5
    shifted = perfect.clone()
    shifted[0, 3] += 0.1  # a tenth wider
    assert (train.loss(shifted, wanted) - train.loss(perfect, wanted)).item() == pytest.approx(0.2, abs=1e-3)


def test_another_view_takes_its_boxes_along() -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    cv2.rectangle(picture, (100, 60), (160, 140), (255, 255, 255), -1)
    rng, seen = np.random.default_rng(0), 0
    for shape in train.SHAPES * 5:
        view = train.augment(Scene(picture, np.array([[100.0, 60, 160, 140]]), NONE), shape, rng)
        assert view.image.shape == (*shape, 3)
        rows, columns = np.nonzero(view.image[..., 0] > 80)
        if len(view.boxes) and columns.min() > 0 < rows.min() and columns.max() < shape[1] - 1 and rows.max() < shape[0] - 1:
            np.testing.assert_allclose(view.boxes[0], [columns.min(), rows.min(), columns.max(), rows.max()], atol=2)
            seen += 1
    assert seen > 5


def test_training_writes_weights_and_their_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.npz"
    options = "--steps 4 --heads 3 --workers 0 --validation 2 --output"
    monkeypatch.setattr(train, "BATCH", 2)
    monkeypatch.setattr(train, "FRESH", 1)
    monkeypatch.setattr("sys.argv", ["train", *options.split(), str(path)])
    train.main()
    assert "3 heads in" in capsys.readouterr().out
    load_network(path)
    with np.load(path, allow_pickle=False) as file:
        story = str(file["story"])
    assert "--steps 4" in story
    assert "recall" in story
