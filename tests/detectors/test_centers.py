from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from detector_scores import overlaps
from face_scenes import plain_heads
from headposekit.detectors.centers import (
    STRIDE,
    WEIGHTS,
    CenterDetector,
    CenterNetwork,
    decode,
    load_network,
    save_network,
    without_norms,
)
from headposekit.errors import InputError


@pytest.fixture(scope="module")
def detector() -> CenterDetector:
    return CenterDetector()


def test_heads_in_pictures_of_any_size_are_found_with_their_tight_boxes(detector: CenterDetector) -> None:
    heads = plain_heads(5, backgrounds=True, texture_pool=6)
    found = []
    for index in range(8):
        head = heads.render(index, 320, (10.0 * (index - 4), 0.0, 5.0))
        width, height = ((320, 320), (640, 640), (200, 200), (400, 300))[index % 4]
        picture = np.asarray(cv2.resize(head.image, (width, height)))
        tight = head.box * np.tile([width / 320, height / 320], 2)
        shares = overlaps(detector(picture).boxes, tight[None])
        found.append(shares.max(initial=0.0))
    assert np.median(found) > 0.7
    assert np.mean(np.array(found) > 0.5) >= 0.75


def test_small_faces_of_large_pictures_need_the_pyramid() -> None:
    heads = plain_heads(5, backgrounds=True, texture_pool=6)
    hits = {levels: 0 for levels in (1, 3)}
    for index in range(6):
        head = heads.render(index, 110, (5.0 * index, 0.0, 0.0))  # its face is 44 pixels of 1500
        picture = np.full((900, 1500, 3), 128, np.uint8)
        picture[300:410, 700:810] = head.image
        tight = head.box + [700, 300, 700, 300]
        for levels in hits:
            shares = overlaps(CenterDetector(levels=levels)(picture).boxes, tight[None])
            hits[levels] += int(shares.max(initial=0.0) > 0.5)
    assert hits[3] > hits[1] + 2


@pytest.mark.parametrize("shape", [(1, 1), (2, 900), (1300, 3), (64, 64)])
def test_pictures_of_odd_shapes_without_a_face(detector: CenterDetector, shape: tuple[int, int]) -> None:
    found = detector(np.full((*shape, 3), 90, np.uint8))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == (0,)


def test_a_lower_threshold_only_adds_faces() -> None:
    head = plain_heads(5, backgrounds=True, texture_pool=6).render(0, 320)
    few, many = (CenterDetector(threshold)(head.image) for threshold in (0.6, 0.1))
    assert len(many.boxes) >= len(few.boxes)
    assert many.scores.min(initial=1) >= 0.1
    assert (np.diff(many.scores) <= 0).all()


def test_folding_changes_nothing_and_weights_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CenterNetwork()
    images = 255 * torch.rand(2, 3, 64, 128)
    network.train()
    network(images)  # normalisations that are not the identity
    network.eval()
    with torch.no_grad():
        expected = network(images)
        assert expected.shape == (2, 5, 64 // STRIDE, 128 // STRIDE)
        torch.testing.assert_close(without_norms(network)(images), expected, atol=1e-4, rtol=1e-4)
        save_network(network, tmp_path / "w.npz", {"seed": 0})
        torch.testing.assert_close(load_network(tmp_path / "w.npz")(images), expected, atol=0.02, rtol=0.02)


def test_the_packages_weights_are_small_and_tell_their_story() -> None:
    assert WEIGHTS.stat().st_size < 700_000
    with np.load(WEIGHTS, allow_pickle=False) as file:
        assert {file[name].dtype for name in file.files if name != "story"} == {np.dtype(np.float16)}
        assert '"commit"' in str(file["story"])


def test_of_neighbouring_cells_the_brightest_is_the_face() -> None:
    cells = torch.zeros(5, 8, 8)
    cells[0] = -9
    cells[0, 3, 4], cells[0, 3, 5] = 3, 2
    cells[1:, 3, 4] = torch.tensor([0.25, -0.5, np.log(4), np.log(2)])
    boxes, scores = decode(cells, 0.5)
    torch.testing.assert_close(boxes, torch.tensor([[(4.75 - 2) * 8, 2 * 8, (4.75 + 2) * 8, 4 * 8]]))
    torch.testing.assert_close(scores, torch.tensor([3.0]).sigmoid())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold=0.0 is not between 0 and 1"),
        ({"size": 250}, "size=250 is not a multiple of 64"),
        ({"levels": 9}, "levels=9 is not from 1 to 6"),
        ({"path": "/nowhere.npz"}, "no such file"),
        ({"path": __file__}, "not a readable .npz file"),
    ],
)
def test_wrong_options_are_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as refusal:
        CenterDetector(**options)
    assert "\n" not in str(refusal.value)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(InputError, match="no weights of this detector"):
        CenterDetector(path=tmp_path / "other.npz")
