"""`python src/search.py` as a user meets it."""

from pathlib import Path

import yaml
from omegaconf import OmegaConf

from configs import compose_config, train_config
from headposekit.paths import ROOT
from headposekit.sweeps.search import distribution
from run_folders import SMALL, rows


def trials(tmp_path: Path) -> list[dict[str, str]]:
    return rows(tmp_path / "runs" / "studies" / "mine" / "trials.csv")


def test_search_goes_on_and_its_best_training_is_not_repeated(run, roots, tmp_path: Path) -> None:
    space = "search.space={optimizer.lr: 'tag(log,interval(0.0001,0.1))', scoring: 'conv,none'}"
    options = ("search.name=mine", *roots, *SMALL, "epochs=1")  # test sets given here are for the best trial only
    first = run("search", *options, "~search.space", f"+{space}", "search.num_trials=1")
    assert first.returncode == 0, first.stderr
    (before,) = trials(tmp_path)
    assert before["state"] == "finished"
    assert "optimizer.lr=" in before["options"]
    assert not list((tmp_path / "runs" / before["folder"]).glob("predictions*"))

    again = run("search", *options, "~search.space", f"+{space}", "search.num_trials=2")
    assert again.returncode == 0, again.stderr
    values = {row["folder"]: float(row["value"]) for row in trials(tmp_path)}
    assert len(values) == 2
    assert values[before["folder"]] == float(before["value"])
    assert list(values.values()) == sorted(values.values())

    best = trials(tmp_path)[0]
    tested = run("train", "-m", *roots, *SMALL, "epochs=1", *best["options"].split())
    assert tested.returncode == 0, tested.stderr
    assert best["folder"] in tested.stdout
    assert "Epoch" not in tested.stdout
    assert (tmp_path / "runs" / best["folder"] / "predictions_aflw2000.csv").is_file()


def test_searches_that_cannot_be_are_refused_before_any_trial(refused, roots, tmp_path: Path) -> None:
    own = ("~search.space", "+search.space={optimizr.lr: 'interval(0.1,1)'}")
    assert "search.space is empty" in refused("search", "~search.space")
    assert "optimizer.lr=0.1 is no choice" in refused("search", "search.space={optimizer.lr: 0.1}")
    assert "LandmarkPose learns nothing; compare its options by train.py -m" in refused("search", "model=landmarks")
    assert "optimizr" in refused("search", *own)
    assert "data.val_fraction" in refused("search", "data.val_fraction=0")
    assert "search.num_trials=0" in refused("search", "search.num_trials=0")
    assert not list(tmp_path.glob("runs/*/metrics.csv"))


def test_default_space_holds_the_defaults() -> None:
    config = compose_config("search", "search=optimizer")
    for key, values in config.search.space.items():
        assert distribution(key, values)._contains(OmegaConf.select(config, key)) or str(
            OmegaConf.select(config, key)
        ) in values.split(","), key


def test_sweep_file_of_wandb_holds_the_space_and_train_takes_every_value_of_it(run, tmp_path: Path) -> None:
    space = "+search.space={optimizer.lr: 'tag(log,interval(0.003,0.1))', data.batch_size: '16,32', scoring: 'conv,none'}"
    given = ("~search.space", space, "epochs=3", "test.synthetic.num_heads=8", "search.num_trials=7")
    done = run("search", *given, "search.wandb_sweep=sweep.yaml")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.glob("runs/studies/*/journal.log"))
    sweep = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    assert (tmp_path / sweep["program"]).resolve() == ROOT / "src" / "train.py"
    assert (sweep["metric"], sweep["run_cap"]) == ({"name": "val/mae", "goal": "minimize"}, 7)
    assert sweep["parameters"] == {
        "optimizer.lr": {"distribution": "log_uniform_values", "min": 0.003, "max": 0.1},
        "data.batch_size": {"values": [16, 32]},
        "scoring": {"values": ["conv", "none"]},
    }
    env, interpreter, program, *options, arguments = sweep["command"]
    assert (env, interpreter, program, arguments) == ("${env}", "${interpreter}", "${program}", "${args_no_hyphens}")
    assert options == ["logger=wandb", "epochs=3", "test=[]"]
    for key, parameter in sweep["parameters"].items():
        for value in parameter.get("values") or [parameter["min"], parameter["max"]]:
            config = train_config(*options, f"{key}={value}")  # as an agent calls it
            chosen = OmegaConf.select(config, {"scoring": "model.scoring._target_"}.get(key, key))
            expected = {"conv": "ConvScoring", "none": "NoScoring"}.get(value)
            assert chosen.endswith(expected) if expected else chosen == value
    assert "wandb" in config.logger


def test_default_space_as_a_sweep_file(refused, run, tmp_path: Path) -> None:
    done = run("search", "search.wandb_sweep=sweep.yaml")
    assert done.returncode == 0, done.stderr
    sweep = yaml.safe_load((tmp_path / "sweep.yaml").read_text())
    config = compose_config("search", "search=optimizer")
    assert set(sweep["parameters"]) == set(config.search.space)
    line = refused("search", "search.wandb_sweep=nowhere/sweep.yaml")
    assert (
        line == "error: search.wandb_sweep=nowhere/sweep.yaml: No such file or directory; give a file in a folder that is there"
    )
