"""Pillow is the oracle: it reads what we write, and checks each chunk's and the pixels' checksums."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.one_bit_png import encode

CROPS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=24))


def read(png: bytes) -> np.ndarray:
    Image.open(io.BytesIO(png)).verify()
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGBA"))


@given(CROPS, *[st.integers(0, 20)] * 4)
def test_any_mask_anywhere(crop: np.ndarray, top: int, left: int, below: int, right: int) -> None:
    height, width = max(top + crop.shape[0] + below, 1), max(left + crop.shape[1] + right, 1)
    mask = CroppedMask(crop, top, left, height, width)
    gray, palette = read(encode(mask)), read(encode(mask, transparent=True))
    assert np.array_equal(gray[..., 0], mask.full() * np.uint8(255)) and (gray[..., 3] == 255).all()
    assert np.array_equal(palette[..., 3], mask.full() * np.uint8(255)) and not palette[..., :3].any()
    assert encode(mask) == encode(CroppedMask.of(mask.full()))


@pytest.mark.parametrize("top", [0, 1, 130, 2999])
def test_more_background_than_one_part_of_the_stream(top: int) -> None:
    mask = CroppedMask(np.ones((1, 3), np.bool_), top, 2001, 3000, 4000)
    png = encode(mask)
    assert np.array_equal(read(png)[..., 0] > 0, mask.full())
    assert len(png) < 3000
