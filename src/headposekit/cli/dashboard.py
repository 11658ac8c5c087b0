"""A W&B report of an experiment, built from what its sweep has trained: `python src/dashboard.py experiments=fsanet/table4`."""

from omegaconf import DictConfig

from headposekit.cli.entry import entry_point
from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.paths import output_dir, runs_dir
from headposekit.reporting.experiments import asked_for, experiment_table
from headposekit.reporting.wandb_reports import build_report, specification, upload
from headposekit.sweeps.compose import experiment_names
from headposekit.training.runs import read_pool


@entry_point("dashboard", reads_runs=True)
def dashboard(config: DictConfig) -> None:
    """Find the runs, build the report, write its specification, upload it if asked to."""
    name, given = asked_for()
    if name is None:
        raise InputError(f"no experiment chosen; give experiments=NAME, one of {', '.join(experiment_names())}")
    path = output_dir() / name / "wandb_report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = build_report(name, experiment_table(config, given, read_pool(runs_dir())), config.wandb.project)
    write_json(path, specification(report))
    print(f"written to {path}{'' if config.wandb.upload else '; wandb.upload=true shows it on W&B'}")
    if config.wandb.upload:
        print(f"uploaded to {upload(report, config.wandb.entity)}")
