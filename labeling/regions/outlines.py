"""A mask as closed outlines that an annotator can edit: one ring for each object, with few vertices."""

import numpy as np
from numpy.typing import NDArray

from argenseg_model.metrics import iou
from labeling.regions.contours import Outline, trace_outlines
from labeling.regions.keyhole import join_holes
from labeling.regions.rasterize import Ring, fill_rings
from labeling.regions.simplify import simplify_ring

_MIN_IOU = 0.8  # of a simplified object with itself
_LEAST_TOLERANCE = 0.25  # px; below, nothing is left to simplify on the edges of pixels


def draw_outlines(mask: NDArray[np.bool_], tolerance: float) -> list[Ring]:
    """One ring for each connected object (8-connected) of a mask (height, width); holes are keyholes.

    No outline moves by more than `tolerance` px: holes thinner than that close, objects never vanish, and one that
    would lose its shape (IoU below 0.8: it is small or thin) gets a smaller tolerance. With 0 the ring is exact.
    """
    return [_draw(outline, tolerance) for outline in trace_outlines(mask)]


def _draw(outline: Outline, tolerance: float) -> Ring:
    exact = [outline.outer, *outline.holes]
    corner = outline.outer.min(axis=0)
    width, height = (outline.outer.max(axis=0) - corner).astype(int).tolist()
    pixels = fill_rings([ring - corner for ring in exact], width, height) if tolerance >= _LEAST_TOLERANCE else None
    while pixels is not None and tolerance >= _LEAST_TOLERANCE:
        outer, *holes = (simplify_ring(ring, tolerance) for ring in exact)
        rings = [outer, *(hole for hole in holes if len(hole) >= 3)]
        if len(outer) >= 3 and iou(fill_rings([ring - corner for ring in rings], width, height), pixels) >= _MIN_IOU:
            return join_holes(outer, rings[1:])
        tolerance /= 2
    return join_holes(outline.outer, outline.holes)
