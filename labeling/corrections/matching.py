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
            iou = first[row].iou(second[column])
            if iou >= MIN_IOU:
                value[row, column] = iou + (_SAME_LABEL if label == other_label else 0)
    rows, columns = linear_sum_assignment(value, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if value[row, column] > 0]
