import io
import os
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headposekit.pictures
from headposekit.errors import InputError
from headposekit.pictures import FORMATS, as_picture, decode_image, is_whole_jpeg, picture_size, read_image, read_whole

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0]
SMOOTH = cv2.resize(RGB, (48, 36), interpolation=cv2.INTER_CUBIC)
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
    [(b"", r"not a readable picture \(an empty file\)"), (b"no picture", "not a readable picture"), (None, "no such file")],
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


def encoded(picture: np.ndarray | PIL.Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, PIL.Image.Image) else PIL.Image.fromarray(picture)).save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("form", "mode"),
    [
        *((form, "RGB") for form in FORMATS if form != "SUN"),
        *(("JPEG", mode) for mode in ("L", "CMYK")),
        *(("PNG", mode) for mode in ("1", "L", "P", "LA", "RGBA")),
        *(("TIFF", mode) for mode in ("1", "L", "P", "LA", "RGBA", "CMYK", "YCbCr")),
        *(("GIF", mode) for mode in ("1", "P")),
        *(("BMP", mode) for mode in ("1", "P")),
        *(("PPM", mode) for mode in ("1", "L")),
    ],
)
def test_colours_of_every_format_are_those_that_pillow_shows(form: str, mode: str) -> None:
    raw = encoded(PIL.Image.fromarray(SMOOTH).convert(mode), form)
    expected = np.asarray(PIL.Image.open(io.BytesIO(raw)).convert("RGB"))
    assert np.abs(decode_image(raw, "x").astype(int) - expected).mean() < 1.5


def test_sun_raster() -> None:
    raw = cv2.imencode(".ras", SMOOTH[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(raw, "x"), SMOOTH)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_become_eight(form: str) -> None:
    raw = encoded(PIL.Image.fromarray(SMOOTH[..., 0].astype(np.uint16) * 257), form)
    np.testing.assert_array_equal(decode_image(raw, "x"), np.repeat(SMOOTH[..., :1], 3, axis=2))


@pytest.mark.parametrize(
    ("mode", "form", "message"),
    [
        ("LAB", "TIFF", "a picture of Lab colours; store it"),
        ("F", "TIFF", "a picture of floating-point numbers"),
        ("F", "PPM", "a picture of floating-point numbers"),
        ("I", "TIFF", "not a readable picture"),
        ("RGB", "TGA", "not a readable picture"),
        ("RGB", "EPS", "not a readable picture"),
    ],
)
def test_colours_that_would_be_wrong_are_refused(mode: str, form: str, message: str) -> None:
    picture = PIL.Image.frombytes("LAB", (9, 6), RGB.tobytes()) if mode == "LAB" else PIL.Image.fromarray(RGB).convert(mode)
    with pytest.raises(InputError, match=f"^x: .*{message}"):
        decode_image(encoded(picture, form), "x")


@pytest.mark.parametrize(("form", "options"), [("TIFF", {}), ("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})])
def test_first_of_several_pictures(form: str, options: dict[str, object]) -> None:
    first, second = PIL.Image.fromarray(SMOOTH).quantize(8), PIL.Image.fromarray(SMOOTH[::-1].copy())
    raw = encoded(first, form, save_all=True, append_images=[second], **options)
    np.testing.assert_array_equal(decode_image(raw, "x"), np.asarray(first.convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_size_is_that_of_the_upright_picture(tmp_path: Path, form: str, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"tiffinfo": {0x0112: orientation}} if form == "TIFF" else {"exif": exif}
    (tmp_path / "x").write_bytes(encoded(SMOOTH, form, **options))
    upright = PIL.ImageOps.exif_transpose(PIL.Image.open(tmp_path / "x")).convert("RGB")
    assert picture_size(tmp_path / "x") == upright.size
    np.testing.assert_array_equal(read_image(tmp_path / "x"), np.asarray(upright))


def thumbnail_inside(raw: bytes) -> bytes:
    """The JPEG with a segment that holds a whole other one, as EXIF does."""
    small = encoded(RGB, "JPEG")
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(small) + 8) + b"Exif\0\0" + small + raw[2:]


JPEGS = {
    "baseline": cv2.imencode(".jpg", SMOOTH)[1].tobytes(),
    "progressive": cv2.imencode(".jpg", SMOOTH, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    "restarts": cv2.imencode(".jpg", SMOOTH, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes(),
    "thumbnail": thumbnail_inside(cv2.imencode(".jpg", SMOOTH)[1].tobytes()),
}


@pytest.mark.parametrize("raw", JPEGS.values(), ids=list(JPEGS))
def test_a_jpeg_cut_at_any_place_is_not_whole(raw: bytes) -> None:
    assert is_whole_jpeg(raw)
    assert not any(is_whole_jpeg(raw[:place]) for place in range(2, len(raw)))


VIDEO = struct.pack(">I", 24) + b"ftypmp42" + bytes(12) + b"mdat" + b"\xff\xd9 \xff\xda\xff\xda" + bytes(500)


@pytest.mark.parametrize("raw", JPEGS.values(), ids=list(JPEGS))
@pytest.mark.parametrize(
    "trailer",
    [b"trailer\xff\xda" + bytes(1000), VIDEO, JPEGS["progressive"], JPEGS["progressive"][:-9], b"\xff", b"\xff\xd8\xff\xda\0"],
    ids=["marker", "video", "second picture", "half a picture", "byte", "start"],
)
def test_what_stands_behind_a_jpeg_does_not_matter(tmp_path: Path, raw: bytes, trailer: bytes) -> None:
    (tmp_path / "motion.jpg").write_bytes(raw + trailer)
    np.testing.assert_array_equal(read_image(tmp_path / "motion.jpg"), read_image_of(raw, tmp_path))
    assert read_whole(tmp_path / "motion.jpg") == raw + trailer


def read_image_of(raw: bytes, folder: Path) -> np.ndarray:
    (folder / "plain.jpg").write_bytes(raw)
    return read_image(folder / "plain.jpg")


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xd8" + b"\xff" * 10**7, b"\xff\xd8" + b"\xff\x01" * 10**7, b"\xff\xd8" + b"\xff\0" * 10**7 + b"\xff\xd9",
     b"\xff\xd8" + b"\xff\xe0\0\2" * 10**7],
    ids=["fill bytes", "lone markers", "stuffing", "empty segments"],
)  # fmt: skip
def test_a_jpeg_made_to_keep_readers_busy(raw: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match="x: cut short"):
        decode_image(raw, "x")
    assert time.perf_counter() - start < 2


def png(width: int, height: int, kind: bytes = b"IHDR") -> bytes:
    """A file that claims to be a picture of that size, and holds none of it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(kind, size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "raw",
    [
        b"P6\n#" + b"#" * 10**7 + b"\n5 5\n255\n" + bytes(75),
        b"GIF89a\5\0\5\0\0\0\0!\xfe" + b"\1x" * 10**7 + b"\0;",
        png(5, 5)[:33] + b"\0\0\0\0prVt\0\0\0\0" * 10**6 + png(5, 5)[33:],
    ],
    ids=["PPM", "GIF", "PNG"],
)
def test_a_comment_made_to_keep_readers_busy(raw: bytes) -> None:
    start = time.perf_counter()
    with pytest.raises(InputError, match="x: not a readable picture"):
        decode_image(raw, "x")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("read", [read_image, picture_size], ids=["whole", "header"])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (png(40_000, 40_000), "40000×40000 pixels are more than max_megapixels=120; make it smaller"),
        (png(12_000, 10_001), "12000×10001 pixels are more than max_megapixels=120"),
        (png(5, 5, b"IHDX"), "not a readable picture"),
        (png(5, 5)[:20], "not a readable picture"),
        (b"P", "not a readable picture"),
        (b"P6 9 x", "not a readable picture"),
        (b"II*\0\xff\xff\xff\xff", "not a readable picture"),
        (b"GIF89a", "not a readable picture"),
        (b"RIFF\0\0\0\0WEBPVP8X", "not a readable picture"),
    ],
    ids=["bomb", "large", "damaged", "header cut", "letter", "ppm", "tiff", "gif", "webp"],
)
def test_a_header_that_is_refused(tmp_path: Path, read, raw: bytes, message: str) -> None:
    (tmp_path / "x.png").write_bytes(raw)
    with pytest.raises(InputError, match=f"x.png: {message}"):
        read(tmp_path / "x.png")


def test_the_limit_can_be_changed(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(encoded(np.zeros((1000, 1001), np.uint8), "PNG"))
    assert read_image(tmp_path / "x.png", max_megapixels=1.1).shape == (1000, 1001, 3)
    with pytest.raises(InputError, match=r"1001×1000 pixels are more than max_megapixels=1; make it smaller"):
        read_image(tmp_path / "x.png", max_megapixels=1)
    (tmp_path / "x.ppm").write_bytes(b"P6 20000 10000 255\n")  # more than Pillow opens by itself
    assert picture_size(tmp_path / "x.ppm", max_megapixels=300) == (20_000, 10_000)


@pytest.mark.parametrize("read", [read_image, read_whole, picture_size])
def test_what_is_no_file_is_not_opened(tmp_path: Path, read) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, kind in {tmp_path / "pipe.jpg": "a pipe", tmp_path: "a folder", Path("/dev/zero"): "a pipe or device"}.items():
        with pytest.raises(InputError, match=f"{path.name}: {kind}"):
            read(path)
    with pytest.raises(InputError, match="a web address; download the file and give its path"):
        read(Path("https://example.org/a.jpg"))


def test_too_large_a_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headposekit.pictures, "MAX_BYTES", 10**6)
    with (tmp_path / "x.bmp").open("wb") as file:
        file.truncate(10**12)
    with pytest.raises(InputError, match=r"x\.bmp: 1,000,[0-9,]+ bytes, more than the 1,000,000 that"):
        read_image(tmp_path / "x.bmp")


@given(form=st.sampled_from([form for form in FORMATS if form != "SUN"]), data=st.data())
def test_a_damaged_file_is_a_picture_or_refused(form: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(SMOOTH[:20, :30], form))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    try:
        picture = decode_image(bytes(raw[: data.draw(st.integers(0, len(raw)))]), "x", 1)
    except InputError:
        return
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3
