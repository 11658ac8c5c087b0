import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from detector_scores import overlaps
from face_scenes import plain_heads
from headposekit.datasets import AFLW2000
from headposekit.detectors.native import MTCNN, Cascade, DlibHog, Mapping, NativeDetector, YuNet
from headposekit.errors import InputError

IDENTITY = Mapping(0.0, 0.0, 1.0, 1.0)


def test_a_mapping_shifts_and_scales_by_the_native_box() -> None:
    boxes = np.array([[100.0, 50, 140, 150]])
    assert Mapping(0.25, 0.1, 0.5, 0.8)(boxes).tolist() == [[120, 70, 140, 150]]
    np.testing.assert_array_equal(IDENTITY(boxes), boxes)
    mapping = Mapping(0.25, 0.1, 0.5, 0.8)
    np.testing.assert_allclose(mapping.inverse()(mapping(boxes)), boxes)


@pytest.mark.parametrize(("make", "module"), [(Cascade, "skimage"), (DlibHog, "dlib")], ids=["cascade", "dlib"])
def test_mapped_boxes_are_the_tight_ones_of_heads(make: Callable[[], NativeDetector], module: str) -> None:
    pytest.importorskip(module)
    detector = make()
    detector.size = 240  # so that pictures are made smaller, and boxes larger again
    mapping, detector.mapping = detector.mapping, IDENTITY
    heads = plain_heads(11, backgrounds=True, texture_pool=6, hat=0.0)
    rows = []
    for index in range(15):
        head = heads.render(index, 300, (4.0 * (index - 7), 2.0 * (index % 5) - 4, 0.0), supersample=1.0)
        found = detector(head.image).boxes
        if len(found) and (native := overlaps(found, head.box[None])[:, 0]).max() > 0.3:
            box = mapping(found)[native.argmax()]
            shift = (box.reshape(2, 2) - head.box.reshape(2, 2)).mean(axis=0) / np.ptp(head.box.reshape(2, 2), axis=0)
            size = np.ptp(box.reshape(2, 2), axis=0) / np.ptp(head.box.reshape(2, 2), axis=0)
            rows.append([native.max(), overlaps(box[None], head.box[None]).item(), *shift, *size])
    native_overlap, mapped_overlap, *shift_and_size = np.median(rows, axis=0)
    assert len(rows) >= 8
    assert mapped_overlap > max(0.65, native_overlap + 0.05)
    np.testing.assert_allclose(shift_and_size, [0, 0, 1, 1], atol=0.12)


def test_a_detector_that_is_not_installed_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(module: str) -> None:
        raise ImportError(module)

    monkeypatch.setattr(importlib, "import_module", refuse)
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match=r"detector=dlib needs the package dlib-bin; pip install -e '.\[detectors\]'"):
        DlibHog()(picture)
    with pytest.raises(InputError, match="detector=cascade needs the package scikit-image"):
        Cascade()(picture)
    with pytest.raises(InputError, match=r"detector=mtcnn needs .* facenet-pytorch; pip install --no-deps facenet-pytorch$"):
        MTCNN()(picture)


class FakeMTCNN:
    """The package's interface: a box from (8, 16) to (40, 56) in a picture that is not black; objects for numbers, as there."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def detect(self, image: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        if min(image.shape[:2]) < self.options["min_face_size"]:
            raise ValueError("torch.cat(): expected a non-empty list of Tensors")
        if not image.any():
            return None, np.array([None], dtype=object)
        return np.array([[8.0, 16, 40, 56]], dtype=object), np.array([0.9], dtype=object)


def test_mtcnns_boxes_become_tight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "facenet_pytorch", SimpleNamespace(MTCNN=FakeMTCNN))  # type: ignore[arg-type]
    detector = MTCNN(size=64, threshold=0.8)
    found = detector(np.full((192, 128, 3), 9, np.uint8))
    np.testing.assert_allclose(found.boxes, 3 * detector.mapping(np.array([[8.0, 16, 40, 56]])) * [128 / 129, 1, 128 / 129, 1])
    assert found.scores.tolist() == [0.9]
    assert detector._network.options["thresholds"] == [0.6, 0.7, 0.8]
    assert len(detector(np.zeros((64, 64, 3), np.uint8)).boxes) == 0
    assert len(detector(np.full((64, 12, 3), 9, np.uint8)).boxes) == 0  # too small for its smallest face


@pytest.mark.parametrize("name", ["yunet", "mtcnn"])
def test_fitted_boxes_are_tight_on_photographs(name: str, shared: Path) -> None:
    if name == "mtcnn":
        pytest.importorskip("facenet_pytorch")
    detector = MTCNN() if name == "mtcnn" else YuNet(shared / "models" / "face_detection_yunet_2026may.onnx")
    faces = AFLW2000(shared / "aflw2000_sample", box="pt3d_68")
    best = [overlaps(detector(faces.image(i)).boxes, faces.box[i : i + 1]).max(initial=0) for i in range(len(faces))]
    assert np.mean(best) > 0.75


def write_model(path: Path) -> Path:
    """A network with YuNet's inputs and outputs that takes every fully red cell of 8 × 8 pixels for a face of 32 × 32."""
    nodes = [
        helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Split", ["pooled", "parts"], ["blue", "green", "red"], axis=1),
        helper.make_node("Reshape", ["red", "column"], ["flat"]),
        helper.make_node("Mul", ["flat", "inverse"], ["cls_8"]),
        helper.make_node("Mul", ["flat", "inverse"], ["obj_8"]),
    ]
    constants = {
        "parts": np.array([1, 1, 1], np.int64),
        "column": np.array([1, -1, 1], np.int64),
        "inverse": np.array([1 / 255], np.float32),
        "none": np.array([0], np.float32),
        "box": np.array([[[0.5, 0.5, np.log(4), np.log(4)]]], np.float32),
        "points": np.zeros((1, 1, 10), np.float32),
    }
    for stride in (8, 16, 32):
        step = stride // 8
        pooled = f"pooled_{stride}"
        nodes += [
            helper.make_node("AveragePool", ["blue"], [pooled], kernel_shape=[step, step], strides=[step, step]),
            helper.make_node("Reshape", [pooled, "column"], [f"cells_{stride}"]),
            helper.make_node("Mul", [f"cells_{stride}", "none"], [f"zero_{stride}"]),
            helper.make_node("Add", [f"zero_{stride}", "box"], [f"bbox_{stride}"]),
            helper.make_node("Add", [f"zero_{stride}", "points"], [f"kps_{stride}"]),
        ]
        if stride > 8:
            nodes += [helper.make_node("Identity", [f"zero_{stride}"], [f"{kind}_{stride}"]) for kind in ("cls", "obj")]
    outputs = [
        helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, [1, None, width])
        for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
        for stride in (8, 16, 32)
    ]
    graph = helper.make_graph(
        nodes,
        "yunet",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])],
        outputs,
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def test_yunet_gets_its_colours_and_size_and_its_boxes_become_tight(tmp_path: Path) -> None:
    picture = np.zeros((192, 320, 3), np.uint8)
    picture[64:72, 96:104, 0] = 255  # red where RGB
    picture[128:136, 200:208, 2] = 255  # blue: a face only if the colours were swapped
    detector = YuNet(write_model(tmp_path / "yunet.onnx"))
    found = detector(picture)
    np.testing.assert_allclose(found.boxes, detector.mapping(np.array([[84.0, 52, 116, 84]])), atol=1e-3)
    np.testing.assert_allclose(found.scores, [1], atol=1e-3)
    larger = np.asarray(cv2.resize(picture, (640, 384), interpolation=cv2.INTER_NEAREST))
    np.testing.assert_allclose(YuNet(detector.model, size=320)(larger).boxes, 2 * found.boxes, atol=1e-3)
    assert len(detector(np.zeros((100, 70, 3), np.uint8)).boxes) == 0


def test_yunet_without_its_model_says_where_to_get_it(tmp_path: Path) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match="no such file; fetch face_detection_yunet"):
        YuNet(tmp_path / "none.onnx")(picture)
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"bad.onnx: no model of YuNet's"):
        YuNet(tmp_path / "bad.onnx")(picture)
