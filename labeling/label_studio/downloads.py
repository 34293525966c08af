"""Download from Label Studio with its token, from others without it, and never from where we must not look."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from labeling.errors import DoubtfulImageError, ImageFetchError, LabelStudioError
from labeling.label_studio.addresses import check_host_for_proxy, environment_proxy, public_addresses
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.connections import certificate_advice, make_transport
from labeling.settings import Settings

_FILE_PATHS = ("/data/", "/storage-data/", "/tasks/", "/projects/")  # of Label Studio, behind its login
_MAX_REDIRECTS = 5
_ADVICE = {
    401: "Check LABEL_STUDIO_API_KEY.",
    403: "The token's user may not read it, or local file serving is off in Label Studio "
    "(LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED).",
    404: "It is gone, or no storage that is connected to the project holds it.",
    424: "Label Studio got no file from its storage: it is gone, or the storage is down or set up wrongly.",
}
_ADVICE_ELSEWHERE = {  # of hosts that get no token
    401: "It wants a login. If this is your Label Studio, set LABEL_STUDIO_URL to just this host and port.",
    403: "Nobody may read it without a login, the signed link has expired, or the bucket does not hold it.",
    404: "It is gone. Check the task's data.",
}


def download(url: httpx.URL, client: LabelStudioClient | None, settings: Settings) -> Iterator[bytes]:
    """The content behind a URL, in chunks, at most `settings.max_image_bytes`; to be consumed within a `time_limit`.

    Redirects are followed by hand: each host is checked again, and gets the token only if it is Label Studio's. An
    ImageFetchError names the last URL that was `asked`.
    """
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            with _errors(url, settings), _get(_route(url, client, settings), settings.image_timeout_s) as response:
                if not response.has_redirect_location:
                    yield from _read(response, url, client, settings.max_image_bytes)
                    return
                following = url.join(response.headers["location"])
                _ = following.host  # UnicodeError, if it is no name
            url = following
        raise DoubtfulImageError(f"The image's URL on {url.host} redirects without end. Check the task's data.")
    except ImageFetchError as error:
        error.asked = str(url)
        raise


def answers_at_all(url: httpx.URL, settings: Settings) -> bool:
    """Whether its host answers, no matter what, but that it is out of order."""
    try:
        with _errors(url, settings), _get(_route(url, None, settings), settings.image_timeout_s) as response:
            return response.status_code < 500
    except ImageFetchError:
        return False


@contextmanager
def _errors(url: httpx.URL, settings: Settings) -> Iterator[None]:
    """What goes wrong on the way, as ImageFetchErrors."""
    try:
        yield
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ImageFetchError(f"The image's URL is malformed ({error}). Check the task's data.") from None
    except httpx.TimeoutException:
        late = f"The image on {url.host} took longer than {settings.image_timeout_s:g} s. Raise IMAGE_TIMEOUT_S."
        raise ImageFetchError(late, is_transient=True) from None
    except httpx.HTTPError as error:
        reason = str(error) or type(error).__name__
        message = f"The image on {url.host} could not be read: {reason}.{certificate_advice(error)}"
        raise ImageFetchError(message, is_transient=True) from None
    except LabelStudioError as error:
        raise ImageFetchError(str(error), is_transient=True) from error


def too_large(max_bytes: int) -> ImageFetchError:
    """The error for an image over the limit."""
    return ImageFetchError(f"The image has more than {max_bytes:,} bytes. Scale it down or raise MAX_IMAGE_BYTES.")


def is_label_studios(url: httpx.URL, client: LabelStudioClient | None) -> bool:
    """Whether the URL is of the client's Label Studio: the same scheme, host and port."""
    return client is not None and _origin(url) == _origin(httpx.URL(client.url))


@dataclass(frozen=True)
class _Route:
    """How to ask for a URL: the same request at each of these hosts (a name or addresses) until one connects."""

    url: httpx.URL
    hosts: list[str]
    proxy: str | None
    auth: httpx.Auth | None = field(default=None, repr=False)


def _route(url: httpx.URL, client: LabelStudioClient | None, settings: Settings) -> _Route:
    if url.scheme not in ("http", "https") or not url.host:
        raise ImageFetchError("The image's URL must begin with http:// or https:// and a host. Check the task's data.")
    proxy = environment_proxy(url)
    if client is not None and is_label_studios(url, client):
        below = httpx.URL(client.url).path.rstrip("/")
        is_file = url.path.startswith(tuple(below + path for path in _FILE_PATHS))
        return _Route(url, [url.host], proxy, client.auth if is_file else None)
    allow_private = settings.allow_private_image_hosts
    if proxy is not None:
        check_host_for_proxy(url, allow_private=allow_private)
        return _Route(url, [url.host], proxy)
    # connect to what was checked: the name may resolve to something else a moment later
    return _Route(url, public_addresses(url, allow_private=allow_private), None)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


@contextmanager
def _get(route: _Route, timeout_s: float) -> Iterator[httpx.Response]:
    extensions: dict[str, Any] = {}
    if route.proxy is None:  # with one, the name would be expected of the proxy's certificate
        extensions["sni_hostname"] = route.url.host  # the certificate must be the name's
    with httpx.Client(transport=make_transport(route.proxy), timeout=timeout_s, trust_env=False) as http:
        for host in route.hosts:
            request = http.build_request(
                "GET",
                route.url.copy_with(host=host),
                headers={"Accept-Encoding": "identity", "Host": route.url.netloc.decode("ascii")},
                extensions=extensions,
            )
            try:
                response = http.send(request, stream=True, auth=route.auth)
                break
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if host == route.hosts[-1]:
                    raise
        with closing(response):
            yield response


def _read(
    response: httpx.Response, url: httpx.URL, client: LabelStudioClient | None, max_bytes: int
) -> Iterator[bytes]:
    if response.status_code != 200:
        status = response.status_code
        advice = (_ADVICE if is_label_studios(url, client) else _ADVICE_ELSEWHERE).get(status, "")
        message = f"The image could not be read: {url.host} answered {status}. {advice}".rstrip()
        is_transient = status == 429 or status >= 500 or (status == 401 and is_label_studios(url, client))
        raise ImageFetchError(message, is_transient=is_transient, status=status)
    if int(response.headers.get("Content-Length", "0")) > max_bytes:
        raise too_large(max_bytes)
    size = 0
    for chunk in response.iter_bytes():
        size += len(chunk)
        if size > max_bytes:
            raise too_large(max_bytes)
        yield chunk
