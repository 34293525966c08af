"""One way in for images: whatever a person has becomes an upright 8-bit RGB picture, or an ImageError says what to do.

The rules, in the order in which they apply:
- Of a file with several frames (GIF, TIFF stack, animated WebP) the first.
- EXIF orientation is applied; a damaged EXIF block counts as upright, as in browsers.
- What has more than 8 bits (grey of modes I;16, I and F, colour of 16 bits a channel in PNG and TIFF, TIFFs of signed
  and floating-point samples: microscopes, depth) is stretched: its own minimum becomes 0, its maximum 255, the same for
  all channels. A constant one becomes black; values that are not finite count as the minimum. Only a file is read so
  deep: PIL images of colour, CMYK, premultiplied alpha, a transparent colour, and other formats keep the upper 8 bits
  of the depth that they declare.
- A JPEG that lacks only its last marker is read, as in browsers.
- What is transparent (alpha, a transparent colour or palette entry) is laid on white, as a browser shows it.
- Palette, grey, CMYK and all else become RGB; colour profiles are not applied. CMYK of a JPEG is taken as Adobe writes
  it (inverted), as browsers do.

Decoded, a picture takes 4 bytes a pixel in Pillow. It is converted in bands, so that the picture as it is in the file
and the RGB one are all that is held: at most about 9 bytes a pixel, 0.9 GB for 100 million. Some decoders hold more
while they work: AVIF 10 bytes a pixel in all, WebP 16, JPEG 2000 19.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from argenseg_model.errors import ImageError
from argenseg_model.levels import finite_range, stretch_to_uint8
from argenseg_model.tiffs import UnusualTiff, find_unusual_tiff

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
_SIDEWAYS: Final = (5, 6, 7, 8)  # orientations that swap width and height
_DEEP_MODES: Final = frozenset(("I;16", "I;16L", "I;16B", "I;16N", "I", "F"))
_SWAPPED: Final = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}
_LOWER_BYTES: Final = (
    {  # Pillow's raw mode, which reads the upper bytes -> what reads the lower ones, in which channels
        f"{mode};16{order}": (f"{mode};16{_SWAPPED[order]}", slice(3))
        for mode in ("RGB", "RGBA", "RGBX")
        for order in "BLN"
    }
    | {"LA;16B": ("RGBA", slice(1, 2))}
)
_BAND_PIXELS: Final = 2_000_000
_JPEG_BEGINNING, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_NOISE: Final = bytes((37 * number + 11) % 251 for number in range(512))  # no 255, which begins markers


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
        return _make_upright(*_decode(_from_array(source), "the array", max_pixels))
    if isinstance(source, Image.Image):
        return _make_upright(*_decode(source, "the PIL image", max_pixels))
    if isinstance(source, bytes):
        return _load_file(BytesIO(source), "the image bytes", max_pixels)
    if isinstance(source, str | Path):
        return _load_file(_existing_file(source), str(source), max_pixels)
    raise ImageError(f"an image is a path, bytes, a PIL image or a uint8 array; this is a {type(source).__name__}")


def image_size(source: str | Path) -> tuple[int, int]:
    """Width and height of the upright picture in a file, of which only the header is read.

    Raises ImageError for what is no image that can be read; whether its pixels are sound shows only when they are.
    """
    file = _existing_file(source)
    if (tiff := _unusual_tiff(file, str(source))) is not None:
        return (tiff.height, tiff.width) if tiff.orientation in _SIDEWAYS else (tiff.width, tiff.height)
    with _opened(file, str(source)) as image:
        width, height = image.size
        is_sideways = _orientation(image) in _SIDEWAYS and image.format != "TIFF"  # whose size Pillow tells upright
        return (height, width) if is_sideways else (width, height)


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
    with ExitStack() as files:
        try:
            # not by its path: Pillow (13.0, at least) then maps an uncompressed TIFF into memory, garbled if sideways
            content = files.enter_context(file.open("rb")) if isinstance(file, Path) else file
            with _no_warnings():
                image = files.enter_context(Image.open(content, formats=FORMATS))
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: is too large ({error}); scale it down or cut it into parts") from error
        except UnidentifiedImageError as error:
            raise ImageError(f"{name}: is not an image that can be read; save it as PNG, JPEG or WebP") from error
        except PermissionError as error:
            raise ImageError(f"{name}: may not be read; give this user the permission") from error
        except Exception as error:
            raise _damaged(name, error) from error
        yield image


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Pillow warns of sizes that we allow, and of metadata that we do not use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _from_array(array: np.ndarray) -> Image.Image:
    if array.dtype != np.uint8:
        raise ImageError(f"the array has type {array.dtype}; give uint8 with values from 0 to 255")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise ImageError(f"the array has shape {array.shape}; give (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)")
    return Image.fromarray(array) if array.size else Image.new("L", (0, 0))


def _load_file(file: Path | BytesIO, name: str, max_pixels: int) -> Image.Image:
    if (tiff := _unusual_tiff(file, name)) is not None:
        _check_size(tiff.width, tiff.height, name, max_pixels)
        try:
            return _make_upright(tiff.read(), tiff.orientation)
        except ImageError as error:
            raise ImageError(f"{name}: {error}") from error
    try:
        return _load_usual_file(file, name, max_pixels)
    except ImageError as error:
        if "truncated" not in str(error.__cause__) or (whole := _with_its_end(file)) is None:
            raise
        return _load_usual_file(whole, name, max_pixels)


def _unusual_tiff(file: Path | BytesIO, name: str) -> UnusualTiff | None:
    found = find_unusual_tiff(file)
    try:
        if found is not None:
            found.check()
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    return found


def _with_its_end(file: Path | BytesIO) -> BytesIO | None:
    """A JPEG that lacks nothing but its last marker, which browsers do not miss, with that; else None.

    Nothing more is lacking if it is the same picture whatever comes after what is there.
    """
    content = (file.read_bytes() if isinstance(file, Path) else file.getvalue()).rstrip(b"\xff")  # half of the marker
    if not content.startswith(_JPEG_BEGINNING):
        return None
    pictures = []
    for more in (b"", _NOISE):
        try:
            with Image.open(BytesIO(content + more + _JPEG_END), formats=("JPEG",)) as image, _no_warnings():
                pictures.append(image.convert("RGB"))
        except Exception:  # noqa: BLE001 (damaged bytes make Pillow's decoders raise nearly anything)
            return None
    return BytesIO(content + _JPEG_END) if pictures[0] == pictures[1] else None


def _load_usual_file(file: Path | BytesIO, name: str, max_pixels: int) -> Image.Image:
    with _opened(file, name) as image:
        raw_mode = _raw_mode(image)
        _load(image, name, max_pixels)
        if raw_mode in _LOWER_BYTES and "transparency" not in image.info:
            lower_mode, channels = _LOWER_BYTES[raw_mode]
            with _opened(file, name) as lower:
                lower.tile = [tile._replace(args=(lower_mode, *_arguments(tile)[1:])) for tile in lower.tile]
                _load(lower, name, max_pixels)
                _stretch_colour(image, lower, channels)
                lower.close()  # leaving the context keeps its pixels
        rgb, orientation = _to_rgb(image), _orientation(image)
        image.close()  # frees its pixels: what comes now may need as much again
    return _make_upright(rgb, orientation)


def _raw_mode(image: Image.Image) -> object:
    """How the pixels lie in the file, in Pillow's words; None if it does not tell, or they lie in several ways."""
    found = {arguments[0] for tile in image.tile if (arguments := _arguments(tile))}
    return found.pop() if len(found) == 1 else None


def _arguments(tile: ImageFile._Tile) -> tuple[Any, ...]:
    """Its decoder's, the raw mode first."""
    return tile.args if isinstance(tile.args, tuple) else (tile.args,)


def _decode(image: Image.Image, name: str, max_pixels: int) -> tuple[Image.Image, object]:
    """The picture in RGB as it lies in the file, and its EXIF orientation."""
    _load(image, name, max_pixels)
    return _to_rgb(image), _orientation(image)


def _load(image: Image.Image, name: str, max_pixels: int) -> None:
    """Decode its pixels. ImageError if it is too large or damaged."""
    _check_size(*image.size, name, max_pixels)
    try:
        with _no_warnings():
            image.load()
    except Exception as error:  # damaged bytes make Pillow's decoders raise nearly anything
        raise _damaged(name, error) from error


def _check_size(width: int, height: int, name: str, max_pixels: int) -> None:
    if not width * height:
        raise ImageError(f"{name}: has no pixels ({width} x {height}); give an image of at least 1 x 1")
    if width * height > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} pixels are more than the {max_pixels:,} allowed; "
            "scale it down or cut it into parts, or raise max_pixels"
        )


def _make_upright(rgb: Image.Image, orientation: object) -> Image.Image:
    upright = rgb.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else rgb
    upright.info = {}  # an orientation that was applied must not be applied again
    return upright


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 (a damaged EXIF block, as many cameras' editors leave it; Pillow raises nearly anything)
        return None


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _DEEP_MODES:
        low, high = finite_range(np.asarray(band) for band, _ in _bands(image))
        return _in_bands(image, lambda band: Image.fromarray(stretch_to_uint8(np.asarray(band), low, high)))
    if image.has_transparency_data:
        return _in_bands(image, _lay_on_white)
    return image.convert("RGB")


def _in_bands(image: Image.Image, to_rgb: Callable[[Image.Image], Image.Image]) -> Image.Image:
    rgb = Image.new("RGB", image.size)
    for band, top in _bands(image):
        rgb.paste(to_rgb(band), (0, top))
    return rgb


def _bands(image: Image.Image) -> Iterator[tuple[Image.Image, int]]:
    """The image in copies of a few rows each, from the top, with the first row's number."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))), top


def _lay_on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":  # Pillow knows no straight way
        image = image.convert("LA")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)


def _stretch_colour(image: Image.Image, lower: Image.Image, channels: slice) -> None:
    """Stretch `image`, which holds colour's upper bytes, in place; these channels of `lower` hold the lower ones."""

    def bands() -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        for (band, top), (lower_band, _) in zip(_bands(image), _bands(lower), strict=True):
            pixels = np.array(band)
            yield pixels, pixels[..., :3].astype(np.uint16) << 8 | np.asarray(lower_band)[..., channels], top

    least, greatest = finite_range(values for _, values, _ in bands())
    for pixels, values, top in bands():
        pixels[..., :3] = stretch_to_uint8(values, least, greatest)
        image.paste(Image.fromarray(pixels), (0, top))


def _damaged(name: str, error: Exception) -> ImageError:
    return ImageError(f"{name}: is damaged or incomplete ({error}); copy or download it again")
