"""Bitmask regions: a mask as a PNG in a data URL. Lossless.

Label Studio fills what is not transparent with the label's colour, so the background has to be transparent. We write
one bit a pixel (a palette of two, one of them transparent); browsers write RGBA.
"""

import base64
import binascii
import io
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.errors import RegionError
from labeling.regions import one_bit_png
from labeling.regions.cropped_mask import CroppedMask

_PREFIX = "data:image/png;base64,"
_MAX_CHARACTERS = 1 << 28
_OPAQUE = 128  # of 255: the browser's brush and eraser are antialiased


def draw(mask: CroppedMask, tolerance: float) -> list[dict[str, Any]]:
    """One value; `tolerance` changes nothing."""
    png = base64.b64encode(one_bit_png.encode(mask, transparent=True)).decode()
    return [{"format": _PREFIX.removesuffix(","), "imageDataURL": _PREFIX + png}]


def read(value: dict[str, Any], width: int, height: int) -> CroppedMask:
    """What is drawn. RegionError unless it is a PNG of this size, with a transparent background."""
    url = value.get("imageDataURL")
    if not isinstance(url, str) or not url.startswith(_PREFIX):
        raise RegionError(f"A bitmask needs an imageDataURL that begins with {_PREFIX}")
    if len(url) > _MAX_CHARACTERS:
        raise RegionError(f"The bitmask's imageDataURL is longer than {_MAX_CHARACTERS:,} characters.")
    try:
        png = base64.b64decode(url[len(_PREFIX) :], validate=True)
        with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:  # reads the header only
            if picture.size != (width, height):
                raise RegionError(f"The bitmask is {picture.size[0]} x {picture.size[1]} px, not {width} x {height}.")
            if not picture.has_transparency_data:
                raise RegionError("The bitmask has no transparent background.")
            return CroppedMask.of(_is_opaque(picture))
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RegionError(f"The bitmask is no PNG that can be read: {error}.") from None


def _is_opaque(picture: Image.Image) -> NDArray[np.bool_]:
    """Bool (height, width)."""
    transparency = picture.info.get("transparency")
    if picture.mode != "P" or transparency is None:
        return np.asarray(picture.convert("RGBA").getchannel("A")) >= _OPAQUE
    alphas = np.full(256, 255, np.uint8)  # of the palette's colours: no need for a picture of four bytes a pixel
    if isinstance(transparency, bytes):
        alphas[: len(transparency)] = np.frombuffer(transparency, np.uint8)
    else:
        alphas[transparency] = 0
    return cv2.LUT(np.asarray(picture), (alphas >= _OPAQUE).view(np.uint8)).view(np.bool_)
