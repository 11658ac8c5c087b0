"""What the page shows is what `headposekit.load` says."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from configs import CROP, FSANET, HOPENET, write_checkpoint
from headposekit import load
from headposekit.demo.compare import Comparison, detectors_beside, drawn, short_names
from headposekit.detectors.base import Detections, as_detections, no_detections
from headposekit.detectors.files import FileBoxes
from headposekit.detectors.whole import WholePicture
from headposekit.errors import InputError
from headposekit.inference.estimator import DETECTORS, HeadPose
from headposekit.weights.checkpoint import LoadedNetwork

HOPENET_CROP = {
    "_target_": "headposekit.geometry.crops.HopenetCrop", "size": 64, "aflw2000_box": "official", "order_free": False,
}  # fmt: skip
PICTURE = np.random.default_rng(3).integers(0, 256, (90, 120, 3), dtype=np.uint8)
BOXES = [[20.0, 15, 60, 55], [50, 30, 110, 85]]


def encoded(picture: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, form, **options)
    return file.getvalue()


def picture_of(url: str) -> np.ndarray:
    kind, content = url.split(",")
    assert kind == "data:image/jpeg;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR_RGB)


class Two:
    name = "two"
    boxes_are_crops = False

    def __call__(self, image: np.ndarray, name: str = "") -> Detections:
        return as_detections(BOXES, [0.5, 0.9]) if image.shape == PICTURE.shape else no_detections()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks that want other crops."""
    folder = tmp_path_factory.mktemp("networks")
    card = {"training_data": {"dataset": "synthetic"}}
    return [
        write_checkpoint(folder / f"{name}.ckpt", model, crop, **card)
        for name, model, crop in (("small", FSANET, CROP), ("bins", HOPENET, HOPENET_CROP))
    ]


@pytest.fixture(scope="module")
def compare(files: list[Path]) -> Comparison:
    return Comparison({path.stem: load(path) for path in files}, {"two": Two(), "none": WholePicture()}, max_megapixels=1)


def test_networks_side_by_side_are_what_load_says(compare: Comparison, files: list[Path]) -> None:
    shown = compare(encoded(PICTURE), "two")
    assert [face["score"] for face in shown["faces"]] == [0.9, 0.5]
    assert [face["box"] for face in shown["faces"]] == BOXES[::-1]
    for number, path in enumerate(files):
        for face, pose in zip(shown["faces"], load(path)(PICTURE, boxes=BOXES[::-1]), strict=True):
            said = face["poses"][number]
            assert [said[angle] for angle in ("yaw", "pitch", "roll")] == pytest.approx(pose.pose, abs=1e-3)
            assert said["spread"] == (None if pose.spread is None else pytest.approx(pose.spread, abs=1e-3))
            assert picture_of(said["crop"]).shape == (64, 64, 3)
    assert shown["faces"][0]["poses"][1]["spread"] is not None
    assert [picture_of(url).shape for url in shown["pictures"]] == [(480, 640, 3)] * 2
    assert compare.describe() == {
        "networks": [
            {"name": "small", "about": "FSANet, trained on synthetic"},
            {"name": "bins", "about": "Hopenet, trained on synthetic"},
        ],
        "detectors": ["two", "none"],
        "drawn": ["axes", "cube"],
    }


@pytest.mark.parametrize(
    ("config", "card", "about"),
    [
        (FSANET, {}, "FSANet, published weights"),
        (FSANET, {"train_id": "0"}, "FSANet"),
        (
            {"_target_": "headposekit.models.fusion.LateFusion", "members": [FSANET, HOPENET]},
            {"sources": [{"training_data": {"dataset": "synthetic"}}, {"training_data": None}]},
            "FSANet + Hopenet, trained on synthetic",
        ),
        (FSANET, {"training_data": 5, "sources": {"a": 1}}, "FSANet"),
        (FSANET, {"sources": [5, {"training_data": {}}]}, "FSANet"),
    ],
    ids=["published", "silent", "exported fusion", "number", "damaged sources"],
)
def test_what_is_said_of_a_network(config: dict, card: dict, about: str) -> None:
    network: Any = SimpleNamespace(members=(LoadedNetwork("x", torch.nn.Identity(), config, CROP, card),))
    assert Comparison({"x": network}, {}).describe()["networks"] == [{"name": "x", "about": about}]


def test_frames_of_a_camera_are_calibrated_and_have_states(compare: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0, 100, 0.25))
    monkeypatch.setattr("headposekit.demo.compare.time.perf_counter", lambda: next(clock))  # twice for each picture

    def first(**options: Any) -> dict[str, Any]:
        pose = compare(encoded(PICTURE), "two", camera_roll=20.0, **options)["faces"][0]["poses"][0]
        return {key: pose[key] for key in ("yaw", "pitch", "roll", "state")}

    still, plain = first(), compare(encoded(PICTURE), "two")["faces"][0]["poses"][0]
    assert abs(still["roll"] - plain["roll"]) > 5  # the camera leans
    assert still["state"] in ("facing", "left", "right", "up", "down", "away")
    shown = [first(live="a", calibrate=3.0) for _ in range(8)]
    assert [pose["state"] for pose in shown] == ["calibrating"] * 6 + ["facing"] * 2
    assert shown[0] == still | {"state": "calibrating"}
    assert [shown[-1][angle] for angle in ("yaw", "pitch", "roll")] == pytest.approx([0, 0, 0], abs=1e-3)
    assert first() == still
    assert first(live="b")["state"] == still["state"]  # another video, without a calibration


def test_field_of_view_is_of_one_picture_only(compare: Comparison, files: list[Path]) -> None:
    def angles(field_of_view: float | None) -> list[float]:
        face = compare(encoded(PICTURE), "two", field_of_view=field_of_view)["faces"][0]["poses"][0]
        return [face[angle] for angle in ("yaw", "pitch", "roll")]

    (pose,) = load(files[0], field_of_view=70)(PICTURE, boxes=BOXES[1])
    along_the_ray = angles(None)
    assert angles(70) == pytest.approx(pose.pose, abs=1e-3)
    assert angles(70) != pytest.approx(along_the_ray, abs=1)
    assert angles(None) == along_the_ray


def test_whole_picture_and_no_face(compare: Comparison) -> None:
    assert len(compare(encoded(PICTURE), "none")["faces"]) == 1
    nobody = compare(encoded(PICTURE[:80]), "two", "cube")
    assert nobody["faces"] == []
    assert picture_of(nobody["pictures"][0]).shape == (427, 640, 3)


@pytest.mark.parametrize(
    ("raw", "options", "message"),
    [
        (b"", {}, r"^not a readable picture \(an empty file\); give a whole JPEG"),
        (b"a letter", {}, "not a readable picture"),
        (encoded(PICTURE, "JPEG")[:-900], {}, "^cut short; fetch it again"),
        (encoded(PICTURE, "PDF"), {}, "not a readable picture"),
        (encoded(np.zeros((1001, 1000), np.uint8)), {}, "^1000×1001 pixels are more than max_megapixels=1; make it smaller"),
        (encoded(PICTURE), {"detector": "eyes"}, "detector=eyes draw=axes: choose two, none, and axes or cube"),
        (encoded(PICTURE), {"draw": "wig"}, "draw=wig"),
        (encoded(PICTURE), {"field_of_view": 180}, "a field of view of 180 degrees does not exist"),
    ],
    ids=["empty", "text", "cut", "PDF", "large", "detector", "draw", "field of view"],
)
def test_refused(compare: Comparison, raw: bytes, options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(raw, **{"detector": "two", **options})


def test_drawn_in_the_place_of_the_face() -> None:
    """Everything that is drawn lies around the box, in the size in which the picture is shown."""
    picture = np.full((1500, 2000, 3), 128, dtype=np.uint8)
    image = drawn(picture, [HeadPose((200.0, 400, 500, 700), None, 30.0, 0.0, 0.0)], "axes")
    assert image.shape == (960, 1280, 3)
    rows, columns = np.nonzero((image != 128).any(axis=2))
    assert 200 < rows.min() < 400 * 0.64 < 700 * 0.64 <= rows.max() < 520
    assert 100 < columns.min() <= 200 * 0.64 + 1 < 500 * 0.64 - 1 <= columns.max() < 400
    assert (picture == 128).all()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/runs/a/checkpoints/best.ckpt"], ["best.ckpt"]),
        (["/x/a.h5", "/y/b.h5"], ["a.h5", "b.h5"]),
        (["/r/a/c/best.ckpt", "/r/b/c/best.ckpt", "/w.h5"], ["a/c/best.ckpt", "b/c/best.ckpt", "w.h5"]),
        (["net.ckpt", str(Path("net.ckpt").absolute())], ["net.ckpt", str(Path("net.ckpt").absolute())]),
    ],
    ids=["one", "names", "folders", "same"],
)
def test_short_names(paths: list[str], names: list[str]) -> None:
    assert short_names(paths) == names


def test_only_usable_detectors_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "headposekit.demo.compare.make_detector", lambda name: WholePicture() if name == "none" else FileBoxes(tmp_path / name)
    )
    assert list(detectors_beside("two", Two())) == ["two", "none"]
    assert next(iter(detectors_beside("none", Two()).values())).name == "two"
    with pytest.raises(InputError, match="no such file; run a face detector"):
        detectors_beside("file", FileBoxes(tmp_path / "gone.csv"))
    assert {"default", "none"} <= set(DETECTORS)
