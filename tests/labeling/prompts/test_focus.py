import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from labeling.prompts.focus import (
    Box,
    Focus,
    Point,
    fill_doubtful_boxes,
    focus_window,
    limit_to_focus,
    widen_window,
)


@pytest.fixture
def two() -> NDArray[np.bool_]:
    """100 x 200 px; objects of 40 x 40 px at rows 30-69, columns 20-59 and 120-159."""
    mask = np.zeros((100, 200), np.bool_)
    mask[30:70, 20:60] = mask[30:70, 120:160] = True
    return mask


LEFT, RIGHT = Point(20, 50), Point(70, 50)


def left(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask & (np.arange(200) < 100)


def test_a_box_keeps_what_is_inside(two: NDArray[np.bool_]) -> None:
    kept = limit_to_focus(two, Focus((Box(0, 0, 20, 50),)))
    assert np.array_equal(np.argwhere(kept), np.argwhere(two[:50, :40]))


def test_boxes_add_up(two: NDArray[np.bool_]) -> None:
    assert np.array_equal(limit_to_focus(two, Focus((Box(0, 0, 50, 100), Box(50, 0, 50, 100)))), two)


def test_a_box_may_be_turned_or_reach_beyond_the_image(two: NDArray[np.bool_]) -> None:
    assert np.array_equal(limit_to_focus(two, Focus((Box(50, 0, 500, 500, 90),))), left(two))
    assert not limit_to_focus(two, Focus((Box(200, 200, 10, 10),))).any()


def test_a_point_takes_the_object_under_it(two: NDArray[np.bool_]) -> None:
    assert np.array_equal(limit_to_focus(two, Focus(points=(LEFT,))), left(two))
    assert np.array_equal(limit_to_focus(two, Focus(points=(LEFT, RIGHT))), two)


def test_a_point_beside_an_object_takes_it_if_it_is_near(two: NDArray[np.bool_]) -> None:
    assert np.array_equal(limit_to_focus(two, Focus(points=(Point(9, 50),))), left(two))  # 2 px beside
    assert not limit_to_focus(two, Focus(points=(Point(45, 50),))).any()


def test_a_negative_point_takes_its_object_away(two: NDArray[np.bool_]) -> None:
    against = Point(70, 50, is_positive=False)
    assert np.array_equal(limit_to_focus(two, Focus(points=(LEFT, against))), left(two))
    assert not limit_to_focus(two, Focus(points=(against,))).any()


def test_a_negative_point_on_the_same_object_takes_its_side_away(two: NDArray[np.bool_]) -> None:
    kept = limit_to_focus(two, Focus(points=(Point(15, 50), Point(25, 50, is_positive=False), RIGHT)))
    assert kept[50, 32] and kept[50, 140] and not kept[50, 50]
    assert np.array_equal(kept[:, 100:], two[:, 100:])
    assert kept[:, :100].sum() == pytest.approx(800, abs=40)


def test_points_choose_among_what_the_boxes_keep(two: NDArray[np.bool_]) -> None:
    assert not limit_to_focus(two, Focus((Box(50, 0, 50, 100),), (LEFT,))).any()


PERCENT = st.floats(0, 100)


@given(
    st.lists(st.builds(Box, PERCENT, PERCENT, PERCENT, PERCENT, st.floats(-360, 360)), max_size=3),
    st.lists(st.builds(Point, PERCENT, PERCENT, st.booleans()), max_size=4),
    st.integers(0, 2**32 - 1),
)
def test_only_what_was_found_is_kept(boxes: list[Box], points: list[Point], seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 13)) < 0.5
    before = mask.copy()
    kept = limit_to_focus(mask, Focus(tuple(boxes), tuple(points)))
    assert kept.shape == mask.shape and not (kept & ~mask).any() and np.array_equal(mask, before)
    if any(point.is_positive is False for point in points) and not any(point.is_positive for point in points):
        assert not kept.any()


@given(
    st.lists(st.builds(Box, PERCENT, PERCENT, PERCENT, PERCENT, st.floats(-360, 360)), min_size=1, max_size=2)
    | st.just([]),
    st.lists(st.builds(Point, PERCENT, PERCENT), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_window_holds_what_its_focus_can_keep(boxes: list[Box], points: list[Point], with_points: bool) -> None:
    focus = Focus(tuple(boxes), tuple(points) if with_points or not boxes else ())
    left, top, right, bottom = focus_window(focus, 60, 40)
    assert 0 <= left < right <= 60 and 0 <= top < bottom <= 40
    kept = limit_to_focus(np.ones((40, 60), np.bool_), Focus(focus.boxes))
    outside = kept.copy()
    outside[top:bottom, left:right] = False
    assert not (focus.boxes and outside.any())


def test_a_window_is_small_on_a_large_image() -> None:
    assert focus_window(Focus((Box(10, 20, 5, 5),)), 4000, 3000) == (300, 500, 700, 850)
    assert focus_window(Focus((Box(10, 20, 1, 1),)), 4000, 3000) == (324, 524, 516, 706)  # of a small one 192 px
    assert focus_window(Focus(points=(Point(50, 50),)), 640, 480) == (224, 144, 416, 336)
    corner = Point(0, 100)
    assert focus_window(Focus(points=(corner,)), 4000, 3000) == (0, 2880, 120, 3000)
    assert focus_window(Focus(points=(corner, Point(90, 5, is_positive=False))), 4000, 3000) == (0, 2880, 120, 3000)
    assert focus_window(Focus((Box(500, 500, 5, 5),)), 40, 30) == (39, 29, 40, 30)


def test_a_window_grows_where_its_object_goes_on() -> None:
    def widened(rows: slice, columns: slice, window: tuple[int, int, int, int] = (300, 300, 500, 500)) -> object:
        mask = np.zeros((700, 1000), np.bool_)
        mask[rows, columns] = True
        return widen_window(window, mask)

    assert widened(slice(310, 490), slice(310, 490)) == (300, 300, 500, 500)  # all of it is inside
    assert widened(slice(390, 410), slice(310, 500)) == (300, 300, 812, 500)  # it goes on to the right
    assert widened(slice(390, 410), slice(300, 499)) == (144, 300, 656, 500)  # to both sides, less one pixel
    assert widened(slice(300, 500), slice(310, 490)) == (300, 144, 500, 656)
    assert widened(slice(310, 490), slice(0, 300)) == (300, 300, 500, 500)  # outside is not what it shows
    assert widened(slice(0, 200), slice(0, 200), (0, 0, 200, 200)) == (0, 0, 512, 512)  # not beyond the image
    assert widened(slice(500, 700), slice(0, 100), (0, 500, 200, 700)) == (0, 188, 200, 700)
    assert widened(slice(0, 700), slice(0, 1000), (0, 0, 900, 700)) == (0, 0, 900, 700)  # more than is looked at again
    assert widened(slice(0, 700), slice(0, 1000), (0, 0, 1000, 700)) == (0, 0, 1000, 700)


def test_a_box_that_holds_much_less_than_an_object_is_filled(two: NDArray[np.bool_]) -> None:
    """Nothing, or a bit of something, is not what the box was drawn around; most of an object is."""
    height, width = two.shape
    box = Box(10, 10, 40, 40)
    focus, filled = Focus((box,)), np.zeros_like(two)
    filled[round(0.1 * height) : round(0.5 * height), round(0.1 * width) : round(0.5 * width)] = True
    nothing, bit, most = np.zeros_like(two), np.zeros_like(two), filled.copy()
    bit[round(0.12 * height), round(0.12 * width)] = True
    most[:, round(0.46 * width) :] = False
    for mask, expected in ((nothing, filled), (bit, filled), (most, most)):
        assert np.array_equal(fill_doubtful_boxes(limit_to_focus(mask, focus), focus), expected)


def test_boxes_of_areas_are_filled_where_nothing_is_in_them_and_boxes_with_points_never(
    two: NDArray[np.bool_],
) -> None:
    area, nothing, bit = Focus((Box(0, 0, 60, 60),)), np.zeros_like(two), np.zeros_like(two)
    bit[10, 10] = True
    assert fill_doubtful_boxes(nothing, area).sum() == 60 * 120
    assert np.array_equal(fill_doubtful_boxes(bit, area), bit)
    assert not fill_doubtful_boxes(nothing, Focus((Box(10, 10, 20, 20),), (LEFT,))).any()


def test_a_box_leaves_out_its_neighbour_which_it_cuts(two: NDArray[np.bool_]) -> None:
    """Of the right object a quarter is in the box. Where there is nothing else, that is what is meant."""
    assert np.array_equal(limit_to_focus(two, Focus((Box(5, 20, 60, 60),))), left(two))
    assert limit_to_focus(two, Focus((Box(50, 20, 15, 60),))).sum() == 40 * 10
