"""Label Studio's brush RLE, byte for byte as label-studio-sdk writes it (after thi.ng/rle-pack).

A bit stream, most significant bit first, over the mask's values repeated four times (RGBA):
a 32-bit count of values, 5 bits word size - 1, four times 4 bits run size - 1 (for us 3, 4, 8, 16), then codes:
- a run: bit 1, 2 bits size class, length - 1 in the class's bits, one word;
- literals: bit 0, 2 bits size class, length - 1 in the class's bits, `length` words;
and at the end 1 to 8 zero bits, up to the next byte.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labeling.errors import RegionError
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.image_size import check_image_size

_CHANNELS = 4
_WORD_BITS = 8
_SIZE_BITS = np.array([3, 4, 8, 16], dtype=np.int64)  # of a run's length, by size class
_LONGEST_RUN = 1 << 16
_BLOCK = 1 << 20
_HEADER_BITS = 32 + 5 + 4 * 4
_HEADER_TAIL = (_WORD_BITS - 1) << 16 | 2 << 12 | 3 << 8 | 7 << 4 | 15  # word size and run sizes, each minus one
_read_u64 = struct.Struct(">Q").unpack_from


def encode(mask: NDArray[np.bool_] | NDArray[np.uint8]) -> list[int]:
    """Encode a mask (height, width); bool is taken as 0/255, uint8 as it is. Returns bytes as ints."""
    if mask.ndim != 2 or mask.size == 0 or mask.dtype not in (np.bool_, np.uint8):
        raise RegionError(f"A mask must be bool or uint8 of (height, width), not {mask.dtype} of {mask.shape}.")
    values = np.ascontiguousarray(mask).reshape(-1).view(np.uint8)
    starts = _run_starts(values)
    words = values[starts].astype(np.int64)
    return _encode_runs(starts, words * 255 if mask.dtype == np.bool_ else words, mask.shape)


def encode_cropped(mask: CroppedMask) -> list[int]:
    """As `encode` of the whole mask, byte for byte, without looking at what lies around the crop."""
    rows, columns = mask.crop.shape
    if rows * columns == 0:
        return _encode_runs(np.zeros(1, np.int64), np.zeros(1, np.int64), (mask.height, mask.width))
    ends_rows = int(columns < mask.width)  # then a column of background keeps the rows' runs apart
    values = np.pad(mask.crop, ((0, 0), (0, ends_rows))).reshape(-1).view(np.uint8)
    starts = _run_starts(values)
    words = np.concatenate([[0], values[starts].astype(np.int64) * 255, [0]])
    row, column = np.divmod(starts, columns + ends_rows)
    starts = (mask.top + row) * mask.width + mask.left + column
    starts = np.concatenate([[0], starts, [(mask.top + rows) * mask.width]])
    is_run = np.diff(starts, append=mask.height * mask.width) > 0
    starts, words = starts[is_run], words[is_run]
    begins = np.diff(words, prepend=-1) != 0
    return _encode_runs(starts[begins], words[begins], (mask.height, mask.width))


def _encode_runs(starts: NDArray[np.int64], words: NDArray[np.int64], shape: tuple[int, ...]) -> list[int]:
    """Runs of words, from pixel `starts` to the next one's, of a mask of this shape (height, width)."""
    count = shape[0] * shape[1] * _CHANNELS
    if count >= 1 << 32:
        raise RegionError(f"A mask of {shape} is too large for brush RLE. Scale the image down.")
    lengths = np.diff(starts * _CHANNELS, append=count)
    size_class = (lengths > 8).astype(np.int64) + (lengths > 16) + (lengths > 256)
    if lengths.max() > _LONGEST_RUN:
        lengths, words, size_class = _split_long_runs(lengths, words, size_class)
    size_bits = _SIZE_BITS[size_class]
    codes = (4 + size_class << size_bits | lengths - 1) << _WORD_BITS | words
    return _pack(count, codes, 3 + size_bits + _WORD_BITS)


def _run_starts(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where a run begins. Blocks fit the cache, and eight comparisons are looked at as one: masks have few edges."""
    starts = [np.zeros(1, dtype=np.int64)]
    differs, is_hit = np.empty(_BLOCK, dtype=np.bool_), np.empty(_BLOCK // 8, dtype=np.bool_)
    eights = differs.view(np.uint64)
    for block in range(1, values.size, _BLOCK):
        size = min(_BLOCK, values.size - block)
        np.not_equal(values[block : block + size], values[block - 1 : block - 1 + size], out=differs[:size])
        differs[size:] = False
        words = np.flatnonzero(np.not_equal(eights, 0, out=is_hit))
        hits = np.flatnonzero(eights[words].view(np.bool_))
        starts.append(block + words[hits >> 3] * 8 + (hits & 7))
    return np.concatenate(starts)


def _split_long_runs(
    lengths: NDArray[np.int64], words: NDArray[np.int64], size_class: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut runs at 65,536 values. The rest keeps the size class of the whole run, as the SDK does."""
    pieces = -(-lengths // _LONGEST_RUN)
    last = np.cumsum(pieces) - 1
    split = np.full(last[-1] + 1, _LONGEST_RUN, dtype=np.int64)
    split[last] = lengths - (pieces - 1) * _LONGEST_RUN
    return split, np.repeat(words, pieces), np.repeat(size_class, pieces)


def _pack(count: int, codes: NDArray[np.int64], code_bits: NDArray[np.int64]) -> list[int]:
    """Concatenate codes of 14 to 27 bits behind the header."""
    starts = _HEADER_BITS + np.cumsum(code_bits) - code_bits
    end = int(starts[-1] + code_bits[-1])
    word = starts >> 5
    aligned = codes << 64 - (starts & 31) - code_bits  # within the two 32-bit words that a code can touch
    words = np.bincount(word, aligned >> 32 & 0xFFFFFFFF, end // 32 + 2)  # sums of different bits: exact in float64
    words[1:] += np.bincount(word, aligned & 0xFFFFFFFF, end // 32 + 1)
    packed = words.astype(">u4").view(np.uint8)
    packed[:7] |= np.frombuffer((count << 24 | _HEADER_TAIL << 3).to_bytes(7, "big"), dtype=np.uint8)
    return list(packed[: (end >> 3) + 1].tobytes())  # twice as fast as tolist()


def decode(rle: Any, width: int, height: int) -> NDArray[np.uint8]:
    """Decode to uint8 (height, width), the alpha channel. RegionError as in `decode_runs`."""
    ends, words = decode_runs(rle, width, height)
    return np.repeat(words, np.diff(ends, prepend=0)).reshape(height, width)


def decode_runs(rle: Any, width: int, height: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Runs of the alpha channel: where each ends, in pixels counted row by row, and its value; some may be empty.

    RegionError where the data is not the RLE of an image of this size, is cut short, or is over 100 million pixels.
    """
    width, height = check_image_size(width, height)
    count = width * height * _CHANNELS
    try:
        if not isinstance(rle, list):
            raise TypeError
        data = bytes(rle)
    except (TypeError, ValueError):
        raise RegionError("A brush RLE must be a list of whole numbers from 0 to 255.") from None
    if len(data) * 8 < _HEADER_BITS or int.from_bytes(data[:4], "big") != count:
        raise RegionError(f"The brush RLE is not that of a mask of {width} x {height} px, the image's upright size.")
    lengths, words = _read_codes(data, count)
    ends = np.cumsum(lengths) // _CHANNELS  # the values that are an alpha: indices 3, 7, 11, ...
    return ends, np.frombuffer(words, dtype=np.uint8)


def _read_codes(data: bytes, count: int) -> tuple[list[int], bytearray]:
    """All runs (literals are runs of one) as lengths and words. Their lengths add up to `count`."""
    header = int.from_bytes(data[4:7], "big") >> 3
    word_bits = (header >> 16) + 1
    size_bits = [(header >> shift & 15) + 1 for shift in (12, 8, 4, 0)]
    if word_bits > 8:
        raise RegionError(f"The brush RLE has words of {word_bits} bits. A mask has 8.")
    word_mask = (1 << word_bits) - 1
    available, padded = len(data) * 8, data + bytes(8)
    lengths: list[int] = []
    words = bytearray()
    position, done = _HEADER_BITS, 0
    while done < count:
        if position >= available:
            raise RegionError("The brush RLE ends too early. Draw the region again.")
        (window,) = _read_u64(padded, position >> 3)
        window = window << (position & 7) & 0xFFFFFFFFFFFFFFFF  # the code is its topmost bits
        bits = size_bits[window >> 61 & 3]
        length = (window >> 61 - bits & (1 << bits) - 1) + 1
        position += 3 + bits
        if window >> 63:
            words.append(window >> 61 - bits - word_bits & word_mask)
            lengths.append(length)
            position += word_bits
        else:
            end = position + length * word_bits
            literals = int.from_bytes(data[position >> 3 : (end + 7) >> 3], "big") >> (-end & 7)
            words.extend(literals >> shift & word_mask for shift in range((length - 1) * word_bits, -1, -word_bits))
            lengths.extend([1] * length)
            position = end
        done += length
    if done > count or position > available:
        raise RegionError("The brush RLE does not end where its image does. Draw the region again.")
    return lengths, words
