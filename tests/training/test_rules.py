import inspect
import json
from pathlib import Path

import pytest

from headposekit.data.perturbation import Perturbation
from headposekit.reporting.leaderboard import PERTURBED
from headposekit.training.rules import PERTURBATIONS, describe_rules, is_official
from headposekit.training.runs import read_runs

BIWI = {"dataset": "BIWI", "max_angle": 99.0, "box": "listed", "box_file": "a.npz", "part": "test", "part_seed": 3}


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (BIWI, "BIWI, |angles| <= 99, box listed, box file a.npz, part test, part seed 3"),
        ({**BIWI, "max_angle": None, "calibrated": True, "euler_order": "pyr", "part_seed": None},
         "BIWI, all angles, box listed, box file a.npz, part test, calibrated, errors in pyr angles"),
        ({"dataset": "AFW", "perturb": {"low_resolution": 5, "shift": 0.10}, "light": "dark", "euler_order": "ypr"},
         "AFW in 5 times larger pixels with boxes moved by 0.1 of their size, light dark"),
        ({"dataset": "BIWI", "calibrated": True, "frame": "camera"}, "BIWI, calibrated"),
        ({"dataset": "BIWI", "calibrated": True, "frame": "ray"}, "BIWI, calibrated, frame ray"),
        ({"dataset": "68 points", "labels": "our own, modes_inner", "level": 6.6},
         "68 points, labels our own, modes_inner, level 6.6"),
    ],
)  # fmt: skip
def test_words(rules: dict, words: str) -> None:
    assert describe_rules(rules) == words


def test_what_is_left_out_and_every_perturbation_has_words() -> None:
    perturbed = {**BIWI, "perturb": {"jitter": 0.2}}
    assert describe_rules(perturbed, without=("perturb", "box", "box_file")) == "BIWI, |angles| <= 99, part test, part seed 3"
    options = set(inspect.signature(Perturbation).parameters) - {"seed", "corruption", "strength"}
    assert options == set(PERTURBATIONS) == set(PERTURBED)


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, True),
        ({"labels": "nominal", "frame": "camera"}, True),
        ({"labels": "second.csv"}, False),
        ({"frame": "ray"}, False),
    ],
)
def test_papers_have_the_official_labels_in_the_cameras_frame(rules: dict, expected: bool) -> None:
    assert is_official({"dataset": "BIWI", **rules}) is expected


@pytest.mark.parametrize(
    ("entry", "rules", "reason"),
    [
        ({"rules": BIWI}, BIWI, None),
        ({"protocol": "BIWI, |angles| <= 99"}, {"dataset": "BIWI, |angles| <= 99"}, None),  # of an older version
        ({}, None, "test set a lacks one of rules, crop, n, last"),
        ({"rules": {"dataset": "BIWI", "perturb": {"shift": "far"}}}, None, "no usable `rules`"),
        ({"rules": ["BIWI"]}, None, "no usable `rules`"),
        ({"rules": BIWI, "by_yaw": {"last": {"0-15": {"mae": "small", "n": 2}}}}, None, "test set a has no usable `by_yaw`"),
        ({"rules": BIWI, "by_view": {"last": {"all": {"geodesic": 1.5, "n": 2}}}}, None, "test set a has no usable `by_view`"),
        ({"rules": BIWI, "by_yaw": [1]}, None, "test set a has no usable `by_yaw`"),
        ({"rules": BIWI, "by_yaw": {"last": {"0-15": {"mae": 1.5, "n": 2}}}}, BIWI, None),
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
