"""What every entry point does around its task."""

import io
import itertools
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from headposekit.cli.entry import entry_point, one_line
from headposekit.errors import InputError


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


def test_a_refusal_of_a_worker_process_is_its_own_line_alone() -> None:
    trace = "Caught InputError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
    assert one_line(InputError(f"{trace}headposekit.errors.InputError: a.mat: broken\n")) == "a.mat: broken"


def test_options_that_are_no_text_are_named(
    start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine" / "conf" / "detector" / "binary.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xff\xfea")
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    with pytest.raises(SystemExit):
        start("detector=binary")
    assert capsys.readouterr().err == f"error: {path}: not UTF-8 text; save it as UTF-8\n"


def test_a_full_disk_under_what_hydra_writes_names_the_folder_of_runs(
    start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hydra.core.utils._save_config", full)
    with pytest.raises(SystemExit):
        start()
    assert capsys.readouterr().err.startswith(f"error: No space left on device: neither {tmp_path}/runs nor")


def test_a_worker_that_was_killed_is_no_traceback() -> None:
    line = one_line(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "))
    assert line is not None
    assert line.startswith("a worker process was ended from outside")


def test_a_closed_pipe_is_no_traceback() -> None:
    assert (one_line(BrokenPipeError(32, "Broken pipe")) or "").startswith("whatever read the output has ended")


def test_a_full_gpu_is_no_fault_of_the_program() -> None:
    line = one_line(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8 GiB")
    )
    assert line is not None
    assert line.startswith("CUDA out of memory; give a smaller data.batch_size")


def _bomb() -> str:
    """Nine letters, each a list of nine times the one before."""
    lists = (f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in itertools.pairwise("abcdefghi"))
    return "a: &a [x]\n" + "".join(lists)


@pytest.mark.parametrize(
    "content",
    [
        _bomb(),
        _bomb().replace("[", "{p: [").replace("]", "]}"),
        "a: &a {x: 1}\n" + "".join(f"b{n}: &b{n} {{y: *{'a' if n == 0 else f'b{n - 1}'}}}\n" for n in range(60)),
        "a: &a [*a]\n",
        "a: " + "[" * 900 + "]" * 900,
        f"a: [{'x, ' * 20_000}]",
    ],
    ids=["lists", "mappings", "long chain", "itself", "deep", "large"],
)
def test_options_that_grow_without_end_are_named(
    start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    path = tmp_path / "mine" / "conf" / "detector" / "large.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    with pytest.raises(SystemExit):
        start("detector=large")
    said = capsys.readouterr().err
    assert re.fullmatch(rf"error: {path}: more than the 10,000 keys and values [^\n]*\n", said)


def test_aliases_of_a_usual_file_are_read(start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mine" / "conf" / "detector" / "twice.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("a: &a {x: [1, 2]}\nb: {<<: *a, y: *a}\n")
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    assert start("detector=twice").detector.b == {"x": [1, 2], "y": {"x": [1, 2]}}


@pytest.mark.parametrize(
    "defaults", ["{a: b}", "[{}]", "[{a: b, c: d}]", "[7]", "[{a: {b: c}}]", "[{a: [1]}]", "[{1: a}]", "[null]", "[[a]]"]
)
def test_list_of_defaults_that_hydra_cannot_use_is_one_line(
    start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], defaults: str
) -> None:
    path = tmp_path / "mine" / "conf" / "detector" / "other.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(f"defaults: {defaults}\n")
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    with pytest.raises(SystemExit):
        start("detector=other")
    said = capsys.readouterr().err
    assert re.fullmatch(r"error: [^\n]*; correct the file that was chosen[^\n]*\n", said)
