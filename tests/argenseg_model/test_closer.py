import numpy as np
import pytest

from argenseg_model.closer import Part, merge_parts, parts_to_see, thickness


def disc(side, radius, x, y):
    ys, xs = np.mgrid[:side, :side]
    return (xs - x) ** 2 + (ys - y) ** 2 <= radius**2


@pytest.mark.parametrize(("radius", "least", "most"), [(3, 3, 6), (12, 14, 26)])
def test_thickness_grows_with_what_is_shown(radius, least, most):
    assert least < thickness(disc(64, radius, 32, 32)) < most


def test_large_things_and_small_images_are_not_looked_at_again():
    mask = disc(512, 100, 256, 256)
    assert parts_to_see(mask, 25.0, 4) == []
    assert parts_to_see(mask[:90, :90], 2.0, 4) == []


def test_parts_cover_all_that_is_small_and_skip_what_is_empty():
    mask = disc(600, 8, 60, 60) | disc(600, 8, 70, 500)
    parts = parts_to_see(mask, 3.0, 3)
    covered = np.zeros_like(mask)
    for part in parts:
        covered[part.at] = True
        assert mask[part.at].any()
    assert covered[mask].all() and 1 < len(parts) < 9


def test_a_part_refines_what_it_agrees_on_and_nothing_else():
    coarse = disc(200, 40, 100, 100).astype(np.float32)
    finer, whole = disc(200, 38, 101, 100).astype(np.float32), Part(0, 0, 200, 200)
    elsewhere = finer + disc(200, 10, 20, 20)  # far from all that was found
    merged = merge_parts(coarse, [whole], [elsewhere], reach=4)
    assert np.array_equal(merged > 0.5, finer > 0.5)
    disagreeing = disc(200, 20, 70, 100).astype(np.float32)
    assert np.array_equal(merge_parts(coarse, [whole], [disagreeing], reach=4), coarse)
