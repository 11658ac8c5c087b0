"""Search for options with the least validation error: `python src/search.py [search=NAME] [hydra overrides]`."""

from pathlib import Path

from omegaconf import DictConfig

from headposekit.cli.entry import entry_point
from headposekit.console import print_search
from headposekit.paths import output_dir
from headposekit.sweeps.search import best_command, run_search, trial_rows, write_sweep, write_trials


@entry_point("search")
def search(config: DictConfig) -> None:
    """Run the trials that are missing, then print and write all of them; or write a sweep file for W&B."""
    if config.search.wandb_sweep:
        path = write_sweep(config, Path(config.search.wandb_sweep))
        print(f"written to {path}; start it: wandb sweep --project headposekit {path}")
        return
    study = run_search(config)
    rows = trial_rows(study)
    path = write_trials(rows, output_dir())
    print_search(rows, config.search.metric)
    print(f"written to {path}; test the best: {best_command(study)}")
