"""The fewest of a ring's vertices that keep its shape: Imai and Iri's shortest path over shortcuts (1988), exact.

Douglas and Peucker's method, which keeps the same tolerance, leaves more: it never takes back a vertex that it chose.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from labeling.regions.rasterize import Ring

_ROUNDING = 1e-9
_LONGEST_SHORTCUT = 1024  # vertices: bounds time and memory where a long edge is nearly straight
_MOST_STARTS = 64

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]


def choose_vertices(rings: Sequence[Ring], tolerance: float) -> list[Indices]:
    """Of each ring the fewest vertices so that all others are within `tolerance` px of the edge that passes them by.

    Among equally few, those that keep the area best. What is thinner than the tolerance may be left with two vertices.
    """
    sizes = np.array([len(ring) for ring in rings])
    tails, spans = _shortcuts(np.concatenate(rings), sizes, tolerance)
    by_ring = np.searchsorted(tails, np.cumsum(sizes))[:-1]
    firsts = np.cumsum(sizes) - sizes
    return [
        _shortest_way(ring, ring_tails - first, ring_spans, tolerance)
        for ring, first, ring_tails, ring_spans in zip(
            rings, firsts, np.split(tails, by_ring), np.split(spans, by_ring), strict=True
        )
    ]


def _shortest_way(ring: Ring, tails: Indices, spans: Indices, tolerance: float) -> Indices:
    """The vertices of the way around that takes the fewest shortcuts.

    The vertices `starts` follow each other, and every way around takes one of them: it is looked for from each at once.
    Nodes are numbered from the first of them on, once around and then on to the last one's second visit.
    """
    count = len(ring)
    costs = 1 + _area_changes(ring, tails, spans) / _most_area_change(ring, tolerance)
    first, starts = _starts(tails, spans, count)
    tails = (tails - first) % count
    tails, spans, costs = np.concatenate([tails, tails + count]), np.tile(spans, 2), np.tile(costs, 2)
    heads = tails + spans
    by_head = np.argsort(heads, kind="stable")
    tails, costs = tails[by_head], costs[by_head]
    bounds = np.searchsorted(heads[by_head], np.arange(count + starts + 1)).tolist()
    lengths = np.full((count + starts, starts), np.inf)
    for node in range(count + starts):
        edges = slice(bounds[node], bounds[node + 1])
        if node:
            lengths[node] = (lengths[tails[edges]] + costs[edges, None]).min(axis=0, initial=np.inf)
        if node < starts:
            lengths[node, node] = 0
    start = int(np.argmin(lengths[np.arange(count, count + starts), np.arange(starts)]))
    way = [start + count]
    while way[-1] != start:
        edges = slice(bounds[way[-1]], bounds[way[-1] + 1])
        way.append(int(tails[edges][np.argmin(lengths[tails[edges], start] + costs[edges])]))
    return np.sort((np.array(way[1:]) + first) % count)


def _shortcuts(points: Ring, sizes: Indices, tolerance: float) -> tuple[Indices, Indices]:
    """All edges that pass no vertex of their ring by at more than the tolerance, in the order of where they begin.

    Returns that, and how many vertices on they end. Near the line in both directions means near the edge.
    """
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    size = np.repeat(sizes, sizes)
    tails, spans = [], []
    forwards = _in_sight(points, first, size, tolerance)
    backwards = _in_sight(points[::-1], (len(points) - first - size)[::-1], size[::-1], tolerance)
    for span, (forward, backward) in enumerate(zip(forwards, backwards, strict=False), start=1):
        head = len(points) - 1 - backward
        tail = first[head] + (head - first[head] - span) % size[head]
        both = np.intersect1d(forward, tail, assume_unique=True)
        tails.append(both)
        spans.append(np.full(both.size, span))
    order = np.argsort(np.concatenate(tails), kind="stable")
    return np.concatenate(tails)[order], np.concatenate(spans)[order]


def _in_sight(points: Ring, first: Indices, size: Indices, tolerance: float) -> Iterator[Indices]:
    """For 1, 2, 3, ... vertices on: from which vertices a ray to there passes all between within the tolerance.

    Each vertex that lies further away than the tolerance narrows the wedge of directions that the ray may take.
    """
    place = points[:, 0] + 1j * points[:, 1]
    origin: Indices = np.arange(len(points))
    axis: NDArray[np.complex128] = np.zeros_like(place)  # the direction angles count from; 0 before there is a wedge
    low: Numbers = np.full(len(points), -np.inf)
    high = -low
    for span in range(1, _LONGEST_SHORTCUT + 1):
        way = place[first + (origin - first + span) % size] - place[origin]
        distance = np.abs(way)
        angle = np.angle(way * axis.conj())
        yield origin[(low - _ROUNDING <= angle) & (angle <= high + _ROUNDING) & (distance > 0)]
        far = distance > tolerance
        begins = far & (axis == 0)
        axis[begins], angle[begins] = way[begins], 0
        half = np.arcsin(tolerance / np.maximum(distance, tolerance))
        low = np.where(far, np.maximum(low, angle - half), low)
        high = np.where(far, np.minimum(high, angle + half), high)
        goes_on = (low <= high + _ROUNDING) & (span + 1 < size)
        if not goes_on.any():
            return
        if not goes_on.all():
            origin, first, size = origin[goes_on], first[goes_on], size[goes_on]
            axis, low, high = axis[goes_on], low[goes_on], high[goes_on]


def _area_changes(ring: Ring, tails: Indices, spans: Indices) -> Numbers:
    """Area in px² between each shortcut and the way it cuts; what lies on both sides cancels out."""
    x, y = (ring - ring[0]).T
    swept = np.concatenate([[0], np.cumsum(x * np.roll(y, -1) - y * np.roll(x, -1))])  # twice the area, from vertex 0
    rounds, heads = np.divmod(tails + spans, len(ring))
    changes = swept[heads] + rounds * swept[-1] - swept[tails] + x[heads] * y[tails] - y[heads] * x[tails]
    return np.asarray(np.abs(changes) / 2, dtype=np.float64)


def _most_area_change(ring: Ring, tolerance: float) -> float:
    """More than all area changes of a simplified ring together: beside it they weigh less than one vertex."""
    perimeter = float(np.abs(ring - np.roll(ring, 1, axis=0)).sum())
    return 4 * (perimeter + 1) * (tolerance + 1)


def _starts(tails: Indices, spans: Indices, count: int) -> tuple[int, int]:
    """The first and the number of the vertices in a row that no shortcut jumps over; the shortest row there is."""
    reach = np.zeros(count, dtype=np.int64)
    np.maximum.at(reach, tails, spans)
    furthest = np.maximum.accumulate(np.arange(2 * count) + np.tile(reach, 2))
    begins = np.arange(count, 2 * count)
    jumped = furthest[begins - 1] - begins
    begin = int(np.argmin(jumped))
    return begin, min(int(jumped[begin]) + 1, count, _MOST_STARTS)
