import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headposekit.datasets import DAD3DHeads
from headposekit.datasets.dad3dheads import pose_of_model_view, read_boxes, write_submission
from headposekit.errors import InputError
from headposekit.geometry.rotations import geodesic_distance
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_full import WriteDAD3DHeads


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> WriteDAD3DHeads:
    writer = WriteDAD3DHeads(tmp_path_factory.mktemp("dad"), HeadSampler(seed=4, texture_pool=2), 8, size=64)
    for number in range(8):
        writer[number]
    writer.finish()
    return writer


def test_written_heads_have_the_planted_rotation_and_box(writer: WriteDAD3DHeads) -> None:
    dataset = DAD3DHeads(writer.root, side="val")
    planted = [writer.head(number)[0] for number in range(8)]
    assert geodesic_distance(torch.tensor(dataset.pose), torch.tensor(np.array([h.pose for h in planted]))).max() < 0.01
    np.testing.assert_allclose(dataset.box, [head.box for head in planted], atol=1e-3)
    assert dataset.names[0] == "head000000"


def test_true_poses_have_no_error_by_the_benchmarks_formula(writer: WriteDAD3DHeads, tmp_path: Path) -> None:
    """|I - R_pred (F V)^T|, with V the rotation of the model-view matrix and F the half turn about x."""
    dataset = DAD3DHeads(writer.root, side="val")
    write_submission(tmp_path / "submission.json", dict(zip(dataset.names, dataset.pose, strict=True)))
    submission = json.loads((tmp_path / "submission.json").read_text())
    assert list(submission) == dataset.names
    for name, entry in submission.items():
        assert set(entry) == {"rotation_matrix"}
        view = np.array(json.loads((writer.root / "val" / "annotations" / f"{name}.json").read_text())["model_view_matrix"])
        true = (np.diag([1.0, -1.0, -1.0, 1.0]) @ view)[:3, :3]
        assert np.linalg.norm(np.eye(3) - np.array(entry["rotation_matrix"]) @ true.T) < 1e-5


def test_scale_does_not_matter() -> None:
    view = np.diag([2.5, 2.5, 2.5, 1.0])
    np.testing.assert_allclose(pose_of_model_view(view.tolist(), "a"), 0, atol=1e-9)


@pytest.mark.parametrize(
    "matrix",
    [
        *(None, [], [[1, 0], [0, 1]], [["a"] * 4] * 4, [[0.0] * 4] * 4, [[float("nan")] * 4] * 4, np.eye(3).tolist()),
        *(np.diag([1, 1, -1, 1]).tolist(), np.diag([1, 2, 1, 1]).tolist()),
    ],
)
def test_matrices_without_a_rotation_are_refused(matrix: Any) -> None:
    with pytest.raises(InputError, match="model_view_matrix is no 4×4 matrix"):
        pose_of_model_view(matrix, "file.json")


@pytest.mark.parametrize("items", [{}, [3], [{"item_id": "../a", "bbox": [0, 0, 1, 1]}], [{"item_id": "a", "bbox": [1, 2]}]])
def test_lists_of_another_form_are_refused(tmp_path: Path, items: Any) -> None:
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test.json").write_text(json.dumps(items))
    with pytest.raises(InputError, match="entry 0 has no item_id"):
        read_boxes(tmp_path, "test")


def test_the_hidden_side_has_no_poses(writer: WriteDAD3DHeads) -> None:
    with pytest.raises(InputError, match="scored by submission"):
        DAD3DHeads(writer.root, side="test")  # type: ignore[arg-type]
