from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from headpose.errors import InputError
from headpose.pictures import as_picture, read_image

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0]
EXIF_ROTATED = PIL.Image.Exif()
EXIF_ROTATED[0x0112] = 6  # the camera was held upright: turn clockwise


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (PIL.Image.fromarray(RGB), RGB),
        (PIL.Image.fromarray(GREY), np.repeat(GREY[..., None], 3, axis=2)),
        (PIL.Image.fromarray(np.dstack([RGB, GREY])), RGB),
        (PIL.Image.fromarray(GREY.astype(np.uint16) * 256), np.repeat(GREY[..., None], 3, axis=2)),
    ],
    ids=["RGB", "grey", "RGBA", "16 bits"],
)
def test_file_and_object_give_the_same_picture(tmp_path: Path, stored: PIL.Image.Image, expected: np.ndarray) -> None:
    stored.save(tmp_path / "x.png")
    for source in (tmp_path / "x.png", str(tmp_path / "x.png"), stored, np.asarray(stored)):
        picture = as_picture(source)
        assert picture.dtype == np.uint8
        np.testing.assert_array_equal(picture, expected)


def test_rotation_by_exif(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB).save(tmp_path / "x.png", exif=EXIF_ROTATED)
    np.testing.assert_array_equal(read_image(tmp_path / "x.png"), np.rot90(RGB, -1))
    np.testing.assert_array_equal(as_picture(PIL.Image.open(tmp_path / "x.png")), np.rot90(RGB, -1))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", r"not a readable picture \(an empty file\)"), (b"no picture", "not a readable picture"), (None, "cannot be read")],
    ids=["zero bytes", "text", "missing"],
)
def test_unreadable_files(tmp_path: Path, content: bytes | None, message: str, capfd: pytest.CaptureFixture[str]) -> None:
    if content is not None:
        (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(InputError, match=f"x.jpg: {message}"):
        as_picture(tmp_path / "x.jpg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_cut_short(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"x.{suffix}"
    PIL.Image.fromarray(RNG.integers(0, 256, (80, 80, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=f"x.{suffix}: "):
        as_picture(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RGB / 255, "a picture of float64; give uint8"),
        (RGB[None], r"of shape \(1, 6, 9, 3\)"),
        (RGB[:0], "of shape"),
        (None, "not NoneType"),
        (PIL.Image.fromarray(GREY.astype(np.int32) * 257), "a picture of int32; give uint8"),
        (PIL.Image.fromarray(GREY.astype(np.float32) / 255), "a picture of float32; give uint8"),
    ],
    ids=["float", "batch", "no pixels", "nothing", "PIL of 32 bits", "PIL of floats"],
)
def test_refusals(source: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_picture(source)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_pil_image_of_a_file_cut_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    PIL.Image.fromarray(RNG.integers(0, 256, (80, 80, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with PIL.Image.open(path) as opened, pytest.raises(InputError, match=f"x.{suffix}: not a readable picture"):
        as_picture(opened)


def test_closed_pil_image(tmp_path: Path) -> None:
    PIL.Image.fromarray(RGB).save(tmp_path / "x.png")
    with PIL.Image.open(tmp_path / "x.png") as opened:
        pass
    with pytest.raises(InputError, match="not a readable picture"):
        as_picture(opened)
