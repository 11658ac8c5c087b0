from pathlib import Path

import cv2
import numpy as np
import pytest

from headposekit.datasets.contact_sheet import GAP, ContactSheet, CorruptionSheet
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop
from headposekit.synthesis.sampler import HeadSampler


def test_sheet_shows_every_row(tmp_path: Path, aflw2000_root: Path) -> None:
    heads = HeadSampler(texture_pool=2)
    sheet = ContactSheet(tmp_path, heads, FSANetCrop(), num_units=2, num_random=1, size=32, real=aflw2000_root)
    assert len(sheet) == 1
    (name,) = sheet[0]
    picture = cv2.imread(str(tmp_path / name), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == ((2 + 2 + 1 + 1) * 32 + 2 * GAP, 7 * 32, 3)
    pictures = [picture[row : row + 32, column : column + 32] for row in (0, 32, 64, 96) for column in range(0, 224, 32)]
    crops = [picture[row : row + 32, column : column + 32] for row in (136, 176) for column in range(0, 224, 32)]
    assert all(part.std() > 5 for part in pictures + crops)  # a head in each
    assert np.abs(pictures[0].astype(int) - pictures[6]).mean() > 3  # yaw -90 is not yaw 90


def test_sheet_of_corruptions_shows_each_strength_of_synthetic_and_real_faces(tmp_path: Path, aflw2000_root: Path) -> None:
    sheet = CorruptionSheet(tmp_path, HeadSampler(texture_pool=2), FSANetCrop(size=32), num_units=1, real=aflw2000_root)
    (name,) = sheet[0]
    picture = cv2.imread(str(tmp_path / name), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (12 * 32, 2 * 6 * 32, 3)
    tiles = picture.reshape(12, 32, 12, 32, 3).swapaxes(1, 2)
    for face in (0, 6):
        assert all(np.array_equal(tiles[0, face], tiles[row, face]) for row in range(12))
        off = np.abs(tiles[:, face + 1 : face + 6].astype(int) - tiles[:, face : face + 1]).mean(axis=(2, 3, 4))
        assert (off[:, 4] > off[:, 0]).all()
    with pytest.raises(InputError, match="0 faces of 64 pixels"):
        CorruptionSheet(tmp_path, HeadSampler(), FSANetCrop(), num_units=0)


def test_a_sheet_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="rows"):
        ContactSheet(tmp_path, HeadSampler(), FSANetCrop(), num_units=0)


def test_sheet_of_the_full_range_shows_24_yaws(tmp_path: Path) -> None:
    heads = HeadSampler(texture_pool=2, full_range=True)
    (name,) = ContactSheet(tmp_path, heads, FSANetCrop(), num_units=1, num_random=0, size=24)[0]
    picture = cv2.imread(str(tmp_path / name), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (3 * 24, 24 * 24, 3)
