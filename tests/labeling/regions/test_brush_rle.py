"""label-studio-sdk's converter is the oracle: equal bytes on the way out, equal pixels on the way in."""

import time

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from label_studio_sdk.converter.brush import decode_rle, encode_rle, mask2rle

from labeling.errors import RegionError
from labeling.regions.brush_rle import decode, encode, encode_cropped
from labeling.regions.cropped_mask import CroppedMask

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40)


def smooth_mask(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), dtype=np.uint8)
    cv2.circle(mask, (width // 2, height // 2), min(height, width) // 3, 255, -1)
    cv2.ellipse(mask, (width // 4, height // 4), (width // 8, height // 10), 30, 0, 360, 255, -1)
    return mask


def sdk_decode(rle: list[int], height: int, width: int) -> np.ndarray:
    return decode_rle(rle).reshape(height, width, 4)[:, :, 3]


def assert_same_as_sdk(mask: np.ndarray) -> None:
    height, width = mask.shape
    values = mask if mask.dtype == np.uint8 else mask.astype(np.uint8) * 255
    rle = encode(mask)
    assert rle == mask2rle(values)
    decoded = decode(rle, width, height)
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, values)


@given(hnp.arrays(np.uint8, SHAPES))
def test_any_uint8_array(mask: np.ndarray) -> None:
    assert_same_as_sdk(mask)


@given(hnp.arrays(np.bool_, SHAPES))
def test_any_bool_array_is_0_and_255(mask: np.ndarray) -> None:
    assert_same_as_sdk(mask)


@given(st.lists(st.tuples(st.integers(1, 70_000), st.sampled_from([0, 1, 128, 255])), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_runs_of_any_length(runs: list[tuple[int, int]]) -> None:
    values = np.repeat([value for _, value in runs], [length for length, _ in runs]).astype(np.uint8)
    assert_same_as_sdk(values[None])


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((1, 1), np.bool_),
        np.ones((1, 1), np.bool_),
        np.zeros((480, 640), np.uint8),
        np.full((480, 640), 255, np.uint8),
        np.full((1, 16_384), 255, np.uint8),  # one run of exactly 65,536 values
        np.full((1, 16_385), 255, np.uint8),
        np.full((3, 1 << 17), 7, np.uint8),
        smooth_mask(300, 200),
        cv2.GaussianBlur(smooth_mask(300, 200), (0, 0), 2),  # antialiased, as the browser draws
        smooth_mask(300, 200)[::3, ::2],  # not contiguous
        (smooth_mask(1000, 700) > 0).T,
    ],
    ids=lambda mask: f"{mask.dtype}-{mask.shape}",
)
def test_masks_of_every_kind(mask: np.ndarray) -> None:
    assert_same_as_sdk(mask)


@given(hnp.arrays(np.bool_, SHAPES), *[st.integers(0, 9)] * 4)
def test_a_crop_is_encoded_as_the_whole_mask(crop: np.ndarray, top: int, left: int, below: int, right: int) -> None:
    height, width = crop.shape
    mask = CroppedMask(crop, top, left, top + height + below, left + width + right)
    assert encode_cropped(mask) == encode(mask.full()) == mask2rle(mask.full().astype(np.uint8) * 255)


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 1000), (700, 2), (700, 1000)])
def test_a_crop_of_a_large_image(shape: tuple[int, int]) -> None:
    for top, left in ((0, 0), (700 - shape[0], 1000 - shape[1])):
        mask = CroppedMask(np.ones(shape, np.bool_), top, left, 700, 1000)
        assert encode_cropped(mask) == encode(mask.full())


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(4))), st.data())
def test_literals_stored_sizes_and_the_alpha_channel(rgba: np.ndarray, data: st.DataObject) -> None:
    """A browser's RLE: four channels that differ, literal codes, any run sizes in the header."""
    sizes = data.draw(st.lists(st.integers(1, 16), min_size=4, max_size=4))
    values = rgba.ravel()
    bits = f"{values.size:032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    position = 0
    while position < values.size:
        size_class = data.draw(st.integers(0, 3))
        length = data.draw(st.integers(1, min(1 << sizes[size_class], values.size - position)))
        run = values[position : position + length]
        is_run = bool(np.all(run == run[0]))
        words = "".join(f"{value:08b}" for value in (run[:1] if is_run else run))
        bits += f"{int(is_run)}{size_class:02b}{length - 1:0{sizes[size_class]}b}{words}"
        position += length
    bits += "0" * (-len(bits) % 8)
    rle = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    height, width, _ = rgba.shape
    assert np.array_equal(decode(rle, width, height), rgba[:, :, 3])
    assert np.array_equal(decode(rle, width, height), sdk_decode(rle, height, width))


def test_masks_drawn_in_the_browser(recorded) -> None:
    for name in ("regions", "annotation_after_edit"):
        document = recorded(name)
        regions = document["result"] if "result" in document else [document["brush255"], document["brush1"]]
        for region in regions:
            if "rle" in region["value"]:
                width, height = region["original_width"], region["original_height"]
                rle = region["value"]["rle"]
                assert np.array_equal(decode(rle, width, height), sdk_decode(rle, height, width))


@pytest.mark.parametrize("shape", [(4,), (2, 2, 2), (0, 5), (0, 0)])
def test_encode_refuses_what_is_no_mask(shape: tuple[int, ...]) -> None:
    with pytest.raises(RegionError, match=r"\(height, width\)"):
        encode(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_encode_refuses_other_types(dtype: type) -> None:
    with pytest.raises(RegionError, match="bool or uint8"):
        encode(np.zeros((2, 2), dtype))


GOOD = encode(np.eye(9, dtype=np.bool_))


@pytest.mark.parametrize(
    "rle",
    [
        [],
        [0, 0, 1],
        "abc",
        b"\x00\x00\x01D",
        5,
        None,
        [0.5] * 10,
        [256] * 10,
        [-1] * 10,
        GOOD[:-8],
        GOOD[:7],
        encode(np.eye(8, dtype=np.bool_)),
        encode_rle(np.full(9 * 9 * 4, 300), wordsize=9),
        [*GOOD[:4], 0xFF, *GOOD[5:]],
        [*GOOD[:7], 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],  # a run that is longer than the image
    ],
    ids=str,
)
def test_decode_refuses_hostile_input(rle: object) -> None:
    with pytest.raises(RegionError):
        decode(rle, 9, 9)  # type: ignore[arg-type]


@pytest.mark.parametrize(("width", "height"), [(0, 5), (-3, -3), (1 << 20, 1 << 20), (1 << 40, 1)])
def test_decode_refuses_sizes(width: int, height: int) -> None:
    with pytest.raises(RegionError, match="pixels"):
        decode(GOOD, width, height)


@given(st.binary(max_size=400), st.integers(1, 30), st.integers(1, 30))
def test_decode_of_noise_is_a_mask_or_a_region_error(noise: bytes, width: int, height: int) -> None:
    rle = [*(width * height * 4).to_bytes(4, "big"), *noise]
    try:
        mask = decode(rle, width, height)
    except RegionError:
        return
    assert mask.shape == (height, width)


def test_decode_of_a_huge_hostile_list_ends_soon() -> None:
    rle = [*(4 * 10**8).to_bytes(4, "big"), 0x39, 0x1B, 0xFF, *([0b00000000] * 10**6)]  # a million codes of one literal
    began = time.process_time()
    with pytest.raises(RegionError, match="too early"):
        decode(rle, 10_000, 10_000)
    assert time.process_time() - began < 5


def test_encode_is_much_faster_than_the_sdk() -> None:
    mask = smooth_mask(1024, 1024)

    def best_of(function, repetitions: int) -> float:
        times = []
        for _ in range(repetitions):
            began = time.process_time()
            function(mask)
            times.append(time.process_time() - began)
        return min(times)

    assert best_of(encode, 10) * 8 < best_of(mask2rle, 3)
