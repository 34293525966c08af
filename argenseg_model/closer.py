"""A closer look: parts of a picture where what was found is small, and what to keep of what they show.

Pure geometry, without a model. The coarse answer stays wherever the closer one disagrees.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

SMALL = 9.0
"""Cells of the mask's picture: things that are as a rule thinner than this are worth a closer look."""
LEAST_SIDE, USUAL_SIDE = 96, 192
"""px: parts are never smaller, as enlarged further they show nothing more; and only halves are smaller than usual."""
OVERLAP = 0.25
"""Of a part's side: what neighbouring parts have in common."""
LEAST_AGREEMENT = 0.5
"""IoU of coarse and closer mask in a part, below which the coarse one stays there."""


@dataclass(frozen=True)
class Part:
    """A rectangle of the image in px."""

    x: int
    y: int
    width: int
    height: int

    @property
    def at(self) -> tuple[slice, slice]:
        return np.s_[self.y : self.y + self.height, self.x : self.x + self.width]


def thickness(picture: NDArray[np.bool_]) -> float:
    """How thick what a mask's picture shows is, in its cells: twice the area over the length of the outline."""
    padded = np.pad(picture, 1)
    inside = padded[1:-1, 1:-1]
    outline = sum(int((inside & ~padded[y : y + len(picture), x : x + picture.shape[1]]).sum())
                  for y, x in ((0, 1), (2, 1), (1, 0), (1, 2)))  # fmt: skip
    return 2 * 2 * int(inside.sum()) / max(1, outline)


def parts_to_see(mask: NDArray[np.bool_], thick: float, most: int) -> list[Part]:
    """Overlapping parts (at most `most` a side) that hold some of a mask (H, W) of things `thick` cells thick."""
    height, width = mask.shape
    wanted = min(most, int(np.ceil(SMALL / max(thick, 1e-3))) if thick < SMALL else 1)
    rows, columns = (
        max(1, min(wanted, length // LEAST_SIDE, max(2, length // USUAL_SIDE))) for length in (height, width)
    )
    if rows * columns == 1:
        return []
    parts = [Part(x, y, w, h) for y, h in _spans(height, rows) for x, w in _spans(width, columns)]
    return [part for part in parts if mask[part.at].any()]


def _spans(length: int, count: int) -> list[tuple[int, int]]:
    """(start, length) of `count` spans that cover a length."""
    if count == 1:
        return [(0, length)]
    span = int(np.ceil(length / (count - OVERLAP * (count - 1))))
    return [(round(i * (length - span) / (count - 1)), span) for i in range(count)]


def merge_parts(
    coarse: NDArray[np.float32], parts: list[Part], closer: list[NDArray[np.float32]], reach: int
) -> NDArray[np.float32]:
    """The probability map (H, W) with what parts show, near (`reach` px) what it holds and where both agree.

    A part's middle counts more than its edge, where it lacks context.
    """
    found = (coarse > 0.5).astype(np.uint8)
    near = cv2.dilate(found, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)) > 0
    total, weights = np.zeros_like(coarse), np.zeros_like(coarse)
    for part, probability in zip(parts, closer, strict=True):
        here, before = (probability > 0.5) & near[part.at], found[part.at] > 0
        union = np.count_nonzero(here | before)
        if not union or np.count_nonzero(here & before) / union < LEAST_AGREEMENT:
            probability = coarse[part.at]
        ramps = (np.minimum(np.arange(n) + 1, n - np.arange(n)).astype(np.float32) for n in (part.height, part.width))
        weight = np.minimum.outer(*ramps)
        total[part.at] += probability * weight
        weights[part.at] += weight
    seen = near & (weights > 0)
    merged = coarse.copy()
    merged[seen] = total[seen] / weights[seen]
    return merged
