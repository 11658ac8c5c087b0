"""BIWI's own file formats: depth pictures, calibrations, poses."""

import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headposekit.datasets.biwi import read_calibration, read_depth, read_dockerface, read_pose
from headposekit.errors import InputError
from headposekit.synthesis.writers_biwi import write_depth

PIXELS = 640 * 480
SEQUENCE_12 = """517.679 0 320 \n0 517.679 240.5 \n0 0 1 \n\n0 0 0 0 \n
0.999947 0.00432361 0.00929419 \n-0.00446314 0.999877 0.0150443 \n-0.009228 -0.015085 0.999844 \n
-24.0198 5.8896 -13.2308 \n\n640 480 \n"""
runs = st.lists(
    st.tuples(st.integers(0, PIXELS - 1), st.lists(st.integers(-(2**15), 2**15 - 1), max_size=40)), max_size=30
)  # zeros among them


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("depth") / "frame_00003_depth.bin"


@given(runs)
@settings(max_examples=40)
def test_written_depth_is_read_back(path: Path, parts: list[tuple[int, list[int]]]) -> None:
    pixels = np.zeros(PIXELS, np.int16)
    for start, values in parts:
        pixels[start : start + len(values)] = values[: PIXELS - start]
    depth = pixels.reshape(480, 640)
    write_depth(path, depth)
    again = read_depth(path)
    assert again.dtype == np.int16
    np.testing.assert_array_equal(again, depth)


def test_depth_by_hand(path: Path) -> None:
    """Row 0: two pixels nothing, then 900 and 901 mm; then nothing up to the last pixel, 1000 mm."""
    raw = struct.pack("<6i", 640, 480, 2, 2, 900 + (901 << 16), PIXELS - 5) + struct.pack("<ih", 1, 1000)
    path.write_bytes(raw)
    depth = read_depth(path)
    assert depth.shape == (480, 640)
    assert depth[0, :5].tolist() == [0, 0, 900, 901, 0]
    assert depth[479, 639] == 1000
    assert np.count_nonzero(depth) == 3
    write_depth(path, depth)
    assert path.read_bytes() == raw


@pytest.mark.parametrize("value", [0, 7])
def test_depth_of_one_run(path: Path, value: int) -> None:
    write_depth(path, np.full((480, 640), value, np.int16))
    num_full = PIXELS if value else 0
    assert path.read_bytes()[:16] == struct.pack("<4i", 640, 480, PIXELS - num_full, num_full)
    assert (read_depth(path) == value).all()


WHOLE = struct.pack("<4i", 640, 480, PIXELS - 2, 2) + struct.pack("<2h", 5, 6)


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "cut short"),
        (WHOLE[:7], "cut short"),
        (WHOLE[:8], "cut short"),
        (WHOLE[:15], "cut short"),
        (WHOLE[:-1], "cut short"),
        (WHOLE + b"\0", "1 bytes left over"),
        (struct.pack("<2i", 480, 640) + WHOLE[8:], "its size is 480×640 instead of 640×480"),
        (struct.pack("<2i", 10**9, 10**9), "its size is"),
        (struct.pack("<4i", 640, 480, -1, 2), "negative length"),
        (struct.pack("<4i", 640, 480, 2, -1), "negative length"),
        (struct.pack("<4i", 640, 480, PIXELS - 1, 2) + WHOLE[16:], "beyond the picture"),
        (struct.pack("<4i", 640, 480, PIXELS + 1, 0), "beyond the picture"),
        (struct.pack("<4i", 640, 480, 2**31 - 1, 2**31 - 1), "beyond the picture"),
    ],
)
def test_broken_depth_is_named(path: Path, raw: bytes, told: str) -> None:
    path.write_bytes(raw)
    with pytest.raises(InputError, match=told) as refusal:
        read_depth(path)
    assert str(refusal.value).startswith(str(path))
    assert "restore the original file" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_missing_depth_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"frame_00003_depth\.bin: no such file"):
        read_depth(tmp_path / "frame_00003_depth.bin")


@pytest.mark.parametrize("depth", [np.zeros((480, 640)), np.zeros(PIXELS, np.int16)], ids=["float", "flat"])
def test_what_is_no_depth_picture_is_not_written(tmp_path: Path, depth: np.ndarray) -> None:
    with pytest.raises(InputError, match="int16 millimetres, not"):
        write_depth(tmp_path / "frame_00003_depth.bin", depth)
    assert not list(tmp_path.iterdir())


def test_calibration_of_sequence_12(tmp_path: Path) -> None:
    path = tmp_path / "rgb.cal"
    path.write_text(SEQUENCE_12)
    camera = read_calibration(path)
    np.testing.assert_array_equal(camera.intrinsics, [[517.679, 0, 320], [0, 517.679, 240.5], [0, 0, 1]])
    np.testing.assert_array_equal(camera.distortion, np.zeros(4))
    np.testing.assert_array_equal(camera.rotation[0], [0.999947, 0.00432361, 0.00929419])
    np.testing.assert_array_equal(camera.rotation[2], [-0.009228, -0.015085, 0.999844])
    np.testing.assert_array_equal(camera.translation, [-24.0198, 5.8896, -13.2308])
    assert camera.size == (640, 480)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("640 480", "640", "26 numbers where 27"),
        ("640 480", "480 640", "not the intrinsics of a camera of 640×480 pixels"),
        ("517.679 0 320", "-517.679 0 320", "not the intrinsics"),
        ("0.999947", "0.9", "no rotation"),
        ("5.8896", "inf", "not finite"),
        ("5.8896", "far", "something else than numbers"),
    ],
)
def test_broken_calibration_is_named(tmp_path: Path, before: str, after: str, told: str) -> None:
    path = tmp_path / "depth.cal"
    path.write_text(SEQUENCE_12.replace(before, after))
    with pytest.raises(InputError, match=told) as refusal:
        read_calibration(path)
    assert str(refusal.value).startswith(f"{path}: ")


def test_pose_has_a_rotation_and_a_head_centre(tmp_path: Path) -> None:
    path = tmp_path / "frame_00003_pose.txt"
    path.write_text("0 -1 0 \n1 0 0 \n0 0 1 \n\n72.1 -30.5 912.25 \n")
    rotation, center = read_pose(path)
    np.testing.assert_array_equal(rotation, [[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_array_equal(center, [72.1, -30.5, 912.25])


@pytest.mark.parametrize("read", [read_depth, read_pose, read_calibration, read_dockerface])
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="a pipe or device, expected a file"):
        read(tmp_path / "pipe")
