"""What a training prints where there is no terminal, and with which letters."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from headpose.modules.callbacks import Progress


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
