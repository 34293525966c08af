import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlalchemy.exc import DataError, ProgrammingError

from labeling.errors import RefusedByStore, StoreError
from labeling.store import Store
from labeling.store.database import _store_errors
from labeling.store.events import EventRow


def record(store: Store) -> int:
    return store.events.record("ANNOTATION_CREATED", {"action": "ANNOTATION_CREATED"})


def test_an_event_is_kept_as_it_came(store: Store, recorded) -> None:
    payload = recorded("requests/webhook_annotation_created_in_browser_brush")["json"]
    event_id = store.events.record("ANNOTATION_CREATED", payload, label_studio_url="http://label-studio:8080")
    event = store.events.get(event_id)
    assert event.payload == payload
    assert (event.action, event.label_studio_url) == ("ANNOTATION_CREATED", "http://label-studio:8080")
    assert (event.processed_at, event.error, event.note) == (None, None, None)
    assert abs(datetime.now(UTC) - event.received_at) < timedelta(minutes=1)


def test_equal_payloads_are_two_events(store: Store) -> None:
    assert record(store) != record(store)


def test_what_comes_again_with_its_key_is_one_event(store: Store) -> None:
    """Whoever is first, and however many come at once."""
    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(lambda _: store.events.record("START_TRAINING", {}, idempotency_key="0123"), range(20)))
    assert len(ids) == 1 and store.events.unprocessed(0) == list(ids)
    assert store.events.record("START_TRAINING", {}, idempotency_key="4567") not in ids


@pytest.mark.parametrize("text", ["ü\u0000", "\ud83d", "💡", "x" * 2_000_000], ids=["control", "half", "emoji", "long"])
def test_any_text_and_any_size(store: Store, text: str) -> None:
    event_id = store.events.record("ANNOTATION_CREATED", {"text": text, "rle": list(range(256)) * 1000})
    assert store.events.get(event_id).payload["text"] == text


def test_an_action_of_any_text(store: Store) -> None:
    event_id = store.events.record("ANNOTATION\0_CREATED\ud83d" + "!" * 100, {})
    assert store.events.get(event_id).action == ("ANNOTATION_CREATED?" + "!" * 100)[:64]


def test_a_value_that_the_database_refuses_is_told_from_a_database_that_fails() -> None:
    with pytest.raises(RefusedByStore, match="NUL"), _store_errors():
        raise DataError("INSERT", {}, ValueError("text fields cannot contain NUL"))
    with pytest.raises(StoreError) as error, _store_errors():
        raise ProgrammingError("INSERT", {}, ValueError("there is no table"))
    assert not isinstance(error.value, RefusedByStore)


def test_an_event_survives_without_being_closed(sqlite_file: Path, store: Store) -> None:
    event_id = record(store)
    with sqlite3.connect(sqlite_file) as connection:
        assert connection.execute("SELECT id FROM events").fetchall() == [(event_id,)]


def test_processed_events_are_not_found_again(store: Store) -> None:
    first, second, third = (record(store) for _ in range(3))
    assert store.events.unprocessed(0) == [first, second, third]
    assert store.events.unprocessed(60) == []
    store.events.mark_processed(first)
    store.events.mark_processed(second, error="no annotation", note="skipped")
    assert store.events.unprocessed(0) == [third]
    event = store.events.get(second)
    assert (event.error, event.note) == ("no annotation", "skipped")
    assert event.processed_at is not None
    with pytest.raises(StoreError, match="no event 99"):
        store.events.get(99)


def test_a_locked_database_is_told_within_the_webhooks_second(sqlite_file: Path, store: Store) -> None:
    lock = sqlite3.connect(sqlite_file, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreError, match="locked") as error:
        record(store)
    assert time.monotonic() - began < 0.95
    assert error.value.is_transient
    lock.execute("ROLLBACK")
    lock.close()
    assert record(store)


def test_many_webhooks_at_once(store: Store) -> None:
    threads = [threading.Thread(target=record, args=(store,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.events.unprocessed(0)) == 12


def test_attempts_are_counted_until_an_event_is_processed(store: Store) -> None:
    event_id = record(store)
    assert [store.events.begin(event_id) for _ in range(2)] == [1, 2]
    store.events.postpone(event_id)
    assert store.events.begin(event_id) == 2
    store.events.mark_processed(event_id)
    assert (store.events.begin(event_id), store.events.begin(event_id + 1)) == (0, 0)


def test_failures_are_those_of_lately(store: Store) -> None:
    for error in ("It is broken.", None, "It is worse."):
        store.events.mark_processed(record(store), error=error)
    assert [(each.id, each.reason) for each in store.events.failures(timedelta(days=1))] == [
        (3, "It is worse."),
        (1, "It is broken."),
    ]
    assert store.events.failures(timedelta(0)) == []


def test_an_event_that_a_wrong_clock_dated_ahead_is_swept_in_time(store: Store) -> None:
    ahead, fresh = store.events.record("A", {}), store.events.record("B", {})
    with store.database.writing() as session:
        changed = update(EventRow).where(EventRow.id == ahead)
        session.execute(changed.values(received_at=datetime.now(UTC) + timedelta(hours=3)))
    assert store.events.unprocessed(30.0) == [ahead]
    assert store.events.unprocessed(-1.0) == [ahead, fresh]
