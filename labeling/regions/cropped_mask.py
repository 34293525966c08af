"""A mask without the empty space around it: 500 cells of a large image fit into memory beside each other.

And into time: what is done for each object looks at its own pixels, never at those of the whole image.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class CroppedMask:
    """`crop` is bool (h, w), at row `top` and column `left` of an image of `height` x `width` px."""

    crop: NDArray[np.bool_]
    top: int
    left: int
    height: int
    width: int

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Self:
        """A copy of what is drawn in the mask (height, width)."""
        return cls(mask, 0, 0, *mask.shape).trimmed()

    @classmethod
    def of_runs(cls, starts: NDArray[np.int64], ends: NDArray[np.int64], height: int, width: int) -> Self:
        """What is drawn from each start to before its end, in pixels counted row by row; ascending, none empty."""
        if starts.size == 0:
            return cls(np.zeros((0, 0), np.bool_), 0, 0, height, width)
        top, bottom = int(starts[0]) // width, (int(ends[-1]) - 1) // width + 1
        steps = np.zeros((bottom - top) * width + 1, np.int8)
        steps[starts - top * width] += 1
        steps[ends - top * width] -= 1
        rows = np.cumsum(steps[:-1], dtype=np.int8).view(np.bool_).reshape(-1, width)
        return cls(rows, top, 0, height, width).trimmed()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is drawn."""
        return not self.crop.any()

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the crop is in the image."""
        return np.s_[self.top : self.top + self.crop.shape[0], self.left : self.left + self.crop.shape[1]]

    def trimmed(self) -> Self:
        """A copy whose crop is no larger than what is drawn."""
        rows = np.flatnonzero(self.crop.any(axis=1))
        if rows.size == 0:
            return replace(self, crop=np.zeros((0, 0), np.bool_), top=0, left=0)
        drawn = self.crop[rows[0] : rows[-1] + 1]
        columns = np.flatnonzero(drawn.any(axis=0))
        crop = drawn[:, columns[0] : columns[-1] + 1].copy()
        return replace(self, crop=crop, top=self.top + int(rows[0]), left=self.left + int(columns[0]))

    def iou(self, other: Self) -> float:
        """Intersection over union of two trimmed masks; 0 where they lie apart, or on images of different sizes."""
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom = min(self.top + self.crop.shape[0], other.top + other.crop.shape[0])
        right = min(self.left + self.crop.shape[1], other.left + other.crop.shape[1])
        if top >= bottom or left >= right or (self.height, self.width) != (other.height, other.width):
            return 0.0
        mine, its = (
            mask.crop[top - mask.top : bottom - mask.top, left - mask.left : right - mask.left]
            for mask in (self, other)
        )
        common = int(np.count_nonzero(mine & its))
        return common / (int(np.count_nonzero(self.crop)) + int(np.count_nonzero(other.crop)) - common)

    def full(self) -> NDArray[np.bool_]:
        """The mask (height, width)."""
        mask = np.zeros((self.height, self.width), np.bool_)
        mask[self.window] = self.crop
        return mask
