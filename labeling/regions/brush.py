"""Brush regions: a mask as run lengths inside Label Studio's region dict, and back."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions import brush_rle

MASK_THRESHOLD = 128  # the browser's brush and eraser are antialiased


def draw(mask: NDArray[np.bool_], tolerance: float) -> list[dict[str, Any]]:
    """One value; `tolerance` changes nothing."""
    return [{"format": "rle", "rle": brush_rle.encode(mask)}]


def read(value: dict[str, Any], width: int, height: int) -> NDArray[np.bool_]:
    """The mask (height, width). RegionError unless the run lengths are those of an image of this size."""
    if value.get("format") != "rle":
        raise RegionError('A brush region needs the format "rle" and its run lengths in rle.')
    return brush_rle.decode(value.get("rle"), width, height) >= MASK_THRESHOLD
