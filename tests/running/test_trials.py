import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from headpose.errors import InputError
from headpose.running import pool, trials


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
