"""A page to try networks on: `python src/demo.py checkpoint=FILE`, see conf/demo.yaml."""

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from headposekit.cli.entry import entry_point
from headposekit.cli.networks import named_files, newest_default_training
from headposekit.demo.compare import Comparison, detectors_beside, short_names
from headposekit.demo.examples import render_examples
from headposekit.demo.server import Page, check_host, serve
from headposekit.inference.estimator import load
from headposekit.weights.shipped import DEFAULT


@entry_point("demo", after_interrupt="the page is closed")
def demo(config: DictConfig) -> None:
    """Load, render the examples, show the page."""
    host = check_host(config.host)
    trained = newest_default_training()
    paths = named_files(config) or [DEFAULT, *([] if trained is None else [str(trained)])]
    torch.set_num_threads(config.num_threads or torch.get_num_threads())
    chosen = HydraConfig.get().runtime.choices["detector"]
    detectors = detectors_beside(chosen, instantiate(config.detector))
    networks = {name: load(path, device=config.device) for name, path in zip(short_names(paths), paths, strict=True)}
    compare = Comparison(networks, detectors, config.max_megapixels)
    serve(Page(compare, render_examples(), host, config.max_megabytes), config.port, config.browser)
