"""Face detectors side by side: `python tools/compare_detectors.py [--aflw2000 DIR] [--yunet FILE] [--fit]`.

Prints Markdown. `--fit` prints instead how tight boxes lie to those of dlib and of the cascade: the source of their mappings.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from detector_scores import add_detector_options, chosen_detectors, fit_mapping, score
from face_scenes import Scene, SceneSampler, cut_out, plain_heads
from headposekit.datasets.aflw2000 import AFLW2000
from headposekit.detectors.base import FaceDetector
from headposekit.detectors.native import Cascade, DlibHog, Mapping, NativeDetector
from headposekit.errors import InputError

SEED = 2_000_000
"""Far from those of training and validation."""
UNPEOPLED = ("brick", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field", "moon", "page", "rocket", "text")
"""Pictures of scikit-image's package without people; behind heads, they are the domain the training never saw."""
SHIFTED = {
    "identity": 2.0,
    "expression": 2.0,
    "wide_pitch": 1.0,
    "glasses": 0.6,
    "hat": 0.5,
    "shadows": 1.0,
    "perspective": None,
}
"""Stranger faces, more in their way, harder shadows, a parallel camera."""


def photographs() -> list[NDArray[np.uint8]]:
    """The pictures of `UNPEOPLED`, RGB."""
    from skimage import data  # of the extra `detectors`

    pictures = [getattr(data, name)() for name in UNPEOPLED]
    return [picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB) for picture in pictures]


def make_scenes(num_scenes: int, is_shifted: bool, backdrops: Sequence[NDArray[np.uint8]] = ()) -> list[Scene]:
    """Scenes of 512 pixels with faces of 30 to 280, of people whom no training has seen."""
    heads = plain_heads(SEED, **(SHIFTED if is_shifted else {}))
    cut_outs = [cut_out(heads, index) for index in range(num_scenes)]
    photo, occluder = (1.0, 0.5) if is_shifted else (0.5, 0.15)
    sampler = SceneSampler(cut_outs, SEED, 512, (30.0, 280.0), photo, occluder, backdrops)
    rng = np.random.default_rng(SEED)
    return [sampler.draw(rng) for _ in range(num_scenes)]


def fit(detector: NativeDetector, num_heads: int = 400) -> tuple[Mapping, NDArray[np.float64]]:
    """`fit_mapping` over synthetic heads."""
    heads = plain_heads(SEED + 1, backgrounds=True)
    native, tight = [], []
    for index in range(num_heads):
        head = heads.render(index, 300)
        native.append(detector.find(head.image)[0])
        tight.append(head.box)
    return fit_mapping(native, np.array(tight))


def milliseconds(detector: FaceDetector, image: NDArray[np.uint8], rounds: int = 15) -> float:
    """Median processor time of a call, one thread."""
    seconds = []
    for _ in range(rounds + 1):
        begin = time.thread_time()
        detector(image)
        seconds.append(time.thread_time() - begin)
    return 1e3 * float(np.median(seconds[1:]))


def compare(detectors: Sequence[FaceDetector], num_scenes: int, aflw2000: Path | None) -> str:
    """A Markdown table: a row for each detector and set of pictures."""
    pictures = photographs()
    sets = {
        "heads of unseen people": make_scenes(num_scenes, False),
        "shifted heads before photographs": make_scenes(num_scenes, True, pictures),
        "photographs without people": [Scene(picture, np.empty((0, 4)), np.empty((0, 4))) for picture in pictures],
    }
    if aflw2000 is not None:
        real = AFLW2000(aflw2000, max_angle=None, box="pt3d_68")
        sets["photographs of AFLW2000"] = [
            Scene(real.image(index), real.box[index : index + 1].astype(np.float64), np.empty((0, 4)))
            for index in range(len(real))
        ]
    lines = ["| detector | pictures | faces | found | precision | false alarms | IoU |", "|---|---|--:|--:|--:|--:|--:|"]
    for title, scenes in sets.items():
        for detector in detectors:
            result = score(detector, scenes)
            share = f"{result.recall:.1%} | {result.precision:.1%}" if result.faces else "- | -"
            overlap = f"{result.iou:.3f}" if result.iou == result.iou else "-"
            alarms = f"{round(result.false_alarms * len(scenes) / 100)} in {len(scenes)}"
            lines.append(f"| {detector.name} | {title} | {result.faces} | {share} | {alarms} | {overlap} |")
    image = np.asarray(cv2.resize(sets["heads of unseen people"][0].image, (640, 480)), np.uint8)
    lines += ["", "| detector | ms for 640 × 480 |", "|---|--:|"]
    lines += [f"| {detector.name} | {milliseconds(detector, image):.1f} |" for detector in detectors]
    return "\n".join(lines)


def main() -> None:
    """Compare, or fit."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_options(parser)
    parser.add_argument("--scenes", type=int, default=150)
    parser.add_argument("--aflw2000", type=Path, help="folder of AFLW2000")
    parser.add_argument("--fit", action="store_true", help="print the mappings instead")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if options.fit:
            for detector in (DlibHog(), Cascade()):
                mapping, each = fit(detector)
                print(f"{detector.name}: {mapping}, {len(each)} heads, quartiles")
                print(np.percentile(each, [25, 75], axis=0).round(3))
            return
        print(compare(chosen_detectors(options), options.scenes, options.aflw2000))
    except (InputError, ImportError) as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
