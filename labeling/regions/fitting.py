"""Moving a simplified ring's vertices to where its edges lie best: corners of pixels are off an outline's middle."""

import numpy as np
from numpy.typing import NDArray

from labeling.regions.rasterize import Ring

_STAY = 0.01  # weight of a vertex's old place beside the two lines it should lie on: decides where these are parallel
_RETREATS = (0.5, 0.5, 0.5, 0.0, 0.0, 0.0)  # what is left of a move that breaks the tolerance, time after time
_ROUNDING = 1e-5

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]


def fit_vertices(ring: Ring, chosen: Indices, tolerance: float, size: tuple[int, int]) -> Ring:
    """The vertices `chosen` (ascending) of a ring, moved by at most `tolerance` px to where their edges fit it best.

    They stay on the image, of `size` (width, height), and all of the ring's vertices within the tolerance of the edge
    that passes them by.
    """
    corners = ring[chosen]
    if len(chosen) < 3:
        return corners
    moves = _best_places(corners, *_fitted_lines(ring, chosen)) - corners
    moves *= (tolerance / np.maximum(np.hypot(*moves.T), tolerance))[:, None]
    edge_of = np.searchsorted(chosen, np.arange(len(ring)), side="right") - 1  # -1: the last edge, over the ring's end
    for left in _RETREATS:
        placed = np.clip(corners + moves, 0, size)
        too_far = _distances(ring, placed[edge_of], np.roll(placed, -1, axis=0)[edge_of]) > tolerance + _ROUNDING
        if not too_far.any():
            return placed
        broken = np.zeros(len(chosen), dtype=np.bool_)
        broken[edge_of[too_far]] = True
        moves[broken | np.roll(broken, 1)] *= left
    return corners


def _fitted_lines(ring: Ring, chosen: Indices) -> tuple[Numbers, Numbers]:
    """For each edge the line that fits its part of the ring best: unit normals (n, 2) and offsets (n,).

    Least squares over the way itself, not over its vertices, by its integrals of 1, x, y, xx, xy and yy.
    """
    start = ring - ring[0]
    end = np.roll(start, -1, axis=0)
    length = np.hypot(*(end - start).T)
    (a, c), (b, d) = start.T, end.T  # x and y of both ends
    integrals = length * [
        np.ones(len(ring)),
        (a + b) / 2,
        (c + d) / 2,
        (a * a + a * b + b * b) / 3,
        (2 * a * c + a * d + b * c + 2 * b * d) / 6,
        (c * c + c * d + d * d) / 3,
    ]
    total = np.concatenate([np.zeros((6, 1)), np.cumsum(np.tile(integrals, 2), axis=1)], axis=1)
    one, x, y, xx, xy, yy = total[:, np.append(chosen[1:], chosen[0] + len(ring))] - total[:, chosen]
    x, y, xx, xy, yy = x / one, y / one, xx / one, xy / one, yy / one
    angle = np.arctan2(2 * (xy - x * y), xx - x * x - yy + y * y) / 2
    normals = np.stack([-np.sin(angle), np.cos(angle)], axis=1)
    return normals, np.einsum("nx,nx->n", normals, np.stack([x, y], axis=1) + ring[0])


def _best_places(corners: Ring, normals: Numbers, offsets: Numbers) -> Numbers:
    """Where each corner is nearest (least squares) to the lines of its two edges and, a little, to where it was."""
    before = np.roll(normals, 1, axis=0)
    outer = np.einsum("nx,ny->nxy", normals, normals) + np.einsum("nx,ny->nxy", before, before) + _STAY * np.eye(2)
    target = normals * offsets[:, None] + before * np.roll(offsets, 1)[:, None] + _STAY * corners
    return np.asarray(np.linalg.solve(outer, target[..., None])[..., 0], dtype=np.float64)


def _distances(points: Ring, start: Ring, end: Ring) -> Numbers:
    """Of each point from its segment."""
    along = end - start
    squared = np.maximum(np.einsum("nx,nx->n", along, along), 1e-12)
    share = np.clip(np.einsum("nx,nx->n", points - start, along) / squared, 0, 1)
    return np.asarray(np.hypot(*(points - start - along * share[:, None]).T), dtype=np.float64)
