"""A W&B report of an experiment, built from what its sweep has trained: `python src/dashboard.py experiments=fsanet/table4`."""

from omegaconf import DictConfig

from headpose.reporting.files import write_json
from headpose.running.entry import entry_point, output_dir
from headpose.running.experiments import experiment_name, experiment_table
from headpose.running.wandb_reports import build_report, specification, upload


@entry_point("dashboard")
def dashboard(config: DictConfig) -> None:
    """Find the runs, build the report, write its specification, upload it if asked to."""
    name = experiment_name()
    path = output_dir() / name / "wandb_report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    report = build_report(name, experiment_table(config), config.wandb.project)
    write_json(path, specification(report))
    print(f"written to {path}{'' if config.wandb.upload else '; wandb.upload=true shows it on W&B'}")
    if config.wandb.upload:
        print(f"uploaded to {upload(report, config.wandb.entity)}")


if __name__ == "__main__":
    dashboard()
