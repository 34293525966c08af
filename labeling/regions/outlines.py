"""A mask as closed outlines that an annotator can edit: one ring for each object, with few vertices."""

from collections.abc import Sequence

import numpy as np

from argenseg_model.metrics import iou
from labeling.regions.contours import Outline, trace_outlines
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.fitting import fit_vertices
from labeling.regions.keyhole import join_holes
from labeling.regions.rasterize import Ring, fill_rings
from labeling.regions.simplify import choose_vertices

_MIN_IOU = 0.8  # of a simplified object with itself
_LEAST_TOLERANCE = 0.25  # px; below, nothing is left to simplify on the edges of pixels


def draw_outlines(mask: CroppedMask, tolerance: float) -> list[Ring]:
    """One ring for each connected object (8-connected) of a mask; holes are keyholes.

    No outline moves by more than `tolerance` px: holes thinner than that close, objects never vanish, and one that
    would lose its shape (IoU below 0.8: it is small or thin) gets a smaller tolerance. With 0 the ring is exact.
    """
    outlines, size = trace_outlines(mask), (mask.width, mask.height)
    drawn: dict[int, Ring] = {}
    open_ = [index for index, outline in enumerate(outlines) if len(outline.outer) > 4 or outline.holes]  # not boxes
    while open_ and tolerance >= _LEAST_TOLERANCE:
        simplified = _simplify([outlines[index] for index in open_], tolerance, size)
        for index, rings in zip(open_, simplified, strict=True):
            if _keeps_shape(rings, outlines[index]):
                drawn[index] = join_holes(rings[0], rings[1:])
        open_ = [index for index in open_ if index not in drawn]
        tolerance /= 2
    return [
        drawn[index] if index in drawn else join_holes(outline.outer, outline.holes)
        for index, outline in enumerate(outlines)
    ]


def _simplify(outlines: Sequence[Outline], tolerance: float, size: tuple[int, int]) -> list[list[Ring]]:
    """The rings of each outline, the outer one first; holes that are too thin for three vertices are left out."""
    exact = [ring for outline in outlines for ring in (outline.outer, *outline.holes)]
    chosen = choose_vertices(exact, tolerance)
    rings = iter([fit_vertices(ring, vertices, tolerance, size) for ring, vertices in zip(exact, chosen, strict=True)])
    simplified = [[next(rings) for _ in (outline.outer, *outline.holes)] for outline in outlines]
    return [[outer, *(hole for hole in holes if len(hole) >= 3)] for outer, *holes in simplified]


def _keeps_shape(rings: Sequence[Ring], outline: Outline) -> bool:
    if len(rings[0]) < 3:
        return False
    corner = np.floor(np.minimum(outline.outer.min(axis=0), rings[0].min(axis=0)))
    width, height = np.ceil(np.maximum(outline.outer.max(axis=0), rings[0].max(axis=0)) - corner).astype(int).tolist()
    exact = fill_rings([ring - corner for ring in (outline.outer, *outline.holes)], width, height)
    return iou(fill_rings([ring - corner for ring in rings], width, height), exact) >= _MIN_IOU
