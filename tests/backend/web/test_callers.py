"""Which callers are answered: programs and our own pages are, pages of other sites are not."""

import logging
import socket
import threading
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from backend.operations.projects.connection import refuses_host
from backend.web import forms
from backend.web.app import create_app
from backend.web.http_server import HttpServer
from labeling.settings import Settings
from labeling.store import Store

EVENT = {"action": "SOMETHING"}


def backend(settings: Settings, store: Store, connection: "Redis", **changes: Any) -> FlaskClient:
    return create_app(settings.model_copy(update=changes), store, connection).test_client()


def stored(store: Store) -> int:
    return len(store.events.unprocessed(0))


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "text/json", None]
)
@pytest.mark.parametrize("path", ["/webhook", "/predict", "/setup", "/versions", "/webhook/"])
def test_a_body_that_any_page_can_send_is_refused(
    path: str, kind: str | None, client: FlaskClient, store: Store
) -> None:
    """A browser asks before it sends application/json to another site, and nobody here says yes."""
    response = client.post(path, data=b'{"action": "START_TRAINING"}', content_type=kind)
    assert response.status_code == 415 and "application/json" in response.json["error"]
    assert stored(store) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:9091"},
        {"Origin": "https://localhost"},
        {"Origin": "file://localhost:9090"},
        {"Origin": "http://localhost:9090.evil.test"},
        {"Origin": "http://evil.test/localhost:9090"},
        {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://localhost:9090", "Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_may_not_write(headers: dict[str, str], client: FlaskClient, store: Store) -> None:
    response = client.post("/webhook", json=EVENT, headers={"Host": "localhost:9090", **headers})
    assert response.status_code == 403 and response.json["error"]
    assert stored(store) == 0


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:9090", "http://localhost:9090"),
        ("LOCALHOST:9090", "http://localhost:9090"),
        ("lab", "http://lab"),
        ("lab", "http://lab:80"),
        ("lab", "https://lab"),  # behind a proxy that ends TLS
        ("127.0.0.1:9090", "https://masks.lab.test"),  # BACKEND_URL, behind a proxy that names itself
    ],
)
def test_our_own_pages_may_write(host: str, origin: str, settings: Settings, store: Store, connection: "Redis") -> None:
    client = backend(settings, store, connection, backend_url="https://user:password@masks.lab.test")
    headers = {"Host": host, "Origin": origin, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/webhook", json=EVENT, headers=headers).status_code == 201


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9090",
        "127.0.0.1:9090",
        "192.168.1.7",
        "[::1]:9090",
        "backend",
        "argenseg-backend:9090",
        "host.docker.internal:9090",
        "masks.lab.test",
        "Other.Lab.Test:9090",
    ],
)
def test_a_host_that_is_ours_is_answered(host: str, settings: Settings, store: Store, connection: "Redis") -> None:
    known = {"backend_url": "http://masks.lab.test:9090", "allowed_hosts": "x.test, other.lab.test"}
    assert backend(settings, store, connection, **known).get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "evil.test:9090", "127.0.0.1.evil.test", "localhost.", "a b.test", "[::1"]
)
@pytest.mark.parametrize("path", ["/", "/status", "/health", "/webhook", "/nowhere"])
def test_a_name_that_nobody_gave_us_is_told_how_to_be_allowed(
    path: str, host: str, client: FlaskClient, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """A page whose name was made to point here (DNS rebinding) has a dot in it; so has a name that somebody forgot."""
    caplog.set_level(logging.WARNING)
    response = client.open(path, method="POST" if path == "/webhook" else "GET", headers={"Host": host}, json=EVENT)
    assert response.status_code == 421
    assert "Set ALLOWED_HOSTS=" in response.json["error"] and "Set ALLOWED_HOSTS=" in caplog.text
    assert stored(store) == 0


def test_a_name_is_tried_before_label_studio_is_told_it(app: Flask, settings: Settings) -> None:
    """`argenseg up --connect` and `argenseg doctor` ask the backend that runs: it may have other settings than they."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = HttpServer(app, listening, threads=1, max_body=10**6)
        threading.Thread(target=server.run, daemon=True).start()
        ours = settings.model_copy(update={"port": listening.getsockname()[1]})
        assert "Set ALLOWED_HOSTS=masks.lab.test" in (refuses_host(ours, "http://we:pw@masks.lab.test:9090") or "")
        assert refuses_host(ours, "http://192.168.1.7:9090") is None
        assert refuses_host(settings.model_copy(update={"port": 1}), "http://masks.lab.test") is None
        server.task_dispatcher.shutdown(timeout=1)


def test_any_host_may_be_allowed(settings: Settings, store: Store, connection: "Redis") -> None:
    client = backend(settings, store, connection, allowed_hosts="*")
    assert client.get("/health", headers={"Host": "evil.test"}).status_code == 200


@pytest.mark.parametrize("path", ["/live", "/ready", "/metrics"])
def test_what_watches_over_us_calls_by_any_name(path: str, client: FlaskClient) -> None:
    assert client.get(path, headers={"Host": "pod.cluster.test"}).status_code != 421


def test_webhooks_are_taken_with_a_slash_at_the_end(client: FlaskClient, store: Store) -> None:
    assert client.post("/webhook/", json=EVENT).status_code == 201
    assert stored(store) == 1


@pytest.fixture
def with_a_form(app: Flask) -> FlaskClient:
    """The backend with one more page, that writes."""

    @app.post("/start")
    @forms.takes_form
    def start() -> str:
        return "started"

    app.add_url_rule("/form", view_func=lambda: app.jinja_env.from_string("{{ csrf_field() }}").render())
    return app.test_client()


def test_a_form_of_ours_carries_a_token(with_a_form: FlaskClient) -> None:
    field = with_a_form.get("/form").text
    assert field.startswith('<input type="hidden" name="csrf_token" value="')
    token = field.split('"')[5]
    assert with_a_form.post("/start", data={"csrf_token": token}).text == "started"
    form = "application/x-www-form-urlencoded"
    assert with_a_form.post("/start", headers={"X-CSRF-Token": token}, content_type=form).text == "started"


@pytest.mark.parametrize("fields", [{}, {"csrf_token": ""}, {"csrf_token": "ä"}, {"csrf_token": "guessed"}])
def test_a_form_without_the_token_is_refused(fields: dict[str, str], with_a_form: FlaskClient) -> None:
    response = with_a_form.post("/start", data=fields or {"reason": "none"})
    assert response.status_code == 403 and "Load it anew" in response.json["error"]


def test_a_form_is_no_json(with_a_form: FlaskClient) -> None:
    assert with_a_form.post("/start", json={}).status_code == 415


@pytest.mark.parametrize(
    "path", ["/nowhere", "/finetune/7", "/finetune/99999999999999999999999", "/finetune/" + "9" * 5000]
)
def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(path: str, client: FlaskClient) -> None:
    program = client.get(path)
    assert program.status_code == 404 and program.json["error"]
    browser = client.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert browser.status_code == 404 and browser.mimetype == "text/html" and "<h1>Not found</h1>" in browser.text
