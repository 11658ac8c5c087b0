"""A prediction from its inputs to its files, with a progress bar."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from headposekit.errors import InputError
from headposekit.files import write_json, writing
from headposekit.inference.neutral import write_neutrals
from headposekit.inference.outputs import COLUMNS, SPREAD, Draw, Drawing, Format, TableWriter, pose_row
from headposekit.inference.sources import Input, ahead, count_frames, read_frames
from headposekit.inference.states import EVENT_COLUMNS, Events
from headposekit.inference.stream import PoseStream
from headposekit.pictures import MAX_MEGAPIXELS

MAX_COUNTED = 50
"""Videos whose frames are counted for the progress bar; each has to be opened for that."""


@dataclass
class Outputs:
    """Where a prediction goes: `poses.csv` or `.jsonl`, `unreadable.csv`, `summary.json`, and what is drawn, below `drawn`.

    With states `events.csv` as well, and with a calibration `neutral.json`.
    """

    folder: Path
    form: Format
    draw: Draw


class Speed(ProgressColumn):
    """Frames a second, over all until now."""

    def render(self, task: Task) -> Text:
        """Frames a second, as text."""
        return Text(f"{task.completed / task.elapsed if task.elapsed else 0:.1f} frames/s")


def predict_all(
    stream: PoseStream, inputs: list[Input], outputs: Outputs, max_megapixels: float = MAX_MEGAPIXELS
) -> dict[str, Any]:
    """Estimate the poses of all inputs, writing each frame's rows as soon as they are known; returns summary.json's content.

    InputError where something cannot be written, or nothing could be read.
    """
    with writing(outputs.folder):
        outputs.folder.mkdir(parents=True, exist_ok=True)
    table = outputs.folder / f"poses.{outputs.form}"
    problems = outputs.folder / "unreadable.csv"
    has_states = stream.new_states is not None or stream.calibrate is not None
    columns = (*COLUMNS, *(SPREAD if stream.model.has_spread else ()), *(("state",) if has_states else ()))
    counts = {"inputs": len(inputs), "frames": 0, "faces": 0, "without_face": 0, "unreadable": 0, "refused": 0}
    unreadable: list[str] = []
    start, num_neutral = time.perf_counter(), 0
    with (
        TableWriter(table, columns, outputs.form) as rows,
        TableWriter(problems, ("file", "frame", "reason"), "csv") as reasons,
        Drawing(outputs.folder / "drawn", outputs.draw) as drawing,
        contextlib.ExitStack() as stack,
        Progress(TextColumn("estimating"), BarColumn(), MofNCompleteColumn(), Speed(), TimeRemainingColumn()) as progress,
    ):
        events = None
        if stream.new_states is not None:
            table_of_events = stack.enter_context(TableWriter(outputs.folder / "events.csv", EVENT_COLUMNS, "csv"))
            events = stack.enter_context(contextlib.closing(Events(table_of_events.write)))
        bar = progress.add_task("", total=_count_all(inputs))
        for frame, faces in stream(ahead(read_frames(inputs, max_megapixels))):
            if frame.problem:
                unreadable.append(frame.problem)
                reasons.write([{"file": frame.source.name, "frame": frame.index, "reason": frame.problem}])
                counts["unreadable"] += 1
            if frame.image is not None and not frame.problem:
                counts["frames"] += 1
                counts["faces"] += len(faces)
                counts["without_face"] += not faces
                counts["refused"] += sum(face.is_refused for face in faces)
                rows.write([pose_row(frame, face) for face in faces])
                drawing.write(frame, faces)
                for face in faces:
                    if events is not None and face.state and face.track is not None and frame.time is not None:
                        events.add(frame.source.name, face.track, frame.time, face.state)
            if len(stream.neutrals) > num_neutral:
                num_neutral = len(stream.neutrals)
                write_neutrals(outputs.folder / "neutral.json", stream.neutrals)
            progress.advance(bar)
    seconds = time.perf_counter() - start
    summary = {
        **counts,
        "seconds": round(seconds, 3),
        "frames_per_second": round(counts["frames"] / seconds, 2),
        "poses": str(table),
        "drawn": None if outputs.draw == "none" else str(outputs.folder / "drawn"),
        "problems": unreadable,
        "not_drawn": drawing.problems,
    }
    write_json(outputs.folder / "summary.json", summary)
    if not counts["frames"]:
        more = f" (and {len(unreadable) - 1} more, see {problems})" if len(unreadable) > 1 else ""
        raise InputError(f"nothing could be read: {unreadable[0]}{more}")
    return summary


def _count_all(inputs: list[Input]) -> int | None:
    """How many frames there are to come; None where nobody knows, or it would take long to count them."""
    if sum(not source.is_picture for source in inputs) > MAX_COUNTED:
        return None
    counts = [count_frames(source) for source in inputs]
    return None if None in counts else sum(count or 0 for count in counts)
