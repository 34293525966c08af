"""Polygon regions: [x%, y%] of one closed ring for each object."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.outlines import draw_outlines
from labeling.regions.percent import given, points_to_percent, points_to_pixels
from labeling.regions.rasterize import fill_cropped


def draw(mask: CroppedMask, tolerance: float) -> list[dict[str, Any]]:
    """One value for each connected object; see `draw_outlines`."""
    return [
        {"points": points_to_percent(ring, mask.width, mask.height), "closed": True}
        for ring in draw_outlines(mask, tolerance)
    ]


def read(value: dict[str, Any], width: int, height: int) -> CroppedMask:
    """Pixels whose centre is inside. RegionError where the points are malformed or the ring is open."""
    if given(value, "closed", True) is not True:
        raise RegionError("The polygon is not closed, so it has no inside.")
    return fill_cropped([points_to_pixels(value.get("points"), width, height)], width, height)


def numbers(value: dict[str, Any]) -> NDArray[np.float64]:
    """The vertices, (n, 2) in percent. KeyError for other values, ValueError or TypeError for malformed ones."""
    return np.array(value["points"], np.float64)
