"""Who is at fault where an image could not be fetched: the task, or whoever keeps the image or is on the way to it."""

import threading
import time

import httpx

from labeling.errors import DoubtfulImageError, ImageFetchError, ImageOutage, UnknownHostError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.connections import time_limit
from labeling.label_studio.downloads import answers_at_all, is_label_studios
from labeling.settings import Settings

_OTHERS_FAULT_STATUSES = frozenset({429, 503})  # too much at once, or not yet after a start
_PROBE_LIMIT_S = 5.0
_JUDGED_FOR_S = 5.0
_MOST_HOSTS = 100  # remembered


def judge(
    error: ImageFetchError, url: httpx.URL, client: LabelStudioClient | None, settings: Settings
) -> ImageFetchError:
    """The error as it is to be understood, of an image that a task's data has at `url`.

    Label Studio's API is the judge of Label Studio's images: where it does not take our token just now, the image is
    not to blame (ImageOutage), whatever came instead of it. Any other host has to answer something at its front page.
    """
    if isinstance(error, ImageOutage | UnknownHostError):
        return error
    if error.status in _OTHERS_FAULT_STATUSES:
        return ImageOutage(str(error))
    is_strange = isinstance(error, DoubtfulImageError)  # a login page, which may be on another host
    asked = url if is_strange or error.asked is None else httpx.URL(error.asked)
    if client is not None and is_label_studios(asked, client):
        if not error.is_transient and error.status is None:
            return error
        if (fault := client.fault()) is not None:
            return ImageOutage(f"{fault.reason} Images wait until that is mended.")
        return DoubtfulImageError(str(error)) if error.is_transient else error
    if is_strange:
        return ImageFetchError(str(error))
    return ImageOutage(str(error)) if error.is_transient and not _hosts.answers(asked, settings) else error


class _Hosts:
    """Which hosts answer, each asked at most once in some seconds. Threads may share it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, bool]] = {}
        self._lock = threading.Lock()

    def answers(self, url: httpx.URL, settings: Settings) -> bool:
        front = url.copy_with(path="/", query=None, fragment=None)
        with self._lock:
            until, is_well = self._known.get(str(front), (0.0, False))
            if time.monotonic() >= until:
                with time_limit(_PROBE_LIMIT_S):
                    is_well = answers_at_all(front, settings)
                if len(self._known) >= _MOST_HOSTS:
                    self._known.clear()
                self._known[str(front)] = time.monotonic() + _JUDGED_FOR_S, is_well
            return is_well


_hosts = _Hosts()
