"""A mask's objects, one by one: connected pixels, and touching objects split at their waists."""

import cv2
import numpy as np
from numpy.typing import NDArray

Heights = NDArray[np.float32]
Indices = NDArray[np.int64]

# Two bulges are one object unless the waist between them is clearly narrower than the narrower bulge: by share and px.
# benchmarks/instances.py measures what that finds on real nuclei.
_WIDEST_WAIST = 0.9
_LEAST_WAIST_DEPTH = 0.75  # px of half-width: below, it is the roughness of an outline of pixels


def drop_small(mask: NDArray[np.bool_], min_area: int) -> NDArray[np.bool_]:
    """The mask (height, width) without its connected objects (8-connected) of less than `min_area` px."""
    if min_area <= 1 or not mask.any():
        return mask
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    is_kept = stats[:, cv2.CC_STAT_AREA] >= min_area
    is_kept[0] = False
    kept: NDArray[np.bool_] = is_kept[labels]
    return kept


def label_instances(mask: NDArray[np.bool_], min_area: int = 0) -> NDArray[np.int32]:
    """Number the objects of at least `min_area` px from 1, from the top left on, (height, width); 0 is background.

    Touching objects are split by a watershed on the distance from the background: every pixel climbs to a summit, and
    summits are one object as long as no waist is between them.
    """
    labels = np.zeros(mask.shape, dtype=np.int32)
    if not mask.any():
        return labels
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    drawn = np.s_[top : top + height, left : left + width]
    padded = np.pad(mask[drawn], 1)
    distance = cv2.distanceTransform(padded.view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    heights: Heights = distance.astype(np.float32, copy=False).ravel()
    pixels = np.flatnonzero(padded)
    climbs_to = _climb(heights, pixels, padded.shape[1])
    summits, basins = np.unique(climbs_to, return_inverse=True)
    waists = _find_waists(heights, pixels, basins, padded.shape[1])
    objects = _join_basins(heights[summits], *waists)[basins]
    _, first, objects, areas = np.unique(objects, return_index=True, return_inverse=True, return_counts=True)
    number = np.zeros(areas.size, dtype=np.int32)
    kept = np.argsort(first)[areas[np.argsort(first)] >= min_area]
    number[kept] = np.arange(1, kept.size + 1)
    padded_labels = np.zeros(padded.shape, dtype=np.int32)
    padded_labels.ravel()[pixels] = number[objects]
    labels[drawn] = padded_labels[1:-1, 1:-1]
    return labels


def _climb(height: Heights, pixels: Indices, width: int) -> Indices:
    """The summit (index) that each pixel gets to, always going to the highest of its eight neighbours.

    `height` is flat, its rows `width` long. Among equals the later pixel counts as higher, so nobody goes in circles.
    """
    target, top = pixels.copy(), height[pixels]
    for step in (1, width - 1, width, width + 1, -1, 1 - width, -width, -1 - width):
        there = pixels + step
        higher = (height[there] > top) | ((height[there] == top) & (there > target))
        target[higher], top[higher] = there[higher], height[there[higher]]
    place = np.zeros(height.size, dtype=np.int64)
    place[pixels] = np.arange(pixels.size)
    target = place[target]
    while not np.array_equal(further := target[target], target):
        target = further
    summits: Indices = pixels[target]
    return summits


def _find_waists(height: Heights, pixels: Indices, basins: Indices, width: int) -> tuple[Indices, Heights]:
    """Pairs of neighbouring basins (2, n) and the half-width of the waist between them, the widest first."""
    basin_of = np.full(height.size, -1)
    basin_of[pixels] = basins
    here = np.tile(pixels, 4)
    there = np.concatenate([pixels + step for step in (1, width - 1, width, width + 1)])
    border = (basin_of[there] >= 0) & (basin_of[here] != basin_of[there])
    here, there = here[border], there[border]
    waist = np.minimum(height[here], height[there])
    order = np.argsort(-waist, kind="stable")
    pairs = np.sort(np.stack([basin_of[here], basin_of[there]]), axis=0)[:, order]
    _, widest = np.unique(pairs[0] * pixels.size + pairs[1], return_index=True)
    widest.sort()
    return pairs[:, widest], waist[order][widest]


def _join_basins(summits: Heights, pairs: Indices, waists: Heights) -> Indices:
    """For each basin the object it belongs to. `summits` are the basins' heights."""
    top, parent = summits.tolist(), list(range(summits.size))

    def find(basin: int) -> int:
        while parent[basin] != basin:
            parent[basin] = parent[parent[basin]]
            basin = parent[basin]
        return basin

    for one, other, waist in zip(*pairs.tolist(), waists.tolist(), strict=True):
        low, high = sorted((find(one), find(other)), key=lambda basin: top[basin])
        if low != high and (waist >= _WIDEST_WAIST * top[low] or top[low] - waist < _LEAST_WAIST_DEPTH):
            parent[low] = high
    return np.array([find(basin) for basin in range(len(parent))])
