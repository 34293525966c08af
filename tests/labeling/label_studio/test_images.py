import base64
import hashlib
import io
import json
import logging
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import jwt
import pytest
from PIL import Image

from labeling.errors import DoubtfulImageError, ImageFetchError, ImageOutage
from labeling.label_studio import addresses, image_faults
from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.images import fetch_image
from labeling.settings import Settings

TOKEN = "0123456789abcdef"


def png(width: int = 3, height: int = 2) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
BOMB = b"IHDR" + (60_000).to_bytes(4) * 2 + PNG[24:29]  # 3.6 gigapixels in less than 100 bytes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, image_timeout_s=3, max_image_bytes=10_000, max_image_pixels=10_000)


@pytest.fixture
def client(label_studio) -> LabelStudioClient:
    return LabelStudioClient(label_studio.url, TOKEN)


def left_behind(settings: Settings) -> list[str]:
    return [file.name for file in settings.image_cache.glob("*") if file.suffix]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_file_of_label_studio_is_fetched_with_the_token(client, label_studio, answer, settings, absolute) -> None:
    label_studio.answers["GET", "/data/local-files/"] = answer(PNG)
    reference = "/data/local-files/?d=imgs/a%20b.png"
    path = fetch_image(label_studio.url + reference if absolute else reference, client, settings)
    assert path == settings.image_cache / hashlib.sha256(PNG).hexdigest()
    assert path.read_bytes() == PNG
    (request,) = label_studio.requests
    assert request.path == reference
    assert request.headers["Authorization"] == f"Token {TOKEN}"


def test_label_studio_below_a_path(label_studio, answer, settings) -> None:
    client = LabelStudioClient(f"{label_studio.url}/ls", TOKEN)
    label_studio.answers["GET", "/ls/data/upload/1/a.png"] = answer(PNG)
    assert fetch_image("/data/upload/1/a.png", client, settings) == fetch_image(
        "/ls/data/upload/1/a.png", client, settings
    )
    assert all("Authorization" in request.headers for request in label_studio.requests)


@pytest.mark.parametrize("path", ["/api/projects/1/delete", "/data/../api/current-user/token"])
def test_the_token_is_only_for_files(client, label_studio, settings, path: str) -> None:
    """A task's author must not call Label Studio's API in our name."""
    with pytest.raises(ImageFetchError):
        fetch_image(path, client, settings)
    assert "Authorization" not in label_studio.requests[0].headers


def test_another_host_gets_no_token(client, label_studio, other_host, answer, settings) -> None:
    settings = settings.model_copy(update={"allow_private_image_hosts": True})
    other_host.answers["GET", "/data/a.png"] = answer(PNG)
    elsewhere = f"{other_host.url}/data/a.png"
    label_studio.answers["GET", "/data/b.png"] = answer(status=302, headers={"Location": elsewhere})
    fetch_image(elsewhere, client, settings)
    fetch_image("/data/b.png", client, settings)
    assert "Authorization" in label_studio.requests[0].headers
    assert len(other_host.requests) == 2
    for request in other_host.requests:
        assert "Authorization" not in request.headers
        assert request.headers["Host"] == f"127.0.0.1:{other_host.port}"


def test_a_name_is_connected_by_the_address_that_was_checked(other_host, answer, settings) -> None:
    settings = settings.model_copy(update={"allow_private_image_hosts": True})
    other_host.answers["GET", "/a.png"] = answer(PNG)
    fetch_image(f"http://localhost:{other_host.port}/a.png", None, settings)
    assert other_host.requests[0].headers["Host"] == f"localhost:{other_host.port}"


LOOPBACK = ["127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0.0.0.0", "[::ffff:127.0.0.1]"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_private_hosts_are_refused(other_host, answer, settings, client, host: str) -> None:
    other_host.answers["GET", "/a.png"] = answer(PNG)
    with pytest.raises(ImageFetchError):
        fetch_image(f"http://{host}:{other_host.port}/a.png", client, settings)
    assert not other_host.requests


def test_a_redirect_to_a_private_host_is_refused(client, label_studio, other_host, answer, settings) -> None:
    label_studio.answers["GET", "/data/b.png"] = answer(status=302, headers={"Location": f"{other_host.url}/a.png"})
    with pytest.raises(ImageFetchError, match="private network"):
        fetch_image("/data/b.png", client, settings)
    assert not other_host.requests


def test_a_name_that_changes_its_address_is_not_followed(other_host, settings, monkeypatch) -> None:
    """DNS rebinding: public when checked, private when connected."""
    asked = []

    def resolve(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(2, 1, 6, "", ("203.0.113.7" if len(asked) > 1 else "93.184.215.14", 80))]

    monkeypatch.setattr(addresses.socket, "getaddrinfo", resolve)
    connected = []

    def connect(address: tuple[str, int], *_: object, **__: object) -> None:
        connected.append(address[0])
        raise OSError("no network in tests")

    monkeypatch.setattr("socket.create_connection", connect)
    with pytest.raises(ImageFetchError, match="could not be read"):
        fetch_image("http://rebinding.example/a.png", None, settings)
    assert connected[0] == "93.184.215.14"
    assert "203.0.113.7" not in connected[: len(asked) - 1], "only what is asked again is connected to anew"


def test_a_redirect_inside_label_studio_keeps_the_token(client, label_studio, answer, settings) -> None:
    label_studio.answers["GET", "/tasks/5/presign/"] = answer(status=303, headers={"Location": "/data/a.png?x=1"})
    label_studio.answers["GET", "/data/a.png"] = answer(PNG)
    fetch_image("s3://bucket/ä.png", client, settings, task_id=5)
    first, second = label_studio.requests
    encoded = httpx.URL(f"http://h{first.path}").params["fileuri"]
    assert base64.urlsafe_b64decode(encoded).decode() == "s3://bucket/ä.png"
    assert second.path == "/data/a.png?x=1"
    assert "Authorization" in second.headers


def test_redirects_end(client, label_studio, answer, settings) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(status=302, headers={"Location": "/data/a.png"})
    with pytest.raises(ImageFetchError, match="redirects without end"):
        fetch_image("/data/a.png", client, settings)


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://h/a.png", "http://[", "http://xn--/", "gopher://x"])
def test_redirects_to_elsewhere_are_refused(client, label_studio, answer, settings, location: str) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(status=302, headers={"Location": location})
    with pytest.raises(ImageFetchError):
        fetch_image("/data/a.png", client, settings)


DATA_URLS = ["data:image/png;base64," + base64.b64encode(PNG).decode(), "data:image/png," + quote(PNG)]


@pytest.mark.parametrize("reference", [*DATA_URLS, DATA_URLS[0].replace("data:", "DATA:")], ids=lambda url: url[:22])
def test_data_urls(settings, reference: str) -> None:
    assert fetch_image(reference, None, settings).read_bytes() == PNG


def test_a_text_in_a_data_url_is_the_tasks_own_fault_at_once(settings) -> None:
    with pytest.raises(ImageFetchError, match="is a text") as refused:
        fetch_image("data:,x", None, settings)
    assert not refused.value.is_transient


@pytest.mark.parametrize(
    "reference",
    [
        "data:image/png;base64",
        "data:image/png;base64,!!!",
        "data:image/png;base64," + "A" * 40_000,
        "data:image/png;base64," + base64.b64encode(bytes(10_001)).decode(),
        "data:text/plain,hello",
    ],
    ids=lambda url: url[:30],
)
def test_broken_and_large_data_urls_are_refused(settings, reference: str) -> None:
    with pytest.raises(ImageFetchError) as error:
        fetch_image(reference, None, settings)
    assert not left_behind(settings)
    assert not error.value.is_transient, "it stays as it is"


def endless() -> Iterator[bytes]:
    while True:
        yield bytes(1000)


def slow() -> Iterator[bytes]:
    for byte in PNG:
        time.sleep(0.2)
        yield bytes([byte])


def test_what_is_too_large_is_cut_off_while_it_streams(client, label_studio, answer, settings) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(chunks=endless())
    with pytest.raises(ImageFetchError, match="MAX_IMAGE_BYTES"):
        fetch_image("/data/a.png", client, settings)
    assert not left_behind(settings)


def test_a_told_length_is_believed_before_reading(client, label_studio, answer, settings) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(chunks=iter([b""]), headers={"Content-Length": "99999999"})
    with pytest.raises(ImageFetchError, match="MAX_IMAGE_BYTES"):
        fetch_image("/data/a.png", client, settings)


def test_a_drip_is_given_up(client, label_studio, answer, settings) -> None:
    settings = settings.model_copy(update={"image_timeout_s": 0.5})
    label_studio.answers["GET", "/data/a.png"] = answer(chunks=slow())
    began = time.monotonic()
    with pytest.raises(ImageFetchError, match="IMAGE_TIMEOUT_S") as error:
        fetch_image("/data/a.png", client, settings)
    assert error.value.is_transient
    assert time.monotonic() - began < 2


def test_a_connection_that_breaks_leaves_nothing(client, label_studio, answer, settings) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(chunks=iter([PNG[:20]]), headers={"Content-Length": "500"})
    with pytest.raises(ImageFetchError) as error:
        fetch_image("/data/a.png", client, settings)
    assert error.value.is_transient
    assert not list(settings.image_cache.iterdir())


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        (b"<html>log in</html>", "no image"),
        (b"", "no image"),
        (PNG[:10], "no image"),
        (png(200, 200), "MAX_IMAGE_PIXELS"),
        (PNG[:12] + BOMB + zlib.crc32(BOMB).to_bytes(4) + PNG[33:], "scale it down"),
    ],
)
def test_what_is_no_usable_image_is_refused(client, label_studio, answer, settings, body: bytes, advice: str) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(body)
    with pytest.raises(ImageFetchError, match=advice):
        fetch_image("/data/a.png", client, settings)
    assert not list(settings.image_cache.iterdir())


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        *[(401, "API_KEY"), (403, "LOCAL_FILES_SERVING_ENABLED"), (404, "no storage"), (424, "from its storage")],
        *[(500, ""), (503, "")],
    ],
)
def test_refusals(client, label_studio, answer, settings, status: int, advice: str) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(b"no", status)
    with pytest.raises(ImageFetchError, match=rf"answered {status}\..*{advice}") as error:
        fetch_image("/data/a.png", client, settings)
    assert error.value.is_transient == (status >= 500 or status == 401)
    assert isinstance(error.value, DoubtfulImageError) == (status in (401, 500))
    assert isinstance(error.value, ImageOutage) == (status == 503), "too much at once, or not yet after a start"


PAGE = b"<!DOCTYPE html><html><title>Log in</title>"
MISFORTUNES = {
    "a refused token": (b'{"detail": "Invalid token."}', 401, {}),
    "a missing file": (b"404 page not found", 404, {}),
    "a login page": (b"", 302, {"Location": "/user/login/"}),
    "a page": (PAGE, 200, {"Content-Type": "text/html"}),
    "JSON": (b'{"status": "starting"}', 200, {"Content-Type": "application/json"}),
    "a server's fault": (b"no", 502, {}),
}


@pytest.mark.parametrize("what", MISFORTUNES)
def test_an_image_is_not_at_fault_while_label_studio_does_not_take_our_token(
    client, label_studio, answer, settings, what: str
) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(*MISFORTUNES[what])
    label_studio.answers["GET", "/user/login/"] = answer(PAGE, headers={"Content-Type": "text/html"})
    label_studio.answers["GET", "/api/current-user/whoami"] = answer(b'{"detail": "Invalid token."}', 401)
    with pytest.raises(ImageOutage, match="LABEL_STUDIO_API_KEY"):
        fetch_image("/data/a.png", client, settings)
    label_studio.answers["GET", "/api/current-user/whoami"] = answer(b'{"id": 1}')
    with pytest.raises(ImageFetchError) as error:
        fetch_image("/data/a.png", LabelStudioClient(label_studio.url, TOKEN), settings)
    assert isinstance(error.value, DoubtfulImageError) == (what != "a missing file")


def test_a_login_page_on_another_host_is_label_studios_matter(
    client, label_studio, other_host, answer, settings
) -> None:
    settings = settings.model_copy(update={"allow_private_image_hosts": True})
    label_studio.answers["GET", "/data/a.png"] = answer(status=302, headers={"Location": f"{other_host.url}/login"})
    other_host.answers["GET", "/login"] = answer(PAGE)
    with pytest.raises(DoubtfulImageError):
        fetch_image("/data/a.png", client, settings)
    with pytest.raises(ImageFetchError) as error:
        fetch_image(f"{other_host.url}/login", client, settings)
    assert not error.value.is_transient, "a page in place of an image elsewhere is the task's own fault"


def test_another_host_that_answers_nothing_is_waited_for(client, other_host, answer, settings) -> None:
    settings = settings.model_copy(update={"allow_private_image_hosts": True})
    other_host.answers["GET", "/a.png"] = answer(b"no", 500)
    with pytest.raises(ImageFetchError, match="500") as error:
        fetch_image(f"{other_host.url}/a.png", client, settings)
    assert error.value.is_transient and not isinstance(error.value, ImageOutage), "its front page answers"
    image_faults._hosts._known.clear()
    other_host.answers["GET", "/"] = answer(b"no", 500)
    with pytest.raises(ImageOutage):
        fetch_image(f"{other_host.url}/a.png", client, settings)
    url = other_host.url
    other_host.close()
    image_faults._hosts._known.clear()
    with pytest.raises(ImageOutage):
        fetch_image(f"{url}/b.png", client, settings)


@pytest.mark.parametrize(
    ("reference", "advice"),
    [
        ("/data/a.png", "LABEL_STUDIO_URL"),
        ("file:///etc/passwd", "file: URLs"),
        ("ftp://host/a.png", "ftp: URLs"),
        ("s3://bucket/a.png", "presigns"),
        ("http://[::1/a.png", "malformed"),
        ("http:///a.png", "host"),
        ("http://xn--/a.png", "malformed"),
        ("http://host/\ud800.png", "surrogate"),
        ("/data/\ud800.png", "surrogate"),
        ("s3://bucket/\ud800.png", "surrogate"),
        ("data:image/png;base64,\ud800", "surrogate"),
        ("http://does-not-exist.invalid/a.png", "not known"),
    ],
)
def test_references_that_cannot_be_fetched(settings, reference: str, advice: str) -> None:
    with pytest.raises(ImageFetchError, match=advice):
        fetch_image(reference, None, settings)


def test_an_unreachable_label_studio(client, label_studio, settings) -> None:
    label_studio.close()
    with pytest.raises(ImageFetchError) as error:
        fetch_image("/data/a.png", client, settings)
    assert error.value.is_transient


def test_messages_and_logs_hold_no_secrets(client, label_studio, answer, settings, caplog) -> None:
    caplog.set_level(logging.DEBUG)
    signed = {"Location": "/data/a.png?X-Amz-Signature=SIGNED"}
    label_studio.answers["GET", "/tasks/5/presign/"] = answer(status=303, headers=signed)
    label_studio.answers["GET", "/data/a.png"] = answer(PNG)
    fetch_image("s3://bucket/a.png", client, settings, task_id=5)
    label_studio.answers["GET", "/data/a.png"] = answer(b"no", 403)
    with pytest.raises(ImageFetchError) as error:
        fetch_image("/data/a.png?X-Amz-Signature=SIGNED&x=2", client, settings)
    assert TOKEN not in f"{error.value}{caplog.text}"
    assert "SIGNED" not in f"{error.value}{caplog.text}"


def test_five_prompts_on_a_task_are_one_download(client, label_studio, answer, settings) -> None:
    label_studio.answers["GET", "/data/a.png"] = answer(PNG)
    assert len({fetch_image("/data/a.png", client, settings) for _ in range(5)}) == 1
    assert len(label_studio.requests) == 1
    fetch_image("/data/a.png", client, settings.model_copy(update={"image_reuse_s": 0.0}))
    assert len(label_studio.requests) == 2


def test_a_presigned_image_is_reused_by_its_cloud_reference(client, label_studio, answer, settings) -> None:
    """The signed link is another one each time."""
    signatures = iter("abc")
    label_studio.answers["GET", "/tasks/5/presign/"] = lambda _: answer(
        status=303, headers={"Location": f"/data/a.png?signature={next(signatures)}"}
    )
    label_studio.answers["GET", "/data/a.png"] = answer(PNG)
    for _ in range(3):
        fetch_image("gs://bucket/a.png", client, settings, task_id=5)
    assert len(label_studio.requests) == 2


@pytest.mark.parametrize("scheme", ["s3", "gs", "azure-blob"])
def test_cloud_storage_is_presigned_to_another_host_without_the_token(
    client, label_studio, other_host, answer, settings, scheme: str
) -> None:
    settings = settings.model_copy(update={"allow_private_image_hosts": True})
    label_studio.answers["GET", "/tasks/5/presign/"] = answer(
        status=303, headers={"Location": f"{other_host.url}/bucket/a.png?signature=1"}
    )
    other_host.answers["GET", "/bucket/a.png"] = answer(PNG)
    fetch_image(f"{scheme}://bucket/a.png", client, settings, task_id=5)
    assert "Authorization" in label_studio.requests[0].headers
    assert "Authorization" not in other_host.requests[0].headers


def test_a_revoked_access_token_is_exchanged_again(label_studio, answer, settings) -> None:
    personal, first, second = (
        jwt.encode({"token_type": kind, "exp": time.time() + 300, "jti": kind}, "k" * 32, "HS256")
        for kind in ("refresh", "access", "other")
    )
    issued = iter((first, second))
    label_studio.answers["POST", "/api/token/refresh/"] = lambda _: answer(
        json.dumps({"access": next(issued)}).encode()
    )
    label_studio.answers["GET", "/data/a.png"] = lambda request: (
        answer(PNG) if request.headers["Authorization"] == f"Bearer {second}" else answer(b"no", 401)
    )
    assert fetch_image("/data/a.png", LabelStudioClient(label_studio.url, personal), settings).read_bytes() == PNG
    assert len(label_studio.requests) == 4  # exchange, 401, exchange, image


def test_a_public_host_that_wants_a_login_names_the_setting(other_host, answer, settings) -> None:
    """Mostly it is Label Studio, by another name than LABEL_STUDIO_URL."""
    settings = settings.model_copy(update={"allow_private_image_hosts": True})
    other_host.answers["GET", "/data/upload/a.png"] = answer(b"no", 401)
    with pytest.raises(ImageFetchError, match="LABEL_STUDIO_URL"):
        fetch_image(f"{other_host.url}/data/upload/a.png", None, settings)
