"""The tool that damages files: what it finds in a reader that takes damage badly, and that it repeats itself."""

import io
import json
import os
import sys
import zipfile
from pathlib import Path
from random import Random

import cv2
import numpy as np
import pytest

from headposekit.errors import InputError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from damage_edits import EDITS, damage, edit_json, edit_npy, edit_png, edit_zip
from damage_files import FAULTS, Reader, fault_list, run_cases, table


def badly(file: Path) -> None:
    """Reads what stands in a file, in every way that is a fault."""
    said = file.read_text(errors="replace")
    match int(file.stem):
        case 0:
            raise InputError(f"{file.name}: {said[:5]!r} is not right")
        case 1:
            os.abort()
        case 2:
            while True:
                pass
        case 3:
            np.ones(2 * 10**9, np.uint8)
        case 4:
            raise KeyError(said)
        case 5:
            raise InputError("a file is not right")
        case 6:
            raise InputError(f"{file.name} is\nnot right")


def write_seven(folder: Path) -> None:
    for number in range(7):
        (folder / f"{number}").write_text("whole")


def test_each_fault_is_found_once_and_its_file_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("damage_files.PROCESSOR_SECONDS", 0.3)
    outcomes = ["refused", "crash", "hang", "memory", "exception", "message", "refused"]
    for number, outcome in enumerate(outcomes):
        reader = Reader(lambda folder, number=number: (folder / f"{number}").write_text("whole"), _after_the_first)
        (tmp_path / f"{number}").mkdir()
        (result,) = run_cases("bad", reader, 3, range(8, 9), tmp_path / f"{number}", tmp_path / "kept")
        assert (result.case, result.outcome) == (8, outcome), result
    kept = sorted(path.name for path in (tmp_path / "kept" / "bad").iterdir() if path.suffix != ".txt")
    assert kept == sorted(f"3_000008_{outcome}_{number}" for number, outcome in enumerate(outcomes) if outcome in FAULTS)


def _after_the_first(folder: Path):
    """Whole files are read well."""
    return lambda file: None if file.read_bytes() == b"whole" else badly(file)


def test_worker_goes_on_behind_a_crash(tmp_path: Path) -> None:
    reader = Reader(
        write_seven, lambda folder: lambda file: os.abort() if file.name == "1" and file.read_bytes() != b"whole" else None
    )
    found = run_cases("some", reader, 0, range(30), tmp_path)
    assert [result.case for result in found] == list(range(30))
    assert {result.outcome for result in found if result.file == "1"} <= {"crash", "ok"}
    assert {result.outcome for result in found if result.file != "1"} == {"ok"}
    assert "crash" in fault_list({"some": found})
    assert table({"some": found}).splitlines()[1].split()[:2] == ["some", "30"]


def test_whole_file_that_is_not_read_is_no_case(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="the whole file 0 is not read: refused"):
        run_cases("bad", Reader(lambda folder: (folder / "0").write_text("whole"), lambda folder: badly), 0, range(1), tmp_path)


@pytest.mark.parametrize("suffix", sorted(EDITS))
def test_damage_follows_from_the_number(suffix: str) -> None:
    content = bytes(range(256)) * 3
    assert damage(Random("a 1"), content, suffix) == damage(Random("a 1"), content, suffix)
    assert damage(Random("a 1"), b"", suffix)[0] == b""


def test_damaged_members_reach_the_reader(tmp_path: Path) -> None:
    """An archive is whole, a picture's checksums are right, JSON can be parsed: what is read differs."""
    buffer = io.BytesIO()
    np.savez(buffer, a=np.arange(9), b=np.eye(3))
    for number in range(40):
        with zipfile.ZipFile(io.BytesIO(edit_zip(Random(number), buffer.getvalue()))) as archive:
            assert archive.testzip() is None
    array = io.BytesIO()
    np.save(array, np.arange(9))
    assert len({edit_npy(Random(number), array.getvalue())[:80] for number in range(40)}) > 20
    png = cv2.imencode(".png", np.zeros((5, 7, 3), np.uint8))[1].tobytes()
    assert {edit_png(Random(number), png)[:8] for number in range(20)} == {png[:8]}
    edited = [edit_json(Random(number), b'{"a": [1, {"b": "x"}]}') for number in range(10, 40)]
    assert sum(json.loads(text) != {"a": [1, {"b": "x"}]} for text in edited if len(text) < 10**4) > 20
