"""/live and /ready: ready as long as an event can be kept, whatever else is broken."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from redis import Redis

from backend.web.app import create_app
from labeling.settings import Settings
from labeling.store import Store
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import GPU


def test_ready_tells_what_works(client: FlaskClient) -> None:
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json == {
        "ready": True,
        "corrections": "kept",
        "store": True,
        "spool": True,
        "redis": True,
        "workers": 0,
        "model": "tiny-1",
    }


def test_ready_counts_workers(client: FlaskClient, connection: "Redis") -> None:
    worker = LeasedWorker(GPU, connection, {})
    worker.register_birth()
    assert client.get("/ready").json["workers"] == 1
    worker.register_death()


def test_ready_without_redis(settings: Settings, store: Store) -> None:
    away = Redis(unix_socket_path="/nowhere/redis.sock")
    answer = create_app(settings, store, away).test_client().get("/ready")
    assert (answer.status_code, answer.json["redis"], answer.json["workers"]) == (200, False, None)


@pytest.fixture
def locked_store(settings: Settings, store: Store) -> "closing[sqlite3.Connection]":
    connection = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return closing(connection)


def test_ready_by_the_spool_while_the_store_is_locked(
    client: FlaskClient, locked_store: "closing[sqlite3.Connection]"
) -> None:
    with locked_store:
        answer = client.get("/ready")
    assert (answer.status_code, answer.json["store"], answer.json["spool"]) == (200, False, True)


def test_not_ready_when_neither_store_nor_spool_takes_an_event(
    client: FlaskClient, settings: Settings, locked_store: "closing[sqlite3.Connection]"
) -> None:
    Path(settings.data_dir / "spool").write_text("a file where the folder should be")
    with locked_store:
        answer = client.get("/ready")
    assert (answer.status_code, answer.json["ready"]) == (503, False)
    assert client.get("/live").status_code == 200


def test_health_needs_no_password(settings: Settings, store: Store, connection: "Redis") -> None:
    guard = {"basic_auth_user": "user", "basic_auth_pass": "password"}
    guarded = create_app(settings.model_validate({**settings.model_dump(), **guard}), store, connection).test_client()
    assert [guarded.get(path).status_code for path in ("/live", "/ready", "/status")] == [200, 200, 401]
