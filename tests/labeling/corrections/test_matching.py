from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from argenseg_model.metrics import iou
from labeling.corrections.matching import MIN_IOU, match_regions
from labeling.regions.cropped_mask import CroppedMask

SHAPE = (3, 4)
masks = arrays.arrays(bool, SHAPE)
regions = st.lists(st.tuples(st.sampled_from(["a", "b", None]), masks), max_size=4)


def value(before, after) -> float:
    overlap = iou(before[1], after[1]) if before[1].any() and after[1].any() else 0.0
    return overlap + (before[0] == after[0]) if overlap >= MIN_IOU else 0.0


def cropped(regions: list[tuple[str | None, np.ndarray]]) -> list[tuple[str | None, CroppedMask]]:
    return [(label, CroppedMask.of(mask)) for label, mask in regions]


@given(regions, regions)
def test_no_other_pairing_is_better(before, after) -> None:
    pairs = match_regions(cropped(before), cropped(after))
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(value(before[row], after[column]) >= MIN_IOU for row, column in pairs)
    small, large = sorted((before, after), key=len)
    best = max(
        sum(value(*pair) for pair in zip(small, chosen, strict=True)) for chosen in permutations(large, len(small))
    )
    assert abs(sum(value(before[row], after[column]) for row, column in pairs) - best) < 1e-9


def test_masks_of_different_sizes_do_not_match() -> None:
    assert match_regions(cropped([("a", np.ones((4, 4), bool))]), cropped([("a", np.ones((4, 5), bool))])) == []
