import inspect
import json
from pathlib import Path

import pytest

from headpose.datasets.perturbation import Perturbation
from headpose.reporting.leaderboard import PERTURBED
from headpose.reporting.rules import PERTURBATIONS, describe_rules
from headpose.reporting.runs import read_runs

BIWI = {"dataset": "BIWI", "max_angle": 99.0, "box": "listed", "box_file": "a.npz", "part": "test", "part_seed": 3}


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (BIWI, "BIWI, |angles| <= 99, box listed, box file a.npz, part test, part seed 3"),
        ({**BIWI, "max_angle": None, "calibrated": True, "euler_order": "pyr", "part_seed": None},
         "BIWI, all angles, box listed, box file a.npz, part test, calibrated, errors in pyr angles"),
        ({"dataset": "AFW", "perturb": {"low_resolution": 5, "shift": 0.10}, "light": "dark", "euler_order": "ypr"},
         "AFW in 5 times larger pixels with boxes moved by 0.1 of their size, light dark"),
    ],
)  # fmt: skip
def test_words(rules: dict, words: str) -> None:
    assert describe_rules(rules) == words


def test_what_is_left_out_and_every_perturbation_has_words() -> None:
    perturbed = {**BIWI, "perturb": {"jitter": 0.2}}
    assert describe_rules(perturbed, without=("perturb", "box", "box_file")) == "BIWI, |angles| <= 99, part test, part seed 3"
    options = set(inspect.signature(Perturbation).parameters) - {"seed"}
    assert options == set(PERTURBATIONS) == set(PERTURBED)


@pytest.mark.parametrize(
    ("entry", "rules", "reason"),
    [
        ({"rules": BIWI}, BIWI, None),
        ({"protocol": "BIWI, |angles| <= 99"}, {"dataset": "BIWI, |angles| <= 99"}, None),  # of an older version
        ({}, None, "test set a lacks one of rules, crop, n, last"),
        ({"rules": {"dataset": "BIWI", "perturb": {"shift": "far"}}}, None, "no usable `rules`"),
        ({"rules": ["BIWI"]}, None, "no usable `rules`"),
    ],
)
def test_a_run_has_rules_or_the_sentence_of_an_older_version(
    tmp_path: Path, entry: dict, rules: dict | None, reason: str | None
) -> None:
    errors = dict.fromkeys(("yaw", "pitch", "roll", "mae", "geodesic"), 1.0)
    test = {"crop": "fsanet", "n": 2, "last": errors, **entry}
    content = {"status": "finished", "train_id": "x", "config": {"seed": 0}, "train": dict(entry), "test": {"a": test}}
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "results.json").write_text(json.dumps(content))
    runs, left_out = read_runs(tmp_path)
    assert [run.results["test"]["a"]["rules"] for run in runs] == ([rules] if rules else [])
    assert left_out == ({"x": f"results.json: {reason}"} if reason else {})
