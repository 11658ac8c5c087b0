"""`python src/predict.py` as a user calls it."""

import csv
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest

from configs import HOPENET, write_checkpoint
from headposekit import load
from headposekit.detectors.files import FileBoxes
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_video import WritePictures, WriteVideo
from run_folders import rows

BOX_COLUMNS = ["name", "confidence", "x0", "y0", "x1", "y1"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "net.ckpt", HOPENET)


def write_boxes(path: Path, rows: list[list[object]]) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([BOX_COLUMNS, *rows])
    return path


def test_folder_of_odd_pictures(run, checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    writer = WritePictures(folder, HeadSampler(), num_units=2, size=96)
    for number in range(2):
        writer[number]
    face = cv2.imread(str(folder / "00000.jpg"))[..., ::-1]
    (folder / "below").mkdir()
    PIL.Image.fromarray(face[..., 0]).save(folder / "below" / "grey.png")
    PIL.Image.fromarray(np.dstack([face, face[..., 0]])).save(folder / "rgba.png")
    cv2.imwrite(str(folder / "huge.jpg"), cv2.resize(face, (8000, 5000)))
    (folder / "cut.jpg").write_bytes((folder / "00000.jpg").read_bytes()[:900])
    (folder / "zero.mp4").write_bytes(b"")
    (folder / "notes.txt").write_text("left alone")
    done = run("predict", f"checkpoint={checkpoint}", f"input={folder}", "recursive=true", "detector=none",
               "format=jsonl", "draw=axes", "output=out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    faces = {row["file"]: row for row in map(json.loads, (tmp_path / "out" / "poses.jsonl").read_text().splitlines())}
    read = ["00000.jpg", "00001.jpg", "below/grey.png", "huge.jpg", "rgba.png"]
    assert list(faces) == read
    assert (faces["huge.jpg"]["x1"], faces["huge.jpg"]["y1"]) == (8000, 5000)
    assert faces["00000.jpg"]["frame"] is faces["00000.jpg"]["track"] is faces["00000.jpg"]["score"] is None
    (pose,) = load(checkpoint, detector="none")(folder / "00001.jpg")
    assert [faces["00001.jpg"][angle] for angle in ("yaw", "pitch", "roll")] == pytest.approx(list(pose.pose), abs=1e-3)
    drawn = sorted(path.relative_to(tmp_path / "out" / "drawn").as_posix() for path in (tmp_path / "out").rglob("*.*g"))
    assert drawn == read
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["frames"], summary["faces"], summary["unreadable"]) == (5, 5, 2)
    assert summary["frames_per_second"] > 0
    assert [row["file"] for row in rows(tmp_path / "out" / "unreadable.csv")] == ["cut.jpg", "zero.mp4"]
    assert "cut.jpg: cut short" in done.stdout
    assert "zero.mp4: not a readable video" in done.stdout
    assert "frames a second" in done.stdout


def test_video_loses_no_frame_and_mixes_nobody_up(run, checkpoint: Path, tmp_path: Path) -> None:
    WriteVideo(tmp_path / "in", HeadSampler(), num_frames=8, size=64)[0]
    truth = rows(tmp_path / "in" / "video_00.csv")
    boxes = write_boxes(
        tmp_path / "boxes.csv",
        [[f"video_00.mp4/{int(row['frame']):05d}", 0.5, *(row[side] for side in ("x0", "y0", "x1", "y1"))] for row in truth],
    )
    video = tmp_path / "in" / "video_00.mp4"
    found = {}
    for smoothing in ("none", "slerp"):
        done = run("predict", f"checkpoint={checkpoint}", f"input={video}", "detector=file", f"detector.path={boxes}",
                   f"smoothing={smoothing}", "draw=cube", f"output={smoothing}", "batch_size=3")  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[smoothing] = rows(tmp_path / smoothing / "poses.csv")
        for key in ("frame", "time", "x0", "y0", "x1", "y1"):
            shown = [float(row[key]) for row in found[smoothing]]
            assert shown == pytest.approx([float(row[key]) for row in truth], abs=1e-3), key
        assert [int(row["track"]) for row in found[smoothing]] == [int(row["person"]) + 1 for row in truth]
    model = load(checkpoint, detector=FileBoxes(boxes))
    reader = cv2.VideoCapture(str(video))
    for number in range(8):
        picture = np.ascontiguousarray(reader.read()[1][..., ::-1])
        poses = model(picture, boxes=model.detector(picture, f"video_00.mp4/{number:05d}").boxes)
        for row, pose in zip(found["none"][2 * number :], poses, strict=False):
            assert [float(row[angle]) for angle in ("yaw", "pitch", "roll")] == pytest.approx(list(pose.pose), abs=2e-3)
    yaws = {key: np.array([float(row["yaw"]) for row in faces]).reshape(8, 2) for key, faces in found.items()}
    assert (yaws["slerp"][0] == yaws["none"][0]).all()
    assert (np.abs(np.diff(yaws["slerp"], axis=0)).sum(axis=0) < np.abs(np.diff(yaws["none"], axis=0)).sum(axis=0)).all()
    drawn = cv2.VideoCapture(str(tmp_path / "slerp" / "drawn" / "video_00.mp4"))
    assert (drawn.get(cv2.CAP_PROP_FRAME_COUNT), drawn.get(cv2.CAP_PROP_FPS)) == (8, 25)


def test_no_face_is_no_failure_and_a_bad_box_costs_one_picture(run, checkpoint: Path, tmp_path: Path) -> None:
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((40, 40, 3), 90, np.uint8))
    boxes = write_boxes(tmp_path / "boxes.csv", [["a", 1, 5, 5, 30, 30], ["b.png", 1, 100, 100, 130, 130]])
    done = run("predict", f"checkpoint={checkpoint}", "input=*.png", "detector=file", f"detector.path={boxes}", "output=out")
    assert done.returncode == 0, done.stderr
    assert [row["file"] for row in rows(tmp_path / "out" / "poses.csv")] == ["a.png"]
    (bad,) = rows(tmp_path / "out" / "unreadable.csv")
    assert bad["file"] == "b.png"
    assert "lies outside its picture of 40×40" in bad["reason"]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["frames"], summary["without_face"], summary["unreadable"]) == (2, 1, 1)


def test_interrupted_run_leaves_whole_rows(start, checkpoint: Path, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "long.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 64))
    for _ in range(5000):
        video.write(np.zeros((64, 64, 3), np.uint8))
    video.release()
    process = start(
        "predict", "checkpoint=net.ckpt", "input=long.mp4", "detector=none", "batch_size=1", "draw=axes", "output=out"
    )
    table = tmp_path / "out" / "poses.csv"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (table.is_file() and len(rows(table)) > 5):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert errors.strip() == "error: interrupted; what was estimated until then is in the output folder"
    faces = rows(table)
    assert 5 < len(faces) < 5000
    assert all(row["roll"] for row in faces)
    assert cv2.VideoCapture(str(tmp_path / "out" / "drawn" / "long.mp4")).read()[0]


def test_what_stops_one_file_stops_no_other(run, checkpoint: Path, tmp_path: Path) -> None:
    """A picture of 1.6 gigapixels, a name in Latin-1, a damaged header, a video of a rate that MPEG-4 cannot hold."""
    folder = tmp_path / "7"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.jpg"), np.full((40, 40, 3), 90, np.uint8))
    os.link(folder / "a.jpg", os.fsencode(folder) + b"/caf\xe9.JPG")
    (folder / "motion.jpg").write_bytes((folder / "a.jpg").read_bytes() + b"ftyp\xff\xda" + bytes(99))
    PIL.Image.new("1", (40_000, 40_000)).save(folder / "bomb.png")
    damaged = bytearray(cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes())
    damaged[12:16] = b"XXXX"
    (folder / "damaged.png").write_bytes(damaged)
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 66.667, (64, 64))
    for _ in range(4):
        video.write(np.zeros((64, 64, 3), np.uint8))
    video.release()
    (tmp_path / "v.avi").rename(folder / "v.divx")
    done = run("predict", "checkpoint=net.ckpt", "input=7", "detector=none", "draw=axes", "output=out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    faces = [row["file"] for row in rows(tmp_path / "out" / "poses.csv")]
    assert faces == ["a.jpg", "caf\\udce9.JPG", "motion.jpg", *["v.divx"] * 4]
    drawn = sorted(path.name for path in (tmp_path / "out" / "drawn").iterdir())
    assert drawn == ["a.jpg", "caf\\udce9.JPG", "motion.jpg", "v.divx.mp4"]
    reasons = {row["file"]: row["reason"] for row in rows(tmp_path / "out" / "unreadable.csv")}
    assert "40000×40000 pixels are more than max_megapixels=120; make it smaller" in reasons.pop("bomb.png")
    assert "damaged.png: not a readable picture" in reasons.pop("damaged.png")
    assert not reasons
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["inputs"], summary["frames"], summary["unreadable"], summary["not_drawn"]) == (6, 7, 2, [])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(disk)], capture_output=True, check=False
    ).returncode:
        pytest.skip("no right to mount a small disk")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("draw", ["none", "axes"])
@pytest.mark.parametrize("source", ["pictures", "video"])
def test_full_disk(run, checkpoint: Path, tmp_path: Path, small_disk: Path, draw: str, source: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    if source == "video":
        video = cv2.VideoWriter(str(tmp_path / "in.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 64))
        for shift in range(60 if draw == "axes" else 1500):
            video.write(np.roll(noise, shift, axis=1))
        video.release()
    else:
        for number in range(30 if draw == "axes" else 1300):
            (tmp_path / "in").mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), noise)
    given = "in.mp4" if source == "video" else "in"
    done = run("predict", "checkpoint=net.ckpt", f"input={given}", "detector=none", f"draw={draw}", f"output={small_disk}/out")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.strip()]
    assert "the room left" in line
    assert str(small_disk) in line
    faces = rows(small_disk / "out" / "poses.csv")
    assert len(faces) > 0
    assert all(row["roll"] for row in faces)


def test_detector_without_its_file_leaves_an_earlier_table(refused, checkpoint: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 40, 3), 90, np.uint8))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "poses.csv").write_text("earlier")
    for detector, given in (("file", "path=gone.csv"), ("yunet", "model=gone.onnx")):
        message = refused(
            "predict", f"checkpoint={checkpoint}", "input=a.png", f"detector={detector}", f"detector.{given}", "output=out"
        )
        assert given.split("=")[1] in message
        assert "no such" in message
        assert (tmp_path / "out" / "poses.csv").read_text() == "earlier"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["input=gone.jpg"], "input=gone.jpg: no such file, folder or camera"),
        ([], "input is needed; give input="),
        (["input=text.jpg", "detector=yunet"], "error: detector.model is needed; give detector.model="),
        (["input=text.jpg"], "nothing could be read: text.jpg: not a readable picture"),
        (["input=[text.jpg,zero.mp4]"], "it again or remove it (and 1 more, see"),
        (["input=99"], "nothing could be read: camera 99 gives no picture"),
        (["input=text.jpg", "output=/proc/nope"], "/proc/nope"),
        (["input=text.jpg", "format=xml"], "format=xml is unknown; choose csv or jsonl"),
        (["input=text.jpg", "draw=mask"], "draw=mask is unknown; choose none, axes, cube"),
        (["input=text.jpg", "batch_size=0"], "batch_size=0 is not a whole number from 1"),
        (["input=text.jpg", "smoothing=slerp", "smoothing.lag=-1"], "smoothing.lag=-1 is not more than 0"),
        (["input=text.jpg", "tracker.patience=-1"], "patience=-1"),
        (["input=text.jpg", "device=abacus"], "device=abacus cannot be used"),
        (["input=text.jpg", "crop=margin"], "crop"),
        (["input=text.jpg", "calibrate=0"], "calibrate=0 is not a number or a text or null from 0.001 to 3600"),
        (["input=text.jpg", "calibrate=nowhere.json"], "nowhere.json: no such file"),
        (["input=text.jpg", "states=default", "states.away=5"], "states: margin=3.0, yaw=20.0, pitch=15.0, away=5"),
        (["input=text.jpg", "camera.matrix=text.jpg"], "text.jpg: not a readable calibration file"),
        (["input=text.jpg", "camera.pitch=down"], "camera.pitch=down is not a number"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_refusals(refused, checkpoint: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "zero.mp4").write_bytes(b"")
    given = [] if "checkpoint=[]" in arguments else [f"checkpoint={checkpoint}"]
    assert message in refused("predict", *given, *arguments)


def test_camera_calibration_and_states(enter, checkpoint: Path, tmp_path: Path) -> None:
    """The neutral pose of the first run serves the second, without waiting."""
    writer = WriteVideo(tmp_path, HeadSampler(), num_people=1, num_frames=24, fps=12.0, size=96)
    writer[0]
    storage = cv2.FileStorage(str(tmp_path / "camera.yaml"), cv2.FILE_STORAGE_WRITE)
    storage.write("camera_matrix", np.array([[100.0, 0, 48], [0, 100, 48], [0, 0, 1]]))
    storage.write("distortion_coefficients", np.array([[0.1, 0, 0, 0, 0]]))
    storage.release()
    chosen = [f"checkpoint={checkpoint}", "input=video_00.mp4", "detector=none", "states=default", "camera.pitch=-20",
              "camera.matrix=camera.yaml"]  # fmt: skip
    first = enter("predict", *chosen, "calibrate=1", "output=first", "draw=axes")
    assert first.returncode == 0, first.stderr
    shown = rows(tmp_path / "first" / "poses.csv")
    assert [row["state"] for row in shown[:12]] == ["calibrating"] * 12
    assert "calibrating" not in {row["state"] for row in shown[12:]}
    events = rows(tmp_path / "first" / "events.csv")
    assert list(events[0]) == ["file", "track", "state", "start", "end"]
    assert (events[0]["file"], events[0]["state"], events[0]["start"]) == ("video_00.mp4", "calibrating", "0.0")
    assert events[-1]["end"] == shown[-1]["time"]
    (neutral,) = json.loads((tmp_path / "first" / "neutral.json").read_text())["neutral"]
    assert (neutral["file"], neutral["track"], neutral["faces"]) == ("video_00.mp4", 1, 13)
    again = enter("predict", *chosen, "calibrate=first/neutral.json", "output=again")
    assert again.returncode == 0, again.stderr
    later = rows(tmp_path / "again" / "poses.csv")
    assert [row["yaw"] for row in later[12:]] == [row["yaw"] for row in shown[12:]]
    assert later[0]["state"] != "calibrating"
    assert not (tmp_path / "again" / "neutral.json").exists()


def test_unknown_detector_is_told_the_known_ones_and_no_more(refused, checkpoint: Path) -> None:
    message = refused("predict", f"checkpoint={checkpoint}", "input=.", "detector=eyes").strip()
    assert "detector/eyes" in message
    assert message.endswith("cascade; default; dlib; file; mtcnn; none; yunet")
