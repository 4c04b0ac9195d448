"""Pictures of every kind come out right, or are refused with a reason."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, pixels, png
from PIL import Image

from transferability.data import decode as module
from transferability.data.decode import Unreadable

RGB = pixels(1, 12, 20)


def decode(data: bytes) -> np.ndarray:
    image = module.decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "GIF"])
def test_lossless_formats_keep_their_pixels(format: str) -> None:
    colours = Image.fromarray(RGB).quantize(16).convert("RGB")  # so few that GIF can hold them
    options = {"lossless": True} if format == "WEBP" else {}
    assert np.array_equal(decode(encoded(colours, format, **options)), np.asarray(colours))


@pytest.mark.parametrize("format", ["JPEG", "JPEG2000"])
def test_lossy_formats_come_close(format: str) -> None:
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    difference = decode(encoded(RGB, format, **options)).astype(int) - RGB
    assert np.abs(difference).mean() < 3


def test_grey_and_bilevel() -> None:
    grey = RGB[:, :, 0]
    for format in ("PNG", "JPEG"):
        decoded = decode(encoded(grey, format))
        assert decoded.shape == (12, 20, 3) and np.ptp(decoded, axis=2).max() == 0
        assert np.abs(decoded[:, :, 0].astype(int) - grey).max() < 8
    bilevel = Image.fromarray(grey > 128)
    assert bilevel.mode == "1"
    assert np.array_equal(decode(encoded(bilevel))[:, :, 1], np.where(grey > 128, 255, 0))


def test_palette() -> None:
    palette = Image.fromarray(RGB).quantize(200)
    assert palette.mode == "P"
    assert np.array_equal(decode(encoded(palette)), np.asarray(palette.convert("RGB")))


def test_cmyk_jpeg_has_its_colours_not_their_negative() -> None:
    red = Image.new("RGB", (16, 16), (220, 30, 40))
    decoded = decode(encoded(red.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(decoded.astype(int) - (220, 30, 40)).max() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_transparent_pixels_lie_on_white(mode: str) -> None:
    if mode == "RGBA":
        image = Image.new("RGBA", (2, 1), (100, 0, 0, 255))
        image.putpixel((1, 0), (0, 0, 0, 0))
        data = encoded(image)
    elif mode == "LA":
        image = Image.new("LA", (2, 1), (100, 255))
        image.putpixel((1, 0), (0, 0))
        data = encoded(image)
    elif mode == "P":
        image = Image.new("P", (2, 1))
        image.putpalette([100, 0, 0, 7, 7, 7])
        image.putpixel((1, 0), 1)
        data = encoded(image, transparency=1)
    else:
        image = Image.new("RGB", (2, 1), (100, 0, 0))
        image.putpixel((1, 0), (7, 7, 7))
        data = encoded(image, transparency=(7, 7, 7))
    first, second = decode(data)[0].tolist()
    assert first == ([100, 100, 100] if mode == "LA" else [100, 0, 0]) and second == [255, 255, 255]


def test_half_transparent_black_is_grey() -> None:
    assert decode(encoded(Image.new("RGBA", (1, 1), (0, 0, 0, 128)))).tolist() == [[[127, 127, 127]]]


@pytest.mark.parametrize("colour,channels", [(0, 1), (2, 3), (6, 4)])
def test_16_bits_keep_their_upper_8(colour: int, channels: int) -> None:
    values = np.linspace(0, 65535, 5 * 4 * channels).astype(">u2").reshape(5, 4, channels)
    if channels == 4:
        values[:, :, 3] = 65535
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    expected = np.broadcast_to((values >> 8)[:, :, :3], (5, 4, 3))
    assert np.array_equal(decode(png(4, 5, 16, colour, rows)), expected)


def test_16_bit_tiff_and_pgm() -> None:
    values = np.linspace(0, 65535, 20).astype(np.uint16).reshape(5, 4)
    for format in ("TIFF", "PPM"):
        decoded = decode(encoded(Image.fromarray(values), format))
        assert np.array_equal(decoded[:, :, 2], values >> 8), format


def test_32_bits_and_floats_are_refused() -> None:
    for values in (np.full((2, 2), 70000, np.int32), np.ones((2, 2), np.float32)):
        with pytest.raises(Unreadable, match="scale is unknown"):
            decode(encoded(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation(format: str, orientation: int) -> None:
    # What a camera stores so that, turned by the tag, the picture is upright: the inverse of each turn.
    stored = {
        1: RGB, 2: RGB[:, ::-1], 3: RGB[::-1, ::-1], 4: RGB[::-1], 5: RGB.transpose(1, 0, 2),
        6: np.rot90(RGB), 7: RGB[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(RGB, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    decoded = decode(encoded(np.ascontiguousarray(stored), format, exif=exif, **options))
    assert decoded.shape == RGB.shape
    assert np.abs(decoded.astype(int) - RGB).mean() < 4


def test_damaged_exif_does_not_spoil_a_picture() -> None:
    data = encoded(RGB, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff broken")
    assert decode(data).shape == (12, 20, 3)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(BytesIO(data)).n_frames == 3
    assert (decode(data) == (250, 0, 0)).all()


def test_extreme_shapes() -> None:
    assert decode(encoded(np.zeros((1, 1, 3), np.uint8))).shape == (1, 1, 3)
    assert decode(encoded(np.zeros((10, 60_000, 3), np.uint8))).shape == (10, 60_000, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000"])
def test_truncated_files_are_refused(format: str) -> None:
    data = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), format)
    for part in (0.02, 0.5, 0.9):
        with pytest.raises(Unreadable, match="damaged"):
            decode(data[: int(len(data) * part)])


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(Unreadable, match="is empty"):
        decode(b"")
    for data in (b"<html><body>404 Not Found</body></html>", b"\xff\xd8\xff\xe0 no more", bytes(1000)):
        with pytest.raises(Unreadable, match="damaged"):
            decode(data)


def test_no_program_is_run_for_postscript() -> None:
    with pytest.raises(Unreadable, match="no known picture format"):
        decode(encoded(RGB, "EPS"))


def test_decompression_bombs_are_refused_unread(tmp_path: Path) -> None:
    for side in (11_000, 60_000):
        with pytest.raises(Unreadable, match="pixels"):
            decode(png(side, side, 8, 2, b""))


@pytest.mark.parametrize("error", [AttributeError("no such attribute"), TypeError("no such argument"), NameError("x")])
@pytest.mark.parametrize("place", ["_upright", "_rgb", "Image"])
def test_a_mistake_in_the_program_is_no_damage(error: Exception, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a Pillow of another version: it would be said of every image."""

    def fail(*_: object, **__: object) -> None:
        raise error

    if place == "Image":
        monkeypatch.setattr(Image, "open", fail)
    else:
        monkeypatch.setattr(module, place, fail)
    with pytest.raises(type(error)):
        decode(encoded(RGB))


def test_an_attribute_that_pillow_lacks_is_no_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Image.Image, "has_transparency_data")
    with pytest.raises(AttributeError, match="has_transparency_data"):
        decode(encoded(RGB))


def test_a_damaged_tiff_over_which_pillow_itself_stumbles_is_damaged() -> None:
    """StripOffsets as a floating-point number: in Pillow's reader, a TypeError."""
    data = bytearray(encoded(RGB, "TIFF"))
    directory = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[directory : directory + 2], "little")
    for at in range(directory + 2, directory + 2 + 12 * count, 12):
        if int.from_bytes(data[at : at + 2], "little") == 273:
            data[at + 2 : at + 4] = (11).to_bytes(2, "little")
    with pytest.raises(TypeError):
        Image.open(BytesIO(bytes(data))).load()
    with pytest.raises(Unreadable, match="is damaged"):
        decode(bytes(data))
