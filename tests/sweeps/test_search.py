import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from headposekit.errors import InputError
from headposekit.sweeps import pool
from headposekit.sweeps import search as trials


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("16,32", CategoricalDistribution(["16", "32"])),
        ("choice(conv,none)", CategoricalDistribution(["conv", "none"])),
        ("int(interval(1,8))", IntDistribution(1, 8)),
        ("interval(0.5,2)", FloatDistribution(0.5, 2.0)),
        ("tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
    ],
)
def test_values_are_read_in_hydras_grammar(values: str, expected: object) -> None:
    assert trials.distribution("key", values) == expected


@pytest.mark.parametrize("values", ["0.1", "interval(2,1)", "interval(", "range(1,5)", "tag(log,interval(0,1))"])
def test_what_is_no_choice_is_named(values: str) -> None:
    with pytest.raises(InputError, match=r"search\.space: key="):
        trials.distribution("key", values)


SPACE = {"a": FloatDistribution(0, 1)}


def test_lost_trials_are_tried_again_first_and_count_once(tmp_path) -> None:
    study = optuna.create_study()
    study.tell(study.ask(SPACE), 1.0)
    lost, failed, running = study.ask(SPACE), study.ask(SPACE), study.ask(SPACE)
    trials._fail(study, failed, "diverged")
    assert len(trials._counted(study)) == 4
    with pool.hold(tmp_path, trials._lock_of(running.number)):
        trials._give_back_lost_trials(study, tmp_path)
    assert study.trials[running.number].state is TrialState.RUNNING
    assert len(trials._counted(study)) == 3
    assert study.ask(SPACE).params == lost.params


def test_a_failure_before_any_success_ends_the_search_and_does_not_count(tmp_path) -> None:
    study = optuna.create_study()
    with pytest.raises(InputError, match="no such folder"):
        trials._fail(study, study.ask(SPACE), "no such folder")
    assert not trials._counted(study)


def test_epochs_reach_the_pruner_once_each(tmp_path) -> None:
    study = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=5.0))
    trial = study.ask()
    watch = trials._Watch(trial, tmp_path, "val/mae")
    assert watch() is None  # no file yet
    (tmp_path / "metrics.csv").write_text("epoch,val/mae\n0,4.0\n1,\n")
    assert watch() is None
    assert watch.value == 4.0
    (tmp_path / "metrics.csv").write_text("epoch,val/mae\n0,4.0\n1,3.0\n2,6.0\n3,2.0\n")
    assert watch() == "unpromising after epoch 2"
    assert watch.pruned
    assert study.trials[0].intermediate_values == {0: 4.0, 1: 3.0, 2: 6.0}


GRID = {"a": CategoricalDistribution(["x", "y"]), "b": CategoricalDistribution(["1", "2"])}


def search_config(num_trials: int, seed: int = 0) -> object:
    sampler = {"_target_": "optuna.samplers.TPESampler", "_partial_": True}
    return OmegaConf.create({"seed": seed, "search": {"num_trials": num_trials, "sampler": sampler}})


def trials_of(folder, num_trials: int, lost: dict[int, str], space=GRID) -> list[dict[str, object]]:
    """Options of all trials that count, where those that `lost` names by their place died, and how."""
    study = optuna.create_study()
    study.set_user_attr("asked", {"space": {key: repr(values) for key, values in space.items()}})
    lost = dict(lost)
    while True:
        with trials._own_trial(study, search_config(num_trials), space, folder) as trial:
            if trial is None:
                break
            how = lost.pop(len(trials._counted(study)) - 1, None)
            if how == "told":  # killed after its options were given back, before the trial was told to have failed
                study.enqueue_trial(trial.params, user_attrs={trials.GIVEN_BACK: trial.number})
            elif how == "half":  # killed before all of its options were there
                study.tell(trial, state=TrialState.FAIL)
                first = {"params": {"a": trial.params["a"]}, "distributions": {"a": space["a"]}}
                study.add_trial(optuna.trial.create_trial(state=TrialState.RUNNING, **first))
            elif how is None:
                study.tell(trial, float(len(str(trial.params))))
    return [trial.params for trial in trials._counted(study)]


@pytest.mark.parametrize("lost", [{1: "killed"}, {0: "killed", 2: "killed"}, {1: "told"}, {1: "half"}], ids=str)
@pytest.mark.parametrize("space", [GRID, {"a": FloatDistribution(0, 1), "b": IntDistribution(1, 9)}], ids=["grid", "intervals"])
def test_a_search_that_was_killed_has_the_trials_of_an_unbroken_one(tmp_path, lost: dict[int, str], space) -> None:
    unbroken = trials_of(tmp_path, 3, {}, space)
    assert len(unbroken) == 3
    assert trials_of(tmp_path, 3, lost, space) == unbroken


@pytest.mark.parametrize("seed", range(4))
def test_no_options_have_two_trials_and_a_small_space_ends(tmp_path, seed: int) -> None:
    study = optuna.create_study()
    while True:
        with trials._own_trial(study, search_config(9, seed), GRID, tmp_path) as trial:
            if trial is None:
                break
            study.tell(trial, 1.0)
    assert sorted((trial.params["a"], trial.params["b"]) for trial in trials._counted(study)) == [
        ("x", "1"), ("x", "2"), ("y", "1"), ("y", "2"),
    ]  # fmt: skip


def test_after_a_failure_of_the_first_trial_others_are_tried(tmp_path) -> None:
    study, seen = optuna.create_study(), []
    for _ in range(3):
        with trials._own_trial(study, search_config(3), SPACE, tmp_path) as trial:
            seen.append(trial.params)
            with pytest.raises(InputError, match="diverged"):
                trials._fail(study, trial, "diverged")
    assert len({str(params) for params in seen}) == 3


def test_half_a_line_of_the_journal_is_cut_off(tmp_path, caplog) -> None:
    path = tmp_path / "journal.log"
    trials._cut_half_line(path)
    path.write_bytes(b'{"a": 1}\n{"b": ')
    trials._cut_half_line(path)
    assert path.read_bytes() == b'{"a": 1}\n'
    assert "cut short" in caplog.text
