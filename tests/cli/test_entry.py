"""What every entry point does around its task."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from headposekit.cli.entry import entry_point


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call a task as `demo.py` with these arguments; returns its configuration."""
    monkeypatch.setenv("HEADPOSEKIT_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, text: str = "") -> DictConfig:
        seen: list[DictConfig] = []

        def task(config: DictConfig) -> None:
            seen.append(config)
            print(text)

        monkeypatch.setattr(sys, "argv", ["demo.py", *arguments])
        entry_point("demo")(task)()
        return seen[0]

    return call


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk", "cp932", "cp437"])
def test_letters_that_the_output_lacks_are_replaced(start, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
    start(text="• ── é 头")
    sys.stdout.flush()
    assert b"?" in out.getvalue()


@pytest.mark.parametrize("name", ["a=b.ckpt", "it's (1).ckpt", "[頭], é & {x};~#.ckpt", "epoch=3-step=9.ckpt"])
def test_file_of_any_name_is_given_without_quotes(start, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert start(f"checkpoint={name}").checkpoint == name
    assert start(f"checkpoint={tmp_path / name}", f"hydra.run.dir={tmp_path}/out {name}").checkpoint == str(tmp_path / name)
    assert (tmp_path / f"out {name}" / ".hydra" / "config.yaml").is_file()
