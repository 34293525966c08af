"""Pair predicted regions with drawn ones where the annotator did not keep the region but drew it anew."""

from collections.abc import Sequence

import numpy as np

from labeling.regions.cropped_mask import CroppedMask

MIN_IOU = 0.5  # below it, a region that went and one that came have nothing to do with each other
_SAME_LABEL = 1.0  # more than any IoU: a pair of one label comes first


def match_regions(
    before: Sequence[tuple[str | None, CroppedMask]], after: Sequence[tuple[str | None, CroppedMask]]
) -> list[tuple[int, int]]:
    """Pairs (index in `before`, index in `after`) of regions, each a label and a mask, one to one.

    Only pairs of IoU >= 0.5 count; of all ways to pair, it is the one of most same labels and then of the largest sum
    of IoUs. Masks of different sizes do not match.
    """
    if not before or not after:
        return []
    from scipy.optimize import linear_sum_assignment  # a fifth of a publisher's start, and few regions are drawn anew

    first, second = ([mask.trimmed() for _, mask in regions] for regions in (before, after))
    value = np.zeros((len(before), len(after)))
    for row, (label, _) in enumerate(before):
        for column, (other_label, _) in enumerate(after):
            iou = _iou(first[row], second[column])
            if iou >= MIN_IOU:
                value[row, column] = iou + (_SAME_LABEL if label == other_label else 0)
    rows, columns = linear_sum_assignment(value, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if value[row, column] > 0]


def _iou(first: CroppedMask, second: CroppedMask) -> float:
    """Of trimmed masks, looking only at where their crops meet: masks that lie apart cost nothing."""
    top, left = max(first.top, second.top), max(first.left, second.left)
    bottom = min(first.top + first.crop.shape[0], second.top + second.crop.shape[0])
    right = min(first.left + first.crop.shape[1], second.left + second.crop.shape[1])
    if top >= bottom or left >= right or (first.height, first.width) != (second.height, second.width):
        return 0.0
    one, other = (
        mask.crop[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left] for mask in (first, second)
    )
    common = int(np.count_nonzero(one & other))
    return common / (int(np.count_nonzero(first.crop)) + int(np.count_nonzero(second.crop)) - common)
