"""Find images that look the same: re-encoded, scaled, a little brighter, cropped by some pixels, mirrored, turned by 90
degrees. A part of an image, such as a tile, does not look the same.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

NEAR_BITS = 48
"""Up to this distance two images count as nearly the same. Measured on 150 microscopy images of the nuclei data: the
same image re-encoded, scaled, brightened or noisy is up to 16 bits away, with 4 px cropped on all sides up to 46;
mirrored or turned up to 32, and 2 px cropped up to 42; different images of one kind (300) are 88 apart at least, 116 in
the median."""

_SIDE = 64  # px of the grey thumbnail
_FREQUENCIES = 16  # in each direction
_ROWS_AT_A_TIME = 10_000


def perceptual_hash(picture: Image.Image) -> str:
    """64 hex digits of an upright picture: which low frequencies (DCT of a grey thumbnail) lie above their median."""
    grey = picture.convert("L").resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    frequencies = np.array(cv2.dct(np.asarray(grey, np.float64)))[1 : _FREQUENCIES + 1, 1 : _FREQUENCIES + 1].ravel()
    return np.packbits(frequencies > float(np.sort(frequencies)[len(frequencies) // 2])).tobytes().hex()


def distances(perceptual: str, others: Sequence[str]) -> NDArray[np.int64]:
    """How many bits each of the others differs in, mirrored and turned so that these are the fewest."""
    if not others:
        return np.zeros(0, np.int64)
    table = np.frombuffer(bytes.fromhex("".join(others)), np.uint8).reshape(len(others), -1)
    differing = [np.bitwise_count(table ^ own).sum(axis=1, dtype=np.int64) for own in _orientations(perceptual)]
    fewest: NDArray[np.int64] = np.array(differing).min(axis=0)
    return fewest


class HashTable:
    """Hashes that are asked which of them are near another one, mirrored and turned too. A row takes 32 bytes.

    The bits of even and odd frequencies are a word each: mirroring turns all bits of a word or none, so that its
    distance is one of two, and eight orientations take two comparisons. Two words tell most pictures apart.
    """

    def __init__(self, hashes: Sequence[str]) -> None:
        self._words: NDArray[np.uint64] = np.zeros((4, max(1024, 2 * len(hashes))), np.uint64)
        self._count = len(hashes)
        for start in range(0, len(hashes), _ROWS_AT_A_TIME):
            some = _words(hashes[start : start + _ROWS_AT_A_TIME])
            self._words[:, start : start + some.shape[1]] = some

    def add(self, perceptual: str) -> None:
        """Behind the last one."""
        if self._count == self._words.shape[1]:
            self._words = np.concatenate([self._words, np.zeros_like(self._words)], axis=1)
        self._words[:, self._count] = _words([perceptual])[:, 0]
        self._count += 1

    def near(self, perceptual: str) -> list[int]:
        """Numbers of those that count as nearly the same (NEAR_BITS), in order; it takes as long as there are rows."""
        table = self._words[:, : self._count]
        found: set[int] = set()
        for own in _words([perceptual, _transposed(perceptual)]).T:
            evens, odd_rows = (np.bitwise_count(table[word] ^ own[word]) for word in (0, 1))
            likely = np.flatnonzero(evens + np.minimum(odd_rows, 64 - odd_rows) <= NEAR_BITS)
            a, b = evens[likely].astype(np.int64), odd_rows[likely].astype(np.int64)
            c, d = (np.bitwise_count(table[word, likely] ^ own[word]).astype(np.int64) for word in (2, 3))
            fewest = np.min([a + b + c + d, a + 64 - b + c + 64 - d, a + b + 128 - c - d, a + 128 - b - c + d], axis=0)
            found.update(likely[fewest <= NEAR_BITS].tolist())
        return sorted(found)


def _words(hashes: Sequence[str]) -> NDArray[np.uint64]:
    """(4, n): the bits whose row and column are both even, of odd rows only, of odd columns only, of both odd."""
    packed = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(len(hashes), -1)
    bits = np.unpackbits(packed, axis=1).reshape(-1, _FREQUENCIES, _FREQUENCIES)
    parts = [bits[:, row::2, column::2].reshape(len(hashes), -1) for row, column in ((1, 1), (0, 1), (1, 0), (0, 0))]
    return np.stack([np.packbits(part, axis=1).view(np.uint64)[:, 0] for part in parts])


def _transposed(perceptual: str) -> str:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(perceptual), np.uint8)).reshape(_FREQUENCIES, _FREQUENCIES)
    return np.packbits(bits.T).tobytes().hex()


def _orientations(perceptual: str) -> Iterator[NDArray[np.uint8]]:
    """The hashes of the eight mirrored and turned pictures, packed; nearly, as a median is nearly 0.

    A mirrored picture's odd frequencies have the opposite sign, one mirrored at its diagonal has rows for columns.
    """
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(perceptual), np.uint8)).reshape(_FREQUENCIES, _FREQUENCIES)
    is_odd = np.arange(1, _FREQUENCIES + 1, dtype=np.uint8) % 2
    for grid in (bits, bits.T):
        for rows in (0, is_odd[:, None]):
            for columns in (0, is_odd):
                yield np.packbits(grid ^ rows ^ columns)
