"""A ring with holes as one ring: Label Studio's polygons have no holes of their own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labeling.regions.rasterize import Ring

_NEIGHBOURS = 16  # of a vertex, that are looked at for a short bridge


def join_holes(outer: Ring, holes: Sequence[Ring]) -> Ring:
    """Join rings by bridges that are walked there and back, the shortest between their vertices that do.

    A bridge has no width, so the filled pixels stay exactly those of the rings, whose holes run the other way round.
    Each hole adds two vertices.
    """
    if not holes:
        return outer
    sizes = [len(ring) for ring in (outer, *holes)]
    points = np.concatenate([outer, *holes])
    following = np.arange(1, len(points) + 1)
    following[np.cumsum(sizes) - 1] = np.cumsum(sizes) - sizes
    place, after = list(range(len(points))), following.tolist()
    for here, there in _bridges(points, np.repeat(np.arange(len(sizes)), sizes)).tolist():
        place += [place[here], place[there]]
        after += [after[here], after[there]]
        after[here], after[there] = len(after) - 1, len(after) - 2  # to the other's copy, and back to the own one
    way = [0]
    while (vertex := after[way[-1]]) != 0:
        way.append(vertex)
    joined: Ring = points[np.array(place)[way]]
    return joined


def _bridges(points: Ring, ring_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of vertices (rings - 1, 2) that connect all rings: a spanning tree, minimal but for `_NEIGHBOURS`."""
    from scipy.sparse import coo_array  # a fifth of the web process's start, which draws nothing
    from scipy.sparse.csgraph import minimum_spanning_tree
    from scipy.spatial import cKDTree

    distance, other = cKDTree(points).query(points, k=min(_NEIGHBOURS, len(points)))
    here = np.repeat(np.arange(len(points)), distance.shape[1])
    is_outer = ring_of == 0
    to_outer, nearest = cKDTree(points[is_outer]).query(points[~is_outer])
    here = np.concatenate([here, np.flatnonzero(~is_outer)])
    there = np.concatenate([other.ravel(), np.flatnonzero(is_outer)[nearest]])
    length = np.concatenate([distance.ravel(), to_outer])
    rings = np.sort(np.stack([ring_of[here], ring_of[there]]), axis=0)
    order = np.argsort(length)
    order = order[(rings[0] != rings[1])[order]]
    pairs = rings[:, order]
    _, shortest = np.unique(pairs[0] * len(points) + pairs[1], return_index=True)
    edges = order[shortest]
    count = int(ring_of[-1]) + 1
    weights = 1 + length[edges]  # rings may touch: no weight may be 0, which means "no edge"
    tree = minimum_spanning_tree(coo_array((weights, (rings[0, edges], rings[1, edges])), shape=(count, count))).tocoo()
    index = {(a, b): edge for a, b, edge in zip(*rings[:, edges].tolist(), edges.tolist(), strict=True)}
    chosen = [index[a, b] for a, b in zip(tree.row.tolist(), tree.col.tolist(), strict=True)]
    return np.stack([here[chosen], there[chosen]], axis=1)
