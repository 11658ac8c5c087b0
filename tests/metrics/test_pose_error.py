import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from headposekit.geometry.conventions import pose_to_pyr
from headposekit.geometry.rotations import geodesic_distance
from headposekit.metrics import PoseError


def poses(n: int = 37) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 3, generator=generator) * 40, torch.randn(n, 3, generator=generator) * 40


def compute(predicted: torch.Tensor, true: torch.Tensor, batch_size: int) -> dict[str, float]:
    error = PoseError()
    for start in range(0, len(true), batch_size):
        error.update(predicted[start : start + batch_size], true[start : start + batch_size])
    return {key: value.item() for key, value in error.compute().items()}


def test_values_are_numpys() -> None:
    predicted, true = poses()
    values = compute(predicted, true, 100)
    difference = predicted.double().numpy() - true.double().numpy()
    absolute = np.abs((difference + 180) % 360 - 180).mean(axis=0)
    assert [values[key] for key in ("yaw", "pitch", "roll")] == pytest.approx(absolute.tolist(), abs=1e-12)
    assert values["mae"] == pytest.approx(absolute.mean(), abs=1e-12)
    assert values["geodesic"] == pytest.approx(geodesic_distance(predicted, true).mean().item(), abs=1e-12)
    assert values["n"] == 37


@pytest.mark.parametrize("batch_size", [1, 5, 36])
def test_batch_size_plays_no_part(batch_size: int) -> None:
    predicted, true = poses()
    whole = compute(predicted, true, 100)
    assert compute(predicted, true, batch_size) == pytest.approx(whole, abs=1e-12)


def test_backwards_face_costs_180() -> None:
    values = compute(torch.tensor([[180.0, 0.0, 0.0]]), torch.zeros(1, 3), 1)
    assert values["yaw"] == 180
    assert values["geodesic"] == pytest.approx(180)


def test_reset_forgets() -> None:
    error = PoseError()
    error.update(*poses())
    error.reset()
    error.update(torch.ones(1, 3), torch.zeros(1, 3))
    assert error.compute()["mae"] == 1


def _process(rank: int, path: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{path}/store", rank=rank, world_size=2)
    predicted, true = poses()
    error = PoseError()
    error.update(predicted[rank::2], true[rank::2])  # 19 and 18 faces
    values = {key: value.item() for key, value in error.compute().items()}
    torch.save(values, f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path) -> None:
    mp.start_processes(_process, args=(str(tmp_path),), nprocs=2, start_method="forkserver")
    whole = compute(*poses(), 100)
    for rank in range(2):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True) == pytest.approx(whole, abs=1e-10)


def test_other_euler_order_measures_the_same_rotations_in_other_angles() -> None:
    true, predicted = (
        torch.tensor([[50.0, 20.0, 10.0], [-70.0, 5.0, 0.0]]),
        torch.tensor([[45.0, 25.0, 12.0], [-60.0, 0.0, 3.0]]),
    )
    values = {}
    for order in ("ypr", "pyr"):
        error = PoseError(order)
        error.update(predicted, true)
        values[order] = {key: value.item() for key, value in error.compute().items()}
    by_hand = np.abs(pose_to_pyr(predicted.numpy()) - pose_to_pyr(true.numpy())).mean(axis=0)
    assert [values["pyr"][angle] for angle in ("yaw", "pitch", "roll")] == pytest.approx(by_hand.tolist(), abs=1e-9)
    assert values["pyr"]["roll"] > values["ypr"]["roll"] + 1
    assert values["pyr"]["geodesic"] == values["ypr"]["geodesic"]
