"""Search for options with the least validation error: `python src/search.py [search=NAME] [hydra overrides]`."""

from omegaconf import DictConfig

from headpose.reporting.console import print_search
from headpose.running.entry import entry_point, output_dir
from headpose.running.trials import best_command, run_search, trial_rows, write_trials


@entry_point("search")
def search(config: DictConfig) -> None:
    """Run the trials that are missing, then print and write all of them."""
    study = run_search(config)
    rows = trial_rows(study)
    path = write_trials(rows, output_dir())
    print_search(rows, config.search.metric)
    print(f"written to {path}; test the best: {best_command(study)}")


if __name__ == "__main__":
    search()
