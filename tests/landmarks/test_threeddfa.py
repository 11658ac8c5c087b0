from pathlib import Path

import numpy as np
import pytest
import torch

from headposekit.errors import InputError
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.landmarks import ThreeDDFA
from headposekit.types import Batch

POSES = np.array([[30.0, -20.0, 10.0], [-70.0, 5.0, -15.0], [0.0, 0.0, 0.0]])
NAMES = ["a", "b", "c"]
MEAN, STD = np.random.default_rng(1).normal(size=(2, 62))


def parameters() -> np.ndarray:
    """Numbers as the network predicts them: scaled rotations with a translation, shape, expression; the last is NaN."""
    rng = np.random.default_rng(0)
    matrix = 4e-4 * pose_to_matrix(torch.from_numpy(POSES)).numpy()
    camera = np.concatenate([matrix, rng.uniform(0, 120, (3, 3, 1))], axis=2).reshape(3, 12)
    plain = np.concatenate([camera, rng.normal(size=(3, 50))], axis=1)
    plain[2] = np.nan
    return plain


def batch(names: list[str]) -> Batch:
    n = len(names)
    return {"image": torch.zeros(n, 3, 8, 8), "pose": torch.zeros(n, 3), "box": torch.zeros(n, 4),
            "landmarks": torch.zeros(n, 68, 2), "name": names}  # fmt: skip


@pytest.mark.parametrize("is_whitened", [False, True])
def test_poses_are_those_of_the_matrices(tmp_path: Path, is_whitened: bool) -> None:
    plain = parameters()
    np.savez(tmp_path / "p.npz", names=np.array(NAMES), parameters=(plain - MEAN) / STD if is_whitened else plain)
    np.savez(tmp_path / "w.npz", mean=MEAN, std=STD)
    output = ThreeDDFA(tmp_path / "p.npz", tmp_path / "w.npz" if is_whitened else None)(batch(["b", "c", "a"]))
    np.testing.assert_allclose(output.pose[[2, 0]], POSES[:2], atol=1e-3)
    assert output.is_refused.tolist() == [False, True, False]
    assert not output.is_behind.any()


def test_what_is_wrong_with_the_files_is_said(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", names=np.array(NAMES), parameters=parameters())
    np.savez(tmp_path / "shape.npz", names=np.array(NAMES), parameters=parameters()[:, :40])
    np.savez(tmp_path / "keys.npz", names=np.array(NAMES))
    np.savez(tmp_path / "w.npz", mean=MEAN[:5], std=STD)
    for model, message in (
        (ThreeDDFA(tmp_path / "gone.npz"), r"no such file.*`names` \(N,\) and `parameters` \(N, 62\) are expected"),
        (ThreeDDFA(tmp_path / "keys.npz"), r"names .*; `names` \(N,\) and `parameters` \(N, 62\) are expected"),
        (ThreeDDFA(tmp_path / "shape.npz"), r"parameters float64 of \(3, 40\); .* `parameters` \(N, 62\) are expected"),
        (
            ThreeDDFA(tmp_path / "p.npz", tmp_path / "w.npz"),
            r"mean float64 of \(5,\), .*; `mean` \(62,\) and `std` \(62,\) are",
        ),
        (ThreeDDFA(tmp_path / "p.npz"), "no face d in it"),
    ):
        with pytest.raises(InputError, match=message):
            model(batch(["d"]))
