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
