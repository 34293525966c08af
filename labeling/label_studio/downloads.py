"""Download from Label Studio with its token, from others without it, and never from where we must not look."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import httpx

from labeling.errors import ImageFetchError, LabelStudioError
from labeling.label_studio.addresses import environment_proxy, public_addresses
from labeling.label_studio.client import LabelStudioClient, tls_context
from labeling.settings import Settings

_FILE_PATHS = ("/data/", "/storage-data/", "/tasks/", "/projects/")  # of Label Studio, behind its login
_MAX_REDIRECTS = 5
_ADVICE = {
    401: "Check LABEL_STUDIO_API_KEY.",
    403: "The token's user, or nobody, may read it.",
    404: "It is gone, or local file serving is off in Label Studio (LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED).",
}


def download(url: httpx.URL, client: LabelStudioClient | None, settings: Settings) -> Iterator[bytes]:
    """The content behind a URL, in chunks, at most `settings.max_image_bytes` in `settings.image_timeout_s`.

    Redirects are followed by hand: each host is checked again, and gets the token only if it is Label Studio's.
    """
    deadline = time.monotonic() + settings.image_timeout_s
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            with _get(_route(url, client, settings), settings.image_timeout_s) as response:
                if not response.has_redirect_location:
                    yield from _read(response, url, deadline, settings)
                    return
                url = url.join(response.headers["location"])
        raise ImageFetchError(f"The image's URL on {url.host} redirects without end. Check the task's data.")
    except httpx.InvalidURL as error:
        raise ImageFetchError(f"The image's URL is malformed ({error}). Check the task's data.") from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise ImageFetchError(f"The image on {url.host} could not be read: {reason}.", is_transient=True) from None
    except LabelStudioError as error:
        raise ImageFetchError(str(error), is_transient=error.is_transient) from error


def too_large(max_bytes: int) -> ImageFetchError:
    """The error for an image over the limit."""
    return ImageFetchError(f"The image has more than {max_bytes:,} bytes. Scale it down or raise MAX_IMAGE_BYTES.")


@dataclass(frozen=True)
class _Route:
    """How to ask for a URL: the same request at each of these hosts (a name or addresses) until one connects."""

    url: httpx.URL
    hosts: list[str]
    proxy: str | None
    headers: dict[str, str] = field(repr=False)


def _route(url: httpx.URL, client: LabelStudioClient | None, settings: Settings) -> _Route:
    if url.scheme not in ("http", "https") or not url.host:
        raise ImageFetchError("The image's URL must begin with http:// or https:// and a host. Check the task's data.")
    headers = {"Accept-Encoding": "identity", "Host": url.netloc.decode("ascii")}
    hosts, proxy = [url.host], environment_proxy(url)
    if client is not None and _origin(url) == _origin(base := httpx.URL(client.url)):
        if url.path.removeprefix(base.path.rstrip("/")).startswith(_FILE_PATHS):
            headers["Authorization"] = client.authorization()
        return _Route(url, hosts, proxy, headers)
    try:
        # connect to what was checked: the name may resolve to something else a moment later
        addresses = public_addresses(url, allow_private=settings.allow_private_image_hosts)
        hosts = addresses if proxy is None else hosts
    except ImageFetchError as error:
        if proxy is None or not error.is_transient:  # a name that only the proxy knows is the proxy's to judge
            raise
    return _Route(url, hosts, proxy, headers)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


@contextmanager
def _get(route: _Route, timeout_s: float) -> Iterator[httpx.Response]:
    transport = httpx.HTTPTransport(verify=tls_context(), proxy=route.proxy)
    with httpx.Client(transport=transport, timeout=timeout_s) as http:
        for host in route.hosts:
            request = http.build_request(
                "GET",
                route.url.copy_with(host=host),
                headers=route.headers,
                extensions={"sni_hostname": route.url.host},  # the certificate must be the name's
            )
            try:
                response = http.send(request, stream=True)
                break
            except httpx.ConnectError:
                if host == route.hosts[-1]:
                    raise
        with closing(response):
            yield response


def _read(response: httpx.Response, url: httpx.URL, deadline: float, settings: Settings) -> Iterator[bytes]:
    if response.status_code != 200:
        status = response.status_code
        message = f"The image could not be read: {url.host} answered {status}. {_ADVICE.get(status, '')}".rstrip()
        raise ImageFetchError(message, is_transient=status == 429 or status >= 500)
    if int(response.headers.get("Content-Length", "0")) > settings.max_image_bytes:
        raise too_large(settings.max_image_bytes)
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > settings.max_image_bytes:
            raise too_large(settings.max_image_bytes)
        if time.monotonic() > deadline:
            raise ImageFetchError(
                f"The image on {url.host} took longer than {settings.image_timeout_s:g} s. Raise IMAGE_TIMEOUT_S.",
                is_transient=True,
            )
        yield chunk
