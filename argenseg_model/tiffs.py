"""TIFFs that Pillow does not know, or reads wrongly: microscopes and programs of science write more kinds than it has.

These are signed, 32 and 64 bit and floating-point samples, more than 8 bits with 0 as white or in separate planes. What
is not among them is Pillow's, as is any file that tifffile cannot make out.
"""

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from argenseg_model.errors import ImageError
from argenseg_model.levels import finite_range, stretch_to_uint8

_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UINT, _INT, _FLOAT = 1, 2, 3  # sample formats
_NAMES = {_UINT: "unsigned", _INT: "signed", _FLOAT: "floating-point"}
_GREY_OF_PILLOW = frozenset(((_UINT, 12), (_UINT, 16), (_INT, 16), (_INT, 32), (_FLOAT, 32)))
_COLOUR_OF_PILLOW = frozenset(((_UINT, 16),))
_PACKINGS, _PREDICTORS = (1, 8, 32946), (1, 2)  # none, deflate: what tifffile undoes without a library of codecs
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2  # photometric interpretations
_SEPARATE = 2  # planar configuration
_BAND_PIXELS = 2_000_000
_ADVICE = "save it as grey or RGB with 8 or 16 bits"


@dataclass(frozen=True)
class UnusualTiff:
    """The first page of such a file, its pixels not read yet. `orientation` as EXIF has it."""

    file: Path | BytesIO
    width: int
    height: int
    orientation: int
    kind: str
    photometric: int
    samples: int
    is_known_packing: bool

    def check(self) -> None:
        """ImageError, without the file's name, if it is of a kind that is not read."""
        if self.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB):
            raise ImageError(f"is a TIFF with {self.kind} of a colour space that is not read; {_ADVICE}")
        if self.samples > 4 or (self.photometric == _RGB and self.samples < 3):
            raise ImageError(f"is a TIFF with {self.samples} channels of {self.kind}; {_ADVICE}, one or three channels")
        if not self.is_known_packing:
            raise ImageError(f"is a compressed TIFF with {self.kind}; {_ADVICE}, or without compression")

    def read(self) -> Image.Image:
        """In RGB as it lies in the file, its values stretched from their least to their greatest. ImageError."""
        try:
            pixels = self._pixels()
        except Exception as error:
            raise ImageError(f"is a TIFF with {self.kind} that cannot be read ({error}); {_ADVICE}") from error
        low, high = finite_range([pixels])
        rgb = Image.new("RGB", (self.width, self.height))
        rows = max(1, _BAND_PIXELS // self.width)
        for top in range(0, self.height, rows):
            levels = stretch_to_uint8(pixels[top : top + rows], low, high)
            levels = 255 - levels if self.photometric == _WHITE_IS_ZERO else levels
            rgb.paste(Image.fromarray(levels), (0, top))
        return rgb

    def _pixels(self) -> np.ndarray:
        """(H, W) or (H, W, 3)."""
        import tifffile

        if isinstance(self.file, BytesIO):
            self.file.seek(0)
        with tifffile.TiffFile(self.file) as tiff:
            pixels = tiff.pages.first.asarray()
            is_separate = self.samples > 1 and tiff.pages.first.planarconfig == _SEPARATE
        pixels = np.moveaxis(pixels, 0, -1) if is_separate else pixels
        pixels = pixels.reshape(self.height, self.width, -1)
        return pixels[..., :3] if self.photometric == _RGB else pixels[..., 0]


def find_unusual_tiff(file: Path | BytesIO) -> UnusualTiff | None:
    """The file as such a TIFF, of which only the header is read; None if it is none."""
    if not _is_tiff(file):
        return None
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages.first
            bits = max(page.bitspersample) if isinstance(page.bitspersample, tuple) else int(page.bitspersample)
            formats = page.sampleformat if isinstance(page.sampleformat, tuple) else (page.sampleformat,)
            sample_format, photometric = int(formats[0] or _UINT), int(page.photometric)
            samples = int(page.samplesperpixel)
            is_separate = samples > 1 and page.planarconfig == _SEPARATE
            if bits <= 8 and sample_format == _UINT:
                return None
            is_plain = photometric != _WHITE_IS_ZERO and not is_separate
            if is_plain and (sample_format, bits) in (_GREY_OF_PILLOW if samples == 1 else _COLOUR_OF_PILLOW):
                return None
            return UnusualTiff(
                file,
                width=int(page.imagewidth),
                height=int(page.imagelength),
                orientation=int(page.tags.valueof(274, default=1)),
                kind=f"{_NAMES.get(sample_format, 'complex')} samples of {bits} bits",
                photometric=photometric if sample_format in _NAMES else -1,
                samples=samples,
                is_known_packing=int(page.compression) in _PACKINGS and int(page.predictor) in _PREDICTORS,
            )
    except Exception:  # noqa: BLE001 (tifffile raises nearly anything for what is none; Pillow says what is wrong)
        return None
    finally:
        if isinstance(file, BytesIO):
            file.seek(0)


def _is_tiff(file: Path | BytesIO) -> bool:
    if isinstance(file, BytesIO):
        return bytes(file.getbuffer()[:4]) in _BEGINNINGS
    with file.open("rb") as opened:
        return opened.read(4) in _BEGINNINGS
