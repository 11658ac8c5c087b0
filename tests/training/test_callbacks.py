"""Checkpoints, and what a training prints where there is no terminal."""

import io
import os
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from configs import train_config
from headposekit import files
from headposekit.errors import InputError
from headposekit.training import callbacks
from headposekit.training.callbacks import (
    Heartbeat,
    Progress,
    SeedEpochs,
    SelfDescription,
    Stopwatch,
    WholeCheckpoints,
)
from headposekit.training.loggers import EpochCSVLogger
from run_folders import rows


@pytest.mark.parametrize("trainer", ["auto", "cpu", "gpu", "ddp", "ddp_cpu"])
def test_every_trainer_writes_whole_checkpoints(trainer: str) -> None:
    targets = [plugin["_target_"] for plugin in train_config(f"trainer={trainer}").trainer.plugins]
    assert "headposekit.training.callbacks.WholeCheckpoints" in targets


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full disk", "ended"])
def test_the_checkpoint_before_stays_until_the_next_is_whole(tmp_path: Path, monkeypatch, error: BaseException) -> None:
    path = tmp_path / "checkpoints" / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"epoch": 0}, path)
    before = path.read_bytes()

    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr(files, "_flush", fails)
    with pytest.raises(InputError if isinstance(error, OSError) else KeyboardInterrupt) as refusal:
        WholeCheckpoints().save_checkpoint({"epoch": 1}, path)
    if isinstance(error, OSError):
        assert f"{path}: cannot be written (No space left on device)" in str(refusal.value)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_checkpoint_takes_no_way_round_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    content = {"epoch": 3, "state_dict": {"a": torch.arange(3.0)}}
    WholeCheckpoints().save_checkpoint(content, tmp_path / "last.ckpt")
    loaded = WholeCheckpoints().load_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert loaded["epoch"] == 3
    assert torch.equal(loaded["state_dict"]["a"], content["state_dict"]["a"])
    plain = io.BytesIO()
    torch.save(content, plain)
    assert (tmp_path / "last.ckpt").read_bytes() == plain.getvalue()


def test_numbers_that_were_logged_after_the_checkpoint_are_logged_when_it_is_resumed(tmp_path: Path) -> None:
    metrics = {"val/mae": torch.tensor(0.1), "train/loss": torch.tensor(2.5)}
    trainer: Any = SimpleNamespace(callback_metrics=metrics, current_epoch=1)
    checkpoint: dict[str, Any] = {"epoch": 1}
    SelfDescription({"format": 1}).on_save_checkpoint(trainer, None, checkpoint)  # type: ignore[arg-type]
    assert checkpoint["headposekit"] == {"format": 1, "epoch": 1, "errors": {"val/mae": metrics["val/mae"].item()}}
    (tmp_path / "metrics.csv").write_text("epoch,train/loss,val/mae\n0,3.5,0.25\n1,,0.10000000149011612\n2,1.0,\n")
    trainer.loggers = [EpochCSVLogger(tmp_path)]
    SelfDescription({}).on_load_checkpoint(trainer, None, checkpoint)  # type: ignore[arg-type]
    assert [list(row.values()) for row in rows(tmp_path / "metrics.csv")] == [
        ["0", "3.5", "0.25"],
        ["1", "2.5", "0.10000000149011612"],
    ]


def test_no_room_for_a_sign_of_life_ends_nothing(tmp_path: Path) -> None:
    Heartbeat(tmp_path / "nowhere" / "heartbeat", seconds=0).on_train_batch_end()
    Heartbeat(tmp_path / "heartbeat", seconds=0).on_train_batch_end()
    assert os.listdir(tmp_path) == ["heartbeat"]


def trained(**metrics: float) -> Any:
    return SimpleNamespace(current_epoch=1, max_epochs=9, is_global_zero=True, callback_metrics=metrics)


def test_file_gets_one_plain_line_an_epoch(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress()
    monkeypatch.setattr("pytorch_lightning.callbacks.RichProgressBar.on_train_epoch_start", lambda *_: None)
    trainer = trained(**{"train/loss": 1.25, "val/mae": 7.5})
    progress.on_train_epoch_start(trainer, None)
    progress.on_train_epoch_end(trainer, None)
    assert capsys.readouterr().out == ""  # the module's means are not there yet
    progress.on_train_end(trainer, None)
    out = capsys.readouterr().out
    assert out.startswith("epoch 2/9, loss 1.25, val MAE 7.5 degrees, ")
    assert out.endswith(" s\n")
    assert out.count("\n") == 1
    progress.on_train_end(trainer, None)
    assert capsys.readouterr().out == ""


def test_terminal_gets_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    assert Progress().is_enabled
    monkeypatch.setattr(terminal, "isatty", lambda: False)
    assert Progress().is_disabled


@pytest.mark.parametrize("content", [b"epoch,a\n\x85,1\n", b"a,b\n1,2\n", b"epoch,a\n,1\n"], ids=["bytes", "no epoch", "empty"])
def test_damaged_metrics_are_named_and_the_training_goes_on(tmp_path: Path, caplog, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    logger = EpochCSVLogger(tmp_path)
    assert logger.rows == {}
    assert caplog.messages[0].startswith(f"{tmp_path / 'metrics.csv'}: damaged")
    logger.log_metrics({"epoch": 3, "val/mae": 1.5})
    assert [list(row.values()) for row in rows(tmp_path / "metrics.csv")] == [["3", "1.5"]]


def test_each_process_has_dropout_of_its_own_and_a_resume_repeats_it() -> None:
    def masks(epoch: int, rank: int) -> tuple[float, ...]:
        SeedEpochs(3).on_train_epoch_start(SimpleNamespace(current_epoch=epoch, global_rank=rank), None)  # type: ignore[arg-type]
        return tuple(torch.rand(4).tolist())

    assert masks(2, 0) == masks(2, 0)
    assert len({masks(epoch, rank) for epoch in range(4) for rank in range(4)}) == 16


@pytest.mark.parametrize(("device", "seconds"), [("cuda", 5.0), ("cpu", 2.0)])
def test_the_clock_stops_when_the_device_has_done_its_work(monkeypatch, device: str, seconds: float) -> None:
    now = 10.0

    def work(_: torch.device) -> None:
        nonlocal now
        now += 3

    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now)
    monkeypatch.setattr(torch.cuda, "synchronize", work)
    module: Any = SimpleNamespace(device=torch.device(device))
    stopwatch = Stopwatch()
    stopwatch.on_train_epoch_start()
    now += 2
    stopwatch.on_train_epoch_end(None, module)  # type: ignore[arg-type]
    assert stopwatch.seconds == seconds
