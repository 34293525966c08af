"""How this machine reaches others, as its administrator set it, and how a request is kept to its time."""

import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from labeling.errors import SettingsError

for _name in ("httpx", "httpcore"):  # they log whole URLs and headers, and thereby signed links and cookies
    logging.getLogger(_name).setLevel(logging.WARNING)


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
    """Connections through this proxy, or straight ones."""
    context = tls_context()
    if proxy is None:
        return httpx.HTTPTransport(verify=context)
    is_secure = proxy.lower().startswith("https:")
    return httpx.HTTPTransport(verify=context, proxy=httpx.Proxy(proxy, ssl_context=context if is_secure else None))


def certificate_advice(error: httpx.HTTPError) -> str:
    """What to do, if it is the server's certificate that is not trusted; else nothing."""
    if "CERTIFICATE_VERIFY_FAILED" not in str(error):
        return ""
    return " Set REQUESTS_CA_BUNDLE to the certificates of your organisation, if it is one of its own."


class Deadline:
    """Ends a request's connections when time is up, whatever it is doing then.

    httpx's own limits are for one read each: a server that sends a byte a second, in the headers or in the handshake,
    would hold us for hours. `trace` is for the extension of that name of the requests to be watched.
    """

    def __init__(self, seconds: float) -> None:
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    @property
    def is_over(self) -> bool:
        """Whether time was up."""
        return self._over.is_set()

    @contextmanager
    def running(self) -> Iterator["Deadline"]:
        """Time runs from here to the end of the block."""
        self._timer.start()
        try:
            yield self
        finally:
            self._timer.cancel()
            with self._lock:
                for connected in self._sockets:
                    connected.close()
                self._sockets.clear()

    def trace(self, event: str, info: dict[str, Any]) -> None:
        """httpcore's hook: keep hold of every socket that the request connects."""
        if event == "connection.connect_tcp.complete":
            # our own handle on the connection: TLS takes over the original one
            connected = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                self._sockets.append(connected)
            if self.is_over:
                self._end()

    def _end(self) -> None:
        self._over.set()
        with self._lock:
            for connected in self._sockets:
                with suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)
