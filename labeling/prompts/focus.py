"""Boxes and points that an annotator drew with a smart tool, and what of a mask they mean."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from argenseg_model.instances import label_instances
from labeling.regions.kinds import region_mask

# Surroundings of a box, as a small model knows no thing by its pixels alone: benchmarks/smart_tools.py has the numbers.
_BOX_MARGIN = 32  # px at least
_BOX_SURROUNDINGS = 0.5  # of its longer side, at least
_LEAST_WINDOW = 192  # px
_POINT_MARGINS = 96, 120  # at least and at most: for 240 x 240 px a tiled model needs most of a second on a CPU
_WIDEST = 512  # px of a second look: on a CPU two tiled looks take up to four times as long as one
_EDGE = 2  # px: a coarse mask that goes on may end a little before the edge
_NEAR = 0.015  # of the image's diagonal: a point so near to an object is meant for it

_LARGEST_OBJECT = 0.25  # of the image: a larger box is an area in which something is to be found
_LEAST_EXTENT = 0.2  # of its box: what an object reaches at least, also in a box that was drawn loosely
_LEAST_COVER = 0.05  # of its box: what a thin object covers at least
_MOSTLY = 0.5  # of an object: with less inside, a box was drawn for its neighbour

Window = tuple[int, int, int, int]
"""A part of an image in px: left, top, right, bottom."""


@dataclass(frozen=True)
class Box:
    """A rectangle in percent of the image; `rotation` in degrees, clockwise about its top left corner."""

    x: float
    y: float
    width: float
    height: float
    rotation: float = 0.0


@dataclass(frozen=True)
class Point:
    """A point in percent of the image: on the object that is meant, or (negative) on what is not."""

    x: float
    y: float
    is_positive: bool = True


@dataclass(frozen=True)
class Focus:
    """Where in the image a label is meant: inside any of the boxes, or the objects under the points."""

    boxes: tuple[Box, ...] = ()
    points: tuple[Point, ...] = ()


def focus_window(focus: Focus, width: int, height: int) -> Window:
    """The part of an image (px) that a focus needs: left, top, right, bottom, with surroundings for context.

    Around positive points it leaves room for an object of an eighth of the image (at least 96, at most 120 px) to each
    side; of a larger one only a part is seen (see `widen_window`). A negative point elsewhere has nothing to take away.
    """
    least, most = _POINT_MARGINS
    margin = min(max(least, max(width, height) // 8), most)
    meant = [point for point in focus.points if point.is_positive] or focus.points
    points = [(point.x * width / 100, point.y * height / 100) for point in meant]
    parts = [_around(points, margin)] if points else []
    for box in focus.boxes:
        side = max(box.width * width, box.height * height) / 100
        around = max(_BOX_MARGIN, _BOX_SURROUNDINGS * side, (_LEAST_WINDOW - side) / 2)
        parts.append(_around(_corners(box, width, height), round(around)))
    left, top = np.min([part[:2] for part in parts], axis=0)
    right, bottom = np.max([part[2:] for part in parts], axis=0)
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return int(left), int(top), int(max(min(right, width), left + 1)), int(max(min(bottom, height), top + 1))


def _around(spots: Sequence[tuple[float, float]], margin: int) -> Window:
    """px; it may reach beyond the image."""
    (left, top), (right, bottom) = np.floor(np.min(spots, axis=0)), np.ceil(np.max(spots, axis=0))
    return int(left) - margin, int(top) - margin, int(right) + margin, int(bottom) + margin


def widen_window(window: Window, mask: NDArray[np.bool_]) -> Window:
    """The window, larger where what the mask (height, width) shows in it goes on beyond its sides, but at most 512 px
    wide and high; else the same window."""
    left, top, right, bottom = window
    height, width = mask.shape
    seen = mask[top:bottom, left:right]
    left, right = _widen(left, right, width, seen.T)
    top, bottom = _widen(top, bottom, height, seen)
    return left, top, right, bottom


def _widen(start: int, end: int, length: int, seen: NDArray[np.bool_]) -> tuple[int, int]:
    """A window along an axis of this length, which is the first of `seen`."""
    before, after = start > 0 and bool(seen[:_EDGE].any()), end < length and bool(seen[-_EDGE:].any())
    room = max(_WIDEST - (end - start), 0) // max(before + after, 1)
    return max(start - room * before, 0), min(end + room * after, length)


def limit_to_focus(mask: NDArray[np.bool_], focus: Focus) -> NDArray[np.bool_]:
    """What of the mask (height, width) lies in any of the boxes; and, if there are points, is an object under one.

    Of objects that a box cuts only those count that are mostly inside, unless there are no others. Objects that touch
    are split first. An object under a negative point is taken away; one that has points of both
    kinds is cut, so that each pixel goes with the nearest point. Without a positive point nothing is left.
    """
    if focus.boxes:
        mask = _mostly_inside(mask, np.any([_box_mask(box, mask.shape) for box in focus.boxes], axis=0))
    return _under_points(mask, focus.points) if focus.points else mask


def fill_doubtful_boxes(mask: NDArray[np.bool_], focus: Focus) -> NDArray[np.bool_]:
    """A mask (height, width) that was limited to its focus, with each box filled that cannot have been drawn for what
    is in it: an object reaches the sides of its box. Boxes of more than a quarter of the image are areas: they are
    filled only where nothing is in them.

    With points nothing is filled: they say what is meant.
    """
    filled = mask.copy()
    for box in focus.boxes if not focus.points else ():
        inside = _box_mask(box, mask.shape)
        found, area = mask & inside, int(inside.sum())
        is_too_little = _extent(found) < _LEAST_EXTENT * _extent(inside) or found.sum() < _LEAST_COVER * area
        if is_too_little and (area <= _LARGEST_OBJECT * mask.size or not found.any()):
            filled |= inside
    return filled


def _mostly_inside(mask: NDArray[np.bool_], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part of a mask inside, of the objects of which most is inside; of all if there are none of those."""
    found = mask & inside
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not found.any():
        return found
    down, across = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1  # as far around as the boxes reach
    near = (
        slice(max(0, rows[0] - down), rows[-1] + 1 + down),
        slice(max(0, columns[0] - across), columns[-1] + 1 + across),
    )
    labels = label_instances(mask[near])
    areas = np.bincount(labels.ravel())
    is_kept = np.bincount(labels[inside[near]], minlength=areas.size) >= _MOSTLY * areas
    is_kept[0] = False
    kept = np.zeros_like(found)
    kept[near] = is_kept[labels] & inside[near]
    return kept if kept.any() else found


def _extent(mask: NDArray[np.bool_]) -> int:
    """Pixels of the upright rectangle around what is drawn."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)) if rows.size else 0


def _corners(box: Box, width: int, height: int) -> list[tuple[float, float]]:
    """In px; it turns about its top left corner, clockwise."""
    x, y, cos, sin = box.x * width / 100, box.y * height / 100, *_turn(box.rotation)
    sides = [(0.0, 0.0), (box.width, 0.0), (0.0, box.height), (box.width, box.height)]
    px = [(across * width / 100, down * height / 100) for across, down in sides]
    return [(x + across * cos - down * sin, y + across * sin + down * cos) for across, down in px]


def _turn(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _box_mask(box: Box, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    height, width = shape
    return region_mask({"type": "rectangle", "original_width": width, "original_height": height, "value": asdict(box)})


def _under_points(mask: NDArray[np.bool_], points: Sequence[Point]) -> NDArray[np.bool_]:
    labels = label_instances(mask)
    places = [_pixel(point, mask.shape) for point in points]
    touched = [_object_at(labels, *place) for place in places]
    meant = {number for number, point in zip(touched, points, strict=True) if point.is_positive} - {0}
    against = {number for number, point in zip(touched, points, strict=True) if not point.is_positive}
    chosen: NDArray[np.bool_] = np.isin(labels, sorted(meant - against))
    for number in meant & against:
        rows, columns = np.nonzero(labels == number)
        nearest = {True: np.full(rows.size, np.inf, np.float32), False: np.full(rows.size, np.inf, np.float32)}
        for (row, column), point in zip(places, points, strict=True):
            distance = (rows - row).astype(np.float32) ** 2 + (columns - column).astype(np.float32) ** 2
            np.minimum(nearest[point.is_positive], distance, out=nearest[point.is_positive])
        kept = nearest[True] <= nearest[False]
        chosen[rows[kept], columns[kept]] = True
    return chosen


def _pixel(point: Point, shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = shape
    return min(int(point.y / 100 * height), height - 1), min(int(point.x / 100 * width), width - 1)


def _object_at(labels: NDArray[np.int32], row: int, column: int) -> int:
    """The number of the object under the pixel, else of the nearest one within a short way; 0 if there is none."""
    if labels[row, column]:
        return int(labels[row, column])
    reach = max(2, round(_NEAR * math.hypot(*labels.shape)))
    top, left = max(row - reach, 0), max(column - reach, 0)
    near = labels[top : row + reach + 1, left : column + reach + 1]
    rows, columns = np.nonzero(near)
    distances = (rows + top - row) ** 2 + (columns + left - column) ** 2
    if distances.size == 0 or distances.min() > reach**2:
        return 0
    best = int(distances.argmin())
    return int(near[rows[best], columns[best]])
