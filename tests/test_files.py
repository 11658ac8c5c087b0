import multiprocessing
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headposekit import files
from headposekit.errors import InputError
from headposekit.files import append_text, check_writable, locked, replacing, write_bytes, write_json, write_picture


def test_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("reason", [ValueError, KeyboardInterrupt])
def test_failure_half_way_leaves_the_old_file_and_nothing_else(tmp_path: Path, reason: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(reason), replacing(path) as partial:  # noqa: PT012
        partial.write_text("ne")
        raise reason
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_of_numbers_that_are_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file.json", {"mae": float("nan")})
    assert not list(tmp_path.iterdir())


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_is_said_with_the_name_of_the_file_and_keeps_the_old_one(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    monkeypatch.setattr(files, "_flush", full)  # where a file server says it at the latest
    with pytest.raises(InputError, match=r"file\.txt: cannot be written \(No space left on device\)"):
        write_bytes(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_picture_that_cannot_be_encoded_or_written_is_named(tmp_path: Path, monkeypatch) -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InputError, match=r"face\.xyz: a picture of shape \(4, 4, 3\) cannot be stored as \.xyz"):
        write_picture(tmp_path / "face.xyz", image)
    monkeypatch.setattr(files, "_flush", full)
    with pytest.raises(InputError, match=r"face\.png: cannot be written"):
        write_picture(tmp_path / "face.png", image)
    assert not list(tmp_path.iterdir())


def test_two_at_once_write_into_files_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    with replacing(path) as one, replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"  # which ended last
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "file.txt.partial").write_text("half of something long")
    write_bytes(tmp_path / "file.txt", b"new")
    assert (tmp_path / "file.txt").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_link_stays_and_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    link = tmp_path / "file.txt"
    link.symlink_to(tmp_path / "there" / "file.txt")
    write_bytes(link, b"new")
    assert link.is_symlink()
    assert (tmp_path / "there" / "file.txt").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "there", Path("/dev/null")):
        with pytest.raises(InputError, match="give the path of a file"):
            write_bytes(path, b"new")


def test_whether_a_file_can_be_written_is_known_before_its_content(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    check_writable(path)
    assert path.read_text() == "old"
    with pytest.raises(InputError, match=r"nowhere/file\.txt: cannot be written"):
        check_writable(tmp_path / "nowhere" / "file.txt")


def test_lines_are_added_whole(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "rows.csv"
    append_text(path, "a,1\n")
    with path.open("a") as file:
        file.write("b,")  # by a process that was killed
    append_text(path, "c,3\n")
    assert path.read_text() == "a,1\nc,3\n"
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match=r"rows\.csv: cannot be written \(No space left on device\)"):
        append_text(path, "d,4\n")
    assert path.read_text() == "a,1\nc,3\n"


def lines_of(path: Path, letter: str) -> None:
    for number in range(50):
        append_text(path, f"{letter}{number}\n")


def test_lines_of_processes_side_by_side_are_all_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    writers = [multiprocessing.get_context("forkserver").Process(target=lines_of, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(path.read_text().split()) == sorted(f"{letter}{number}" for letter in "ab" for number in range(50))


def test_a_lock_is_of_the_file_that_has_the_name(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as first, locked(path) as second:
        assert (first, second) == (True, False)
        path.unlink()
        with locked(path) as third:
            assert third
    assert not path.exists()


@pytest.mark.parametrize("reason", files.NO_LOCKS)
def test_everybody_gets_a_lock_where_the_file_system_knows_none(tmp_path: Path, monkeypatch, reason: int) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(reason, "no locks here")

    monkeypatch.setattr(files.FileLock, "acquire", refuse)
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert (first, second) == (True, True)
    write_bytes(tmp_path / "file.txt", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file.txt"]


def test_a_name_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    for path in (tmp_path / f"{'ä' * 125}.json", tmp_path / f"{'ä' * 124}b.json"):
        write_bytes(path, path.name.encode())
    assert {path.read_text() for path in tmp_path.iterdir()} == {path.name for path in tmp_path.iterdir()}
    assert len(list(tmp_path.iterdir())) == 2
