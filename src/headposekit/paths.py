"""Where things lie: the project, its configuration, and what runs make."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"
PUBLISHED = EXPERIMENTS / "published_results.csv"


def runs_dir() -> Path:
    """Where runs go: $HEADPOSEKIT_RUNS, or `runs/` of the project."""
    return Path(os.environ.get("HEADPOSEKIT_RUNS") or ROOT / "runs")


def datasets_dir() -> Path:
    """Where data sets lie: $HEADPOSEKIT_DATASETS, or `datasets/` of the project."""
    return Path(os.environ.get("HEADPOSEKIT_DATASETS") or ROOT / "datasets")


def output_dir() -> Path:
    """The folder of this run, which Hydra has made."""
    from hydra.core.hydra_config import HydraConfig  # which prediction does without

    return Path(HydraConfig.get().runtime.output_dir)
