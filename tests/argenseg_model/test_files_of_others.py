"""Files as cameras, downloads and microscopes leave them: read as a viewer shows them, or refused by kind."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from argenseg_model.errors import ImageError
from argenseg_model.images import image_size, load_image

RAMP = np.tile(np.linspace(0, 1, 30), (20, 1))


def jpeg(**options: object) -> bytes:
    random = np.random.default_rng(5)
    picture = Image.fromarray(random.integers(0, 256, (40, 60, 3), np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("is_progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_is_the_same_picture(tmp_path: Path, is_progressive: bool, missing: int) -> None:
    whole = jpeg(progressive=is_progressive)
    assert whole.endswith(b"\xff\xd9")
    (tmp_path / "a.jpg").write_bytes(whole[:-missing])
    expected = np.asarray(load_image(whole))
    np.testing.assert_array_equal(np.asarray(load_image(tmp_path / "a.jpg")), expected)
    np.testing.assert_array_equal(np.asarray(load_image(whole[:-missing])), expected)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_a_jpeg_that_lacks_pixels_is_still_refused(share: float) -> None:
    whole = jpeg()
    with pytest.raises(ImageError, match="damaged or incomplete"):
        load_image(whole[: int(len(whole) * share)])


KINDS = {"i1": 127, "u2": 65535, "i2": 32767, "u4": 2**32 - 1, "i4": 2**31 - 1, "f2": 1, "f4": 1, "f8": 1e6}


@pytest.mark.parametrize("planes", ["grey", "white is 0", "RGB", "separate"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_sample_format_of_tiff_is_stretched_from_its_least_to_its_greatest(
    tmp_path: Path, kind: str, planes: str
) -> None:
    values = (RAMP * KINDS[kind]).astype(kind)
    stacked, options = {
        "grey": (values, {"photometric": "minisblack"}),
        "white is 0": (values, {"photometric": "miniswhite"}),
        "RGB": (np.stack([values, values, values[:, ::-1]], -1), {"photometric": "rgb"}),
        "separate": (
            np.stack([values, values, values[:, ::-1]]),
            {"photometric": "rgb", "planarconfig": "separate"},
        ),
    }[planes]
    tifffile.imwrite(tmp_path / "a.tif", stacked, **options)
    assert image_size(tmp_path / "a.tif") == (30, 20)
    red, _, blue = np.moveaxis(np.asarray(load_image(tmp_path / "a.tif"), int), -1, 0)
    expected, step = np.rint(RAMP * 255), 2 if kind == "i1" else 1  # of 255, as each of its 128 levels is
    assert np.abs(red - (255 - expected if planes == "white is 0" else expected)).max() <= step
    assert np.abs(blue - (expected[:, ::-1] if planes in ("RGB", "separate") else red)).max() <= step


def test_a_tiff_that_is_not_read_is_refused_by_its_header_with_its_kind(tmp_path: Path) -> None:
    files = {
        "complex": (RAMP.astype("c8"), {"photometric": "minisblack"}, "complex samples of 64 bits"),
        "many": (np.stack([RAMP] * 7, -1), {"photometric": "minisblack", "planarconfig": "contig"}, "7 channels"),
    }
    for name, (values, options, reason) in files.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", values, **options)
        for read in (image_size, load_image):
            with pytest.raises(ImageError, match=f"{reason}.*; save it as grey or RGB"):
                read(tmp_path / f"{name}.tif")


def test_a_tiff_stands_upright_and_is_no_larger_than_allowed(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP.astype("f8"), extratags=[(274, "H", 1, 6, True)])
    assert image_size(tmp_path / "a.tif") == load_image(tmp_path / "a.tif").size == (20, 30)
    with pytest.raises(ImageError, match="more than the 500 allowed"):
        load_image(tmp_path / "a.tif", max_pixels=500)


def test_a_damaged_tiff_is_an_image_error(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", RAMP.astype("f8"))
    whole = (tmp_path / "a.tif").read_bytes()
    for cut in (6, 20, len(whole) // 2, len(whole) - 8):
        with pytest.raises(ImageError):
            load_image(whole[:cut])
