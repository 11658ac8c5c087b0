"""The training of the default detector: `python tools/train_detector.py [--steps N] [--output FILE]`.

Renders heads, composes scenes of them while it trains, chooses the threshold on scenes of other people before other textures,
and writes weights with their story (command, commit, seed, time, what validation found).
"""

import argparse
import subprocess
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from detector_scores import best_threshold, score
from face_scenes import Scene, SceneSampler, cut_out, plain_heads
from headposekit.detectors.centers import STRIDE, WEIGHTS, CenterDetector, CenterNetwork, save_network, without_norms
from headposekit.process import start_worker

Rng = np.random.Generator
SHAPES = ((192, 256), (256, 192), (256, 256))
"""Height and width of batches, in turn by chance."""
BATCH = 12
FRESH = 6
"""Scenes of a batch that are new; the others were seen before, and are cut, scaled and coloured anew."""
KEPT = 3000
DECISIVE = ("steps", "heads", "rate", "seed", "validation")
"""Options on which the weights and the threshold depend."""
VALIDATION_SEED = 1_000_000


def augment(scene: Scene, shape: tuple[int, int], rng: Rng) -> Scene:
    """Another view of a scene: scaled, shifted, perhaps mirrored and recoloured; black outside."""
    size, (height, width) = len(scene.image), shape
    scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.3))))
    mirror = rng.random() < 0.5
    shift = (np.array([width, height]) - scale * size) * rng.random(2)
    matrix = np.array([[-scale if mirror else scale, 0, shift[0] + mirror * scale * size], [0, scale, shift[1]]])
    image = cv2.warpAffine(scene.image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    gain = rng.uniform(0.8, 1.2) * rng.uniform(0.9, 1.1, 3)
    if rng.random() < 0.1:
        image = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    colored = np.clip(image * gain, 0, 255).astype(np.uint8)

    def moved(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        corners = boxes.reshape(-1, 2, 2) @ np.diag(matrix[:, :2].diagonal()) + matrix[:, 2]
        return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)

    boxes, unclear = moved(scene.boxes), moved(scene.unclear)
    inside = np.prod(np.clip(boxes[:, 2:], 0, (width, height)) - np.clip(boxes[:, :2], 0, (width, height)), axis=1)
    inside = inside / np.maximum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), 1e-9)
    clear = (inside > 0.6) & ((boxes[:, 2:] - boxes[:, :2]).max(axis=1) > 11)
    unclear = np.concatenate([unclear, boxes[~clear & (inside > 0.2)]])
    return Scene(colored, boxes[clear], unclear)


def targets(scene: Scene) -> NDArray[np.float32]:
    """What cells should say, (7, H / 8, W / 8): heat, x, y, log width, log height, weights of the heat and of the box."""
    rows, columns = (side // STRIDE for side in scene.image.shape[:2])
    wanted = np.zeros((7, rows, columns), np.float32)
    wanted[5] = 1
    x, y = np.arange(columns) + 0.5, (np.arange(rows) + 0.5)[:, None]
    for box in scene.unclear / STRIDE:
        wanted[5, ((x >= box[0]) & (x <= box[2])) & ((y >= box[1]) & (y <= box[3]))] = 0
    for box in scene.boxes / STRIDE:
        (cx, cy), (width, height) = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
        spread = max(0.1 * float(np.sqrt(width * height)), 0.45)
        heat = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2))
        column, row = int(np.clip(cx, 0, columns - 1)), int(np.clip(cy, 0, rows - 1))
        heat[row, column] = 1  # the one cell that must shine
        nearer = heat > wanted[0]
        wanted[0] = np.maximum(wanted[0], heat)
        owned = nearer & (heat > 0.3)
        wanted[1:5, owned] = np.stack(
            [(cx - x + 0 * y)[owned], (cy - y + 0 * x)[owned], *(np.full(owned.sum(), np.log(v)) for v in (width, height))]
        )
        wanted[6, owned] = heat[owned]
        wanted[5, row, column] = 1
    return wanted


def loss(cells: Tensor, wanted: Tensor) -> Tensor:
    """Focal loss of the heat, as CornerNet weighs it, and relative errors of the boxes."""
    logit, heat = cells[:, 0], wanted[:, 0]
    is_middle = heat == 1
    found = logit.sigmoid()
    middles = functional.logsigmoid(logit) * (1 - found) ** 2 * is_middle
    others = functional.logsigmoid(-logit) * found**2 * (1 - heat) ** 4 * ~is_middle
    focal = -((middles + others) * wanted[:, 5]).sum() / is_middle.sum().clamp(min=1)
    error = (cells[:, 1:] - wanted[:, 1:5]).abs()
    side = wanted[:, 3:5].exp()
    relative = (error[:, :2] / side + error[:, 2:]).sum(dim=1)  # a hundredth is a hundredth of the box
    boxes = (relative * wanted[:, 6]).sum() / wanted[:, 6].sum().clamp(min=1)
    return focal + 2 * boxes


def train(scenes: SceneSampler, steps: int, rate: float, seed: int) -> CenterNetwork:
    """A folded network, the moving average of the weights; prints the loss now and then."""
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 0])
    network = CenterNetwork().to(memory_format=torch.channels_last)
    with torch.no_grad():
        cast(Tensor, network.out.bias).copy_(torch.tensor([-4.0, 0, 0, 1, 1]))  # nearly all cells are none
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.08)
    kept: list[Scene] = []
    history: list[float] = []
    for step in range(steps):
        fresh = [scenes.draw(rng) for _ in range(FRESH if kept else BATCH)]
        again = [kept[int(rng.integers(len(kept)))] for _ in range(BATCH - len(fresh))]
        shape = SHAPES[int(rng.integers(len(SHAPES)))]
        batch = [augment(scene, shape, rng) for scene in (*fresh, *again)]
        kept = (kept + fresh)[-KEPT:]
        images = torch.from_numpy(np.stack([scene.image for scene in batch])).permute(0, 3, 1, 2).float()
        value = loss(network(images), torch.from_numpy(np.stack([targets(scene) for scene in batch])))
        optimizer.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        average.update_parameters(network)
        history.append(value.item())
        if step % 200 == 199:
            print(f"step {step + 1} of {steps}: loss {np.mean(history[-200:]):.3f}", flush=True)
    return without_norms(cast(CenterNetwork, average.module))


def main() -> None:
    """Train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4600)
    parser.add_argument("--heads", type=int, default=2500)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that render the heads; 0 for this one alone")
    parser.add_argument("--validation", type=int, default=600, help="scenes")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    begin = time.perf_counter()
    torch.set_num_threads(1)
    scenes = render_store(options.seed, options.heads, options.workers)
    rendered = time.perf_counter()
    print(f"{options.heads} heads in {rendered - begin:.0f} s", flush=True)
    network = train(scenes, options.steps, options.rate, options.seed)
    trained = time.perf_counter()
    save_network(network, options.output, {})
    unseen = render_store(VALIDATION_SEED + options.seed, max(options.heads // 10, 2), options.workers)
    rng = np.random.default_rng([options.seed, 1])
    validation = [unseen.draw(rng) for _ in range(options.validation)]
    threshold = best_threshold(CenterDetector(0.05, levels=1, path=options.output), validation)
    result = score(CenterDetector(threshold, levels=1, path=options.output), validation)
    story = {
        "command": "python tools/train_detector.py " + " ".join(f"--{key} {vars(options)[key]}" for key in DECISIVE),
        "commit": commit.stdout.strip(),
        "torch": torch.__version__,
        "seconds": {"rendering": round(rendered - begin), "training": round(trained - rendered)},
        "threshold": threshold,
        "validation": result._asdict(),
    }
    save_network(network, options.output, story)
    print(story)


def render_store(seed: int, num_heads: int, workers: int) -> SceneSampler:
    """Scenes of `num_heads` people, rendered by several processes, or by this one."""
    heads = plain_heads(seed)
    if not workers:
        return SceneSampler([cut_out(heads, index) for index in range(num_heads)], seed)
    with ProcessPoolExecutor(workers, initializer=start_worker) as pool:
        return SceneSampler(list(pool.map(partial(cut_out, heads), range(num_heads), chunksize=50)), seed)


if __name__ == "__main__":
    main()
