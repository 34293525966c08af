"""waitress, with deadlines: one thread reads all requests, and only a whole one takes one of the application's threads.

So a request that arrives slowly, or never ends, costs a file descriptor until its deadline. waitress itself only ends
connections that are silent; ours also ends a request that takes too long in all, and says whose it was.
"""

import logging
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher

from backend.operations.listening import BACKLOG

logger = logging.getLogger(__name__)

SILENT_S = 15  # without a byte of a request, or of an answer that is taken
WHOLE_S = 120  # for all of a request, from its first byte
STOP_S = 5.0  # for what is being answered when a stop is asked for

_CONNECTIONS = 400  # each holds one to three descriptors; 1024 is what a process usually may have
_IN_MEMORY = 4 * 1024**2  # of a body; more of it lies in a temporary file until it is whole
_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))  # seconds, seconds, tries


class _LoggedErrorTask(ErrorTask):  # type: ignore[misc]  # waitress is untyped
    """waitress's own answer to what is no request, or a too large one; an event may be lost with it."""

    def execute(self) -> None:
        error = self.request.error
        logger.warning("A request of %s was refused: %s (%s).", self.channel.addr[0], error.reason, error.body)
        super().execute()


class _Channel(HTTPChannel):  # type: ignore[misc]
    """A connection that knows since when its unfinished request arrives."""

    error_task_class = _LoggedErrorTask
    request_began: float | None = None

    def received(self, data: bytes) -> Any:
        answer = super().received(data)
        if self.request is None:
            self.request_began = None
        elif self.request_began is None:
            self.request_began = time.time()
        return answer

    def write_soon(self, data: Any) -> Any:
        """An answer begins: the silence before it was ours."""
        self.last_activity = time.time()
        return super().write_soon(data)

    def is_overdue(self, now: float) -> bool:
        """Whether the other side is silent where it should speak or listen, or its request took all of its time."""
        waits_for_peer = not self.requests or self.total_outbufs_len > 0
        is_silent = waits_for_peer and self.last_activity < now - SILENT_S
        return bool(is_silent) or (self.request_began is not None and self.request_began < now - WHOLE_S)

    @property
    def is_at_work(self) -> bool:
        """Whether something is arriving, being answered or on its way out."""
        return bool(self.requests or self.request is not None or self.total_outbufs_len)


class HttpServer(TcpWSGIServer):  # type: ignore[misc]
    """Serves one application on a socket that listens, with `threads` threads."""

    channel_class = _Channel

    def __init__(self, application: Callable[..., Any], listening: socket.socket, *, threads: int, max_body: int):
        """Bodies over `max_body` bytes are refused (413) before they are read."""
        settings = Adjustments(
            sockets=[listening],
            threads=threads,
            backlog=BACKLOG,
            connection_limit=_CONNECTIONS,
            cleanup_interval=1,
            channel_timeout=SILENT_S,
            recv_bytes=64 * 1024,
            inbuf_overflow=_IN_MEMORY,
            max_request_body_size=max_body,
            asyncore_use_poll=True,
            ident=None,
        )
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.queue_logger = logging.getLogger("waitress.queue")
        dispatcher.queue_logger.setLevel(logging.ERROR)  # that requests queue for a moment is no news
        dispatcher.set_thread_count(threads)
        address = (listening.family, listening.type, listening.proto, listening.getsockname())
        super().__init__(
            application, None, True, listening, dispatcher=dispatcher, adj=settings, sockinfo=address, bind_socket=False
        )
        self._stops_at: float | None = None

    def set_socket_options(self, conn: socket.socket) -> None:
        """Answers leave at once, and a peer that vanished is noticed."""
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if hasattr(socket, name):  # not everywhere
                conn.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def maintenance(self, now: float) -> None:
        """Called every second: end what is overdue."""
        dropped: Counter[str] = Counter()
        for channel in list(self.active_channels.values()):
            if channel.is_overdue(now):
                if channel.request is not None:
                    dropped[channel.addr[0]] += 1
                channel.handle_close()  # `will_close` would wait until a deaf peer takes bytes again
        for peer, count in dropped.items():
            logger.warning("Dropped %d requests of %s: they came too slowly, or not to their end.", count, peer)

    def serve(self) -> None:
        """Until SIGTERM or SIGINT; then what is arriving or being answered has `STOP_S` to end."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._request_stop)
        while self._stops_at is None:
            self._turn()
        self.accepting = False  # who connects now waits for the next process, or is refused when the socket closes
        while time.monotonic() < self._stops_at and any(item.is_at_work for item in self.active_channels.values()):
            self._turn()
        self.task_dispatcher.shutdown(timeout=1)
        self.close()

    def _turn(self) -> None:
        self.asyncore.loop(timeout=0.5, map=self._map, use_poll=True, count=1)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stops_at = self._stops_at or time.monotonic() + STOP_S
