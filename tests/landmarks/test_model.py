from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.errors import InputError
from headposekit.geometry.face_model import mean_face_68
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.landmarks import LandmarkPose
from headposekit.landmarks.points import POINT_SETS
from headposekit.landmarks.solvers import Perspective, WeakPerspective
from headposekit.landmarks.sources import LandmarkFile, Truth
from headposekit.types import Batch

POSES = torch.tensor([[30.0, -20.0, 10.0], [-50.0, 5.0, -15.0]])


def batch(focal: float | None = None, size: tuple[int, int] = (300, 450)) -> Batch:
    """Two faces, parallel or before a camera with a focal length in longer sides."""
    turned = mean_face_68() @ pose_to_matrix(POSES.double()).numpy().swapaxes(-1, -2)
    center = np.array(size[::-1]) / 2
    scale = 40.0 if focal is None else (focal * max(size) / (20 - turned[..., 2]))[..., None]
    points = center + scale * turned[..., :2] * [1, -1]
    return {
        "image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "pose": POSES,
        "box": torch.zeros(2, 4),
        "landmarks": torch.from_numpy(points).float(),
        "name": ["a", "b"],
        "picture": [np.zeros((*size, 3), np.uint8)] * 2,
    }


@pytest.mark.parametrize("points", POINT_SETS)
def test_every_set_of_points_gives_the_pose(points: str) -> None:
    weak, perspective = LandmarkPose(Truth(), WeakPerspective(), points), LandmarkPose(Truth(), Perspective(focal=1.5), points)
    assert not weak.needs_picture
    assert perspective.needs_picture
    torch.testing.assert_close(weak(batch()).pose, POSES, atol=1e-2, rtol=0)
    torch.testing.assert_close(perspective(batch(focal=1.5)).pose, POSES, atol=0.05, rtol=0)


def test_refused_faces_have_no_pose() -> None:
    faces = batch()
    faces["landmarks"][1] = float("nan")
    output = LandmarkPose(Truth(), WeakPerspective())(faces)
    assert output.is_refused.tolist() == [False, True]
    assert torch.isnan(output.pose[1]).all()
    torch.testing.assert_close(output.pose[0], POSES[0], atol=1e-2, rtol=0)


def test_solutions_behind_the_camera_count_only_where_asked() -> None:
    rng = np.random.default_rng(0)
    faces = batch()
    faces["landmarks"] = faces["landmarks"][:1] + torch.from_numpy(rng.uniform(-5, 5, (60, 68, 2))).float()
    faces["picture"] = faces["picture"][:1] * 60
    left_out, taken = (LandmarkPose(Truth(), Perspective("iterative"), use_behind=use)(faces) for use in (False, True))
    behind = left_out.is_behind
    assert 0 < behind.sum() < 60
    assert torch.equal(behind, taken.is_behind)
    assert torch.isnan(left_out.pose[behind]).all()
    assert torch.isfinite(left_out.pose[~behind]).all()
    assert torch.isfinite(taken.pose).all()
    assert not left_out.is_refused.any()


def test_stretching_the_model_undoes_a_stretched_face() -> None:
    faces = batch()
    turned = (mean_face_68() * [1.3, 0.8, 1]) @ pose_to_matrix(POSES.double()).numpy().swapaxes(-1, -2)
    faces["landmarks"] = torch.from_numpy(225 + 40 * turned[..., :2] * [1, -1]).float()
    stretched = LandmarkPose(Truth(), WeakPerspective(), width=1.3, height=0.8)(faces).pose
    torch.testing.assert_close(stretched, POSES, atol=1e-2, rtol=0)
    assert (LandmarkPose(Truth(), WeakPerspective())(faces).pose - POSES).abs().mean() > 1


def test_points_that_a_model_does_not_have_are_not_needed(tmp_path: Path) -> None:
    face = np.full((68, 3), np.nan)
    used = list(POINT_SETS["6"])
    face[used] = mean_face_68()[used]
    np.save(tmp_path / "six.npy", face)
    model = LandmarkPose(Truth(), WeakPerspective(), "6", tmp_path / "six.npy")
    torch.testing.assert_close(model(batch()).pose, POSES, atol=1e-2, rtol=0)
    with pytest.raises(InputError, match="anything with NaN; correct face_model"):
        LandmarkPose(Truth(), WeakPerspective(), "14", tmp_path / "six.npy")


def test_flat_models_and_wrong_options_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", mean_face_68() * [1, 1, 0])
    with pytest.raises(InputError, match="lie in a plane"):
        LandmarkPose(Truth(), WeakPerspective(), face_model=tmp_path / "flat.npy")
    with pytest.raises(InputError, match=r"model\.width=0 stretches a face into nothing"):
        LandmarkPose(Truth(), WeakPerspective(), width=0)
    with pytest.raises(InputError, match=r"model\.solver\.focal=0 is no focal length"):
        Perspective(focal=0)
    with pytest.raises(InputError, match=r"model\.solver\.method=dlt is unknown"):
        Perspective("dlt")  # type: ignore[arg-type]


def test_it_holds_nothing_to_learn(tmp_path: Path) -> None:
    model = LandmarkPose(LandmarkFile(tmp_path / "x.csv"), WeakPerspective())
    assert not list(model.parameters())
    assert not model.state_dict()
