"""Filling by pixel centres and winding number, against the definition."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labeling.errors import RegionError
from labeling.regions.rasterize import fill_rings

RINGS = hnp.arrays(
    np.float64, st.tuples(st.integers(3, 8), st.just(2)), elements=st.integers(-12, 24).map(lambda n: n / 2)
)


def winding_number(ring: np.ndarray, x: float, y: float) -> int:
    """Of a ring around a point: the angles to its vertices, added up."""
    way = (ring[:, 0] - x) + 1j * (ring[:, 1] - y)
    return round(float(np.angle(np.roll(way, -1) / way).sum() / (2 * np.pi)))


@given(RINGS)
def test_pixels_are_those_whose_centre_the_ring_winds_around(ring: np.ndarray) -> None:
    ring = ring + np.random.default_rng(0).uniform(-0.01, 0.01, ring.shape)  # no edge goes through a centre
    inside = [[winding_number(ring, x + 0.5, y + 0.5) != 0 for x in range(9)] for y in range(7)]
    assert np.array_equal(fill_rings([ring], 9, 7), inside)


def test_what_lies_outside_is_cut_off() -> None:
    ring = np.array([(-50.0, -50.0), (3.0, -50.0), (3.0, 50.0), (-50.0, 50.0)])
    assert fill_rings([ring], 6, 4).tolist() == [[True] * 3 + [False] * 3] * 4
    assert not fill_rings([ring - 100], 6, 4).any()


def test_a_star_has_no_hole() -> None:
    angles = np.arange(5) * 4 * np.pi / 5
    star = np.stack([50 + 45 * np.sin(angles), 50 - 45 * np.cos(angles)], axis=1)
    assert fill_rings([star], 100, 100)[50, 50]


def test_an_outline_without_end_is_refused_soon() -> None:
    zigzag = np.array([(0.0, 0.0), (1.0, 9000.0)] * 100_000)
    began = time.process_time()
    with pytest.raises(RegionError, match="pixel rows"):
        fill_rings([zigzag], 9000, 9000)
    assert time.process_time() - began < 5
