"""Outlines: exact at tolerance 0, and else the fewest vertices that keep it."""

from itertools import product

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from argenseg_model.metrics import iou
from labeling.regions.contours import signed_area, trace_outlines
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.fitting import fit_vertices
from labeling.regions.keyhole import join_holes
from labeling.regions.outlines import draw_outlines
from labeling.regions.rasterize import fill_rings
from labeling.regions.simplify import choose_vertices

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
TOLERANCES = st.sampled_from([0.5, 0.8, 1.0, 1.5, 3.0])


def blob(seed: int, height: int = 9, width: int = 9) -> np.ndarray:
    noise = np.random.default_rng(seed).random((height, width))
    return cv2.GaussianBlur(noise, (0, 0), max(height, width) / 12) > 0.5


def all_rings(mask: np.ndarray) -> list[np.ndarray]:
    return [ring for outline in trace_outlines(CroppedMask.of(mask)) for ring in (outline.outer, *outline.holes)]


def distances(points: np.ndarray, ring: np.ndarray) -> np.ndarray:
    """Of each point from the nearest edge of a ring."""
    start, along = ring, np.roll(ring, -1, axis=0) - ring
    share = ((points[:, None] - start) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    nearest = start + np.clip(share, 0, 1)[..., None] * along
    return np.linalg.norm(points[:, None] - nearest, axis=-1).min(axis=1)


@given(MASKS)
def test_traced_rings_fill_the_mask_again(mask: np.ndarray) -> None:
    outlines = trace_outlines(CroppedMask.of(mask))
    height, width = mask.shape
    assert len(outlines) == cv2.connectedComponents(mask.view(np.uint8), connectivity=8)[0] - 1
    filled = np.zeros_like(mask)
    for outline in outlines:
        assert signed_area(outline.outer) > 0 and all(signed_area(hole) < 0 for hole in outline.holes)
        filled |= fill_rings([outline.outer, *outline.holes], width, height)
    assert np.array_equal(filled, mask)


@given(MASKS)
def test_a_keyhole_loses_no_pixel_and_costs_two_vertices(mask: np.ndarray) -> None:
    height, width = mask.shape
    for outline in trace_outlines(CroppedMask.of(mask)):
        joined = join_holes(outline.outer, outline.holes)
        assert len(joined) == len(outline.outer) + sum(len(hole) + 2 for hole in outline.holes)
        rings = [outline.outer, *outline.holes]
        assert np.array_equal(fill_rings([joined], width, height), fill_rings(rings, width, height))


def test_a_keyhole_bridges_the_shortest_gaps() -> None:
    mask = np.ones((20, 90), np.bool_)
    mask[8:12, 2:10] = mask[8:12, 12:40] = mask[8:12, 43:80] = False
    (outline,) = trace_outlines(CroppedMask.of(mask))
    joined = join_holes(outline.outer, outline.holes)
    edges = np.linalg.norm(joined - np.roll(joined, 1, axis=0), axis=1)
    slanted = np.sort(edges[(joined != np.roll(joined, 1, axis=0)).all(axis=1)])
    assert slanted.tolist() == pytest.approx([np.hypot(2, 8)] * 2), "the first hole to the corner; the others straight"
    assert np.count_nonzero(np.isclose(edges, 2)) == np.count_nonzero(np.isclose(edges, 3)) == 2


def fewest_by_trying_all(ring: np.ndarray, tolerance: float) -> int:
    count = len(ring)

    def fits(tail: int, span: int) -> bool:
        ends = ring[[tail, (tail + span) % count]]
        between = ring[(tail + np.arange(1, span)) % count]
        return bool((ends[0] != ends[1]).any()) and bool((distances(between, ends) <= tolerance + 1e-7).all())

    fitting = {(tail, span) for tail, span in product(range(count), range(1, count)) if fits(tail, span)}
    best = count
    for start in range(count):
        fewest = [0.0] + [np.inf] * count
        for head, tail in product(range(1, count + 1), range(count)):
            if tail < head and ((start + tail) % count, head - tail) in fitting:
                fewest[head] = min(fewest[head], fewest[tail] + 1)
        best = min(best, int(min(fewest[count], count)))
    return best


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.5])
def test_no_choice_of_vertices_has_fewer(seed: int, tolerance: float) -> None:
    rings = [ring for ring in all_rings(blob(seed, 7, 7)) if len(ring) <= 40]
    assert rings
    for ring, chosen in zip(rings, choose_vertices(rings, tolerance), strict=True):
        assert len(chosen) == fewest_by_trying_all(ring, tolerance)


@given(MASKS, TOLERANCES)
def test_the_outline_stays_within_the_tolerance(mask: np.ndarray, tolerance: float) -> None:
    rings = all_rings(mask)
    for ring, chosen in zip(rings, choose_vertices(rings, tolerance) if rings else [], strict=True):
        fitted = fit_vertices(ring, chosen, tolerance, mask.shape[::-1])
        assert fitted.min() >= 0 and (fitted <= mask.shape[::-1]).all()
        assert distances(ring, fitted).max() <= tolerance + 1e-4
        assert distances(fitted, ring).max() <= tolerance + 1e-4


def test_fewer_vertices_and_closer_than_douglas_and_peucker() -> None:
    ours, theirs, our_iou, their_iou = 0, 0, [], []
    for seed in range(4):
        mask = blob(seed, 60, 80)
        drawn = draw_outlines(CroppedMask.of(mask), 1.0)
        peucker = [cv2.approxPolyDP(ring.astype(np.int32)[:, None], 1.0, True)[:, 0] for ring in all_rings(mask)]
        ours, theirs = ours + sum(map(len, drawn)), theirs + sum(map(len, peucker))
        our_iou.append(iou(fill_rings(drawn, 80, 60), mask))
        their_iou.append(iou(fill_rings([ring.astype(np.float64) for ring in peucker], 80, 60), mask))
    assert ours < 0.85 * theirs
    assert np.mean(our_iou) > np.mean(their_iou)


@given(MASKS, TOLERANCES)
@settings(deadline=None)
def test_objects_keep_their_shape(mask: np.ndarray, tolerance: float) -> None:
    height, width = mask.shape
    outlines = trace_outlines(CroppedMask.of(mask))
    for outline, ring in zip(outlines, draw_outlines(CroppedMask.of(mask), tolerance), strict=True):
        exact = fill_rings([outline.outer, *outline.holes], width, height)
        assert iou(fill_rings([ring], width, height), exact) >= 0.8


def test_a_thin_hole_closes_and_a_thin_object_stays() -> None:
    mask = np.zeros((40, 60), np.bool_)
    mask[5:35, 5:40] = True
    mask[20, 20] = False
    mask[5:35, 50] = True
    block, line = draw_outlines(CroppedMask.of(mask), 1.5)
    assert fill_rings([block], 60, 40).sum() == 30 * 35
    assert fill_rings([line], 60, 40).sum() == 30
