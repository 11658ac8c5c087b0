from pathlib import Path

import numpy as np
import pytest

from headposekit.errors import InputError
from headposekit.geometry.face_model import MIRROR_68, mean_face_68
from headposekit.landmarks.points import POINT_SETS, point_set, read_face_model
from headposekit.landmarks.solvers import checked_face


@pytest.mark.parametrize("name", POINT_SETS)
def test_sets_are_symmetric_give_poses_and_have_the_size_of_their_name(name: str) -> None:
    indices = point_set(name)
    assert len(set(indices)) == len(indices) == int(name)
    middle = {57} & set(indices)  # the lower lip
    assert {int(MIRROR_68[i]) for i in indices} == set(indices) | middle
    checked_face(mean_face_68()[indices])
    assert point_set(int(name)) == indices


def test_fewer_are_among_the_more() -> None:
    assert set(point_set("12")) < set(point_set("14")) < set(point_set("68"))
    assert set(point_set("5")) < set(point_set("6"))
    assert min(point_set("51")) == 17


def test_unknown_set_is_named() -> None:
    with pytest.raises(InputError, match=r"model\.points=7 is no set of landmarks; choose 68, 51, 14, 12, 6, 5"):
        point_set(7)


def test_face_model_from_a_file(tmp_path: Path) -> None:
    face = mean_face_68() * 36.0
    np.save(tmp_path / "face.npy", face)
    np.savetxt(tmp_path / "face.csv", face, delimiter=",", header="x,y,z", comments="")
    np.testing.assert_array_equal(read_face_model(tmp_path / "face.npy"), face)
    np.testing.assert_allclose(read_face_model(tmp_path / "face.csv"), face)
    assert read_face_model(None) is mean_face_68()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ("x,y,z\n1,2,three\n", "holds no numbers"), ("x,y,z\n1,2,3\n", r"shape \(3,\); 68 rows")],
    ids=["missing", "words", "one row"],
)
def test_what_is_no_face_model_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "face.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_face_model(tmp_path / "face.csv")
