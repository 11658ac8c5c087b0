"""Where things lie: the configuration, what runs make, and the programs themselves."""

import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
IS_INSTALLED = (PACKAGE / "conf").is_dir()
"""Whether this is a wheel, in which conf/ and experiments/ lie in the package; else it is a checkout of the repository."""
ROOT = PACKAGE if IS_INSTALLED else PACKAGE.parents[1]
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"
PUBLISHED = EXPERIMENTS / "published_results.csv"


def runs_dir() -> Path:
    """Where runs go: $HEADPOSEKIT_RUNS, or `runs/` of the repository; of the current folder where the package is installed."""
    return Path(os.environ.get("HEADPOSEKIT_RUNS") or _base() / "runs")


def datasets_dir() -> Path:
    """Where data sets lie: $HEADPOSEKIT_DATASETS, or `datasets/` in the same place as `runs/`."""
    return Path(os.environ.get("HEADPOSEKIT_DATASETS") or _base() / "datasets")


def _base() -> Path:
    return Path.cwd() if IS_INSTALLED else ROOT


def output_dir() -> Path:
    """The folder of this run, which Hydra has made."""
    from hydra.core.hydra_config import HydraConfig  # which prediction does without

    return Path(HydraConfig.get().runtime.output_dir)


def typed(program: str) -> str:
    """What a user types to call a program, without its options."""
    return f"headposekit {program}" if IS_INSTALLED else f"python src/{program}.py"


def process_of(program: str) -> list[str]:
    """The command, without options, that calls a program in a process with this interpreter."""
    if IS_INSTALLED:
        return [sys.executable, "-P", "-m", "headposekit", program]  # -P: nothing of the current folder hides a package
    return [sys.executable, str(ROOT / "src" / f"{program}.py")]
