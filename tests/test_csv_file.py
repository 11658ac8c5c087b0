from pathlib import Path

import pytest

from headposekit.csv_file import number_in, read_rows
from headposekit.errors import InputError

HINT = "make one"


def write(folder: Path, text: str) -> Path:
    (folder / "t.csv").write_bytes(text.encode())
    return folder / "t.csv"


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    text = '\ufeffname,x\r\n\r\n   \r\na,1\r\n"b\r\nb",2\r\n\r\nc,3\r\n'
    rows = read_rows(write(tmp_path, text), ["name", "x"], HINT)
    assert [(row.line, row.cells["x"]) for row in rows] == [(4, "1"), (5, "2"), (8, "3")]


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["comma", "semicolon", "tab"])
def test_the_header_says_what_separates(tmp_path: Path, separator: str) -> None:
    text = "name,x,note\na, 1.5 ,\n".replace(",", separator)
    (row,) = read_rows(write(tmp_path, text), ["x", "name"], HINT)
    assert row.cells == {"name": "a", "x": "1.5", "note": ""}
    assert number_in("here", row, "x") == 1.5


def test_header_may_have_capitals(tmp_path: Path) -> None:
    (row,) = read_rows(write(tmp_path, "Name,X,NOTE\nA,1.5,B\n"), ["x", "name"], HINT)
    assert row.cells == {"name": "A", "x": "1.5", "note": "B"}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("name,x\n\n\na,-16,81\n", "line 4: 3 cells under 2 columns; write decimals with a point"),
        ("name,x\na\n", "line 2: 1 cells under 2 columns; give each column a cell"),
        ("name,x,x\na,1,2\n", "column 'x' is named twice in the header"),
        ("name, x ,x\na,1,2\n", "column 'x' is named twice in the header"),
        ("name,x,X\na,1,2\n", "column 'x' is named twice in the header"),
        ('name,x\n"a,1\nb,2\n', "line 2: 1 cells under 2 columns; a quote may be open"),
        ("name,y\na,1\n", "no column x; make one"),
        ("", "no column name; make one"),
        (f"name,x\n{'a' * 200_000},1\n", r"line 2: cannot be read as a CSV file \(field larger"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv.*{fault}") as refusal:
        read_rows(write(tmp_path, text), ["name", "x"], HINT)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("cell", ["", "one", "nan", "inf", "1_5", '"1,5"', '"1\n5"'])
def test_a_cell_that_is_no_number(tmp_path: Path, cell: str) -> None:
    (row,) = read_rows(write(tmp_path, f"name,x\na,{cell}\n"), ["x"], HINT)
    with pytest.raises(InputError, match=r"t, line 2: x is '.*', not a finite number; ") as refusal:
        number_in("t, line 2", row, "x")
    assert "\n" not in str(refusal.value)
    assert ("with a point" in str(refusal.value)) == ("," in cell)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none: no such file; make one"):
        read_rows(tmp_path / "none", ["x"], HINT)
    with pytest.raises(InputError, match="not a file; make one"):
        read_rows(tmp_path, ["x"], HINT)
    (tmp_path / "t.csv").write_bytes("näme,x\n".encode("cp1252"))
    with pytest.raises(InputError, match="it is not UTF-8; save it as CSV in UTF-8"):
        read_rows(tmp_path / "t.csv", ["x"], HINT)
