"""Credentials, hostile bodies and the status page."""

from base64 import b64encode
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from backend.web.app import create_app
from backend.web.messages import read_json
from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import Store
from tests.backend.web.recorded import recorded, send

ROUTES = ["GET /", "GET /health", "POST /setup", "POST /predict", "POST /webhook", "GET /versions"]


def basic(credentials: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(credentials.encode()).decode()}


@pytest.fixture
def guarded(settings: Settings, store: Store, connection: "Redis") -> FlaskClient:
    guard = {"basic_auth_user": "user", "basic_auth_pass": "pässword"}
    return create_app(settings.model_validate({**settings.model_dump(), **guard}), store, connection).test_client()


def test_without_the_credentials(guarded: FlaskClient) -> None:
    wrong = [basic("user:wrong"), basic("wrong:pässword"), basic(":"), basic("user")]
    for headers in [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic %"}, *wrong]:
        for route in ROUTES:
            method, path = route.split()
            response = guarded.open(path, method=method, headers=headers)
            assert response.status_code == 401, (route, headers)
            assert "BASIC_AUTH_USER" in response.json["error"]
            assert response.headers["WWW-Authenticate"] == 'Basic realm="argenseg"'


def test_with_the_credentials(guarded: FlaskClient) -> None:
    assert guarded.get("/health", headers=basic("user:pässword")).status_code == 200


def test_status(client: FlaskClient) -> None:
    reported = {"status": "UP", "model": "tiny-1", "blind_share": 0.0, "predictions": {}}
    assert client.get("/").json == reported
    send(client, recorded("predict_batch"))
    assert client.get("/").json["predictions"] == {"requested": 10}


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("GET", "/predict", 405)])
def test_errors_are_json(method: str, path: str, status: int, client: FlaskClient) -> None:
    response = client.open(path, method=method)
    assert response.status_code == status and response.json["error"]


def test_an_outage_is_told(client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing() -> dict[str, int]:
        raise StoreError("The database is away.")

    monkeypatch.setattr(store.progress, "counts", failing)
    response = client.get("/")
    assert (response.status_code, response.json) == (503, {"error": "The database is away."})


def test_a_bug_is_told_without_its_details(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store.progress, "counts", lambda: 1 / 0)
    response = client.get("/")
    assert response.status_code == 500 and "ZeroDivision" not in response.text
    assert "ZeroDivisionError" in caplog.text


def test_a_body_that_is_too_large(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.application.config["MAX_CONTENT_LENGTH"] == Settings().max_body_bytes == 128 * 10**6
    monkeypatch.setitem(client.application.config, "MAX_CONTENT_LENGTH", 1000)
    response = client.post("/webhook", data=b"x" * 1001, content_type="application/json")
    assert response.status_code == 413 and response.json["error"]


@pytest.mark.parametrize("item", [b"{}", b"[]", b'""', b"9", b'{"a":[]}'])
def test_a_body_that_would_take_far_more_memory_than_it_has_bytes_is_refused(
    item: bytes, client: FlaskClient, store: Store
) -> None:
    """40 MB of `{},{},...` took 1.06 GB."""
    body = b'{"action": "X", "items": [' + item + (b"," + item) * (45_000_000 // (len(item) + 1)) + b"]}"
    response = client.post("/webhook", data=body, content_type="application/json")
    assert response.status_code == 413 and "may be" in response.json["error"]
    assert store.events.unprocessed(0) == []


def test_the_largest_annotation_that_we_could_make_passes(client: FlaskClient) -> None:
    """100 brush regions with ragged edges, each over half of 12 Mpixel: 144,460 numbers of 4.4 characters each."""
    region = b'{"id": "abc", "type": "brushlabels", "value": {"rle": [255' + b", 255" * 144_460 + b"]}}"
    body = b'{"action": "ANNOTATION_CREATED", "annotation": {"result": [' + b",".join([region] * 100) + b"]}}"
    assert 60_000_000 < len(body) < Settings().max_body_bytes
    with client.application.test_request_context("/webhook", method="POST", data=body):
        assert len(read_json()["annotation"]["result"][99]["value"]["rle"]) == 144_461


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'"text"',
    b"1",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1' + b"0" * 5000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b'{"action": "X"',
    b'{"a": 1} {}',
]


def test_hostile_json(client: FlaskClient, store: Store) -> None:
    for path in ("/setup", "/predict", "/webhook"):
        for body in HOSTILE:
            response = client.post(path, data=body, content_type="application/json")
            assert response.status_code == 400, (path, body[:40])
            assert "JSON" in response.json["error"]
    assert store.progress.counts() == {}


NUMBER_TOO_LARGE = 2**63


WRONG_FIELDS: list[tuple[str, Any]] = [
    ("tasks", None),
    ("tasks", {}),
    ("tasks", [1]),
    ("tasks", [{"id": 1}]),
    ("tasks", [{"id": "1", "data": {}}]),
    ("tasks", [{"id": True, "data": {}}]),
    ("tasks", [{"id": -1, "data": {}}]),
    ("tasks", [{"id": NUMBER_TOO_LARGE, "data": {}}]),
    ("tasks", [{"id": 1.5, "data": {}}]),
    ("tasks", [{"id": 1, "data": []}]),
    ("project", None),
    ("project", "one"),
    ("project", "1x"),
    ("project", ""),
    ("project", "-1.5"),
    ("project", str(NUMBER_TOO_LARGE)),
    ("project", "9" * 40),
    ("project", "٣"),
    ("project", []),
    ("label_config", None),
    ("label_config", {}),
    ("label_config", "x" * 1_000_001),
    ("params", []),
    ("params", {"context": "text"}),
    ("params", {"context": {"result": {}}}),
    ("params", {"context": {"result": ["text"]}}),
]


def test_fields_of_the_wrong_shape(client: FlaskClient, store: Store) -> None:
    for field, value in WRONG_FIELDS:
        recording = recorded("predict_single")
        recording["json"][field] = value
        response = send(client, recording)
        assert response.status_code == 400, (field, value)
        assert f'"{field}' in response.json["error"] and len(response.json["error"]) < 300
    assert store.progress.counts() == {}


def test_a_typed_prompt_without_text_is_no_prompt(client: FlaskClient, store: Store) -> None:
    recording = recorded("predict_interactive_text")
    for value in (None, 7, [], {}, {"text": None}, {"text": [7]}, {"text": ["  "]}, {"text": {}}):
        recording["json"]["params"]["context"]["result"][0]["value"] = value
        assert send(client, recording).json == {"results": [[]]}, value
    assert store.progress.counts() == {}


@pytest.mark.parametrize(
    "task_data", [{"image": "/a", "prompt": 7}, {"image": "/a", "x": [[[10**300]]]}, {"image": "\x00"}]
)
def test_odd_task_data_is_only_data(task_data: dict[str, Any], client: FlaskClient, store: Store) -> None:
    task = {"id": 1, "data": task_data}
    recording = recorded("predict_batch")
    recording["json"]["tasks"] = [task, task]
    assert send(client, recording).json == {"results": [[], []]}
    assert store.progress.counts() == {"requested": 1}
