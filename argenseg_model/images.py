"""One way in for images: whatever a person has becomes an upright 8-bit RGB picture, or an ImageError says what to do.

The rules, in the order in which they apply:
- Of a file with several frames (GIF, TIFF stack, animated WebP) the first.
- EXIF orientation is applied; a damaged EXIF block counts as upright, as in browsers.
- A grey image of more than 8 bits (modes I;16, I, F: microscopes, depth) is stretched: its own minimum becomes 0, its
  maximum 255. A constant one becomes black; values that are not finite count as the minimum. Colour of 16 bits a
  channel loses its lower 8 bits (Pillow reads it so).
- What is transparent (alpha, a transparent colour or palette entry) is laid on white, as a browser shows it.
- Palette, grey, CMYK and all else become RGB; colour profiles are not applied.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from argenseg_model.errors import ImageError

MAX_PIXELS: Final = 100_000_000
FORMATS: Final = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""File formats that are read, by Pillow's names (JPEG includes MPO). Some of its others start programs, as EPS does."""
SUFFIXES: Final = frozenset(
    (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)
"""Suffixes, in lower case, by which the images of a folder are known."""

_UPRIGHT: Final = {  # EXIF orientation -> what makes the picture upright (EXIF 2.32, tag 0x0112)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP_MODES: Final = frozenset(("I;16", "I;16L", "I;16B", "I;16N", "I", "F"))


def load_image(
    source: str | Path | bytes | Image.Image | np.ndarray,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """The image as a new, upright RGB picture (8 bits a channel) without metadata.

    `source`: a path, the bytes of an image file, a PIL image, or a uint8 array of shape (H, W), (H, W, 1), (H, W, 3)
    for RGB or (H, W, 4) for RGBA. What this function returned comes back unchanged.
    Raises ImageError for anything else, and for more than `max_pixels` before they are decoded. A file may
    not exceed Pillow's own limit either (twice `PIL.Image.MAX_IMAGE_PIXELS`, 179 million).
    """
    if isinstance(source, np.ndarray):
        return _load(_from_array(source), "the array", max_pixels)
    if isinstance(source, Image.Image):
        return _load(source, "the PIL image", max_pixels)
    if isinstance(source, bytes):
        with _opened(BytesIO(source), "the image bytes") as image:
            return _load(image, "the image bytes", max_pixels)
    if isinstance(source, str | Path):
        with _opened(_existing_file(source), str(source)) as image:
            return _load(image, str(source), max_pixels)
    raise ImageError(f"an image is a path, bytes, a PIL image or a uint8 array; this is a {type(source).__name__}")


def _existing_file(source: str | Path) -> Path:
    path = Path(source)
    try:
        if path.is_dir():
            raise ImageError(f"{source}: is a folder; name an image file in it")
        if not path.is_file():  # also a device or a pipe, which would block
            raise ImageError(f"{source}: there is no such file; check the path")
        if path.stat().st_size == 0:
            raise ImageError(f"{source}: the file is empty; copy or download it again")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ImageError(f"{source}: cannot be reached ({error}); check the path") from error
    return path


@contextmanager
def _opened(file: Path | BytesIO, name: str) -> Iterator[Image.Image]:
    """The image file, its header read and its pixels not yet."""
    try:
        image = Image.open(file, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name}: is too large ({error}); scale it down or cut it into parts") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name}: is not an image that can be read; save it as PNG, JPEG, TIFF or WebP") from error
    except PermissionError as error:
        raise ImageError(f"{name}: may not be read; give this user the permission") from error
    except Exception as error:
        raise _damaged(name, error) from error
    with image:
        yield image


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise ImageError(f"the array has type {array.dtype}; give uint8 with values from 0 to 255")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"the array has shape {array.shape}; give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    return Image.fromarray(array) if array.size else Image.new("L", (0, 0))


def _load(image: Image.Image, name: str, max_pixels: int) -> Image.Image:
    width, height = image.size
    if not width * height:
        raise ImageError(f"{name}: has no pixels ({width} x {height}); give an image of at least 1 x 1")
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the {max_pixels:,} allowed; "
            "scale it down or cut it into parts, or raise max_pixels"
        )
    try:
        image.load()
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise _damaged(name, error) from error
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    rgb = _to_rgb(image)
    rgb.info = {}  # an orientation that was applied must not be applied again
    return rgb


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 (a damaged EXIF block, as many cameras' editors leave it; Pillow raises nearly anything)
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        return Image.fromarray(_stretch_to_uint8(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    if image.mode == "La":  # Pillow knows no straight way
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _stretch_to_uint8(values: np.ndarray) -> np.ndarray:
    levels = values.astype(np.float64)
    finite = levels[np.isfinite(levels)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    if low == high:
        return np.zeros(values.shape, np.uint8)
    levels[~np.isfinite(levels)] = low
    return np.rint((levels - low) * (255 / (high - low))).astype(np.uint8)


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name}: is damaged or incomplete ({error}); copy or download it again")
