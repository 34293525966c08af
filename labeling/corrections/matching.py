"""Pair predicted regions with drawn ones where the annotator did not keep the region but drew it anew."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Mask = NDArray[np.bool_]

MIN_IOU = 0.5  # below it, a region that went and one that came have nothing to do with each other
_SAME_LABEL = 1.0  # more than any IoU: a pair of one label comes first


def match_regions(
    before: Sequence[tuple[str | None, Mask]], after: Sequence[tuple[str | None, Mask]]
) -> list[tuple[int, int]]:
    """Pairs (index in `before`, index in `after`) of regions, each a label and a mask (height, width), one to one.

    Only pairs of IoU >= 0.5 count; of all ways to pair, it is the one of most same labels and then of the largest sum
    of IoUs. Masks of different sizes do not match.
    """
    if not before or not after:
        return []
    first, second = ([_Box.around(mask) for _, mask in regions] for regions in (before, after))
    value = np.zeros((len(before), len(after)))
    for row, (label, _) in enumerate(before):
        for column, (other_label, _) in enumerate(after):
            iou = first[row].iou(second[column])
            if iou >= MIN_IOU:
                value[row, column] = iou + (_SAME_LABEL if label == other_label else 0)
    rows, columns = linear_sum_assignment(value, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if value[row, column] > 0]


class _Box:
    """A mask with its bounding box, so that masks that lie apart cost nothing."""

    def __init__(self, mask: Mask, top: int, bottom: int, left: int, right: int, area: int) -> None:
        self.mask, self.area = mask, area
        self.top, self.bottom, self.left, self.right = top, bottom, left, right

    @classmethod
    def around(cls, mask: Mask) -> "_Box":
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls(mask, 0, 0, 0, 0, 0)
        return cls(mask, rows[0], rows[-1] + 1, columns[0], columns[-1] + 1, int(np.count_nonzero(mask)))

    def iou(self, other: "_Box") -> float:
        window = (
            slice(max(self.top, other.top), min(self.bottom, other.bottom)),
            slice(max(self.left, other.left), min(self.right, other.right)),
        )
        if self.mask.shape != other.mask.shape or any(side.start >= side.stop for side in window):
            return 0.0
        common = int(np.count_nonzero(self.mask[window] & other.mask[window]))
        return common / (self.area + other.area - common)
