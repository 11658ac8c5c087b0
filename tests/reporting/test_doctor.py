from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headposekit.reporting.doctor import counts, duplicates, labels, places, write_page

MANIFEST: dict[str, Any] = {
    "dataset": "AFLW2000",
    "kind": "fixed",
    "size": 8,
    "root": "/<there>",
    "options": {"box": "visible21"},
    "faces": 5,
    "bad": 1,
    "unlisted": 0,
    "compared": 4,
    "mean_difference": 0.0,
}


@pytest.fixture
def index() -> dict[str, np.ndarray]:
    """Five faces: the second beyond 99 degrees, the third broken, the fifth the first again; the fourth stands askew."""
    landmarks = np.zeros((5, 68, 2), dtype=np.float32)
    landmarks[3, 4] = np.nan
    return {
        "name": np.array(["a", "b", "c<d", "e", "f"]),
        "photo": np.array(["a", "b", "c", "e", "a"]),
        "reason": np.array(["", "", "c.jpg: cut short & gone", "", ""]),
        "pose": np.array([[10, 0, 0], [120, 0, 0], [np.nan] * 3, [-30, 5, 0], [10, 0, 0]]),
        "source_box": np.array([[0, 0, 50, 50], [0, 0, 50, 50], [np.nan] * 4, [90, 40, 101, 40], [0, 0, 50, 50]]),
        "picture_size": np.array([[100, 100], [100, 100], [0, 0], [100, 100], [100, 100]]),
        "landmarks": landmarks,
        "outside": np.array([0, 0, 0, 2, 0]),
        "digest": np.array([1, 2, 0, 3, 1], dtype=np.uint64),
    }


def test_counts_stand_beside_the_published_ones(index: dict[str, np.ndarray]) -> None:
    rows = {name: (here, there) for name, here, there in counts(MANIFEST, index)}
    assert rows["faces listed"] == ("5", "2,000")
    assert rows["within ±99 degrees"] == ("3", "1,969")
    assert rows["bad files"] == ("1", "0")
    assert rows["photographs or people"] == ("4", "")


def test_label_ranges_leave_out_what_is_not_known(index: dict[str, np.ndarray]) -> None:
    assert labels(index)[0] == ("yaw", "-30.00, 10.00, 120.00", "1")
    assert labels(index)[1] == ("pitch", "0.00, 0.00, 5.00", "0")


def test_odd_places_are_counted_and_named(index: dict[str, np.ndarray]) -> None:
    found = {name: (n, names) for name, n, names in places(index)}
    assert found["box without area"] == ("1", "e")
    assert found["box reaching out of the picture"] == ("1", "e")
    assert found["some landmarks outside the picture"] == ("1", "e")
    assert found["some landmarks not known"] == ("1", "e")


def test_duplicates_are_grouped_and_broken_files_are_none(index: dict[str, np.ndarray]) -> None:
    assert duplicates(index) == [["a", "f"]]


@pytest.mark.parametrize("pictures", [0, 3])
def test_page_needs_nothing_but_itself(index: dict[str, np.ndarray], tmp_path: Path, pictures: int) -> None:
    faces = np.zeros((pictures, 8, 8, 3), dtype=np.uint8)
    page = write_page(tmp_path / "doctor.html", MANIFEST, index, faces, ["radians & more"]).read_text()
    assert "radians &amp; more" in page
    assert "c&lt;d" in page
    assert "cut short &amp; gone" in page
    assert "/&lt;there&gt;" in page
    assert "http" not in page
    assert (page.count("<svg"), page.count("data:image/")) == (1, pictures)
    assert '<td class="odd">5</td>' in page


def test_page_of_nothing_but_broken_files(index: dict[str, np.ndarray], tmp_path: Path) -> None:
    broken = {key: values[2:3] for key, values in index.items()}
    page = write_page(tmp_path / "doctor.html", {**MANIFEST, "faces": 1}, broken, np.zeros((0, 8, 8, 3), np.uint8)).read_text()
    assert "none known" in page
