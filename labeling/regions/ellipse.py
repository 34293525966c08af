"""Ellipse regions, which only annotators draw: rotation is clockwise about the centre."""

from typing import Any

import numpy as np

from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.percent import given, read_number
from labeling.regions.rasterize import clockwise, fill_cropped

_CORNERS = 1024  # of the polygon that stands for it: 0.02 px off with a radius of 4,000 px


def read(value: dict[str, Any], width: int, height: int) -> CroppedMask:
    """Pixels (height, width) whose centre is inside. RegionError where a number is missing or malformed."""
    x, y, radius_x, radius_y = (read_number(value.get(name), name) for name in ("x", "y", "radiusX", "radiusY"))
    turn = clockwise(read_number(given(value, "rotation", 0), "rotation"))
    angles = np.arange(_CORNERS) * (2 * np.pi / _CORNERS)
    around = np.stack([np.cos(angles) * radius_x, np.sin(angles) * radius_y], axis=1) * (width / 100, height / 100)
    return fill_cropped([around @ turn + (x * width / 100, y * height / 100)], width, height)
