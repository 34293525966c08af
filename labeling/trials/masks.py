"""Masks as a trial keeps them: 1-bit PNGs in base64, in the row, so that they go with it."""

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.regions import one_bit_png
from labeling.regions.cropped_mask import CroppedMask


def write_png(mask: NDArray[np.bool_]) -> str:
    """A mask (height, width) as text."""
    return base64.b64encode(one_bit_png.encode(CroppedMask.of(mask))).decode()


def read_png(text: str) -> CroppedMask:
    """The inverse of `write_png`."""
    with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as image:
        return CroppedMask.of(np.asarray(image.convert("L")) > 0)
