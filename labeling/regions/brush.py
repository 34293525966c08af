"""Brush regions: a mask as run lengths inside Label Studio's region dict, and back."""

from typing import Any

import numpy as np

from labeling.errors import RegionError
from labeling.regions import brush_rle
from labeling.regions.cropped_mask import CroppedMask

MASK_THRESHOLD = 128  # the browser's brush and eraser are antialiased


def draw(mask: CroppedMask, tolerance: float) -> list[dict[str, Any]]:
    """One value; `tolerance` changes nothing."""
    return [{"format": "rle", "rle": brush_rle.encode_cropped(mask)}]


def read(value: dict[str, Any], width: int, height: int) -> CroppedMask:
    """What is drawn. RegionError unless the run lengths are those of an image of this size."""
    if value.get("format") != "rle":
        raise RegionError('A brush region needs the format "rle" and its run lengths in rle.')
    ends, values = brush_rle.decode_runs(value.get("rle"), width, height)
    starts = np.concatenate([[0], ends[:-1]])
    is_drawn = (values >= MASK_THRESHOLD) & (starts < ends)
    return CroppedMask.of_runs(starts[is_drawn], ends[is_drawn], height, width)
