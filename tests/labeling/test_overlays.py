"""Masks over images, and what changed, looked at pixel by pixel."""

import numpy as np
import pytest
from PIL import Image

from labeling.overlays import GAINED, KEPT, REMOVED, Window, around, cut, draw_change, draw_instances, fitted, whole
from labeling.regions.cropped_mask import CroppedMask

RED, BLUE = (255, 0, 0), (0, 0, 255)


def block(top: int, left: int, bottom: int, right: int, size: tuple[int, int] = (60, 80)) -> CroppedMask:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return CroppedMask.of(mask)


def paper(size: tuple[int, int] = (80, 60)) -> Image.Image:
    return Image.new("RGB", size, (100, 100, 100))


def test_each_mask_has_its_colour_and_what_is_not_drawn_stays() -> None:
    drawn = np.asarray(
        draw_instances(paper(), whole(80, 60), [block(5, 5, 25, 25), block(30, 40, 50, 70)], [RED, BLUE])
    )
    assert (drawn[0, 0] == 100).all() and (drawn[28, 30] == 100).all()
    assert drawn[15, 15, 0] > 140 and drawn[15, 15, 2] < 100, "tinted red"
    assert drawn[40, 55, 2] > 140 and drawn[40, 55, 0] < 100, "tinted blue"


def test_masks_that_touch_are_told_apart_by_their_outlines() -> None:
    drawn = np.asarray(draw_instances(paper(), whole(80, 60), [block(5, 5, 25, 25), block(5, 25, 25, 45)], [RED, RED]))
    inside, between = drawn[15, 15, 0], drawn[15, 24:26, 0].max()
    assert between > inside + 20


def test_a_mask_is_where_it_was_in_a_smaller_picture_and_in_a_part() -> None:
    mask, image = block(20, 40, 40, 60), paper()
    small = np.asarray(draw_instances(cut(image, whole(80, 60), (40, 30)), whole(80, 60), [mask], [RED]))
    rows, columns = np.nonzero(small[..., 0] > 110)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (10, 19, 20, 29)
    window = Window(30, 10, 80, 60)
    part = np.asarray(draw_instances(cut(image, window, (100, 100)), window, [mask], [RED]))
    rows, columns = np.nonzero(part[..., 0] > 110)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 59, 20, 59)


def test_what_was_kept_removed_and_gained_has_its_colour() -> None:
    before, after = block(10, 10, 50, 40), block(10, 25, 50, 60)
    drawn = np.asarray(draw_change(paper(), whole(80, 60), before, after)).astype(int)

    def is_like(pixels: np.ndarray, colour: tuple[int, int, int]) -> bool:
        tint = pixels.reshape(-1, 3).mean(0) - 100
        return bool(np.corrcoef(tint, np.array(colour) - 100)[0, 1] > 0.99)

    assert is_like(drawn[20:40, 12:22], REMOVED) and drawn[20:40, 12:22].std() > 10, "striped, for who sees no colours"
    assert is_like(drawn[20:40, 28:37], KEPT) and is_like(drawn[20:40, 43:57], GAINED)
    assert (drawn[0, 0] == 100).all()


@pytest.mark.parametrize(("before", "after"), [(None, block(5, 5, 20, 20)), (block(5, 5, 20, 20), None), (None, None)])
def test_a_side_without_a_mask_is_none(before: CroppedMask | None, after: CroppedMask | None) -> None:
    drawn = np.asarray(draw_change(paper(), whole(80, 60), before, after))
    assert ((drawn != 100).any()) == (before is not None or after is not None)


def test_a_window_is_square_and_within_the_image() -> None:
    window = around([block(0, 70, 10, 80), block(5, 60, 12, 78)], 80, 60, least_px=16)
    assert (window.right, window.top) == (80, 0) and window.width == window.height == 30
    assert around([block(0, 0, 60, 80)], 80, 60) == whole(80, 60)
    assert around([block(0, 0, 0, 0)], 80, 60) == whole(80, 60), "nothing is drawn: all of it"


def test_a_picture_is_fitted_and_little_enlarged() -> None:
    assert fitted(whole(4000, 3000), 480) == (480, 360)
    assert fitted(whole(20, 10), 480) == (80, 40)
    assert fitted(whole(100_000, 2), 480) == (480, 1)
