"""Small pictures for people: masks drawn over an image, or what changed between two masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from labeling.regions.cropped_mask import CroppedMask

Colour = tuple[int, int, int]

KEPT, REMOVED, GAINED = (86, 180, 233), (224, 97, 13), (22, 180, 124)
"""Of what changed; told apart by the colour-blind too, and the page's legend has the same."""

_FILL = 0.38
_SUPERSAMPLED_PX = 800  # up to this size edges are drawn at twice the size and made smaller
_STRIPE_PX = 5


@dataclass(frozen=True)
class Window:
    """A part of an image, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In px."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In px."""
        return self.bottom - self.top


def whole(width: int, height: int) -> Window:
    """All of an image."""
    return Window(0, 0, width, height)


def around(masks: Sequence[CroppedMask], width: int, height: int, least_px: int = 48) -> Window:
    """A square window around what is drawn in masks of one image, with room at its sides, as far as the image goes."""
    drawn = [mask.trimmed() for mask in masks if not mask.is_empty]
    if not drawn:
        return whole(width, height)
    left, top = min(mask.left for mask in drawn), min(mask.top for mask in drawn)
    right = max(mask.left + mask.crop.shape[1] for mask in drawn)
    bottom = max(mask.top + mask.crop.shape[0] for mask in drawn)
    side = max(least_px, round(1.5 * max(right - left, bottom - top)))
    (left, right), (top, bottom) = _widened(left, right, side, width), _widened(top, bottom, side, height)
    return Window(left, top, right, bottom)


def fitted(window: Window, box_px: int) -> tuple[int, int]:
    """Width and height of a window's picture whose longer side is at most `box_px`, never enlarged beyond 4 times."""
    scale = min(box_px / max(window.width, window.height), 4.0)
    return max(1, round(window.width * scale)), max(1, round(window.height * scale))


def cut(image: Image.Image, window: Window, size: tuple[int, int]) -> Image.Image:
    """The window of an image as an RGB picture of `size` (width, height)."""
    box = (window.left, window.top, window.right, window.bottom)
    is_enlarged = size[0] > window.width
    resampling = Image.Resampling.BICUBIC if is_enlarged else Image.Resampling.BOX
    return image.convert("RGB").resize(size, resampling, box=box)


def draw_instances(
    picture: Image.Image, window: Window, masks: Sequence[CroppedMask], colours: Sequence[Colour]
) -> Image.Image:
    """Each mask filled and outlined in its colour over the window's picture; touching ones stay apart by their outline.

    `colours` has one for each mask. Masks are of the size of the image that the window is of.
    """
    scale = _scale(picture)
    rows, columns = _grid(window, picture, scale)
    instances = np.zeros((rows.size, columns.size), np.int32)
    for number, mask in enumerate(masks, 1):
        _put(instances, mask, rows, columns, number)
    palette = np.array([(0, 0, 0), *colours], np.uint8)
    return _blend(picture, instances, palette, np.full(len(palette), _FILL), scale)


def draw_change(
    picture: Image.Image, window: Window, before: CroppedMask | None, after: CroppedMask | None
) -> Image.Image:
    """What was kept, removed (striped) and gained, over the window's picture."""
    scale = _scale(picture)
    rows, columns = _grid(window, picture, scale)
    kinds = np.zeros((2, rows.size, columns.size), np.int32)
    for layer, mask in zip(kinds, (before, after), strict=True):
        if mask is not None:
            _put(layer, mask, rows, columns, 1)
    kind = np.where(kinds[0] & kinds[1], 1, np.where(kinds[0], 2, np.where(kinds[1], 3, 0)))
    stripes = (np.add.outer(np.arange(rows.size), np.arange(columns.size)) // (_STRIPE_PX * scale)) % 2
    kind[(kind == 2) & (stripes == 1)] = 4
    palette = np.array([(0, 0, 0), KEPT, REMOVED, GAINED, REMOVED], np.uint8)
    return _blend(picture, kind, palette, np.array([0, 0.3, 0.75, 0.65, 0.3]), scale, joined={4: 2})


def _widened(start: int, end: int, side: int, length: int) -> tuple[int, int]:
    side = min(side, length)
    start = min(max((start + end - side) // 2, 0), length - side)
    return start, start + side


def _scale(picture: Image.Image) -> int:
    return 2 if max(picture.size) <= _SUPERSAMPLED_PX else 1


def _grid(window: Window, picture: Image.Image, scale: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The image's row and column behind each row and column of the drawing."""
    return (
        window.top + ((np.arange(picture.height * scale) + 0.5) * window.height / (picture.height * scale)).astype(int),
        window.left + ((np.arange(picture.width * scale) + 0.5) * window.width / (picture.width * scale)).astype(int),
    )


def _put(
    into: NDArray[np.int32], mask: CroppedMask, rows: NDArray[np.int64], columns: NDArray[np.int64], value: int
) -> None:
    top, bottom = np.searchsorted(rows, (mask.top, mask.top + mask.crop.shape[0]))
    left, right = np.searchsorted(columns, (mask.left, mask.left + mask.crop.shape[1]))
    drawn = mask.crop[np.ix_(rows[top:bottom] - mask.top, columns[left:right] - mask.left)]
    into[top:bottom, left:right][drawn] = value


def _blend(
    picture: Image.Image,
    kinds: NDArray[np.int32],
    palette: NDArray[np.uint8],
    fills: NDArray[np.float64],
    scale: int,
    joined: dict[int, int] | None = None,
) -> Image.Image:
    """Lay colours over the picture: `kinds` (height, width) times `scale` chooses colour and opacity, 0 is nothing.

    Where two kinds meet is an outline, unless one is `joined` to the other.
    """
    outlined = kinds
    for part, of in (joined or {}).items():
        outlined = np.where(outlined == part, of, outlined)
    edge = _edges(outlined, max(scale, max(kinds.shape) // 640))
    opacity = np.where(edge, 1.0, np.concatenate(([0.0], fills[1:]))[kinds]).astype(np.float32)
    colour = palette[kinds] * opacity[..., None]
    if scale > 1:
        height, width = kinds.shape[0] // scale, kinds.shape[1] // scale
        opacity = opacity.reshape(height, scale, width, scale).mean(axis=(1, 3))
        colour = colour.reshape(height, scale, width, scale, 3).mean(axis=(1, 3))
    blended = np.asarray(picture, np.float32) * (1 - opacity[..., None]) + colour
    return Image.fromarray(np.clip(blended + 0.5, 0, 255).astype(np.uint8))


def _edges(kinds: NDArray[np.int32], width: int) -> NDArray[np.bool_]:
    """Drawn pixels beside another kind, `width` px deep."""
    edge = np.zeros(kinds.shape, np.bool_)
    for step in range(1, width + 1):
        edge[step:] |= kinds[step:] != kinds[:-step]
        edge[:-step] |= kinds[:-step] != kinds[step:]
        edge[:, step:] |= kinds[:, step:] != kinds[:, :-step]
        edge[:, :-step] |= kinds[:, :-step] != kinds[:, step:]
    return edge & (kinds > 0)
