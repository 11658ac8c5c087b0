"""Lightning's own switches: each works to the end of a run, or is refused in one line before anything is computed."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from headposekit.errors import InputError
from headposekit.training import trainers
from headposekit.training.trainers import check_trainer
from run_folders import SMALL, only_run, results

TRAINER = {"_target_": "pytorch_lightning.Trainer", "accelerator": "cpu", "devices": 1, "max_epochs": 2}


@pytest.mark.parametrize(
    ("switches", "epochs", "has_best"),
    [
        (["+trainer.fast_dev_run=true"], 1, False),
        (["+trainer.limit_val_batches=0"], 2, False),
        (["+trainer.enable_checkpointing=false", "+trainer.enable_progress_bar=false", "logger=null"], 2, False),
        (["+trainer.max_steps=2", "+trainer.limit_test_batches=1"], 1, False),
        (["+trainer.check_val_every_n_epoch=2", "trainer.num_sanity_val_steps=1", "+trainer.detect_anomaly=true"], 2, True),
        (["+trainer.val_check_interval=0.5", "+trainer.limit_train_batches=2", "+trainer.profiler=simple"], 2, True),
        (["callbacks.best=null", "callbacks.last=null", "callbacks.stopwatch=null", "+trainer.max_time=01:00:00:00"], 2, False),
    ],
    ids=lambda value: value[0].lstrip("+") if isinstance(value, list) else "",
)
def test_switch_works_to_the_end(run, roots, tmp_path: Path, switches: list[str], epochs: int, has_best: bool) -> None:
    done = run("train", *roots, *SMALL, "epochs=2", "test.aflw2000.batch_size=8", *switches)
    assert done.returncode == 0, done.stderr
    content = results(only_run(tmp_path))
    assert content["status"] == "finished"
    assert content["train"]["epochs"] == epochs
    assert (content["train"]["best_epoch"] is not None) == has_best
    test = content["test"]["aflw2000"]
    assert test["n"] == (8 if "+trainer.limit_test_batches=1" in switches or "+trainer.fast_dev_run=true" in switches else 10)
    assert test["last"]["mae"] > 0
    lines = [line for line in done.stdout.splitlines() if line.startswith("epoch ")]
    assert len(lines) == (0 if "+trainer.enable_progress_bar=false" in switches else epochs)
    assert not set(done.stdout) & {"\r", "\x1b"}


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"barebones": True}, "trainer.barebones=True: it writes neither"),
        ({"sync_batchnorm": True}, "trainer.sync_batchnorm=True: it loses the activations"),
        ({"overfit_batches": 1}, "trainer.overfit_batches=1: it changes which faces make a batch; give data.num_train=N"),
        ({"overfit_batches": 0.5}, "trainer.overfit_batches=0.5: it changes"),
        ({"limit_train_batches": 0}, "trainer.limit_train_batches=0 leaves nothing to do"),
        ({"limit_test_batches": 0.0}, "trainer.limit_test_batches=0.0 leaves nothing to do"),
        ({"max_steps": 0}, "trainer.max_steps=0 leaves nothing"),
        ({"max_epochs": None}, "trainer.max_epochs=None: a training ends after epochs="),
        ({"max_epochs": -1}, "trainer.max_epochs=-1"),
        ({"devices": 99}, "trainer.devices=99 would start 99 processes on 2 cores"),
        ({"devices": 0}, "trainer: "),
        ({"strategy": "nope"}, "trainer: "),
        ({"precision": "nope"}, "trainer: "),
        ({"profiler": "nope"}, "trainer: "),
        ({"max_time": "soon"}, "trainer: "),
        ({"max_time": 5}, "trainer: "),
        ({"fast_dev_run": -1}, "trainer: "),
        ({"limit_val_batches": 1.5}, "trainer: "),
        ({"gradient_clip_algorithm": "nope"}, "trainer: "),
        ({"accumulate_grad_batches": 0}, "trainer.accumulate_grad_batches=0 is less than 1"),
        ({"logger": False}, "trainer.logger=false: choose logger="),
        ({"accelerator": "nope"}, "trainer: "),
    ],
    ids=str,
)
def test_switch_is_refused_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, switches: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(trainers, "available_cores", lambda: 2)
    with pytest.raises(InputError) as refused:
        check_trainer(OmegaConf.create({"trainer": TRAINER | switches}))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)
