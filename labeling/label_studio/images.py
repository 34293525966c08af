"""Fetch a task's image into a local file, wherever the task says it is."""

import base64
import binascii
import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx
from PIL import Image

from labeling.errors import ImageFetchError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.downloads import download, too_large
from labeling.settings import Settings

_CLOUD_SCHEMES = ("s3", "s3s", "gs", "azure-blob", "azure_spi")


def fetch_image(
    reference: str, client: LabelStudioClient | None, settings: Settings, *, task_id: int | None = None
) -> Path:
    """Fetch an image and return a file in `settings.image_cache` that is named by its content.

    `reference` is what the task's data says: a path of Label Studio (`/data/…`), an http(s) URL, cloud storage that
    Label Studio can presign (needs `task_id`), or a data: URL. Label Studio's token is sent to Label Studio only. Hosts
    in private networks are refused unless they are Label Studio's own or `settings.allow_private_image_hosts`.

    Raises ImageFetchError, also for what is too large, is no image or takes longer than `settings.image_timeout_s`.
    """
    scheme = reference.partition(":")[0].lower() if ":" in reference[:20] else ""
    if scheme == "data":
        return _store([_decode_data_url(reference, settings.max_image_bytes)], settings)
    if scheme in _CLOUD_SCHEMES:
        reference = _presign_path(reference, task_id)
    elif scheme not in ("", "http", "https") and scheme.isalpha():
        raise ImageFetchError(f"Images cannot be fetched by {scheme}: URLs. Use http(s), cloud storage or an upload.")
    return _store(download(_absolute_url(reference, client), client, settings), settings)


def _decode_data_url(reference: str, max_bytes: int) -> bytes:
    header, comma, data = reference.partition(",")
    if not comma:
        raise ImageFetchError("The data: URL has no comma. Check the task's data.")
    if len(data) > 3 * max_bytes:  # percent-encoding, the longest of its encodings, triples
        raise too_large(max_bytes)
    content = unquote_to_bytes(data)
    if header.lower().endswith(";base64"):
        try:
            content = base64.b64decode(content, validate=True)
        except binascii.Error as error:
            raise ImageFetchError(f"The data: URL is no valid base64 ({error}). Check the task's data.") from None
    if len(content) > max_bytes:
        raise too_large(max_bytes)
    return content


def _presign_path(reference: str, task_id: int | None) -> str:
    if task_id is None:
        raise ImageFetchError("Cloud storage can only be read for a task of Label Studio, which presigns the URL.")
    return f"/tasks/{task_id}/presign/?fileuri={base64.urlsafe_b64encode(reference.encode()).decode()}"


def _absolute_url(reference: str, client: LabelStudioClient | None) -> httpx.URL:
    try:
        if reference.lower().startswith(("http://", "https://")):
            return httpx.URL(reference)
        if client is None:
            raise ImageFetchError("The image is kept by Label Studio. Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.")
        base = httpx.URL(client.url)
        prefix, path = base.path.rstrip("/"), "/" + reference.lstrip("/")
        return base.join(path if path.startswith(f"{prefix}/") else prefix + path)
    except httpx.InvalidURL as error:
        raise ImageFetchError(f"The image's URL is malformed ({error}). Check the task's data.") from None


def _store(chunks: Iterable[bytes], settings: Settings) -> Path:
    """Write an image under the SHA-256 of its bytes; nothing is left behind if it is none."""
    folder = settings.image_cache
    unfinished = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            unfinished = Path(file.name)
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        _check_image(unfinished, settings.max_image_pixels)
        return unfinished.replace(folder / digest.hexdigest())
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ImageFetchError(
            f"The image could not be stored: {reason}. Check ARGENSEG_DATA_DIR.", is_transient=True
        ) from error
    finally:
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)


def _check_image(path: Path, max_pixels: int) -> None:
    """Look at the header only: the model process reads the rest."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                pixels = image.width * image.height
    except Image.DecompressionBombError:
        pixels = max_pixels + 1
    except (OSError, ValueError, SyntaxError):
        raise ImageFetchError(
            "What the task's URL returned is no image. Open it in a browser to see what it is."
        ) from None
    if pixels > max_pixels:
        raise ImageFetchError(
            f"The image has more than {max_pixels:,} pixels. Scale it down or raise MAX_IMAGE_PIXELS."
        )
