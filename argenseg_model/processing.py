"""Pixels in and out: images and target masks to tensors, tiles, pictures back to probabilities at the image's size."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from argenseg_model.configuration import ARGenSegConfig

MAX_ENLARGED_TILES = 16
"""A thin strip is not enlarged to more than this many tile sides: one of 1 x 20,000 pixels would be endless."""


@dataclass(frozen=True)
class Tile:
    """A square of the image: left, top, side in pixels of the (possibly enlarged) image."""

    x: int
    y: int
    side: int


def image_to_pixels(image: Image.Image, config: ARGenSegConfig) -> Tensor:
    """RGB image of any size -> (3, S, S) float32: squashed (bicubic), /255, normalised per channel."""
    S = config.image_size
    resized = image if image.size == (S, S) else image.resize((S, S), Image.Resampling.BICUBIC)
    pixels_HW3 = torch.from_numpy(np.array(resized)).float() / 255
    return ((pixels_HW3 - torch.tensor(config.image_mean)) / torch.tensor(config.image_std)).permute(2, 0, 1)


def stretch_contrast(image: Image.Image, cutoff: float) -> Image.Image:
    """RGB image with its grey range stretched to 0..255, hues kept; `cutoff` is the share ignored at each end."""
    return ImageOps.autocontrast(image, cutoff=cutoff * 100, preserve_tone=True) if cutoff else image


def mask_to_pixels(mask: Image.Image | np.ndarray, config: ARGenSegConfig) -> Tensor:
    """Target mask (H, W) -> (3, side, side) float32 in [-1, 1], as the release prepares it.

    Values below 127 throughout count as 0/1 and are scaled to 0/255; resized (bicubic) through `mask_resize_steps`.
    """
    array = np.asarray(mask)
    array = array.astype(np.uint8) * (255 if array.max(initial=0) < 127 else 1)
    picture = Image.fromarray(array).convert("RGB")
    for side in config.mask_resize_steps:
        picture = picture.resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255 * 2 - 1


def picture_to_uint8(pictures_B3HW: Tensor) -> np.ndarray:
    """Pictures in [-1, 1] -> (B, H, W, 3) uint8, truncated as in the release."""
    scaled = (pictures_B3HW.float().clamp(-1, 1) + 1) * 0.5 * 255
    return scaled.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()


def picture_to_probability(picture_HW3: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 picture -> (height, width) float32 in [0, 1], mask where it exceeds 0.5; `size` is (width, height)."""
    resized = Image.fromarray(picture_HW3).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized.convert("L"), dtype=np.float32) / 255


def cut_tiles(image: Image.Image, config: ARGenSegConfig) -> tuple[list[Tile], list[Image.Image], tuple[int, int]]:
    """What the model looks at: the whole image ("squash") or overlapping tiles at its own resolution ("tile").

    Returns the tiles, their pictures, and the (width, height) they refer to: the image's own, or enlarged when a side
    is smaller than a tile (in proportion, but for strips that would become longer than MAX_ENLARGED_TILES).
    """
    image = stretch_contrast(image, config.autocontrast)
    width, height = image.size
    if config.image_mode == "squash":
        return [Tile(0, 0, 0)], [image], image.size
    side = config.image_size
    if min(width, height) < side:
        scale = min(side / min(width, height), max(1, MAX_ENLARGED_TILES * side / max(width, height)))
        width, height = max(side, round(width * scale)), max(side, round(height * scale))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    tiles = [Tile(x, y, side) for y in _starts(height, side, config.tile_overlap)
             for x in _starts(width, side, config.tile_overlap)]  # fmt: skip
    return tiles, [image.crop((t.x, t.y, t.x + side, t.y + side)) for t in tiles], (width, height)


def merge_tiles(pictures: np.ndarray, tiles: list[Tile], size: tuple[int, int], out: tuple[int, int]) -> np.ndarray:
    """Blend the tiles' pictures (T, h, w, 3) uint8 into one probability map (out height, out width) float32.

    `size` is the (width, height) that the tiles refer to, `out` the (width, height) of the result. A tile's middle
    counts more than its edge, where it lacks context.
    """
    if tiles[0].side == 0:
        return picture_to_probability(pictures[0], out)
    side = tiles[0].side
    ramp = np.minimum(np.arange(side) + 1, side - np.arange(side)).astype(np.float32)
    weight = np.minimum.outer(ramp, ramp)
    total, weights = np.zeros(size[::-1], np.float32), np.zeros(size[::-1], np.float32)
    for tile, picture in zip(tiles, pictures, strict=True):
        place = np.s_[tile.y : tile.y + side, tile.x : tile.x + side]
        total[place] += picture_to_probability(picture, (side, side)) * weight
        weights[place] += weight
    probability = total / weights
    if size == out:
        return probability
    return np.asarray(Image.fromarray(probability).resize(out, Image.Resampling.BILINEAR))


def _starts(length: int, side: int, overlap: int) -> list[int]:
    """Evenly spread first pixels of tiles that cover `length` with at least `overlap` in common."""
    if length <= side:
        return [0]
    count = int(np.ceil((length - overlap) / (side - overlap)))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]
