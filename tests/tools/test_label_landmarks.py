import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import label_landmarks
from headposekit.geometry.face_model import mean_face_68
from headposekit.geometry.rotations import pose_to_matrix


def test_labels_are_written_and_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(*words: object) -> str:
        monkeypatch.setattr(sys, "argv", ["label_landmarks.py", *map(str, words)])
        label_landmarks.main()
        return capsys.readouterr().out

    pose = np.random.default_rng(0).uniform(-40, 40, (12, 3))
    pose[0] = 5
    points = (mean_face_68() @ pose_to_matrix(torch.tensor(pose)).numpy().swapaxes(1, 2))[..., :2] * [40, -40] + 100
    names = [f"face{number:02d}" for number in range(len(pose))]
    np.savez(tmp_path / "points.npz", names=np.array(names), landmarks=points)
    labels = tmp_path / "labels.csv"
    assert "12 of 12 faces labelled by rigid_68" in call("write", tmp_path / "points.npz", labels, "--rule", "rigid_68")
    rows = list(csv.DictReader(labels.open()))
    assert [row["name"] for row in rows] == names
    assert np.allclose([[float(row[angle]) for angle in ("yaw", "pitch", "roll")] for row in rows], pose, atol=0.01)

    rolled = tmp_path / "rolled.csv"
    others = [[row["name"], row["yaw"], row["pitch"], float(row["roll"]) + 20 * (row["name"] == "face00")] for row in rows]
    with rolled.open("w", newline="") as file:
        csv.writer(file).writerows([["name", "yaw", "pitch", "roll"], *others])
    page = tmp_path / "page.md"
    shown = call("compare", labels, rolled, "--page", page)
    assert shown.strip() == page.read_text().strip()
    assert "12 faces, 1 of them more than 10 degrees apart" in shown
    assert "| all | 12 | 0.00 | 0.00 | 1.67 | 0.56 |" in shown  # 20 degrees of roll of one of twelve faces
    rolled.write_text("name,yaw,pitch,roll\nnobody,0,0,0\n")
    with pytest.raises(SystemExit, match=r"error: .* name no face in common"):
        call("compare", labels, rolled)
