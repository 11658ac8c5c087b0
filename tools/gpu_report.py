"""What `tools/gpu_day.sh` left, as a page: `python tools/gpu_report.py OUT [results/gpu.md]`."""

import csv
import json
import sys
from pathlib import Path
from typing import Any

GOALS = {"16": 20_000, "512": 100_000}
"""Images a second of FSA-Net's training, by least batch size."""
TABLE4 = 7 * 90 * 122_415
"""Images of Table 4 of FSA-Net's paper: seven trainings of 90 epochs of 300W-LP."""


def report(out: Path) -> str:
    """The page: the machine, how each stage ended, the numbers of each benchmark, and what they mean for the goals."""
    with (out / "stages.tsv").open(newline="") as file:
        stages = list(csv.reader(file, delimiter="\t"))
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(out.glob("*/benchmark.json"))}
    devices = {results["device"] for results in found.values()}
    lines = ["# A day on a GPU", ""]
    lines += ["Written by `tools/gpu_report.py` from what `tools/gpu_day.sh` measured."]
    if devices <= {"cpu"}:
        lines += ["**There was no GPU: the small form on a processor. It shows that the stages run, and no speed.**"]
    lines += ["", "```", (out / "machine.log").read_text(errors="replace").strip(), "```", ""]
    lines += ["| stage | ended (or exit status) | seconds |", "|---|---|--:|"]
    for name, status, seconds, *_ in stages:
        ended = {"0": "well", "124": "**at its time limit**", "137": "**at its time limit**"}.get(status, f"**{status}**")
        lines.append(f"| {name} | {ended} | {seconds} |")
    lines += ["", *_goals(found)]
    for name, _, _, command in stages:
        page = out / name / "benchmark.md"
        if page.is_file():
            lines += ["", f"## {name}", "", f"`{command}`", "", page.read_text().strip()]
    for name in ("training", "evaluation"):
        results = out / name / "results.json"
        if results.is_file():
            test = json.loads(results.read_text())["test"]
            lines += [
                "",
                f"Errors after `{name}`, degrees: " + ", ".join(f"{key} {_mae(entry)}" for key, entry in test.items()),
            ]
    return "\n".join(lines) + "\n"


def _goals(found: dict[str, Any]) -> list[str]:
    rates = {
        name.removeprefix("epoch_"): results["epoch"]["ours_images_per_second"]["median"]
        for name, results in found.items()
        if "ours_images_per_second" in results.get("epoch", {})
    }
    if not rates:
        return ["No epoch was measured."]
    lines = ["| epochs, batch size | images a second | goal | Table 4, extrapolated, hours |", "|--:|--:|--:|--:|"]
    for size, rate in sorted(rates.items(), key=lambda item: int(item[0])):
        goal = next((f"{goal:,}" for least, goal in reversed(GOALS.items()) if int(size) >= int(least)), "")
        lines.append(f"| {size} | {rate:,.0f} | {goal} | {TABLE4 / rate / 3600:,.2f} |")
    return [
        *lines,
        "",
        "Table 4 is seven trainings of 90 epochs of 122,415 faces, one after the other, from these epochs' rates.",
    ]


def _mae(entry: dict[str, Any]) -> str:
    return f"{entry['last']['mae']:.4f}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    page = Path(sys.argv[2]) if len(sys.argv) > 2 else folder / "gpu.md"
    page.write_text(report(folder), encoding="utf-8")
    print(page)
