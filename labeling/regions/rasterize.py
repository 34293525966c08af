"""Outlines to pixels. A ring is closed, (n, 2) of x, y in px; pixel (row 0, column 0) is the square (0, 0)-(1, 1)."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.cropped_mask import CroppedMask

Ring = NDArray[np.float64]

_MAX_CROSSINGS = 20_000_000  # of rings with pixel rows: bounds time. The most ragged real outlines have a tenth of it
_CHUNK = 1 << 20  # crossings looked at together: bounds memory


def clockwise(degrees: float) -> NDArray[np.float64]:
    """The matrix that turns points (n, 2), to its left, about (0, 0), clockwise as seen on the screen (y goes down)."""
    angle = math.radians(degrees)
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def fill_rings(rings: Sequence[Ring], width: int, height: int) -> NDArray[np.bool_]:
    """Pixels (height, width) whose centre lies inside the rings; see `fill_cropped`."""
    return fill_cropped(rings, width, height).full()


def fill_cropped(rings: Sequence[Ring], width: int, height: int) -> CroppedMask:
    """The pixels of an image of `width` x `height` px whose centre lies inside the rings, cropped to their box.

    Inside is where the rings' winding number is not zero, as on the browser's canvas: a hole runs the other way round.
    RegionError where the rings cross more pixel rows than we count.
    """
    start = np.concatenate(rings)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = np.minimum(start, end), np.maximum(start, end)
    left, top = np.clip(np.floor(low.min(axis=0)), 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high.max(axis=0)), 0, (width, height)).astype(int).tolist()
    if left >= right or top >= bottom:
        return CroppedMask(np.zeros((0, 0), np.bool_), 0, 0, height, width)
    first_row = np.clip(np.ceil(low[:, 1] - 0.5), top, bottom).astype(np.int64) - top
    rows = np.clip(np.ceil(high[:, 1] - 0.5), top, bottom).astype(np.int64) - top - first_row
    crossings = np.cumsum(rows)
    if crossings[-1] > _MAX_CROSSINGS:
        raise RegionError(f"The outline crosses more than {_MAX_CROSSINGS:,} pixel rows.")
    winding = np.zeros((bottom - top, right - left + 1), dtype=np.int16)
    for edges in np.split(np.arange(rows.size), np.flatnonzero(np.diff(crossings // _CHUNK)) + 1):
        count = rows[edges]
        edge = np.repeat(edges, count)
        row = np.arange(edge.size) - np.repeat(np.cumsum(count) - count - first_row[edges], count)
        (x0, y0), (x1, y1) = start[edge].T, end[edge].T
        x = x0 + (row + top + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        column = np.clip(np.ceil(x - 0.5), left, right).astype(np.int64) - left
        np.add.at(winding, (row, column), np.where(y1 > y0, 1, -1).astype(np.int16))
    np.cumsum(winding, axis=1, out=winding)
    return CroppedMask(winding[:, :-1] != 0, top, left, height, width)
