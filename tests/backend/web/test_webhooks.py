"""/webhook: nothing is lost, and Label Studio never waits a second."""

import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from backend.web.app import create_app
from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import Store
from tests.backend.web.recorded import eventually, recorded, send
from worker.context import JobContext
from worker.events.process import process_event
from worker.events.spool import drain, spool_folder
from worker.queue.queues import PROCESS_EVENT, PUBLISH, live_rows

CREATED = recorded("webhook_annotation_created_corrected_brush")


def test_a_locked_store_sends_events_to_the_spool(client: FlaskClient, store: Store, settings: Settings) -> None:
    writer = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert send(client, CREATED).status_code == 201
    assert time.monotonic() - began < 1
    writer.execute("ROLLBACK")
    assert drain(spool_folder(settings), store, settings.label_studio_url or "") == [1]
    assert store.events.get(1).payload == CREATED["json"]


@pytest.mark.parametrize("redis", ["connection", "silent_redis"])
def test_a_database_host_that_swallows_packets(
    redis: str, settings: Settings, store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing in the request waits for it; what it takes after all, it has once."""
    app = create_app(settings, store, request.getfixturevalue(redis))
    go_on, record_event = threading.Event(), store.events.record

    def hang(*event: Any, **options: Any) -> int:
        go_on.wait(60)
        return record_event(*event, **options)

    monkeypatch.setattr(store.events, "record", hang)

    def submit(number: int) -> float:
        began = time.monotonic()
        event = {**CREATED, "json": CREATED["json"] | {"number": number}}
        assert send(app.test_client(), event).status_code == 201
        return time.monotonic() - began

    with ThreadPoolExecutor(8) as annotators:  # as many as the server has threads
        assert max(annotators.map(submit, range(24))) < 1
    go_on.set()
    eventually(lambda: len(store.events.unprocessed(0)) == 4)  # those that hung; no others were begun
    drained = drain(spool_folder(settings), store, settings.label_studio_url or "")
    assert sorted(store.events.get(number).payload["number"] for number in drained) == list(range(24))
    assert len(store.events.unprocessed(0)) == 24


@pytest.mark.parametrize("is_late", [False, True])  # than the spool folder is drained
def test_start_training_that_the_store_takes_late_is_one_wish(
    is_late: bool, settings: Settings, store: Store, connection: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    app = create_app(settings, store, connection)
    go_on, done, record_event = threading.Event(), threading.Event(), store.events.record

    def hang(*event: Any, **options: Any) -> int:
        go_on.wait(60)
        event_id = record_event(*event, **options)
        done.set()
        return event_id

    def take_late() -> None:
        go_on.set()
        assert done.wait(60)

    def work_off() -> None:
        """As the sweeper does; the run ends before anybody asks again, as one does that is refused early."""
        drain(spool_folder(settings), store, settings.label_studio_url or "")
        for event_id in store.events.unprocessed(0):
            process_event(JobContext(settings, store, None, connection), event_id)
        for run in store.finetunes.newest():
            store.finetunes.end(run.id, "refused")

    with monkeypatch.context() as patch:
        patch.setattr(store.events, "record", hang)
        payload = {"action": "START_TRAINING", "project": CREATED["json"]["project"]}
        assert app.test_client().post("/webhook", json=payload).status_code == 201
    for step in (work_off, take_late, work_off) if is_late else (take_late, work_off):
        step()
    (run,) = store.finetunes.newest()
    assert not run.asked_again
    assert app.test_client().post("/webhook", json=payload).status_code == 201
    work_off()
    assert len(store.finetunes.newest()) == 2, "who asks again gets another run"


def test_a_full_disk_of_the_store_sends_events_to_the_spool(
    client: FlaskClient, store: Store, settings: Settings
) -> None:
    with store.events.webhook_database.engine.connect() as connection:  # its pool hands it out again
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # SQLite says SQLITE_FULL, as where a disk is
    event = {**CREATED, "json": CREATED["json"] | {"filler": "x" * 1_000_000}}
    assert send(client, event).status_code == 201
    with pytest.raises(StoreError, match="full"):
        drain(spool_folder(settings), store, "")
    assert len(list(spool_folder(settings).iterdir())) == 1
    with store.events.webhook_database.engine.connect() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={2**31}")
    assert drain(spool_folder(settings), store, "") == [1]
    assert store.events.get(1).payload == event["json"]


@pytest.mark.parametrize("redis", ["dead_redis", "silent_redis"])
def test_redis_is_down(redis: str, settings: Settings, store: Store, request: pytest.FixtureRequest) -> None:
    client = create_app(settings, store, request.getfixturevalue(redis)).test_client()
    for number in range(1, 11):  # more than there are threads in the background
        began = time.monotonic()
        assert send(client, CREATED).status_code == 201
        assert time.monotonic() - began < 1
        assert store.events.get(number).payload == CREATED["json"]
    assert store.events.unprocessed(0) == list(range(1, 11))  # the sweeper finds them


def test_neither_store_nor_disk(
    client: FlaskClient, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any, **__: Any) -> int:
        raise StoreError("The disk is full.")

    monkeypatch.setattr(store.events, "record", full)
    monkeypatch.setattr(
        "backend.web.webhooks.write_event", lambda *_, **__: (_ for _ in ()).throw(OSError("No space left"))
    )
    response = send(client, CREATED)
    assert response.status_code == 503 and "disk" in response.json["error"]
    assert "LOST" in caplog.text


@pytest.mark.parametrize(
    "payload",
    [
        {"action": "SOMETHING_NEW"},
        {"action": "ANNOTATION_CREATED"},  # "send payload" is off in the webhook's settings
        {"action": "TASKS_CREATED", "tasks": 7, "project": None},
        {"action": "PROJECT_UPDATED", "project": {"id": "1"}},
        {"action": "X" * 1000, "project": {}},
    ],
)
def test_what_we_do_not_know_is_kept_too(
    payload: dict[str, Any], client: FlaskClient, store: Store, connection: "Redis"
) -> None:
    assert client.post("/webhook", json=payload).status_code == 201
    assert store.events.get(1).payload == payload
    eventually(lambda: live_rows(connection, PUBLISH, PROCESS_EVENT) == {1})


@pytest.mark.parametrize("body", [b"", b"action=ANNOTATION_CREATED", b"[]", b'{"action": 5}', b"{}", b'{"action": ""}'])
def test_what_is_no_event_is_refused(body: bytes, client: FlaskClient, store: Store) -> None:
    response = client.post("/webhook", data=body, content_type="application/json")
    assert response.status_code == 400 and response.json["error"].endswith(".")
    with pytest.raises(StoreError):
        store.events.get(1)


def test_half_a_surrogate_pair_loses_no_annotation(client: FlaskClient, store: Store) -> None:
    """A browser sends it when a text is cut in the middle of an emoji."""
    body = b'{"action": "X", "texts": ["\\ud83d", "\\uDE00!", "\\ud83d\\ude00", "\\ud83d\\ud83d\\ude00", "caf\\u00e9"]}'
    assert client.post("/webhook", data=body, content_type="application/json").status_code == 201
    assert store.events.get(1).payload["texts"] == ["\ufffd", "\ufffd!", "😀", "\ufffd😀", "café"]


def test_a_large_annotation(client: FlaskClient, store: Store) -> None:
    """20 MB of brush regions."""
    annotation = json.loads(json.dumps(CREATED["json"]))
    annotation["annotation"]["result"] = [
        {"id": str(number), "value": {"format": "rle", "rle": [number, 255, 128] * 150_000}} for number in range(10)
    ]
    assert client.post("/webhook", json=annotation).status_code == 201
    assert store.events.get(1).payload == annotation
