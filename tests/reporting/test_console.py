import io

from rich.console import Console

from headpose.reporting.console import print_results, result_rows

ERRORS = {"yaw": 1.234, "pitch": 2.0, "roll": 30.5, "mae": 11.25, "geodesic": 123.456}
RESULTS = {
    "params": 238_471,
    "test": {
        "synthetic": {"n": 1024, "skipped": 0, "last": ERRORS, "best": ERRORS},
        "aflw2000": {"n": 1969, "skipped": 3, "last": ERRORS},
    },
}


def test_table_fits_a_narrow_terminal_with_every_number_whole() -> None:
    out = io.StringIO()
    print_results(RESULTS, Console(file=out, width=80))
    text = out.getvalue()
    assert "…" not in text
    assert "238,471" in text
    line = next(line for line in text.splitlines() if "aflw2000" in line)
    assert line.split() == ["aflw2000", "last", "1.23", "2.00", "30.50", "11.25", "123.46", "1969", "3"]


def test_rows_are_the_same_numbers() -> None:
    columns, rows = result_rows(RESULTS)
    assert [row[:2] for row in rows] == [["synthetic", "last"], ["synthetic", "best"], ["aflw2000", "last"]]
    assert dict(zip(columns, rows[2], strict=True))["geodesic"] == 123.456
