"""A mask's outlines along the edges of its pixels, so that filling them gives the mask again, pixel for pixel."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.rasterize import Ring


@dataclass(frozen=True)
class Outline:
    """One connected object (8-connected): its outer ring and its holes, which run the other way round."""

    outer: Ring
    holes: tuple[Ring, ...]


def trace_outlines(mask: CroppedMask) -> list[Outline]:
    """The outlines of a mask, from the top left object on. Rings hold corners only."""
    pixels = np.pad(mask.crop.view(np.int8), 1)
    _, labels = cv2.connectedComponents(pixels.view(np.uint8), connectivity=8)
    outer: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    for corners in _rings(pixels):
        (x, y), (next_x, _) = corners[:2].astype(int).tolist()
        inside = labels[y + 1, x + 1] if next_x > x else labels[y, x]  # the object is to the right of the way
        ring = np.add(corners, (mask.left, mask.top))
        if signed_area(ring) > 0:
            outer[int(inside)] = ring
        else:
            holes.setdefault(int(inside), []).append(ring)
    return [Outline(ring, tuple(holes.get(label, ()))) for label, ring in sorted(outer.items())]


def signed_area(ring: Ring) -> float:
    """Area in px², positive for a ring that runs clockwise as seen on the screen (y goes down)."""
    x, y = (ring - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _rings(pixels: NDArray[np.int8]) -> Iterator[Ring]:
    """Rings of corners (n, 2), x, y on the grid whose (0, 0) is the lower right corner of the padding's first pixel.

    Rings keep the object to their right and begin with a horizontal edge. Every corner ends one horizontal and begins
    one vertical edge, or the other way round; where objects touch at a corner only there are two of each, and the way
    that turns left keeps them together.
    """
    tail, head, to_right = _edges(pixels[1:] - pixels[:-1])  # of horizontal edges, row by row
    column_tail, column_head, to_bottom = _edges((pixels[:, :-1] - pixels[:, 1:]).T)  # of vertical edges
    column_tail, column_head = column_tail[:, ::-1], column_head[:, ::-1]
    width = pixels.shape[1]

    def order(points: NDArray[np.int64], second: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.argsort((points[:, 1] * width + points[:, 0]) * 2 + second)

    next_vertical = np.empty(len(tail), dtype=np.int64)
    next_vertical[order(head, ~to_right)] = order(column_tail, to_bottom)  # left turns: right to up, left to down
    next_horizontal = np.empty(len(tail), dtype=np.int64)
    next_horizontal[order(column_head, ~to_bottom)] = order(tail, ~to_right)  # left turns: down to right, up to left
    following = next_horizontal[next_vertical].tolist()
    seen = bytearray(len(following))
    for first in range(len(following)):
        ring = []
        edge = first
        while not seen[edge]:
            seen[edge] = True
            ring.append(edge)
            edge = following[edge]
        if ring:
            yield np.stack([tail[ring], head[ring]], axis=1).reshape(-1, 2).astype(np.float64)


def _edges(difference: NDArray[np.int8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Straight runs of pixel edges: tails and heads (n, 2) as x, y, and whether they run towards larger x.

    `difference` (lines, columns) is 1 where the object is to the right of the way to larger x, -1 where it is to the
    left; its first and last column are 0, and x counts from the end of the first column.
    """
    flat = np.flatnonzero(difference[:, 1:] != difference[:, :-1])
    y, x = np.divmod(flat, difference.shape[1] - 1)
    before, after = difference[y, x], difference[y, x + 1]
    points = np.stack([x, y], axis=1)
    begins, ends = points[after != 0], points[before != 0]
    forward = after[after != 0] > 0
    return np.where(forward[:, None], begins, ends), np.where(forward[:, None], ends, begins), forward
