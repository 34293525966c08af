import io
import os
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps

from argenseg_model.errors import ImageError
from argenseg_model.images import FORMATS, SUFFIXES, image_size, load_image

RAMP = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3) * 2  # no two pixels alike, 5 wide and 7 high


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(orientation: int, kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}
    return encoded(Image.fromarray(RAMP), kind, exif=exif, **lossless.get(kind, {}))


MODES = ["1", "L", "P", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"]
MODES += ["LA", "La", "PA", "I", "F", "I;16", "I;16L", "I;16B"]

# Where the upright picture's first row and column lie in the stored one (EXIF 2.32, tag Orientation).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied_once(orientation: int, kind: str) -> None:
    upright = load_image(with_orientation(orientation, kind))
    difference = np.asarray(upright).astype(int) - UPRIGHT[orientation](RAMP)
    assert np.abs(difference).max() <= (40 if kind == "JPEG" else 0)
    assert load_image(upright) == upright
    opened = Image.open(io.BytesIO(with_orientation(orientation, kind)))
    assert load_image(opened) == upright
    assert load_image(ImageOps.exif_transpose(opened)) == upright


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "CMYK", "RGBA", "RGB"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_sideways_tiff_on_disk_is_not_garbled(orientation: int, mode: str, tmp_path: Path) -> None:
    """Pillow 13.0 maps an uncompressed one into memory with its width and height swapped."""
    grey = Image.fromarray(RAMP[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(RAMP[:, :, 0])
    stored = grey if mode == "I;16" else grey.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.tif", exif=exif)
    upright = load_image(tmp_path / "a.tif")
    assert np.array_equal(upright, UPRIGHT[orientation](np.asarray(load_image(stored))))
    assert image_size(tmp_path / "a.tif") == upright.size


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_exif_counts_as_upright() -> None:
    image = Image.fromarray(RAMP)
    data = encoded(image, "PNG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\xff garbage")
    assert load_image(data) == image


def test_orientation_out_of_range_counts_as_upright() -> None:
    assert np.array_equal(load_image(with_orientation(9, "PNG")), RAMP)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = load_image(Image.new(mode, (4, 3)))
    assert (image.mode, image.size) == ("RGB", (4, 3))


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(np.array([[[9, 9, 9, 0], [200, 100, 0, 255], [0, 0, 0, 51]]], np.uint8)),
        Image.fromarray(np.array([[[9, 0], [200, 255], [0, 51]]], np.uint8)),
    ],
    ids=["RGBA", "LA"],
)
def test_transparency_is_laid_on_white(image: Image.Image) -> None:
    clear, opaque, fifth = np.asarray(load_image(image))[0]
    assert clear.tolist() == [255, 255, 255]
    assert opaque.tolist() == list(image.convert("RGB").getpixel((1, 0)))
    assert fifth.tolist() == [204, 204, 204]  # black of a fifth: 255 * 0.8


def test_a_transparent_palette_entry_is_laid_on_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert np.asarray(load_image(encoded(image)))[0].tolist() == [[10, 20, 30], [40, 50, 60]]
    assert np.asarray(load_image(encoded(image, transparency=0)))[0].tolist() == [[255, 255, 255], [40, 50, 60]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_stretched_over_its_own_range(kind: str) -> None:
    values = np.array([[1000, 1000 + 255 * 7, 1000 + 100 * 7]], np.uint16)
    grey = np.asarray(load_image(encoded(Image.fromarray(values), kind)))
    assert grey[0].tolist() == [[0] * 3, [255] * 3, [100] * 3]


def test_float_grey_is_stretched_and_not_finite_values_are_the_minimum() -> None:
    values = np.array([[-1.0, 1.0, np.nan, np.inf, -0.2]], np.float32)
    assert np.asarray(load_image(Image.fromarray(values)))[0, :, 0].tolist() == [0, 255, 0, 0, 102]
    for constant in (np.full((2, 2), 7, np.float32), np.full((2, 2), np.nan, np.float32)):
        assert not np.asarray(load_image(Image.fromarray(constant))).any()


@settings(deadline=None)  # the first ones load decoders
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])))
    | arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)))
)
def test_arrays_paths_and_bytes_give_the_same_pixels(array: np.ndarray) -> None:
    expected = np.broadcast_to(array.reshape(*array.shape[:2], -1), (*array.shape[:2], 3))
    image = load_image(array)
    assert np.array_equal(image, expected)
    assert load_image(encoded(image)) == image


def test_the_source_is_neither_changed_nor_shared(tmp_path: Path) -> None:
    source, array = Image.fromarray(RAMP), RAMP.copy()
    for copy in (load_image(source), load_image(array)):
        copy.paste("white", (0, 0, 5, 7))
    assert np.array_equal(source, RAMP) and np.array_equal(array, RAMP)
    source.save(tmp_path / "ramp.png")
    assert load_image(str(tmp_path / "ramp.png")) == load_image(tmp_path / "ramp.png") == source


def test_cmyk_as_adobe_writes_it() -> None:
    """Inverted, and marked so (APP14); a JPEG without the mark is taken the same way, as browsers do."""
    colours = np.array([[[0, 255, 255, 0], [255, 0, 255, 0], [0, 0, 0, 255], [0, 0, 0, 0]]], np.uint8)
    cmyk = Image.fromarray(colours.repeat(16, 0).repeat(16, 1), "CMYK")
    marked = encoded(cmyk, "JPEG", quality=100)
    start = marked.index(b"\xff\xee")
    assert marked[start + 4 : start + 9] == b"Adobe"
    unmarked = marked[:start] + marked[start + 2 + int.from_bytes(marked[start + 2 : start + 4]) :]
    for data in (marked, unmarked, encoded(cmyk, "TIFF")):
        picture = np.asarray(load_image(data))[8, 8::16].astype(int)
        assert np.abs(picture - [[255, 0, 0], [0, 255, 0], [0, 0, 0], [255, 255, 255]]).max() <= 3


def test_one_bit_images_are_black_and_white() -> None:
    for kind in ("PNG", "TIFF", "BMP"):
        data = encoded(Image.fromarray(np.array([[True, False]])), kind)
        assert np.asarray(load_image(data))[0].tolist() == [[255] * 3, [0] * 3], kind


DEEP_FILES = {"PNG": (".png", []), "TIFF": (".tiff", [259, 1]), "LZW": (".tiff", [259, 5])}


def deep_file(kind: str, rgb: np.ndarray) -> bytes:
    """Colour of 16 bits (H, W, 3), or with alpha (H, W, 4), as a file."""
    suffix, options = DEEP_FILES[kind]
    done, data = cv2.imencode(suffix, rgb[..., [2, 1, 0, 3][: rgb.shape[2]]], options)
    assert done
    return data.tobytes()


@pytest.mark.parametrize("kind", DEEP_FILES)
def test_colour_of_12_bits_in_16_is_stretched_as_grey_is(tmp_path: Path, kind: str) -> None:
    deep = np.array([[[10, 10 + 255 * 7, 10 + 100 * 7], [10, 10, 10 + 7]]], np.uint16)
    expected = [[[0, 255, 100], [0, 0, 1]]]
    assert np.asarray(load_image(deep_file(kind, deep))).tolist() == expected
    (tmp_path / "deep").write_bytes(deep_file(kind, deep))
    assert np.asarray(load_image(tmp_path / "deep")).tolist() == expected


@pytest.mark.parametrize("kind", DEEP_FILES)
def test_deep_colour_is_read_to_its_last_bit(kind: str) -> None:
    deep = np.random.default_rng(0).integers(0, 2**16, (300, 200, 3)).astype(np.uint16)
    deep[0, 0] = 0, 2**16 - 1, 1
    assert np.array_equal(load_image(deep_file(kind, deep)), np.rint(deep / 257).astype(np.uint8))


@pytest.mark.parametrize("kind", DEEP_FILES)
def test_transparency_of_deep_colour_is_not_stretched(kind: str) -> None:
    deep = np.array([[[1, 1, 1, 0], [1, 256, 1, 2**16 - 1], [256, 1, 1, 2**16 - 1]]], np.uint16)
    assert np.asarray(load_image(deep_file(kind, deep))).tolist() == [[[255] * 3, [0, 255, 0], [255, 0, 0]]]


def test_deep_grey_with_transparency_is_stretched_too() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 3, 1, 16, 4, 0, 0, 0))  # grey and alpha of 16 bits each
    row = b"\0" + np.array([[1000, 2**16 - 1], [1000 + 255, 2**16 - 1], [1000 + 100, 0]], ">u2").tobytes()
    png = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    assert np.asarray(load_image(png))[0].tolist() == [[0] * 3, [255] * 3, [255] * 3]


def test_a_transparent_deep_colour_keeps_its_upper_bits() -> None:
    """Pillow compares it with these."""
    deep = deep_file("PNG", np.array([[[0x1234, 0xFF00, 0x00FF]]], np.uint16))
    assert np.asarray(load_image(deep)).tolist() != [[[0x12, 0xFF, 0x00]]]
    transparent = struct.pack(">I", 6) + b"tRNS" + b"\0\1" * 3 + struct.pack(">I", zlib.crc32(b"tRNS" + b"\0\1" * 3))
    with_transparency = deep[:33] + transparent + deep[33:]  # after the header
    assert np.asarray(load_image(with_transparency)).tolist() == [[[0x12, 0xFF, 0x00]]]


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(Image.fromarray(RAMP), "PNG"))
    assert load_image(tmp_path / "a.jpg") == Image.fromarray(RAMP)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_upright_size_is_told_from_the_header(tmp_path: Path, orientation: int, kind: str) -> None:
    (tmp_path / "whole").write_bytes(with_orientation(orientation, kind))
    assert image_size(tmp_path / "whole") == load_image(tmp_path / "whole").size


def test_the_size_of_a_file_that_is_cut_off_or_none(tmp_path: Path) -> None:
    (tmp_path / "cut.jpg").write_bytes(with_orientation(6, "JPEG")[:-20])
    assert image_size(tmp_path / "cut.jpg") == (7, 5)
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"text\.jpg"):
        image_size(tmp_path / "text.jpg")


PEAK = """
import resource, sys
from argenseg_model.images import load_image
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = load_image(sys.argv[1])
assert (image.mode, image.size) == ("RGB", (8_000, 12_500)), image
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / 100_000_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("I;16", "TIFF")])
def test_100_megapixels_take_9_bytes_a_pixel(tmp_path: Path, mode: str, kind: str) -> None:
    """Turned upright, converted from what is dearest. The limit has a tenth on top."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "large"
    options = {"PNG": {"compress_level": 1}, "TIFF": {"compression": "packbits"}}
    Image.new(mode, (12_500, 8_000), 200).save(path, kind, exif=exif, **options[kind])
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    assert not done.stderr  # no warning either
    assert float(done.stdout) < 9.9


def test_the_first_frame_of_several() -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "TIFF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert load_image(data).getpixel((0, 0))[0] >= 250, kind


@pytest.mark.parametrize(
    ("source", "advice"),
    [
        (np.zeros((4, 4, 3), np.float32), "give uint8"),
        (np.zeros((3, 4, 4), bool), "give uint8"),
        (np.zeros((3, 4, 8), np.uint8), r"give \(H, W\)"),
        (np.zeros(5, np.uint8), r"give \(H, W\)"),
        (np.zeros((0, 4), np.uint8), "at least 1 x 1"),
        (np.zeros((4, 0, 3), np.uint8), "at least 1 x 1"),
        (Image.new("RGB", (0, 4)), "at least 1 x 1"),
        (np.zeros((40, 40), np.uint8), "raise max_pixels"),
        (Image.new("1", (40, 40)), "raise max_pixels"),
        (encoded(Image.new("1", (40, 40))), "raise max_pixels"),
        (b"", "save it as PNG"),
        (b"GIF or something", "save it as PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "save it as PNG"),
        ("missing.png", "check the path"),
        ("nul\0.png", "check the path"),
        (3, "an image is a path"),
        (None, "an image is a path"),
    ],
)
def test_bad_input_says_what_to_do(source: object, advice: str) -> None:
    with pytest.raises(ImageError, match=advice):
        load_image(source, max_pixels=1000)


def test_bad_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no image")
    os.mkfifo(tmp_path / "pipe.png")
    for name, advice in {"empty.png": "is empty", "text.jpg": "save it as PNG", "pipe.png": "no such file"}.items():
        with pytest.raises(ImageError, match=f"{name}.*{advice}"):
            load_image(tmp_path / name)
    with pytest.raises(ImageError, match="is a folder"):
        load_image(tmp_path)


def test_a_decompression_bomb_is_refused_before_it_is_decoded() -> None:
    header = encoded(Image.new("1", (8, 8)))
    bomb = bytearray(header)
    bomb[16:24] = (60_000).to_bytes(4) * 2  # IHDR: 60,000 x 60,000; its checksum does not matter to the answer
    with pytest.raises(ImageError):
        load_image(bytes(bomb))
    real = encoded(Image.new("1", (20_000, 10_000)))  # 200 million pixels in a few kilobytes
    with pytest.raises(ImageError, match="too large"):
        load_image(real)
    with warnings.catch_warnings(), pytest.raises(ImageError, match="more than the 100,000,000 allowed"):
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        load_image(encoded(Image.new("1", (11_000, 10_000))))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP"])
@settings(deadline=None)
@given(data=st.data())
def test_damaged_files_give_an_image_or_an_image_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(Image.fromarray(RAMP), kind))
    for position, value in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)))):
        content[position] = value
    del content[data.draw(st.integers(0, len(content))) :]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = load_image(bytes(content), max_pixels=1_000_000)
        except ImageError:
            return
    assert image.mode == "RGB"


def test_a_truncated_file_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for kind in ("PNG", "JPEG"):
        (tmp_path / "cut").write_bytes(encoded(Image.fromarray(noise), kind)[:-2000])
        with pytest.raises(ImageError, match=r"cut: is damaged or incomplete .*again"):
            load_image(tmp_path / "cut")


def test_suffixes_are_those_of_readable_formats() -> None:
    readable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
    assert readable >= SUFFIXES
