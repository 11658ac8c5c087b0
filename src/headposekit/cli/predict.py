"""Poses of all faces in pictures and videos: `python src/predict.py checkpoint=FILE input=PATH`, see conf/predict.yaml."""

from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from headposekit.cli.entry import entry_point
from headposekit.cli.networks import load_given
from headposekit.console import print_prediction
from headposekit.detectors.base import tried
from headposekit.inference.estimator import PoseEstimator
from headposekit.inference.neutral import calibration_of
from headposekit.inference.predictions import Outputs, predict_all
from headposekit.inference.sources import find_inputs
from headposekit.inference.stream import PoseStream
from headposekit.paths import output_dir
from headposekit.sweeps.folders import take_folder
from headposekit.weights.shipped import DEFAULT


@entry_point("predict", after_interrupt="what was estimated until then is in the output folder")
def predict(config: DictConfig) -> None:
    """Load, find the inputs, estimate and write frame by frame."""
    options: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    inputs = find_inputs(options["input"], config.recursive)
    outputs = Outputs(take_folder(Path(str(config.output or output_dir()))), config.format, config.draw)
    detector = tried(instantiate(config.detector))  # before an earlier table is written over
    torch.set_num_threads(config.num_threads or torch.get_num_threads())
    camera, states = instantiate(config.camera, _convert_="all"), instantiate(config.states)
    neutral = None if config.calibrate is None else calibration_of(config.calibrate)
    model = PoseEstimator(load_given(config, DEFAULT), detector, config.device, camera=camera)
    size = 1 if any(isinstance(source.path, int) for source in inputs) else config.batch_size
    new_tracker, new_smoothing = instantiate(config.tracker), instantiate(config.smoothing)
    stream = PoseStream(model, new_tracker, new_smoothing, config.box_lag, size, config.max_spread, neutral, states)
    print_prediction(predict_all(stream, inputs, outputs, config.max_megapixels))
