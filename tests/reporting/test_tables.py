import csv
import io
from pathlib import Path

import pytest

from headposekit.errors import InputError
from headposekit.geometry.conventions import ALIGNED_MEANS
from headposekit.paths import PUBLISHED
from headposekit.reporting.published import Published, find_published, read_published
from headposekit.reporting.tables import DASH, Measured, Row, Table, mean_and_std


def errors(mae: float) -> dict[str, float]:
    return {"yaw": mae - 1, "pitch": mae + 1, "roll": mae, "mae": mae, "geodesic": 2 * mae}


def table() -> Table:
    measured = Measured(
        (errors(5.0), errors(6.0)), (errors(4.5), errors(4.5)), 1969, {"dataset": "AFLW2000"}, "fsanet", ("abc",)
    )
    return Table(
        "FSA-Net, Table 1",
        {"aflw2000": "AFLW2000"},
        [
            Row("FAN & friends", None, {"aflw2000": Published({"mae": 9.12}, "183")}),
            Row("ours", 0.95, {"aflw2000": Published({"mae": 5.25}, "1.1", ("a misprint",))}, {"aflw2000": measured}),
            Row("never run", 0.5),
        ],
    )


def test_cells_hold_mean_and_spread_over_seeds_and_dashes_where_nothing_is() -> None:
    header, body, notes = table().cells()
    fan, ours, never = (dict(zip(header, row, strict=True)) for row in body)
    assert (ours["AFLW2000 last"], ours["AFLW2000 best"]) == ("5.50 ± 0.71", "4.50 ± 0.00")
    assert ours["AFLW2000 difference"] == "+0.25"
    assert ours["AFLW2000 published"] == "5.25 [1]"
    assert (ours["MB"], ours["MB published"], ours["AFLW2000 seeds"], ours["AFLW2000 n"]) == ("0.95", "1.1", "2", "1969")
    assert (fan["AFLW2000 published"], fan["AFLW2000 last"]) == ("9.12", DASH)
    assert set(never.values()) == {"never run", "0.50", DASH}
    assert notes == ["a misprint"]


def test_rows_whose_errors_leave_faces_out_are_named() -> None:
    left_out = Measured((errors(5.0),), (), 494, {"dataset": "p"}, "c", ("abc",), without_pose=197)
    whole = Measured((errors(5.0),), (), 494, {"dataset": "p"}, "c", ("abc",))
    landmarks = Table("T", {"a": "AFLW2000"}, [Row("own", measured={"a": left_out}), Row("frontal", measured={"a": whole})])
    expected = "AFLW2000, faces without a pose, which the errors leave out: own 197 of 494."
    assert landmarks.provenance() == ["AFLW2000: p; crop c; 494 faces; commit abc.", expected]
    assert expected in landmarks.markdown(("last",))
    header, (own, frontal), _ = landmarks.cells(("n",))
    assert (own[header.index("AFLW2000 n")], frontal[header.index("AFLW2000 n")]) == ("297 of 494", "494")


def test_the_aligned_error_is_a_dash_where_a_seed_lacks_it_and_is_explained_where_it_is_shown() -> None:
    seeds = ({**errors(5.0), "aligned_mae": 3.0}, {**errors(5.0), "aligned_mae": 4.0})
    both = Table("T", {"a": "AFLW2000"}, [Row("new", measured={"a": Measured(seeds, (), 9, {"dataset": "p"}, "c", ("abc",))})])
    assert both.cells(("last", "aligned"))[1] == [["new", DASH, "5.00 ± 0.00", "3.50 ± 0.71"]]
    assert ALIGNED_MEANS in both.markdown()
    seeds[1].pop("aligned_mae")
    assert both.cells(("last", "aligned"))[1] == [["new", DASH, "5.00 ± 0.00", DASH]]
    assert ALIGNED_MEANS not in both.markdown()


def test_differences_smaller_than_the_tolerance_are_marked() -> None:
    rows = [
        Row(
            str(mae),
            None,
            {"a": Published({"mae": 4.0})},
            {"a": Measured((errors(mae),), (), 9, {"dataset": "p"}, "c", ("abc",))},
        )
        for mae in (3.0, 3.9, 5.5)
    ]
    table = Table("T", {"a": "A", "b": "B"}, rows, tolerances={"a": 1.2})
    assert [cells[3:5] for cells in table.cells(("last", "difference"))[1]] == [
        ["3.00", "-1.00 ≈"],
        ["3.90 ≈", "-0.10 ≈"],
        ["5.50", "+1.50"],
    ]


def test_a_terminal_gets_the_columns_that_fit() -> None:
    header, body, _ = table().cells(("published", "last"))
    assert header == ["method", "MB", "MB published", "AFLW2000 published", "AFLW2000 last"]
    assert body[1] == ["ours", "0.95", "1.1", "5.25 [1]", "5.50 ± 0.71"]
    assert "geodesic" not in table().markdown(("last",))


def test_where_nobody_published_nothing_compares() -> None:
    alone = Table("ours", {"aflw2000": "AFLW2000"}, [Row("ours", 0.95, {}, table().rows[1].measured), Row("never", None)])
    header, body, _ = alone.cells(("published", "last", "difference", "n"))
    assert header == ["method", "MB", "AFLW2000 last", "AFLW2000 n"]
    assert body == [["ours", "0.95", "5.50 ± 0.71", "1969"], ["never", DASH, DASH, DASH]]


def test_one_seed_has_no_spread() -> None:
    assert mean_and_std([5.0]) == "5.00"
    assert mean_and_std([]) == DASH


def test_the_three_forms_hold_the_same_numbers() -> None:
    header, body, _ = table().cells()
    assert list(csv.reader(io.StringIO(table().csv()))) == [header, *body]
    markdown, latex = table().markdown(), table().latex()
    for row in body:
        assert f"| {' | '.join(row)} |" in markdown
    assert "[1] a misprint" in markdown
    assert "1969 faces; commit abc" in markdown
    assert r"FAN \& friends" in latex
    assert latex.count(r"\\") == len(body) + 1
    assert "±" not in latex


def test_misprints_are_found_and_remarks_kept() -> None:
    rows = read_published(PUBLISHED)
    wanted = {"paper": "FSA-Net", "table": "Table 2", "test_set": "BIWI"}
    one = find_published(rows, **wanted, method="FSA-Caps", scoring="1x1")
    assert one is not None
    assert "4.78" in one.notes[0]
    right = find_published(rows, **wanted, method="FSA-Caps", scoring="var")
    assert right is not None
    assert right.notes == ()
    assert find_published(rows, **wanted, method="nobody") is None
    with pytest.raises(InputError, match="rows fit"):
        find_published(rows, **wanted, method="FSA-Caps")


def test_every_row_whose_angles_do_not_average_to_its_mean_is_remarked() -> None:
    for row in read_published(PUBLISHED):
        found = find_published([row], paper=row["paper"])
        assert found is not None
        if len(found.errors) == 4:
            mean = sum(found.errors[angle] for angle in ("yaw", "pitch", "roll")) / 3
            assert abs(mean - found.errors["mae"]) < 0.016 or any("average" in note for note in found.notes), row


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"FSA-Net", b"FSA\xff", "not UTF-8"),
        (b"roll", b"rolls", "no column roll; it belongs to the project"),
        (b"\n", b",x\n", "cells under"),
        (b"6.41", b"six", "'six.*', not a finite number"),
    ],
    ids=["bytes", "column", "cells", "number"],
)
def test_damaged_published_numbers_are_refused_in_one_line(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    content = PUBLISHED.read_bytes()
    assert old in content
    (tmp_path / "p.csv").write_bytes(content.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"p\.csv.*{message}"):
        read_published(tmp_path / "p.csv")


def test_a_column_that_published_numbers_do_not_have() -> None:
    with pytest.raises(InputError, match="published: scoting is no column of the published numbers"):
        find_published(read_published(PUBLISHED), scoting="1x1")
