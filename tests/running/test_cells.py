from pathlib import Path
from typing import Any

import pytest

from headpose.reporting.runs import Run
from headpose.running.cells import cell_overrides, cells_of, recorded_options, split_options
from headpose.running.experiments import filter_of

ROWS = {"rows": [{"label": "a", "cell": {"scoring": "conv", "loss.alpha": 1}}, {"label": "b", "fuse": ["a"]}]}


def run(*entries: Any) -> Run:
    return Run(Path("x"), {"cells": list(entries)} if entries else {})


def entry(experiment: str | None, cell: list[str], *options: str) -> dict[str, Any]:
    return {"experiment": experiment, "cell": cell, "options": list(options)}


def test_rows_are_cells_once_each_but_for_those_of_other_sweeps() -> None:
    rows = [*ROWS["rows"], *ROWS["rows"], {"label": "c", "cell": {"x": None}}, {"label": "d", "cell": {"x": 2}, "swept": False}]
    assert [cell_overrides(cell) for cell in cells_of({"rows": rows})] == [["scoring=conv", "loss.alpha=1"], ["x=null"]]
    assert cells_of(None) == [{}]


def test_options_of_cells_are_told_from_those_that_the_table_depends_on() -> None:
    options = ["experiments=e", "+loss.alpha=2", "epochs=3", "seed=0,1", "hydra.run.dir=x", "wandb.upload=true", "scoring=conv"]
    assert split_options(options, ROWS) == (["+loss.alpha=2", "scoring=conv"], ["epochs=3"])
    assert split_options(["scoring=conv"], None) == ([], ["scoring=conv"])


def test_recorded_options_make_nothing_but_values() -> None:
    evil = ("figures.x={_target_: os.abort}", "a={_target_: os.abort}", "b=${oc.env:HOME}", "table.title=x")
    runs = [
        run(entry("fsanet/table4", ["scoring=conv"], "epochs=3", *evil), entry("unknown", [], "epochs=4")),
        run("no entry", {"experiment": ["x"], "cell": [], "options": []}, entry(None, [], "epochs=5")),
        run(),  # of an older version
    ]
    assert recorded_options(runs, ["fsanet/table4"]) == {
        "fsanet/table4": {("epochs=3",)},
        None: {("epochs=4",), ("epochs=5",), ()},
    }


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [
        (entry("fsanet/table4", ["aggregation=capsule", "scoring=conv"]), True),
        (entry("fsanet/table1", ["aggregation=capsule", "scoring=conv"], "epochs=9"), True),  # experiments share trainings
        (entry(None, [], "aggregation=capsule"), True),
        (entry("fsanet/table4", ["aggregation=capsule", "scoring=none"]), False),
        (entry("fsanet/table4", ["model=ssrnet"]), False),
        (entry("fsanet/table5", ["aggregation=capsule", "scoring=conv"]), False),  # another protocol
        (entry("one/of_a_user", ["x=1"]), True),  # whose defaults are not known
        ("no entry", True),
    ],
    ids=str,
)
def test_cells_that_no_run_can_be_are_not_composed(recorded: Any, expected: bool) -> None:
    may_have_run = filter_of(["experiments=fsanet/table4"], {"key": [run(recorded)]})
    assert may_have_run({"aggregation": "capsule", "scoring": "conv"}) == expected


def test_landmarks_are_the_same_under_every_protocol_and_given_options_win() -> None:
    truth = {"model": "landmarks", "landmarks": "truth", "model.points": 68}
    pool = {"key": [run(entry("hopenet/landmarks_detected", ["landmarks=truth", "model.points=68.0"]))]}
    may_have_run = filter_of(["experiments=fsanet/table1"], pool)
    assert may_have_run(truth)
    assert not may_have_run({**truth, "model.points": 12})
    assert filter_of(["experiments=fsanet/table1", "model.points=68"], pool)({**truth, "model.points": 12})
