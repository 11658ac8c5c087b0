"""Write synthetic heads in a real data set's layout: `python src/prepare.py layout=300w_lp root=DIR`, see conf/prepare.yaml."""

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig

from headpose.running.entry import entry_point
from headpose.running.trees import write_units

log = logging.getLogger("headpose.prepare")


@entry_point("prepare")
def prepare(config: DictConfig) -> None:
    """Instantiate the writer and have it write, in parallel."""
    writer = instantiate(config.layout, _convert_="all")
    pictures = write_units(writer, config.num_workers)
    log.info("wrote %d pictures to %s", pictures, writer.root)


if __name__ == "__main__":
    prepare()
