from pathlib import Path

import numpy as np
import pytest

from headposekit.datasets.biwi import (
    BIWI,
    DOCKERFACE_MISSES,
    RULES,
    choose_face,
    fsanet_protocol1,
    fsanet_protocol2,
    read_detections,
    read_dockerface,
)
from headposekit.errors import InputError


def face(x0: float, confidence: float = 0.99, y0: float = 150) -> list[float]:
    return [confidence, x0, y0, x0 + 100, y0 + 120]


def frames(*faces: list[list[float]]) -> list[np.ndarray]:
    return [np.array(found, dtype=float).reshape(-1, 5) for found in faces]


def lefts(boxes: list) -> list[float | None]:
    return [None if box is None else float(box[0]) for box in boxes]


def test_the_face_nearest_to_two_thirds_counts() -> None:
    faces = np.array([face(100), face(420, y0=330), face(500)])
    np.testing.assert_array_equal(choose_face(faces, 0.9), faces[1, 1:])  # type: ignore[arg-type]
    assert choose_face(faces, 0.99) is None
    assert choose_face(np.zeros((0, 5)), 0.9) is None


def test_protocol_1_drops_missing_and_jumping_faces_until_the_head_returns() -> None:
    sequence = frames([face(200)], [], [face(279)], [face(420)], [face(425)], [face(300)], [face(310, confidence=0.5)])
    assert lefts(fsanet_protocol1(sequence)) == [200, None, 279, None, None, 300, 300]
    assert lefts(fsanet_protocol1(frames([], [face(10, 0.5)], [face(50)]))) == [None, None, 50]


def test_the_jump_is_measured_at_the_enlarged_left_side() -> None:
    still, moved = (
        fsanet_protocol1(frames([face(200)], [face(279)])),
        fsanet_protocol1(frames([face(200)], [face(280)])),
    )
    assert lefts(still) == [200, 279]
    assert lefts(moved) == [200, None]


def test_protocol_2_keeps_every_frame() -> None:
    sequence = frames([], [face(200)], [], [face(420)], [face(230, confidence=0.93)], [face(240)])
    assert lefts(fsanet_protocol2(sequence)) == [200, 200, 200, 200, 200, 240]
    assert fsanet_protocol2(frames([], [])) == [None, None]


def test_file_is_read_with_several_faces_a_frame(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        "name,confidence,x0,y0,x1,y1\n01/frame_00003,0.9,1,2,3,4\n01/frame_00003,0.8,5,6,7,8\n02/frame_00003,1,0,0,9,9\n"
    )
    found = read_detections(path)
    np.testing.assert_array_equal(found["01/frame_00003"], [[0.9, 1, 2, 3, 4], [0.8, 5, 6, 7, 8]])
    assert set(found) == {"01/frame_00003", "02/frame_00003"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name,confidence,x0,y0,x1\n", "no column y1"),
        ("name,confidence,x0,y0,x1,y1\na,1,2,3,four,5\n", "line 2"),
        ("name,confidence,x0,y0,x1,y1\na,1,2,3,4\n", "line 2"),
        ("name,confidence,x0,y0,x1,y1\na,1,9,3,4,5\n", "no area"),
        ("name,confidence,x0,y0,x1,y1\na,nan,1,3,4,5\n", "confidence is 'nan'"),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=told) as refusal:
        read_detections(path)
    assert str(path) in str(refusal.value)


def test_missing_file_and_unknown_rule_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run a face detector"):
        read_detections(tmp_path / "none.csv")
    with pytest.raises(InputError, match="choose fsanet_protocol1"):
        BIWI(tmp_path, box_rule="mine")  # type: ignore[arg-type]


SEQUENCES = "431 362 569 689 881 399 699 738 831 688 570 727 484 653 475 692 315 476 335 471 450 530 395 359"


def test_published_test_sets_by_their_lists(shared: Path) -> None:
    fsanet = read_detections(shared / "biwi_plus" / "Biwi_FSA-Net.npz")
    assert len(fsanet) == 13_219
    assert [sum(name.startswith(f"{k:02d}/") for name in fsanet) for k in range(1, 25)] == [int(n) for n in SEQUENCES.split()]
    assert len(read_detections(shared / "biwi_plus" / "Biwi_plus.npz")) == 15_678
    np.testing.assert_array_equal(fsanet["01/frame_00003"], [[1, 270, 177, 270 + 145, 177 + 179]])  # 146 × 180 listed


def test_listed_frames_alone_count() -> None:
    assert lefts(RULES["listed"](frames([], [face(10), face(20)], [face(30)]))) == [None, 10, 30]


def test_lists_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "list.npz"
    with pytest.raises(InputError, match="no such box file"):
        read_detections(path)
    np.savez(path, images=np.array(["01/frame_00003_rgb.png"]))
    with pytest.raises(InputError, match="not a list of BIWI frames"):
        read_detections(path)
    np.savez(path, images=np.array(["01/frame_00003_rgb.png"]), bbox=np.zeros((1, 4)))
    with pytest.raises(InputError, match="does not hold x, y, width, height"):
        read_detections(path)
    path.write_bytes(b"PK nothing")
    with pytest.raises(InputError, match=r"list\.npz: not a readable .npz file"):
        read_detections(path)


def test_hopenets_test_set_has_15666_frames(shared: Path) -> None:
    names = list(read_detections(shared / "biwi_plus" / "Biwi_plus_non_cal.npz"))
    kept = [name for name in names if name not in DOCKERFACE_MISSES]
    assert (len(names), len(kept)) == (15_678, 15_666)
    gone = {f"{name[:2]}: {int(name[-5:])}" for name in set(names) - set(kept)}
    assert gone == {"15: 346", "15: 348", "18: 473", *(f"18: {n}" for n in range(476, 482)), "21: 456", "21: 457", "21: 458"}


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("frame_00003_rgb.png 10 20.5 110 140 0.97\nsecond 1 2 3 4\n", [10, 20.5, 110, 140]),
        ("frame_00003_rgb.png -3 20 110 490", [-3, 20, 110, 490]),
        ("frame_00003_rgb.png 10 20\n", [0, 0, 640, 480]),
        ("", [0, 0, 640, 480]),
    ],
)
def test_box_of_dockerface(tmp_path: Path, text: str, box: list[float]) -> None:
    path = tmp_path / "dockerface-frame_00003_rgb.txt"
    path.write_text(text)
    np.testing.assert_array_equal(read_dockerface(path), np.float32(box))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a 1 2 3", "4 columns where a word, x0, y0, x1, y1"),
        ("a 1 2 3 4 0.9 more", "7 columns"),
        ("a 1 2 three 4", "not all numbers"),
        ("a 1 2 nan 4", "no area"),
        ("a 1 2 3 inf", "no area"),
        ("a 5 2 5 4", "no area"),
        ("a 1 9 3 4 0.9", "no area"),
    ],
)
def test_broken_boxes_of_dockerface_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "dockerface-frame_00003_rgb.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=told) as refusal:
        read_dockerface(path)
    assert str(refusal.value).startswith(f"{path}: ")
