"""Coordinates in percent of the image, as Label Studio keeps them, to and from px."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError

MAX_POINTS = 1_000_000
_MAX_PERCENT = 1000.0  # nobody draws ten images away, and larger numbers would overflow
_DECIMALS = 5  # a thousandth of a pixel on an image of 10,000 px


def to_percent(pixels: float, size: int) -> float:
    """A coordinate in px of an image that is `size` px wide (or high), in percent."""
    return round(pixels / size * 100, _DECIMALS)


def read_number(value: Any, name: str) -> float:
    """A finite number of at most 1,000 (percent or degrees); RegionError for anything else."""
    if type(value) not in (int, float) or not abs(value) <= _MAX_PERCENT:  # NaN compares false
        raise RegionError(f"{name} must be a number of at most {_MAX_PERCENT:g}, not {value!r:.40}.")
    return float(value)


def given(value: dict[str, Any], name: str, default: Any) -> Any:
    """What a value says, or the default: null says nothing."""
    found = value.get(name)
    return default if found is None else found


def points_to_percent(points: NDArray[np.float64], width: int, height: int) -> list[list[float]]:
    """Points (n, 2) of x, y in px as Label Studio's [x%, y%]."""
    percent: list[list[float]] = np.round(points / (width, height) * 100, _DECIMALS).tolist()
    return percent


def points_to_pixels(points: Any, width: int, height: int) -> NDArray[np.float64]:
    """A list of [x%, y%] as (n, 2) in px. RegionError unless it is 3 to 1,000,000 pairs of numbers."""
    if not isinstance(points, list) or not 3 <= len(points) <= MAX_POINTS:
        raise RegionError(f"An outline must be a list of 3 to {MAX_POINTS:,} points.")
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise RegionError(f"A point must be [x, y], not {point!r:.40}.")
        for coordinate in point:
            read_number(coordinate, "A point's coordinate")
    return np.array(points, dtype=np.float64) * (width / 100, height / 100)
