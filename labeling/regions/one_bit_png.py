"""A mask as a PNG of one bit a pixel (W3C PNG, third edition), in time that its drawn rows take, not the whole image.

The rows above and below hold nothing but zeros, and a deflate stream may be put together from parts that end on a byte
(RFC 1951; a full flush): the zeros' part is compressed once and repeated. Their share of the checksum is arithmetic.
"""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from labeling.regions.cropped_mask import CroppedMask

_GRAY, _PALETTE = 0, 3  # colour types
_ADLER = 65521
_LAST_BLOCK = b"\x03\x00"  # an empty one
_ZEROS = 1 << 16


def encode(mask: CroppedMask, *, transparent: bool = False) -> bytes:
    """White on black; or, if `transparent`, black on nothing, through a palette of two colours.

    Equal masks give equal bytes, whatever their crops.
    """
    mask = mask.trimmed()
    rows = _filtered_rows(mask)
    above, below = mask.top * rows.shape[1], (mask.height - mask.top - rows.shape[0]) * rows.shape[1]
    deflated = _deflate_zeros(above) + _deflate(rows.tobytes()) + _deflate_zeros(below) + _LAST_BLOCK
    header = struct.pack(">IIBBBBB", mask.width, mask.height, 1, _PALETTE if transparent else _GRAY, 0, 0, 0)
    palette = _chunk(b"PLTE", bytes(6)) + _chunk(b"tRNS", b"\x00\xff") if transparent else b""
    data = b"\x78\x9c" + deflated + _checksum(above, rows, below)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + palette + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _filtered_rows(mask: CroppedMask) -> NDArray[np.uint8]:
    """The drawn rows as PNG has them: a byte that says "no filter", then eight pixels a byte."""
    rows = np.zeros((mask.crop.shape[0], 1 + (mask.width + 7) // 8), np.uint8)
    bits = np.packbits(np.pad(mask.crop, ((0, 0), (mask.left % 8, 0))), axis=1)
    first = 1 + mask.left // 8
    rows[:, first : first + bits.shape[1]] = bits
    return rows


def _deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)


_DEFLATED_ZEROS = _deflate(bytes(_ZEROS))


def _deflate_zeros(count: int) -> bytes:
    return _DEFLATED_ZEROS * (count // _ZEROS) + _deflate(bytes(count % _ZEROS))


def _checksum(above: int, rows: NDArray[np.uint8], below: int) -> bytes:
    """Adler-32 (RFC 1950): the sum of all bytes, plus one, and the sum of these sums; zeros change the latter only."""
    adler = zlib.adler32(rows.tobytes(), above % _ADLER << 16 | 1)
    sums = ((adler >> 16) + below * (adler & 0xFFFF)) % _ADLER
    return struct.pack(">I", sums << 16 | adler & 0xFFFF)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
