import pytest
import torch
from hydra.utils import instantiate

from configs import train_config
from headposekit.errors import InputError
from headposekit.heads.point import SixDHead
from headposekit.models.fold import fold
from headposekit.models.fsanet import FSANetFeatures
from headposekit.models.pose import PoseNet
from headposekit.weights.onnx_files import in_onnx_runtime

HEADS = ["euler", "sincos", "stagewise", "bins", "quaternion", "rotvec", "sixd", "svd", "fisher", "laplace", "gaussian"]
PROBABILISTIC = ("bins", "fisher", "laplace", "gaussian")


def network(name: str) -> PoseNet:
    torch.manual_seed(0)
    built: PoseNet = instantiate(train_config("model=pose", f"head={name}").model, _convert_="all")
    torch.nn.init.normal_(built.fc_head.weight, std=2.0)
    return built.eval()


def faces(count: int = 3) -> dict:
    return {"image": torch.randint(0, 256, (count, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)}


@pytest.mark.parametrize("name", HEADS)
def test_every_head_folds_and_runs_in_onnx_runtime(name: str) -> None:
    plain = network(name)
    with torch.no_grad():
        expected = plain(faces())
    assert expected.pose.std(dim=0).max() > 1e-3
    assert (expected.spread is not None) == (expected.rotation_spread is not None) == (name in PROBABILISTIC)
    folded = fold(plain)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    found = in_onnx_runtime(folded)(faces())
    torch.testing.assert_close(found.pose, expected.pose, atol=1e-3, rtol=0)
    if name in PROBABILISTIC:
        torch.testing.assert_close(found.spread, expected.spread, atol=1e-2, rtol=1e-3)
        torch.testing.assert_close(found.rotation_spread, expected.rotation_spread, atol=1e-2, rtol=1e-3)


def test_temperature_widens_and_leaves_the_pose() -> None:
    net = network("fisher")
    with torch.no_grad():
        before = net(faces())
        net.temperature.fill_(0.25)
        after = net(faces())
    torch.testing.assert_close(after.pose, before.pose)
    assert (after.rotation_spread < before.rotation_spread).all()
    assert net.train()(faces()).spread is None


def test_what_is_no_head_or_no_trunk_is_refused() -> None:
    with pytest.raises(InputError, match="Linear is no head of a network; choose head="):
        PoseNet(FSANetFeatures(), torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"FSANetFeatures takes 64 pixels, not 112; set crop\.size=64"):
        PoseNet(FSANetFeatures(), SixDHead(), 112)
