"""`headposekit.load`: what evaluate.py measures comes out of three lines of Python."""

from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from configs import CROP, FSANET, HOPENET, write_checkpoint
from fixed_boxes import FixedBoxes
from headposekit import load
from headposekit.datasets import AFLW2000
from headposekit.detectors.whole import WholePicture
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop
from headposekit.geometry.rotations import geodesic_distance, matrix_to_pose
from headposekit.inference.estimator import HeadPose
from headposekit.weights.checkpoint import load_checkpoint

FUSED = ["fsanet_capsule_3_16_2_21_5", "fsanet_noS_metric_3_16_2_192_5", "fsanet_netvlad_3_16_2_21_5"]
PICTURE = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
BOXES = np.array([[40.0, 30, 90, 80], [10, 20, 60, 90]])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("net") / "net.ckpt")


def test_published_fusion_on_real_faces(shared: Path, expected: dict[str, np.ndarray]) -> None:
    """The same numbers as the authors' code and evaluate.py, 3.58 degrees in the README."""
    model = load([shared / "fsanet_official" / f"{name}.h5" for name in FUSED])
    faces = AFLW2000(shared / "aflw2000_sample", box="visible21")
    poses = model([faces.image(index) for index in range(8)], boxes=[box[None] for box in faces.box])
    found = np.array([pose.pose for (pose,) in poses])
    np.testing.assert_allclose(found, np.mean([expected[f"{name}/aflw2000"] for name in FUSED], axis=0), atol=1e-3)
    assert np.abs(found - faces.pose).mean() == pytest.approx(3.58, abs=0.005)


def test_one_picture_in_every_form(checkpoint: Path, tmp_path: Path) -> None:
    model = load(checkpoint)
    cv2.imwrite(str(tmp_path / "x.png"), PICTURE[..., ::-1])
    crop = torch.from_numpy(FSANetCrop(64, 0.5)(PICTURE, BOXES[0])).permute(2, 0, 1)[None]
    with torch.no_grad():
        truth = load_checkpoint(checkpoint).model({"image": crop}).pose[0]
    for source in (PICTURE, tmp_path / "x.png", str(tmp_path / "x.png"), PIL.Image.fromarray(PICTURE)):
        (pose,) = model(source, boxes=BOXES[0])
        assert pose.pose == pytest.approx(truth.tolist(), abs=1e-3)
    assert min(abs(angle) for angle in pose.pose) > 0.1
    assert pose.box == tuple(BOXES[0])
    assert pose.score is None
    assert pose.spread is None
    assert matrix_to_pose(torch.from_numpy(pose.matrix)).tolist() == pytest.approx(pose.pose)


def test_batches_are_only_for_speed(checkpoint: Path) -> None:
    images = [PICTURE, PICTURE[::-1], PICTURE[:, ::-1]]
    model = load(checkpoint, detector=FixedBoxes(BOXES), batch_size=2)
    together = model(images)
    assert [len(faces) for faces in together] == [2, 2, 2]
    assert [face.score for face in together[0]] == [1.0, 0.0]  # the surest first
    for image, faces in zip(images, together, strict=True):
        for face, same in zip(faces, model(image), strict=True):
            assert face.pose == pytest.approx(same.pose, abs=1e-3)


def test_no_face_and_no_picture(checkpoint: Path) -> None:
    model = load(checkpoint, detector=FixedBoxes([]))
    assert model(PICTURE) == []
    assert model([PICTURE, PICTURE]) == [[], []]
    assert model([]) == []


def test_without_detector_the_picture_is_the_crop(checkpoint: Path) -> None:
    square = cv2.resize(PICTURE, (65, 65))  # FSA-Net's rule leaves out the last row and column
    model = load(checkpoint, detector="none")
    crop = torch.from_numpy(square[:64, :64].copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        truth = load_checkpoint(checkpoint).model({"image": crop}).pose[0]
    assert model(square)[0].pose == pytest.approx(truth.tolist(), abs=1e-3)
    assert model(square, detector=WholePicture())[0].pose == model(square)[0].pose


def test_fusion_is_the_mean_and_hopenet_has_a_spread(checkpoint: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "hopenet.ckpt", HOPENET)
    alone = [load(path)(PICTURE, boxes=BOXES) for path in (checkpoint, other)]
    fused = load([checkpoint, other])(PICTURE, boxes=BOXES)
    for first, second, mean in zip(*alone, fused, strict=True):
        assert mean.pose == pytest.approx(np.mean([first.pose, second.pose], axis=0).tolist(), abs=1e-4)
        assert first.spread is None
        assert second.spread is not None
        assert min(second.spread) > 0
        assert "±" in str(second)


def test_a_pose_as_text() -> None:
    assert str(HeadPose((1.0, 2.0, 30.4, 40.0), 0.9, 1.26, -2.0, 0.0)) == "yaw +1.3  pitch -2.0  roll +0.0  box (1, 2, 30, 40)"


def test_box_beyond_the_edge_is_cut_by_the_rule(checkpoint: Path) -> None:
    (pose,) = load(checkpoint)(PICTURE, boxes=[[-30, -20, 50, 60]])
    inside = cv2.resize(
        PICTURE[: 60 + 40, : 50 + 40], (64, 64)
    )  # the box and half its side on each, as far as there is picture
    with torch.no_grad():
        truth = load_checkpoint(checkpoint).model({"image": torch.from_numpy(inside).permute(2, 0, 1)[None]}).pose[0]
    assert pose.pose == pytest.approx(truth.tolist(), abs=1e-3)


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((50, 50, 40, 60), "has no area"),
        ((200, 10, 260, 60), "lies outside its picture of 160×120"),
        ((-60, 10, 0, 60), "lies outside its picture of 160×120"),
        ((np.nan, 0, 9, 9), "has no area"),
        ((0, 0, np.inf, 9), "is more than twice as large as its picture of 160×120"),
        ((0, 0, 9, 321), "is more than twice as large as its picture of 160×120"),
    ],
    ids=["turned", "right", "left", "NaN", "endless", "huge"],
)
def test_boxes_that_show_nothing(checkpoint: Path, box: tuple[float, ...], fault: str) -> None:
    with pytest.raises(InputError, match=rf"box 1 \(.*\) {fault}"):
        load(checkpoint)(PICTURE, boxes=[BOXES[0], box])


@pytest.mark.parametrize("boxes", [[[1, 2, 3]], [[1, 2, 3, 4], [1]], "boxes", [["a"] * 4], {"a": 1}], ids=str)
def test_boxes_that_are_none(checkpoint: Path, boxes: object) -> None:
    with pytest.raises(InputError, match=r"boxes .*; give \(N, 4\): x0, y0, x1, y1 in pixels"):
        load(checkpoint)(PICTURE, boxes=boxes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no network given"),
        (["net.ckpt", "net.ckpt"], "net.ckpt is named twice"),
        (["gone.ckpt"], "gone.ckpt: no such checkpoint"),
        (["gone.h5"], "gone.h5: no such weights file"),
        (["net.pt2"], "net.pt2: opening a .pt2 file could run code"),
        (["net.safetensors"], "net.safetensors: no such file"),
        (["lone.safetensors"], "lone.json: no such file"),
        (["bad.safetensors"], "bad.safetensors: not readable as tensors"),
        (["net.ckpt", "margin.ckpt"], "margin.ckpt: trained with another crop than .*margin: 0.5, 0.3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(Path("net.ckpt"))
    write_checkpoint(Path("margin.ckpt"), FSANET, CROP | {"margin": 0.3})
    Path("lone.safetensors").write_bytes(b"x")
    Path("bad.safetensors").write_bytes(b"x")
    Path("bad.json").write_text("{}")
    with pytest.raises(InputError, match=message):
        load(files)


def test_field_of_view_turns_poses_into_the_frame_of_the_camera(checkpoint: Path) -> None:
    seen, turned = (load(checkpoint, field_of_view=angle)(PICTURE, boxes=BOXES) for angle in (None, 70))
    focal = 80 / np.tan(np.radians(35))
    for before, after in zip(seen, turned, strict=True):
        x, y = (before.box[0] + before.box[2]) / 2 - 80, 60 - (before.box[1] + before.box[3]) / 2
        angle = np.degrees(np.arctan2(np.hypot(x, y), focal))  # between the ray to the head and the optical axis
        moved = geodesic_distance(torch.tensor(before.pose), torch.tensor(after.pose))
        assert float(moved) == pytest.approx(angle, abs=1e-3)
    with pytest.raises(InputError, match="a field of view of 200 degrees does not exist"):
        load(checkpoint, field_of_view=200)


def test_refused_options(checkpoint: Path) -> None:
    with pytest.raises(InputError, match="detector=eyes is unknown; choose"):
        load(checkpoint, detector="eyes")
    with pytest.raises(InputError, match="batch_size=0 is less than 1"):
        load(checkpoint, batch_size=0)
    with pytest.raises(InputError, match="device=abacus cannot be used"):
        load(checkpoint, device="abacus")
    with pytest.raises(InputError, match="2 pictures, but boxes of 1"):
        load(checkpoint)([PICTURE, PICTURE], boxes=[BOXES])


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        (5, {}, "5 is no path of a network's file; give a str or Path"),
        (None, {}, "None is no path"),
        ([None], {}, "None is no path"),
        (b"net.ckpt", {}, "b'net.ckpt' is no path"),
        ("", {"detector": 5}, "detector=5 is no detector; choose default"),
        ("", {"device": [5]}, "device=[5] cannot be used"),
        ("", {"batch_size": "many"}, "batch_size=many is less than 1"),
        ("", {"batch_size": 2.5}, "batch_size=2.5 is less than 1"),
        ("", {"field_of_view": "wide"}, "field_of_view='wide' is not a number of degrees"),
    ],
    ids=str,
)
def test_argument_of_another_kind_is_refused_in_one_line(
    checkpoint: Path, paths: object, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError) as refused:
        load(checkpoint if paths == "" else paths, **options)  # type: ignore[arg-type]
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("images", "options"),
    [
        (5, {}), (None, {}), ([None], {}), ({}, {}), (PICTURE, {"detector": 5}), ([PICTURE], {"boxes": 5}),
        (PICTURE, {"boxes": "here"}), (PICTURE, {"boxes": [None]}), (b"x", {}), ("", {}), ([PICTURE], {"boxes": {}}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, dict) else str(value),
)  # fmt: skip
def test_model_called_with_another_kind_is_refused_in_one_line(
    checkpoint: Path, images: object, options: dict[str, object]
) -> None:
    with pytest.raises(InputError) as refused:
        load(checkpoint)(images, **options)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)
