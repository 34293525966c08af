"""Images through a real TLS server with a CA of its own, and through a real proxy."""

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import pytest
import trustme

from labeling.errors import ImageFetchError, LabelStudioError, SettingsError
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.connections import tls_context
from labeling.label_studio.images import fetch_image
from labeling.settings import Settings
from tests.labeling.label_studio.conftest import Answer, Server
from tests.labeling.label_studio.test_images import PNG

NAME = "images.corp-test.org"
TOKEN = "0123456789abcdef"


class Proxy:
    """A forward proxy: GET of whole URLs, and CONNECT. `hosts` says which local port a name stands for."""

    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        self.asked: list[str] = []
        self.headers: list[str] = []
        proxy = self

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                method, target, _ = self.rfile.readline().decode().split()
                headers = []
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    headers.append(line)
                proxy.asked.append(f"{method} {target}")
                proxy.headers += [header.decode().strip() for header in headers]
                host = target if method == "CONNECT" else target.split("/")[2]
                port = proxy.hosts.get(host.partition(":")[0])
                if port is None:
                    self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", port)) as upstream:
                    if method == "CONNECT":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    else:
                        path = "/" + target.split("/", 3)[3]
                        kept = [header for header in headers if not header.lower().startswith(b"connection")]
                        head = [f"GET {path} HTTP/1.1\r\n".encode(), *kept, b"Connection: close\r\n\r\n"]
                        upstream.sendall(b"".join(head))
                    up = threading.Thread(target=pump, args=(self.connection, upstream), daemon=True)
                    up.start()
                    pump(upstream, self.connection)

        self._server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture
def secure_host(authority: trustme.CA) -> Iterator[Server]:
    """Answers as NAME, by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    server = Server(context)
    server.answers["GET", "/a.png"] = Answer(PNG)
    yield server
    server.close()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    yield proxy
    proxy.close()


@pytest.fixture(autouse=True)
def fresh_tls_context() -> Iterator[None]:
    tls_context.cache_clear()
    yield
    tls_context.cache_clear()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the resolver knows besides this machine and literal addresses: names and their addresses."""
    known: dict[str, str] = {}
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name.rpartition(".")[2].isalpha() and name != "localhost" and name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(known.get(name, host), port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return known


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, image_timeout_s=3)


@pytest.fixture
def open_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"allow_private_image_hosts": True})


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_a_corporate_ca_is_trusted(secure_host, ca_file, names, open_settings, monkeypatch, variable: str) -> None:
    names[NAME] = "127.0.0.1"
    url = f"https://{NAME}:{secure_host.port}/a.png"
    with pytest.raises(ImageFetchError, match="REQUESTS_CA_BUNDLE"):
        fetch_image(url, None, open_settings)
    tls_context.cache_clear()
    monkeypatch.setenv(variable, ca_file)
    assert fetch_image(url, None, open_settings).read_bytes() == PNG
    assert secure_host.requests[0].headers["Host"] == f"{NAME}:{secure_host.port}"


def test_the_certificate_must_be_the_names(secure_host, ca_file, names, open_settings, monkeypatch) -> None:
    """It is connected by an address that was checked; that must not weaken the check of the name."""
    names["other.org"] = "127.0.0.1"
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    with pytest.raises(ImageFetchError, match=r"other\.org"):
        fetch_image(f"https://other.org:{secure_host.port}/a.png", None, open_settings)
    assert not secure_host.requests


def test_a_label_studio_with_a_corporate_certificate(secure_host, ca_file, names, settings, monkeypatch) -> None:
    names[NAME] = "127.0.0.1"
    secure_host.answers["GET", "/api/predictions/"] = Answer(b"[]", headers={"Content-Type": "application/json"})
    secure_host.answers["GET", "/data/upload/a.png"] = Answer(PNG)
    url = f"https://{NAME}:{secure_host.port}"
    with pytest.raises(LabelStudioError, match="REQUESTS_CA_BUNDLE"):
        LabelStudioClient(url, TOKEN).list_predictions(1)
    tls_context.cache_clear()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", ca_file)
    client = LabelStudioClient(url, TOKEN)
    assert client.list_predictions(1) == []
    assert fetch_image("/data/upload/a.png", client, settings).read_bytes() == PNG


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_a_ca_file_that_cannot_be_used_is_named(tmp_path: Path, monkeypatch, damage: str) -> None:
    path = tmp_path / "ca.pem"
    if damage == "empty":
        path.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(path))
    with pytest.raises(SettingsError, match=r"REQUESTS_CA_BUNDLE.*ca\.pem"):
        tls_context()


def test_a_folder_of_certificates(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert tls_context().verify_mode == ssl.CERT_REQUIRED


def test_images_come_through_the_proxy(proxy, secure_host, other_host, ca_file, names, settings, monkeypatch) -> None:
    """Also those whose names only the proxy can resolve."""
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    other_host.answers["GET", "/a.png"] = Answer(PNG)
    proxy.hosts = {"plain.org": other_host.port, NAME: secure_host.port}
    assert fetch_image("http://plain.org/a.png?x=1", None, settings).read_bytes() == PNG
    assert fetch_image(f"https://{NAME}/a.png", None, settings).read_bytes() == PNG
    assert proxy.asked == ["GET http://plain.org/a.png?x=1", f"CONNECT {NAME}:443"]


def test_label_studio_behind_a_proxy_gets_its_token(proxy, label_studio, settings, names) -> None:
    proxy.hosts = {"ls.corp-test.org": label_studio.port}
    label_studio.answers["GET", "/data/upload/a.png"] = Answer(PNG)
    client = LabelStudioClient("http://ls.corp-test.org", TOKEN)
    assert fetch_image("/data/upload/a.png", client, settings).read_bytes() == PNG
    assert label_studio.requests[0].headers["Authorization"] == f"Token {TOKEN}"


@pytest.mark.parametrize("entry", ["plain.org", ".org", "*", "127.0.0.0/8"])
def test_no_proxy_goes_straight(proxy, other_host, names, open_settings, monkeypatch, entry: str) -> None:
    names["plain.org"] = "127.0.0.1"
    monkeypatch.setenv("NO_PROXY", entry if entry == "*" else f"elsewhere.net, {entry}")
    other_host.answers["GET", "/a.png"] = Answer(PNG)
    host = "127.0.0.2" if "/" in entry else "plain.org"
    try:
        fetch_image(f"http://{host}:{other_host.port}/a.png", None, open_settings)
    except ImageFetchError:
        assert host == "127.0.0.2"  # nobody listens there
    assert not proxy.asked


PRIVATE = [
    "10.1.2.3",
    "169.254.169.254",
    "2852039166",  # 169.254.169.254 as one number
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "127.1",
    "0.0.0.0",
    "[fd00::1]",
    "[::ffff:10.0.0.1]",
    "[64:ff9b::a00:1]",
    "intranet",
    "metadata.google.internal",
    "METADATA.GOOGLE.INTERNAL.",
    "printer.local",
    "a.localhost",
    "resolved.org",
]


@pytest.mark.parametrize("host", PRIVATE)
def test_the_proxy_is_not_asked_for_private_hosts(proxy, names, settings, host: str) -> None:
    names["resolved.org"] = "192.168.1.1"
    with pytest.raises(ImageFetchError, match=r"private network|malformed"):
        fetch_image(f"http://{host}/a.png", None, settings)
    assert not proxy.asked


def test_a_redirect_through_the_proxy_is_checked_again(proxy, other_host, names, settings) -> None:
    proxy.hosts = {"plain.org": other_host.port}
    other_host.answers["GET", "/a.png"] = Answer(status=302, headers={"Location": "http://169.254.169.254/latest/"})
    with pytest.raises(ImageFetchError, match="private network"):
        fetch_image("http://plain.org/a.png", None, settings)
    assert proxy.asked == ["GET http://plain.org/a.png"]


def test_a_proxys_password_is_sent_and_never_shown(proxy, names, settings, monkeypatch, caplog) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", "http://me:hidden@"))
    with pytest.raises(ImageFetchError, match="502") as error:
        fetch_image("http://plain.org/a.png", None, settings)
    assert "Proxy-Authorization: Basic bWU6aGlkZGVu" in proxy.headers
    assert "hidden" not in f"{error.value}{caplog.text}"


def drip_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Drip: ")
    while not over.wait(0.1):
        connection.sendall(b"a")


def drip_chunk_size(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
    while not over.wait(0.1):
        connection.sendall(b"a")


def drip_handshake(connection: socket.socket) -> None:
    connection.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 kB that never gets full
    while not over.wait(0.1):
        connection.sendall(b"\x02")


def say_nothing(connection: socket.socket) -> None:
    over.wait(10)


def drip_body_to_the_end(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)  # its end is the connection's
    while not over.wait(0.1):
        connection.sendall(b"a")


over = threading.Event()


@pytest.mark.parametrize(
    ("scheme", "behave"),
    [
        ("http", drip_headers),
        ("http", drip_chunk_size),
        ("http", say_nothing),
        ("http", drip_body_to_the_end),
        ("https", drip_handshake),
        ("https", say_nothing),
    ],
)
def test_no_drip_outlives_the_deadline(open_settings, scheme: str, behave) -> None:
    settings = open_settings.model_copy(update={"image_timeout_s": 0.6})
    over.clear()
    ended = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            self.connection.recv(10_000)
            try:
                behave(self.connection)
            except OSError as error:
                ended.append(error)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            with pytest.raises(ImageFetchError, match=r"longer than 0\.6 s") as error:
                fetch_image(f"{scheme}://127.0.0.1:{server.server_address[1]}/a.png", None, settings)
        finally:
            over.set()
            server.shutdown()
    assert error.value.is_transient
    assert not [file for file in settings.image_cache.iterdir() if file.suffix]
