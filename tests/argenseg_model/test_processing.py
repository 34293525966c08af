"""Pixels in, tiles, and pictures back to the image's size."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from argenseg_model import ARGenSegConfig
from argenseg_model.processing import (
    MAX_ENLARGED_TILES,
    cut_tiles,
    image_to_pixels,
    mask_to_pixels,
    merge_tiles,
    picture_to_probability,
    picture_to_uint8,
    stretch_contrast,
)

SIDE, OVERLAP = 32, 8
TILED = ARGenSegConfig(image_mode="tile", image_size=SIDE, tile_overlap=OVERLAP)
SQUASHED = ARGenSegConfig()
SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


@settings(deadline=None)
@given(size=SIZES)
@example((SIDE, SIDE))
@example((SIDE + 1, 2 * SIDE - OVERLAP))
@example((1, 150))
def test_tiles_cover_everything_and_overlap(size: tuple[int, int]) -> None:
    tiles, crops, (width, height) = cut_tiles(noise(size), TILED)
    covered = np.zeros((height, width), int)
    for tile, crop in zip(tiles, crops, strict=True):
        assert crop.size == (tile.side, tile.side) == (SIDE, SIDE)
        assert 0 <= tile.x <= width - SIDE and 0 <= tile.y <= height - SIDE
        covered[tile.y : tile.y + SIDE, tile.x : tile.x + SIDE] += 1
    assert covered.min() >= 1
    for starts, length in ((sorted({tile.x for tile in tiles}), width), (sorted({tile.y for tile in tiles}), height)):
        steps = np.diff(starts)
        assert (steps <= SIDE - OVERLAP).all()
        assert len(starts) <= -(-(length - OVERLAP) // (SIDE - OVERLAP))  # no tile more than needed
    assert len({(tile.x, tile.y) for tile in tiles}) == len(tiles)


@settings(deadline=None)
@given(size=SIZES)
def test_the_tiles_are_the_images_own_pixels(size: tuple[int, int]) -> None:
    image = noise(size)
    tiles, crops, tiled_size = cut_tiles(image, TILED)
    if min(size) >= SIDE:
        assert tiled_size == size
        assert all(crop == image.crop((t.x, t.y, t.x + SIDE, t.y + SIDE)) for t, crop in zip(tiles, crops, strict=True))
    else:  # enlarged in proportion, so that the shorter side is a tile
        assert min(tiled_size) == SIDE
        scale = SIDE / min(size)
        if max(size) * scale <= MAX_ENLARGED_TILES * SIDE:
            assert max(tiled_size) == max(SIDE, round(max(size) * scale))


@pytest.mark.parametrize("size", [(1, 20_000), (20_000, 1), (2, 600), (1, 1)])
def test_a_thin_strip_stays_affordable(size: tuple[int, int]) -> None:
    tiles, _, tiled_size = cut_tiles(noise(size), TILED)
    assert min(tiled_size) == SIDE and max(tiled_size) <= max(MAX_ENLARGED_TILES * SIDE, *size)
    assert len(tiles) <= 1 + max(tiled_size) // (SIDE - OVERLAP)


@settings(deadline=None, max_examples=50)
@given(size=SIZES, grey=st.integers(0, 255))
def test_constant_tiles_merge_to_a_constant(size: tuple[int, int], grey: int) -> None:
    tiles, _, tiled_size = cut_tiles(noise(size), TILED)
    pictures = np.full((len(tiles), 8, 8, 3), grey, np.uint8)
    probability = merge_tiles(pictures, tiles, tiled_size, size)
    assert probability.shape == size[::-1] and probability.dtype == np.float32
    np.testing.assert_allclose(probability, grey / 255, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(size=SIZES, seed=st.integers(0, 9))
def test_merged_probabilities_lie_in_0_to_1(size: tuple[int, int], seed: int) -> None:
    tiles, _, tiled_size = cut_tiles(noise(size), TILED)
    pictures = np.random.default_rng(seed).choice(np.array([0, 255], np.uint8), (len(tiles), 8, 8, 3))
    probability = merge_tiles(pictures, tiles, tiled_size, size)
    assert 0 <= probability.min() <= probability.max() <= 1


def test_cutting_and_merging_gives_the_picture_back() -> None:
    """A model whose pictures were the tiles themselves would give the image: nothing is shifted."""
    blocks = np.random.default_rng(1).integers(0, 256, (9, 13))
    grey = Image.fromarray(np.kron(blocks, np.ones((10, 10))).astype(np.uint8))
    tiles, crops, size = cut_tiles(grey.convert("RGB"), TILED)
    probability = merge_tiles(np.stack([np.asarray(crop) for crop in crops]), tiles, size, grey.size)
    np.testing.assert_allclose(probability, np.asarray(grey) / 255, atol=1e-6)


def test_a_small_image_is_enlarged_and_its_mask_comes_back_in_place() -> None:
    image = Image.new("RGB", (20, 10))
    image.paste((255, 255, 255), (5, 2, 15, 8))
    tiles, crops, size = cut_tiles(image, TILED)
    assert size == (64, 32) and [(tile.x, tile.y) for tile in tiles] == [(0, 0), (16, 0), (32, 0)]
    mask = merge_tiles(np.stack([np.asarray(crop) for crop in crops]), tiles, size, image.size) > 0.5
    assert np.array_equal(mask, np.asarray(image.convert("L")) > 0)


@settings(deadline=None, max_examples=40)
@given(size=SIZES, seed=st.integers(0, 9))
def test_squashing_follows_the_release(size: tuple[int, int], seed: int) -> None:
    """The whole image goes in; the picture comes back by PIL's bilinear, grey / 255 > 0.5."""
    image = noise(size)
    tiles, crops, tiled_size = cut_tiles(image, SQUASHED)
    assert crops == [image] and tiled_size == size
    picture = np.asarray(noise((256, 256), seed))
    released = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR).convert("L")) / 255 > 0.5
    assert np.array_equal(merge_tiles(picture[None], tiles, tiled_size, size) > 0.5, released)


def test_image_to_pixels() -> None:
    image = Image.new("RGB", (30, 50), (255, 0, 51))
    pixels = image_to_pixels(image, SQUASHED)
    assert pixels.shape == (3, 448, 448) and pixels.dtype == torch.float32
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    np.testing.assert_allclose(pixels.mean((1, 2)), expected, rtol=1e-5)


def test_mask_to_pixels_takes_0_and_1_or_0_and_255() -> None:
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    pixels = [mask_to_pixels(mask.astype(kind) * scale, SQUASHED) for kind, scale in ((np.uint8, 1), (np.uint8, 255))]
    pixels += [mask_to_pixels(mask, SQUASHED), mask_to_pixels(Image.fromarray(mask), SQUASHED)]
    for tensor in pixels:
        assert tensor.shape == (3, 256, 256) and torch.equal(tensor, pixels[0])
    assert (pixels[0].min(), pixels[0].max()) == (-1, 1)
    assert mask_to_pixels(np.zeros((5, 5), bool), SQUASHED).eq(-1).all()


def test_pictures_are_clamped_and_truncated() -> None:
    values = torch.tensor([-3.0, -1.0, -0.5, 0.0, 0.999, 1.0, 7.0]).expand(1, 3, 1, 7)
    assert picture_to_uint8(values)[0, 0, :, 1].tolist() == [0, 0, 63, 127, 254, 255, 255]
    assert picture_to_probability(picture_to_uint8(values)[0], (7, 1)).dtype == np.float32


def test_contrast_is_stretched_with_hues_kept() -> None:
    image = Image.fromarray(np.linspace(40, 90, 300, dtype=np.uint8).reshape(10, 30)).convert("RGB")
    assert stretch_contrast(image, 0.0) is image
    assert np.asarray(stretch_contrast(image, 0.01).convert("L")).min() == 0
    assert np.asarray(stretch_contrast(image, 0.01).convert("L")).max() == 255
    stretched = np.asarray(stretch_contrast(image, 0.01))
    assert np.array_equal(stretched[..., 0], stretched[..., 2])
