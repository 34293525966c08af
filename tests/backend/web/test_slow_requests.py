"""Requests that arrive slowly, or never end, cost nobody else a thing; nor do answers that nobody takes."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backend.web import http_server
from backend.web.http_server import HttpServer
from labeling.settings import Settings
from tests.backend.web.served import backend_process

EVENT = {"action": "SOMETHING", "project": {"id": 1}}
HALF_HEADERS = b"P"
HALF_BODY = (
    b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
)


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_health_and_webhooks_are_answered_while_requests_are_half_sent(settings: Settings) -> None:
    """16, then 200; each ends at its deadline, and the log says whose they were."""
    with backend_process(settings) as backend:
        taken, slowest = 0, 0.0
        for count, silent in ((16, HALF_HEADERS), (16, HALF_BODY), (200, HALF_HEADERS), (200, HALF_BODY)):
            half_sent = [backend.connect(silent) for _ in range(count)]
            until = time.monotonic() + 2
            while time.monotonic() < until:
                began = time.monotonic()
                assert backend.client.get("/health").status_code == 200
                slowest = max(slowest, time.monotonic() - began)
                assert backend.client.post("/webhook", json={**EVENT, "number": taken}).status_code == 201
                taken += 1
            if count == 200:
                continue
            for connection in half_sent:
                connection.close()
        assert slowest < 1 and taken > 0
        deadline = time.monotonic() + http_server.SILENT_S + 5
        while not all(is_closed(connection) for connection in half_sent):
            assert time.monotonic() < deadline, "the requests that never end are still open"
            time.sleep(0.2)
        while "requests of 127.0.0.1: they came too slowly" not in backend.log:  # written after they are closed
            assert time.monotonic() < deadline, "nobody is named who sent them"
            time.sleep(0.2)


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Serves an application with short deadlines, in a thread; gives the port."""
    monkeypatch.setattr(http_server, "SILENT_S", 1)
    monkeypatch.setattr(http_server, "WHOLE_S", 3)
    servers: list[HttpServer] = []

    def start(application: Callable[..., Any], threads: int = 1) -> int:
        server = HttpServer(application, socket.create_server(("127.0.0.1", 0)), threads=threads, max_body=10**6)
        threading.Thread(target=server.run, daemon=True).start()
        servers.append(server)
        return int(server.socket.getsockname()[1])

    yield start
    for server in servers:
        server.task_dispatcher.shutdown(timeout=1)


def test_a_request_that_trickles_in_ends_at_its_deadline(
    serve: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    port = serve(lambda environ, start_response: [])
    with socket.create_connection(("127.0.0.1", port)) as trickling:
        trickling.sendall(HALF_BODY)
        began = time.monotonic()
        while not is_closed(trickling):
            assert time.monotonic() - began < 10, "it trickles on"
            trickling.setblocking(True)
            trickling.sendall(b" ")
            time.sleep(0.3)
        assert time.monotonic() - began > 2
    assert "1 requests of 127.0.0.1: they came too slowly" in caplog.text


def test_an_answer_that_nobody_takes_holds_no_thread_for_long(serve: Callable[..., int]) -> None:
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 10**6 for _ in range(40)] if environ["PATH_INFO"] == "/large" else [b"small"]

    port = serve(application)
    with socket.create_connection(("127.0.0.1", port)) as deaf, socket.create_connection(("127.0.0.1", port)) as other:
        deaf.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.3)
        other.settimeout(10)
        other.sendall(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in other.recv(1000)


def test_a_peer_that_vanished_is_noticed_by_the_kernel(serve: Callable[..., int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = HttpServer(lambda environ, start_response: [], listening, threads=1, max_body=1)
        with socket.create_connection(listening.getsockname()[:2]) as connection:
            server.set_socket_options(connection)
            assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        server.task_dispatcher.shutdown(timeout=1)


def test_a_body_that_is_too_large_is_refused_before_it_is_read(
    serve: Callable[..., int], caplog: pytest.LogCaptureFixture
) -> None:
    port = serve(lambda environ, start_response: [])
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (2 * 10**6)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(head)
        assert connection.recv(100).startswith(b"HTTP/1.1 413")
    assert "A request of 127.0.0.1 was refused" in caplog.text


def test_what_is_being_answered_at_a_stop_is_answered(settings: Settings) -> None:
    """A webhook whose body was on its way is taken, not dropped."""
    body = json.dumps(EVENT).encode()
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with backend_process(settings) as backend:
        arriving = backend.connect(head % len(body) + body[:5])
        time.sleep(0.3)
        backend.process.terminate()
        time.sleep(0.7)
        arriving.sendall(body[5:])
        assert b" 201 " in arriving.recv(1000)
