"""Files of a run folder, written so that a reader never sees half of one."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any) -> None:
    """Write JSON through a file beside it, then move it into place."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
    partial.replace(path)


def write_predictions(path: Path, predictions: Sequence[dict[str, Any]]) -> None:
    """One row a face: name, true and predicted yaw, pitch, roll, and the geodesic error, all in degrees; empty where NaN."""
    angles = ("yaw", "pitch", "roll")
    columns = ["name", *(f"true_{a}" for a in angles), *(f"predicted_{a}" for a in angles), "geodesic"]
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in predictions:
            numbers = [*row["true"], *row["predicted"], row["geodesic"]]
            writer.writerow([row["name"], *("" if math.isnan(number) else f"{number:.6f}" for number in numbers)])
    partial.replace(path)
