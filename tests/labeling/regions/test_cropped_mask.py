import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labeling.regions.cropped_mask import CroppedMask

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@given(MASKS)
def test_nothing_is_lost_and_nothing_empty_is_kept(mask: np.ndarray) -> None:
    cropped = CroppedMask.of(mask)
    assert np.array_equal(cropped.full(), mask)
    assert cropped.is_empty == (not mask.any()) == (cropped.crop.size == 0)
    assert not mask.any() or all(edge.any() for edge in (cropped.crop[[0, -1]].T, cropped.crop[:, [0, -1]]))


@given(MASKS, st.integers(0, 9), st.integers(0, 9))
def test_a_wider_crop_is_trimmed(crop: np.ndarray, top: int, left: int) -> None:
    wide = CroppedMask(crop, top, left, top + crop.shape[0] + 3, left + crop.shape[1])
    assert np.array_equal(wide.trimmed().full(), wide.full())
    assert np.array_equal(wide.trimmed().crop, CroppedMask.of(wide.full()).crop)


@given(MASKS)
def test_runs_are_pixels_row_by_row(mask: np.ndarray) -> None:
    steps = np.diff(mask.ravel().astype(int), prepend=0, append=0)
    starts, ends = np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
    assert np.array_equal(CroppedMask.of_runs(starts, ends, *mask.shape).full(), mask)
