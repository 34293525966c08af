"""Rectangle regions: an object's box. Reading knows rotation, which is clockwise, about the top left corner."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.percent import given, read_number, to_percent
from labeling.regions.rasterize import clockwise, fill_cropped


def draw(mask: CroppedMask, tolerance: float) -> list[dict[str, Any]]:
    """The box of each connected object (8-connected), tight to the pixel; `tolerance` changes nothing."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.crop.view(np.uint8), connectivity=8)
    return [
        {
            "x": to_percent(mask.left + x, mask.width),
            "y": to_percent(mask.top + y, mask.height),
            "width": to_percent(box_width, mask.width),
            "height": to_percent(box_height, mask.height),
            "rotation": 0,
        }
        for x, y, box_width, box_height, _ in stats[1:].tolist()
    ]


def read(value: dict[str, Any], width: int, height: int) -> CroppedMask:
    """Pixels (height, width) whose centre is inside. RegionError where a number is missing or malformed."""
    x, y, box_width, box_height = (read_number(value.get(name), name) for name in ("x", "y", "width", "height"))
    if box_width < 0 or box_height < 0:
        raise RegionError("A rectangle's width and height must not be negative.")
    turn = clockwise(read_number(given(value, "rotation", 0), "rotation"))
    corners = np.array([(0, 0), (box_width, 0), (box_width, box_height), (0, box_height)]) * (width / 100, height / 100)
    return fill_cropped([corners @ turn + (x * width / 100, y * height / 100)], width, height)


def numbers(value: dict[str, Any]) -> NDArray[np.float64]:
    """x, y, width, height in percent, and the rotation in degrees. KeyError, … for other values and malformed ones."""
    return np.array([value[key] for key in ("x", "y", "width", "height")] + [value.get("rotation") or 0], np.float64)
