"""How this machine reaches others, as its administrator set it, and how a request is kept to its time."""

import logging
import math
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

import httpcore
import httpx

from labeling.errors import SettingsError

for _name in ("httpx", "httpcore"):  # they log whole URLs and headers, and thereby signed links and cookies
    logging.getLogger(_name).setLevel(logging.WARNING)

ONLY_BEGINNING = "only_beginning"  # an extension of requests whose answer is short, whatever it is
REFUSAL_BYTES = 1 << 16  # what is read of an answer that is no success
_WRITTEN_BYTES = 1 << 16  # at a time: a server may take what we send as slowly as it answers
_end: ContextVar[float] = ContextVar("_end", default=math.inf)  # of time.monotonic()


@cache
def tls_context() -> ssl.SSLContext:
    """The certificates that are trusted. Reading them takes 0.1 s: done once.

    REQUESTS_CA_BUNDLE, SSL_CERT_FILE (files) and SSL_CERT_DIR (a folder) take the place of the certificates that
    certifi brings, as elsewhere in Python. SettingsError if one of them names nothing that can be read.
    """
    named = {name: os.environ.get(name) for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")}
    if not any(named.values()):
        return httpx.create_ssl_context(trust_env=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for name, path in named.items():
        if path:
            try:
                is_folder = Path(path).is_dir()
                context.load_verify_locations(None if is_folder else path, path if is_folder else None)
            except OSError as error:  # ssl.SSLError is one
                raise SettingsError(f"{name} names no certificates that can be read: {path} ({error}).") from None
    return context


def make_transport(proxy: str | None) -> httpx.HTTPTransport:
    """Connections through this proxy, or straight ones. An answer that is no success is cut after its first words."""
    context, through = tls_context(), None
    if proxy is not None:
        is_secure = proxy.lower().startswith("https:")
        through = httpx.Proxy(proxy, ssl_context=context if is_secure else None)
    transport = _Transport(verify=context, proxy=through)
    transport._pool._network_backend = _TimedNetwork()  # httpcore's option, which httpx does not hand on
    return transport


def certificate_advice(error: httpx.HTTPError) -> str:
    """What to do, if it is the server's certificate that is not trusted; else nothing."""
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return ""
    return " Set REQUESTS_CA_BUNDLE to the certificates of your organisation, if it is one of its own."


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """No request of this thread lasts longer than the block may: httpx.TimeoutException then, whatever it is doing.

    httpx's own limits are for one read each: a server that sends a byte a second, in the headers or in the handshake,
    would hold us for hours. Of limits within each other the nearest counts. Only for `make_transport`'s connections.
    """
    end = time.monotonic() + seconds
    before = _end.set(min(end, _end.get()))
    try:
        yield
    finally:
        _end.reset(before)


def _left(timeout: float | None) -> float | None:
    """What one step on the network may take: its own limit, or what is left of the block's, if that is less."""
    if _end.get() == math.inf:
        return timeout
    left = _end.get() - time.monotonic()
    if left <= 0:  # also where something is there to be read: a fast drip would go on for ever
        raise httpcore.ReadTimeout("The time limit is over.")
    return left if timeout is None else min(left, timeout)


class _TimedStream(httpcore.NetworkStream):
    """A connection of which each step heeds the time limit of whoever uses it just then."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _WRITTEN_BYTES):
            self._stream.write(buffer[start : start + _WRITTEN_BYTES], _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _TimedNetwork(httpcore.SyncBackend):
    """What opens such connections."""

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, *args: Any, **more: Any) -> _TimedStream:
        return _TimedStream(super().connect_tcp(host, port, _left(timeout), *args, **more))


class _Transport(httpx.HTTPTransport):
    """httpx reads whole what is answered before it tries another login: a 401 of 200 MB would be in our memory."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        is_cut = not response.is_success or request.extensions.get(ONLY_BEGINNING)
        if is_cut and isinstance(response.stream, httpx.SyncByteStream):
            response.stream = _Beginning(response.stream)
        return response


class _Beginning(httpx.SyncByteStream):
    """The first bytes of a body."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            yield chunk
            if size >= REFUSAL_BYTES:
                return

    def close(self) -> None:
        self._stream.close()
