"""Outlines of the scene shapes, in units of their circumscribed circle."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SUPERSAMPLING = 4


def _regular(points: int, start: float = -90.0) -> np.ndarray:
    angles = np.deg2rad(start) + np.arange(points) * (2 * np.pi / points)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _star() -> np.ndarray:
    return _regular(10) * np.where(np.arange(10) % 2 == 0, 1.0, 0.45)[:, None]


def _box(aspect: float) -> np.ndarray:
    corners = np.array([[-aspect, -1.0], [aspect, -1.0], [aspect, 1.0], [-aspect, 1.0]])
    return corners / np.hypot(aspect, 1.0)


def _cross(a: float) -> np.ndarray:
    quarter = np.array([[-a, -1.0], [a, -1.0], [a, -a]])
    turns = [np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return np.concatenate([quarter @ turn for turn in turns]) / np.hypot(1.0, a)


_ROUND = _regular(40)
# Shape -> (contours drawn with random proportions, largest turn in degrees). Squares and diamonds turn little, or one
# would become the other; crosses likewise keep upright arms.
_OUTLINES: dict[str, tuple[Callable[[float], list[np.ndarray]], float]] = {
    "circle": (lambda u: [_ROUND], 0.0),
    "square": (lambda u: [_box(1.0)], 14.0),
    "rectangle": (lambda u: [_box(1.7 + 0.9 * u)], 180.0),
    "triangle": (lambda u: [_regular(3) * (1.0, 0.85 + 0.15 * u)], 180.0),
    "star": (lambda u: [_star()], 36.0),
    "ring": (lambda u: [_ROUND, _ROUND * (0.5 + 0.15 * u)], 0.0),
    "oval": (lambda u: [_ROUND * (1.0, 0.45 + 0.15 * u)], 180.0),
    "cross": (lambda u: [_cross(0.28 + 0.1 * u)], 18.0),
    "diamond": (lambda u: [_regular(4) * (0.6 + 0.12 * u, 1.0)], 12.0),
    "hexagon": (lambda u: [_regular(6)], 30.0),
}


def draw_coverage(
    shape: str, radius: float, x: float, y: float, side: int, rng: np.random.Generator
) -> tuple[slice, slice, np.ndarray]:
    """Coverage of the pixels near one shape.

    `radius`, `x`, `y` in pixels of a side x side picture. Returns (rows, columns, coverage): two slices of the picture
    and the (h, w) uint8 share of each of its pixels that the shape covers, 0..255. Proportions and turn are random.
    """
    outline, largest_turn = _OUTLINES[shape]
    contours = outline(rng.random())
    turn = np.deg2rad((2 * rng.random() - 1) * largest_turn)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * radius
    left, top = max(int(x - radius) - 1, 0), max(int(y - radius) - 1, 0)
    right, bottom = min(int(x + radius) + 3, side), min(int(y + radius) + 3, side)
    canvas = np.zeros(((bottom - top) * SUPERSAMPLING, (right - left) * SUPERSAMPLING), np.uint8)
    offset = np.array([x - left, y - top])
    # OpenCV's integer coordinates are pixel centres, hence the half pixel; two contours fill by the even-odd rule.
    polygons = [np.rint((c @ rotation + offset) * SUPERSAMPLING * 16 - 8).astype(np.int32) for c in contours]
    cv2.fillPoly(canvas, polygons, 255, shift=4)
    coverage = cv2.resize(canvas, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    return slice(top, bottom), slice(left, right), coverage
