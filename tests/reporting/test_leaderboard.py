import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headposekit.geometry.conventions import pose_to_pyr
from headposekit.reporting.leaderboard import boards, intervals, label_of, networks, perturbations, score
from headposekit.reporting.tables import errors_of_faces
from headposekit.training.runs import read_runs, write_predictions

RULES = {"dataset": "AFLW2000", "max_angle": 99, "box": "visible21"}


def write_run(runs: Path, name: str, errors: list[float], rules: dict[str, Any] = RULES, seed: int = 0, **config: Any) -> Path:
    """A run whose faces are off by these errors in each angle; None has no pose."""
    folder = runs / name
    folder.mkdir(parents=True)
    faces = [
        {"name": f"{n}", "true": [float(n), 0.0, 0.0], "predicted": [n + error, error, error], "geodesic": error}
        for n, error in enumerate(errors)
    ]
    write_predictions(folder / "predictions_a.csv", faces)
    last = dict.fromkeys(("yaw", "pitch", "roll", "mae", "geodesic"), float(np.nanmean(np.abs(errors))))
    entry = {"rules": rules, "crop": "fsanet", "n": len(errors), "last": last}
    content = {"status": "finished", "train_id": name, "config": {"seed": seed, **config}, "test": {"a": entry}}
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def scores_of(runs: Path) -> tuple[list[Any], dict[tuple[str, str], str]]:
    return score(networks(read_runs(runs)[0]))


@given(st.lists(st.floats(0, 180), min_size=2, max_size=60), st.integers(0, 9))
def test_intervals_hold_the_mean_and_are_the_same_every_time(errors: list[float], seed: int) -> None:
    own = np.arange(len(errors))
    both = intervals(np.array([errors, errors]), own, 200, seed)
    np.testing.assert_array_equal(both[0], both[1])
    assert both[0, 0] - 1e-9 <= np.mean(errors) <= both[0, 1] + 1e-9
    np.testing.assert_array_equal(both, intervals(np.array([errors, errors]), own, 200, seed))


def test_intervals_are_as_wide_as_theory_says_and_leave_faces_without_a_pose_out() -> None:
    errors = np.random.default_rng(1).gamma(2, 3, 1000)
    low, high = intervals(errors[None], np.arange(1000))[0]
    assert high - low == pytest.approx(2 * 1.96 * errors.std() / 1000**0.5, rel=0.08)
    with_holes = np.concatenate([errors, np.full(500, np.nan)])
    np.testing.assert_allclose(intervals(with_holes[None], np.arange(1500))[0], [low, high], atol=0.1)


@pytest.mark.parametrize("people", [8, 24, 60])
def test_intervals_cover_where_the_faces_of_a_person_share_an_error(people: int) -> None:
    """300 data sets whose mean error is 5 degrees: a face's is its person's (gamma, mean 3) and its own (gamma, mean 2)."""
    rng = np.random.default_rng(0)
    faces_of_person = rng.integers(5, 25, people)
    person = np.repeat(np.arange(people), faces_of_person)
    errors = rng.gamma(4, 3 / 4, (300, people))[:, person] + rng.gamma(2, 1, (300, len(person)))

    def share_covered(groups: NDArray[np.int64]) -> float:
        low, high = intervals(errors, groups, 1000).T
        return float(((low <= 5) & (high >= 5)).mean())

    assert 0.90 <= share_covered(person) <= 0.98
    assert share_covered(np.arange(len(person))) < 0.7  # faces drawn one by one: far too narrow


def test_of_a_single_person_there_is_no_interval() -> None:
    assert np.isnan(intervals(np.array([[1.0, 2.0, 3.0]]), np.zeros(3, int))).all()


def test_groups_are_those_of_the_files_and_older_files_have_none(tmp_path: Path) -> None:
    errors = [float(n % 5) for n in range(40)]
    write_run(tmp_path, "old", errors)
    (alone,) = boards(scores_of(tmp_path)[0])
    assert alone.num_groups == 40
    folder = write_run(tmp_path, "new", errors, model={"_target_": "x.FSANet"})
    file = folder / "predictions_a.csv"
    faces = [row.rsplit(",", maxsplit=1)[0] for row in file.read_text().splitlines()[1:]]
    rows = [f"{row},{'same' if n % 5 == 4 else f'photo {n % 5}'}" for n, row in enumerate(faces)]
    file.write_text("\n".join([file.read_text().splitlines()[0], *rows]))
    (board,) = boards(scores_of(tmp_path)[0])  # on the same faces, so its groups hold for the old run too
    assert (board.n, board.num_groups) == (40, 5)
    wide, also_wide = (one.interval for one in board.scores)
    narrow = alone.scores[0].interval
    assert wide == also_wide
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])


def test_rules_as_in_the_papers_may_be_said_or_not_and_other_labels_or_frames_stand_alone(tmp_path: Path) -> None:
    """The same faces, names and angles, so that rules alone keep them apart."""
    biwi = {"dataset": "BIWI", "calibrated": True}
    told = [biwi, {**biwi, "frame": "camera"}, {**biwi, "frame": "ray"}]
    own = {**RULES, "labels": "our own, modes_inner", "level": 6.6}
    for number, rules in enumerate([*told, RULES, own, {**own, "level": 0.0}, {**RULES, "labels": "second.csv"}]):
        write_run(tmp_path, f"run{number}", [1, 2], rules, model={"_target_": f"x.Net{number}"})
    assert {board.rules: len(board.scores) for board in boards(scores_of(tmp_path)[0])} == {
        "BIWI, calibrated": 2,
        "BIWI, calibrated, frame ray": 1,
        "AFLW2000, |angles| <= 99": 1,
        "AFLW2000, |angles| <= 99, labels our own, modes_inner, level 6.6": 1,
        "AFLW2000, |angles| <= 99, labels our own, modes_inner, level 0": 1,
        "AFLW2000, |angles| <= 99, labels second.csv": 1,
    }


def test_bands_are_those_that_every_seed_has(tmp_path: Path) -> None:
    bands = [{"0-15": {"mae": 2.0, "n": 3}, "60-180": {"mae": 9.0, "n": 1}}, {"0-15": {"mae": 4.0, "n": 3}}]
    for seed, by_yaw in enumerate(bands):
        path = write_run(tmp_path, f"run{seed}", [1, 2], seed=seed) / "results.json"
        results = json.loads(path.read_text())
        results["test"]["a"]["by_yaw"] = {"last": by_yaw}
        path.write_text(json.dumps(results))
    (one,) = scores_of(tmp_path)[0]
    assert one.bands == {"0-15": ("3.00 ± 1.41", 3)}


def test_networks_stand_together_where_the_faces_are_the_same(tmp_path: Path) -> None:
    write_run(tmp_path, "a0", [1, 3, 5], seed=0)
    write_run(tmp_path, "a1", [3, 5, 7], seed=1)
    write_run(tmp_path, "b", [1, 2, 3], rules={**RULES, "box": "official"}, model={"_target_": "x.SSRNetMD"})
    write_run(tmp_path, "c", [1, 1], model={"_target_": "x.FSANet"})
    scores, refused = scores_of(tmp_path)
    assert not refused
    shared, alone = boards(scores)
    assert (shared.rules, shared.n, alone.n) == ("AFLW2000, |angles| <= 99", 3, 2)
    best, seeds = shared.scores
    assert (best.network.label, best.box, best.mae) == ("SSR-Net-MD", "official", 2.0)
    assert (seeds.box, seeds.mae, [run.folder.name for run, _ in seeds.tests]) == ("visible21", 4.0, ["a0", "a1"])
    np.testing.assert_allclose(seeds.errors, [2, 4, 6])
    for one in shared.scores:
        assert one.interval[0] <= one.mae <= one.interval[1]


def test_options_tell_networks_of_one_kind_apart(tmp_path: Path) -> None:
    model = {"_target_": "x.FSANet", "scoring": {"_target_": "x.ConvScoring"}}
    for name, lr in (("a", 1), ("b", 1), ("c", 2)):
        write_run(tmp_path, name, [1, 2], model=model, optimizer={"lr": lr}, data={"n": 4 if name == "b" else 5})
    (board,) = boards(scores_of(tmp_path)[0])
    assert {one.network.label for one in board.scores} == {"FSA-Net, conv scoring"}
    assert {one.tests[0][0].folder.name: one.detail for one in board.scores} == {"a": "", "b": "n=4", "c": "optimizer.lr=2"}


def test_objects_go_by_their_class_and_what_is_not_there_by_its_name(tmp_path: Path) -> None:
    noise = {"_target_": "headposekit.data.augmentation.LowResolution", "p": 0.5}
    for name, cut in (("a", None), ("b", None), ("c", [noise])):
        write_run(tmp_path, name, [1, 2], data={"n": name == "b", "augmentation": {"cut": cut}})
    write_run(tmp_path, "d", [1, 2], data={"n": False, "augmentation": None})
    (board,) = boards(scores_of(tmp_path)[0])
    told = {one.tests[0][0].folder.name: one.detail for one in board.scores}
    assert told == {"a": "", "b": "n=True", "c": "augmentation.cut=[LowResolution]", "d": "augmentation=None"}


def test_a_network_with_two_boxes_says_which(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", [1, 2])
    results = json.loads((folder / "results.json").read_text())
    results["test"]["b"] = {**results["test"]["a"], "rules": {**RULES, "box": "official"}}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "predictions_b.csv").write_text((folder / "predictions_a.csv").read_text())
    (board,) = boards(scores_of(tmp_path)[0])
    assert sorted(one.detail for one in board.scores) == ["box official", "box visible21"]


def test_a_real_training_counts(trained: Path) -> None:
    (run,), left_out = read_runs(trained)
    assert left_out == {}
    (one,), refused = score(networks([run]))
    assert refused == {}
    entry = run.results["test"]["synthetic"]
    assert (one.mae, len(one.errors), one.crop) == (entry["last"]["mae"], 8, entry["crop"])
    assert one.errors.mean() == pytest.approx(entry["last"]["mae"], abs=1e-3)
    assert one.rules.startswith(entry["rules"]["dataset"])
    assert one.network.label.startswith("FSA-Net")


@pytest.mark.parametrize("broken", ["missing", "empty", "other numbers"])
def test_numbers_that_no_predictions_bear_out_do_not_count(tmp_path: Path, broken: str) -> None:
    path = write_run(tmp_path, "a", [1, 2, 3]) / "predictions_a.csv"
    if broken == "missing":
        path.unlink()
    elif broken == "empty":
        path.write_text("")
    else:
        path.write_text(path.read_text().replace("1.000000", "9.000000"))
    scores, refused = scores_of(tmp_path)
    assert not scores
    assert {place: reason.split()[0] for place, reason in refused.items()} == {("a", "a"): "predictions_a.csv"}


@pytest.mark.parametrize(
    ("option", "value"), [("low_resolution", 5), ("jitter", 0.1), ("jitter_pixels", 4), ("shift", 0.2), ("padding", 0.5)]
)
def test_perturbed_tests_lie_on_a_curve(tmp_path: Path, option: str, value: float) -> None:
    write_run(tmp_path, "a", [1, 2])
    perturbed = write_run(tmp_path, "b", [3, 4], rules={**RULES, "perturb": {option: value}}, model={"_target_": "x.Hopenet"})
    results = json.loads((perturbed / "results.json").read_text())
    clean = tmp_path / "a" / "results.json"
    clean.write_text(clean.read_text().replace('"config": {"seed": 0}', f'"config": {json.dumps(results["config"])}'))
    scores, _ = scores_of(tmp_path)
    (board,) = boards(scores)
    assert [one.mae for one in board.scores] == [1.5]
    (((rules, _), lines),) = perturbations(scores).items()
    (line,) = lines.values()
    assert rules == "AFLW2000, |angles| <= 99, 2 faces"
    assert {x: one.mae for x, one in line.items()} == {1.0 if option == "low_resolution" else 0.0: 1.5, float(value): 3.5}


def test_errors_wrap_and_may_be_in_other_angles() -> None:
    true, guess = np.array([170.0, 10, 5]), np.array([-170.0, 20, 0])
    assert errors_of_faces({"x": (true, guess)}) == pytest.approx(np.array([[20, 10, 5]]))
    other = np.abs((pose_to_pyr(guess) - pose_to_pyr(true) + 180) % 360 - 180)
    assert errors_of_faces({"x": (true, guess)}, in_pyr=True) == pytest.approx(other[None])
    assert np.isnan(errors_of_faces({"x": (true, np.full(3, np.nan))}, in_pyr=True)).all()


def test_labels_name_files_and_parts() -> None:
    assert label_of({"weights": ["/there/a.h5", "b.h5"]}) == "a.h5 + b.h5"
    assert label_of({"weights": ["a.pth"]}, network="ThreeDDFANet") == "3DDFA_V2"
    own = {"checkpoint": "runs/abc/checkpoints/best.ckpt", "weights": []}
    assert (label_of(own), label_of(own, {"abc": "FSA-Net"})) == ("abc (best.ckpt)", "FSA-Net (best.ckpt)")
    model = {"_target_": "m.Hopenet", "backbone": {"_target_": "m.TimmBackbone", "model_name": "resnet18.tv"}, "bins": {}}
    assert label_of({"model": model, "loss": {"alpha": 0.1}}) == "Hopenet, resnet18, alpha 0.1"
    solver = {"_target_": "m.Perspective", "method": "iterative_frontal"}
    assert label_of({"model": {"_target_": "m.LandmarkPose", "solver": solver, "points": 6}}) == (
        "landmarks, perspective iterative frontal, 6 points"
    )
    netvlad = {"_target_": "m.FSANet", "aggregation": {"_target_": "m.NetVLADAggregation"}}
    assert label_of({"model": netvlad}) == "FSA-Net, netvlad aggregation"
    assert label_of({}) == "unknown network"


def test_seeds_may_call_one_test_by_different_names(tmp_path: Path) -> None:
    write_run(tmp_path, "a", [1, 2])
    other = write_run(tmp_path, "b", [3, 4], seed=1)
    results = json.loads((other / "results.json").read_text())
    results["test"] = {"renamed": results["test"]["a"]}
    (other / "results.json").write_text(json.dumps(results))
    (other / "predictions_a.csv").rename(other / "predictions_renamed.csv")
    (board,) = boards(scores_of(tmp_path)[0])
    assert [([name for _, name in one.tests], one.mae) for one in board.scores] == [(["a", "renamed"], 2.5)]
    assert len(board.scores[0].row(1).measured[board.rules].predictions) == 2
