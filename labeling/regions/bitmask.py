"""Bitmask regions: a mask as a PNG in a data URL. Lossless.

Label Studio fills what is not transparent with the label's colour, so the background has to be transparent. We write
one bit a pixel (a palette of two, one of them transparent); browsers write RGBA.
"""

import base64
import binascii
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.errors import RegionError

_PREFIX = "data:image/png;base64,"
_MAX_CHARACTERS = 1 << 28
_OPAQUE = 128  # of 255: the browser's brush and eraser are antialiased


def draw(mask: NDArray[np.bool_], tolerance: float) -> list[dict[str, Any]]:
    """One value; `tolerance` changes nothing."""
    picture = Image.fromarray(mask.view(np.uint8), mode="P")
    picture.putpalette([0, 0, 0, 0, 0, 0])
    png = io.BytesIO()
    picture.save(png, "PNG", bits=1, transparency=b"\x00\xff", compress_level=6)
    return [{"format": _PREFIX.removesuffix(","), "imageDataURL": _PREFIX + base64.b64encode(png.getvalue()).decode()}]


def read(value: dict[str, Any], width: int, height: int) -> NDArray[np.bool_]:
    """The mask (height, width). RegionError unless it is a PNG of this size, with a transparent background."""
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
            return np.asarray(picture.convert("RGBA").getchannel("A")) >= _OPAQUE
    except (binascii.Error, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise RegionError(f"The bitmask is no PNG that can be read: {error}.") from None
