"""Kill a small training again and again, or fill its disk, and compare what it ends with with an unbroken run, bit for bit.

    python tools/kill_trainings.py RUNS --kills 20      # SIGKILL at random moments, every other one while a file is written
    python tools/kill_trainings.py RUNS --full 10   # ten full disks; RUNS on a small file system of its own

RUNS is an empty folder for the runs. $TMPDIR should be on another file system than RUNS, where a move is no renaming:

    mount -t tmpfs -o size=20m tmpfs SMALL; python tools/kill_trainings.py SMALL --full 10
    mount -t tmpfs -o size=100m tmpfs OTHER; TMPDIR=OTHER python tools/kill_trainings.py RUNS --kills 20

The rendered heads go to $HEADPOSEKIT_DATASETS, as ever. The exit status is 1 where a command did not go on or anything differs.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

TRAIN = Path(__file__).resolve().parents[1] / "src" / "train.py"
OPTIONS = ("data.num_heads=64", "test.synthetic.num_heads=32", "data.batch_size=16", "epochs=6", "trainer=cpu", "resume=auto")


SERVER = multiprocessing.get_context("forkserver")  # has imported all that takes long; torch's threads would not bear a fork
SERVER.set_forkserver_preload(
    ["pytorch_lightning", "albumentations", "headposekit.training.testing", "headposekit.sweeps.pool"]
)


def start(runs: Path) -> Any:
    """The training in a process of its own, always by the same command."""
    runs.mkdir(parents=True, exist_ok=True)
    process = SERVER.Process(target=_train, args=(runs,))
    process.start()
    return process


def _train(runs: Path) -> None:
    os.setsid()
    os.environ["HEADPOSEKIT_RUNS"] = str(runs)
    for descriptor, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(runs.parent / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    multiprocessing.set_start_method("fork", force=True)
    sys.argv = [str(TRAIN), *OPTIONS]
    sys.path.insert(0, str(TRAIN.parent))
    runpy.run_path(str(TRAIN), run_name="__main__")


def outcome(runs: Path) -> dict[str, Any]:
    """What a finished training leaves that no clock and no commit has a part in."""
    (path,) = runs.glob("*/results.json")
    results = json.loads(path.read_text())
    del results["commit"]  # which may change meanwhile
    for key in ("seconds", "images_per_second"):
        del results["train"][key]
    states = {}
    for name in ("last", "best"):
        content = torch.load(path.parent / "checkpoints" / f"{name}.ckpt", weights_only=True)
        states[name] = [content["state_dict"], content["optimizer_states"], content["epoch"]]
    metrics = (path.parent / "metrics.csv").read_text()
    predictions = (path.parent / "predictions_synthetic.csv").read_text()
    return {"results": results, "metrics": metrics, "predictions": predictions, **states}


def equal(one: Any, other: Any) -> bool:
    """Whether nested containers are equal, tensors bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return isinstance(other, dict) and one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def half_checkpoints(runs: Path) -> list[str]:
    """Checkpoints under their own name that are not whole."""
    return [str(path) for path in runs.rglob("*.ckpt") if not zipfile.is_zipfile(path)]


def kill_once(runs: Path, seconds: float, at_a_file: bool) -> str:
    """Start the training and kill it, processes of its own and all; where it ended before, say so."""
    process = start(runs)
    deadline = time.monotonic() + random.uniform(0.1, 0.7) * seconds
    process.join(max(0.0, deadline - time.monotonic()))
    while at_a_file and process.is_alive() and not any(runs.glob("*/*.partial")) and not any(runs.glob("*/*/*.partial")):
        pass
    ended = not process.is_alive()
    if not ended:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.join()
    epochs = sum(max(0, len(path.read_text().splitlines()) - 1) for path in runs.glob("*/metrics.csv"))
    partial = [path.name for path in runs.rglob("*.partial")]
    return (
        f"{'ended before the kill' if ended else 'killed'}; {epochs} epochs in metrics.csv, {partial or 'nothing'} half written"
    )


def to_its_end(runs: Path) -> str | None:
    """Give the same command again; returns what is wrong, if anything is."""
    process = start(runs)
    process.join()
    errors = (runs.parent / "stderr").read_text().strip()[-300:]
    return None if process.exitcode == 0 else f"exit status {process.exitcode}: {errors}"


def main() -> int:
    """Run all of it, and say how it went."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--full", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random.seed(given.seed)
    print(f"runs on device {os.stat(given.runs).st_dev}, TMPDIR on {os.stat(os.environ.get('TMPDIR', '/tmp')).st_dev}")
    if wrong := to_its_end(given.runs / "warm"):  # renders the heads, so that later ones only train
        print(wrong)
        return 1
    shutil.rmtree(given.runs / "warm")
    begin = time.monotonic()
    wrong = to_its_end(given.runs / "unbroken")
    seconds = time.monotonic() - begin
    expected = outcome(given.runs / "unbroken")
    print(f"unbroken: {seconds:.0f} s {wrong or ''}", flush=True)
    failures, number, kills = 0, 0, 0
    while kills < given.kills:
        number += 1
        runs = given.runs / f"killed{number}"
        for _ in range(random.randint(1, 3)):
            said = kill_once(runs, seconds, at_a_file=kills % 2 == 0)
            kills += "ended" not in said
            halves = half_checkpoints(runs)
            failures += bool(halves)
            print(f"kill {kills}: {said}{f'; HALF {halves}' if halves else ''}", flush=True)
            if "ended" in said:
                break
        failures += not _judge(runs, expected)
    for number in range(given.full):
        runs, fill = given.runs / f"full{number}", given.runs / "fill"
        free = shutil.disk_usage(given.runs).free
        room = random.randint(0, min(free, 6 * 2**20))
        with fill.open("wb") as file:
            for start_ in range(0, free - room, 2**20):
                file.write(bytes(min(2**20, free - room - start_)))
        wrong, halves = to_its_end(runs), half_checkpoints(runs)
        failures += bool(halves) or "Traceback" in str(wrong)
        print(f"full {number}: {room // 1024} KiB of room: {wrong or 'there was room'}{f'; HALF {halves}' if halves else ''}")
        fill.unlink()
        failures += not _judge(runs, expected)
    print(f"{kills} kills, {given.full} full disks: {failures} failures")
    return int(failures > 0)


def _judge(runs: Path, expected: dict[str, Any]) -> bool:
    wrong = None if any(runs.glob("*/results.json")) else to_its_end(runs)
    differing = [] if wrong else [key for key, value in outcome(runs).items() if not equal(value, expected[key])]
    print(f"  the same command again: {wrong or (f'DIFFERS in {differing}' if differing else 'equal bit for bit')}", flush=True)
    shutil.rmtree(runs)
    return not wrong and not differing


if __name__ == "__main__":
    sys.exit(main())
