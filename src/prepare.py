"""Write synthetic heads in a real data set's layout: `python src/prepare.py layout=300w_lp root=DIR`, see conf/prepare.yaml."""

import logging

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.progress import track
from torch.utils.data import DataLoader

from headpose.running.entry import entry_point

log = logging.getLogger("headpose.prepare")


@entry_point("prepare")
def prepare(config: DictConfig) -> None:
    """Instantiate the writer and have it write, in parallel."""
    writer = instantiate(config.layout, _convert_="all")
    loader = DataLoader(writer, batch_size=None, num_workers=config.num_workers)
    pictures = sum(
        len(names) for names in track(loader, description=f"writing {len(writer)} {writer.unit}s", total=len(writer))
    )
    log.info("wrote %d pictures to %s", pictures, writer.root)


if __name__ == "__main__":
    prepare()
