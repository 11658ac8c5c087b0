from functools import partial

import pytest
import torch

from headposekit.errors import InputError
from headposekit.losses import MeanAbsoluteError
from headposekit.models.fsanet import CapsuleAggregation, ConvScoring, FSANet
from headposekit.models.ssrnet import SSRNetMD
from headposekit.training import FSANetModule, SSRNetModule
from headposekit.training.loggers import EpochCSVLogger

OPTIMIZER = partial(torch.optim.Adam, lr=1e-3)
SCHEDULER = partial(torch.optim.lr_scheduler.MultiStepLR, milestones=[30, 60])


@pytest.mark.parametrize(
    ("module", "wrong"), [(FSANetModule, SSRNetMD()), (SSRNetModule, FSANet(ConvScoring(), CapsuleAggregation))]
)
def test_module_refuses_another_architecture(module, wrong: torch.nn.Module) -> None:
    with pytest.raises(InputError, match=f"not {type(wrong).__name__}; choose a matching model="):
        module(wrong, MeanAbsoluteError(), OPTIMIZER, SCHEDULER)


@pytest.mark.parametrize(
    ("module", "keys"),
    [
        (
            FSANetModule(FSANet(ConvScoring(), CapsuleAggregation), MeanAbsoluteError(), OPTIMIZER, SCHEDULER),
            {"scale", "shift", "stage_probs"},
        ),
        (SSRNetModule(SSRNetMD(), MeanAbsoluteError(), OPTIMIZER, SCHEDULER), {"stage1_probs", "stage2_probs", "stage3_probs"}),
    ],
    ids=["fsanet", "ssrnet"],
)
def test_diagnostics_are_what_their_names_say(module, keys: set[str]) -> None:
    output = module.model({"image": torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)})
    values = module.model.diagnostics(output)
    assert set(values) == keys
    if "scale" in keys:
        assert values["scale"].item() == pytest.approx(output.scale.abs().mean().item())
        assert 0 < values["scale"] < 1
    else:
        assert values["stage2_probs"].item() == pytest.approx(output.stage_probs[:, 1].mean().item())


def test_csv_has_one_row_an_epoch_and_survives_a_resume(tmp_path) -> None:
    logger = EpochCSVLogger(tmp_path)
    for epoch in range(3):
        logger.log_metrics({"val/mae": 10.0 - epoch, "epoch": epoch}, step=epoch)
        logger.log_metrics({"train/loss": 5.0 - epoch, "epoch": epoch}, step=epoch)
    resumed = EpochCSVLogger(tmp_path)
    resumed.log_metrics({"train/loss": 1.5, "epoch": 1}, step=9)  # the last complete epoch was the first
    assert (tmp_path / "metrics.csv").read_text().split() == ["epoch,train/loss,val/mae", "0,5.0,10.0", "1,1.5,9.0"]
