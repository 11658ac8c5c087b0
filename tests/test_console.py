import io

from rich.console import Console

from headposekit.console import print_export, print_results, print_search, print_sweep, result_rows

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


def test_the_aligned_error_is_shown_where_there_is_room() -> None:
    with_aligned = {
        **RESULTS,
        "test": {**RESULTS["test"], "biwi": {"n": 9, "skipped": 0, "last": {**ERRORS, "aligned_mae": 0.5}}},
    }
    texts = {}
    for width in (80, 74, 40):
        out = io.StringIO()
        print_results(with_aligned, Console(file=out, width=width))
        texts[width] = out.getvalue()
        assert all(len(line) <= width for line in texts[width].splitlines())
    rows = {width: next(line for line in text.splitlines() if "biwi" in line).split() for width, text in texts.items()}
    assert rows[80] == ["biwi", "last", "1.23", "2.00", "30.50", "11.25", "123.46", "0.50", "9", "0"]
    assert rows[74] == ["biwi", "last", "1.23", "2.00", "30.50", "11.25", "123.46", "9", "0"]
    assert "aligned 0.50" in texts[40].splitlines()
    assert ["aligned: mean absolute error once" in " ".join(text.split()) for text in texts.values()] == [True, False, True]


def test_rows_are_the_same_numbers() -> None:
    columns, rows = result_rows(RESULTS)
    assert [row[:2] for row in rows] == [["synthetic", "last"], ["synthetic", "best"], ["aflw2000", "last"]]
    assert dict(zip(columns, rows[2], strict=True))["geodesic"] == 123.456


def test_forty_columns_show_every_number_whole_one_value_a_line() -> None:
    out = io.StringIO()
    console = Console(file=out, width=40)
    print_results(RESULTS, console)
    print_export(
        {"file": "n.onnx", "degrees_from_network": {"mean": 0.00012, "max": 0.0034},
         "milliseconds": {"onnx": {"median": 12.345, "least": 11.111}}},
        console,
    )  # fmt: skip
    print_search(
        [{"trial": "12", "state": "finished", "value": "12.345", "folder": "0123456789ab", "options": "a=1", "reason": ""}],
        "val/mae",
        console,
    )
    print_sweep([{"cell": "seed=1", "folder": "0123456789ab", "state": "finished", "reason": ""}], console)
    text = out.getvalue()
    assert "…" not in text
    assert all(len(line) <= 40 for line in text.splitlines())
    for line in (
        "test set aflw2000",
        "yaw 1.23",
        "geodesic 123.46",
        "n 1969",
        "mean degrees off 0.00012",
        "ms a picture 12.35",
    ):
        assert line in text.splitlines()
    assert "12.345" in text
    assert text.count("0123456789ab") == 2
