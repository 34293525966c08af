"""A mask without the empty space around it: 500 cells of a large image fit into memory beside each other."""

from dataclasses import dataclass
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
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return cls(np.zeros((0, 0), np.bool_), 0, 0, *mask.shape)
        drawn = mask[rows[0] : rows[-1] + 1]
        columns = np.flatnonzero(drawn.any(axis=0))
        crop = drawn[:, columns[0] : columns[-1] + 1].copy()
        return cls(crop, int(rows[0]), int(columns[0]), *mask.shape)

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the crop is in the image."""
        return np.s_[self.top : self.top + self.crop.shape[0], self.left : self.left + self.crop.shape[1]]

    def full(self) -> NDArray[np.bool_]:
        """The mask (height, width)."""
        mask = np.zeros((self.height, self.width), np.bool_)
        mask[self.window] = self.crop
        return mask
