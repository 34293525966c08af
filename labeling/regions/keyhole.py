"""A ring with holes as one ring: Label Studio's polygons have no holes of their own."""

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from labeling.regions.rasterize import Ring


def join_holes(outer: Ring, holes: Sequence[Ring]) -> Ring:
    """Cut every hole open to the outline, there and back along one line between the two nearest vertices.

    The line has no width, so the filled pixels are exactly those of the rings; two vertices are added for each hole.
    The holes must run the other way round.
    """
    if not holes:
        return outer
    to_outer = cKDTree(outer)
    joined = outer
    for hole in sorted(holes, key=lambda hole: float(to_outer.query(hole)[0].min())):
        distances, nearest = cKDTree(joined).query(hole)
        at_hole = int(np.argmin(distances))
        at_joined = int(nearest[at_hole])
        way_round = np.concatenate([hole[at_hole:], hole[: at_hole + 1]])
        joined = np.concatenate([joined[: at_joined + 1], way_round, joined[at_joined:]])
    return joined
