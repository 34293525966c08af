"""Fetch a task's image into a local file, wherever the task says it is."""

import base64
import binascii
import re
from functools import partial
from pathlib import Path
from urllib.parse import unquote_to_bytes

import httpx

from argenseg_model.errors import ImageError
from argenseg_model.images import image_size
from labeling.errors import DoubtfulImageError, ImageFetchError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.connections import time_limit
from labeling.label_studio.downloads import download, too_large
from labeling.label_studio.image_cache import ImageCache
from labeling.label_studio.image_faults import judge
from labeling.label_studio.references import CLOUD_SCHEMES, clean_reference, scheme_of, why_unusable
from labeling.settings import Settings

_BEGINNING_BYTES = 512
_IS_BASE64 = re.compile(r";\s*base64\s*$", re.IGNORECASE)
_WHITE_SPACE = b" \t\n\r\f"


def fetch_image(
    reference: str, client: LabelStudioClient | None, settings: Settings, *, task_id: int | None = None
) -> Path:
    """Fetch an image and return a file in `settings.image_cache` that is named by its content.

    `reference` is what the task's data says: a path of Label Studio (`/data/…`), an http(s) URL, cloud storage that
    Label Studio can presign (needs `task_id`), or a data: URL. Label Studio's token is sent to Label Studio only. Hosts
    in private networks are refused unless they are Label Studio's own or `settings.allow_private_image_hosts`.

    What was downloaded is used again for `settings.image_reuse_s`, so that five prompts on a task are one download.

    Raises ImageFetchError, also for what is too large, is no image or takes longer than `settings.image_timeout_s`.
    """
    cache = image_cache(settings)
    check = partial(_check_image, max_pixels=settings.max_image_pixels)
    if (reason := why_unusable(reference)) is not None:
        raise ImageFetchError(reason)
    reference = clean_reference(reference)
    scheme = scheme_of(reference)
    if scheme == "data":
        try:
            return cache.add([_decode_data_url(reference, settings.max_image_bytes)], check)
        except DoubtfulImageError as error:  # of what the task itself says there is no doubt
            raise ImageFetchError(str(error)) from None
    if scheme in CLOUD_SCHEMES:
        reference = _presign_path(reference, task_id)
    url = _absolute_url(reference, client)
    known = cache.find(str(url), settings.image_reuse_s)
    if known:
        return known
    try:
        with time_limit(settings.image_timeout_s):
            return cache.add(download(url, client, settings), check, str(url))
    except ImageFetchError as error:
        raise judge(error, url, client, settings) from error


def image_cache(settings: Settings) -> ImageCache:
    """The fetched images of this machine. One that waits for the model, or is in it, is not removed."""
    return ImageCache(settings.image_cache, settings.image_cache_bytes, 2 * settings.segment_timeout_s)


def _decode_data_url(reference: str, max_bytes: int) -> bytes:
    header, comma, data = reference.partition(",")
    if not comma:
        raise ImageFetchError("The data: URL has no comma. Check the task's data.")
    if len(data) > 3 * max_bytes:  # percent-encoding, the longest of its encodings, triples
        raise too_large(max_bytes)
    content = unquote_to_bytes(data)
    if _IS_BASE64.search(header):
        content = content.translate(None, _WHITE_SPACE)  # browsers forgive it, and a missing end of "="
        content += b"=" * (-len(content) % 4)
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
            url = httpx.URL(reference)
            _ = url.host  # UnicodeError, if it is no name
            return url
        if client is None:
            raise ImageFetchError("The image is kept by Label Studio. Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.")
        base = httpx.URL(client.url)
        if reference.startswith("//"):  # another host, by the scheme of the page
            return _absolute_url(f"{base.scheme}:{reference}", None)
        prefix, path = base.path.rstrip("/"), "/" + reference.lstrip("/")
        return base.join(path if path.startswith(f"{prefix}/") else prefix + path)
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ImageFetchError(f"The image's URL is malformed ({error}). Check the task's data.") from None


def _check_image(path: Path, max_pixels: int) -> None:
    """Look at the header only: the model process reads the rest."""
    try:
        width, height = image_size(path)
    except ImageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        is_text = _is_text(path)
        reason = "is a text or a web page" if is_text else reason
        message = f"What the task's URL returned is no image that can be used: it {reason}."
        raise (DoubtfulImageError if is_text else ImageFetchError)(
            f"{message} Open it in a browser to see it."
        ) from None
    if width * height > max_pixels:
        raise ImageFetchError(
            f"The image has {width} x {height} pixels, more than the {max_pixels:,} allowed. "
            "Scale it down or raise MAX_IMAGE_PIXELS."
        )


def _is_text(path: Path) -> bool:
    """Whether it begins like a web page or JSON: words, which no picture begins with."""
    with path.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    text = beginning.decode("utf-8", "ignore")  # its last character may be cut
    return bool(beginning) and len(text.encode()) > len(beginning) - 4 and text.replace("\n", "").isprintable()
