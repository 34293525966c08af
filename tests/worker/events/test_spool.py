import json
import time
from pathlib import Path

import pytest

from labeling.errors import RefusedByStore, StoreError
from labeling.store import Store
from worker.events import spool

URL = "http://label-studio.test"


def test_events_are_stored_in_their_order_and_then_gone(tmp_path: Path, store: Store) -> None:
    for number in range(3):
        spool.write_event(tmp_path, "ANNOTATION_CREATED", {"number": number, "text": "héllo"})
    ids = spool.drain(tmp_path, store, URL)
    events = [store.events.get(event_id) for event_id in ids]
    assert [event.payload["number"] for event in events] == [0, 1, 2]
    assert {event.payload["text"] for event in events} == {"héllo"}
    assert {event.label_studio_url for event in events} == {URL}
    assert list(tmp_path.glob("*.json")) == []
    assert spool.drain(tmp_path, store, URL) == []


@pytest.mark.parametrize("key", ["0123", None])
def test_what_was_stored_and_is_still_there_is_stored_once(tmp_path: Path, store: Store, key: str | None) -> None:
    """The process ended between the commit and the file's removal; also a file of before events had keys."""
    path = spool.write_event(tmp_path, "START_TRAINING", {}, URL, idempotency_key=key)
    content = path.read_bytes()
    first = spool.drain(tmp_path, store, URL)
    path.write_bytes(content)
    assert spool.drain(tmp_path, store, URL) == first
    assert not path.exists() and len(store.events.unprocessed(0)) == 1


def test_a_large_annotation_is_written_while_its_annotator_waits(tmp_path: Path, store: Store) -> None:
    """20 MB of brush regions: json.dump, which goes through Python for each number, took 3 s of Label Studio's one."""
    payload = {"result": [{"rle": [number, 255, 128] * 150_000} for number in range(10)]}
    began = time.monotonic()
    json.dumps(payload)  # which does not, and takes 0.5 s
    dumped = time.monotonic()
    spool.write_event(tmp_path, "ANNOTATION_CREATED", payload)
    assert time.monotonic() - dumped < 2 * (dumped - began)
    (event_id,) = spool.drain(tmp_path, store, URL)
    assert store.events.get(event_id).payload == payload


def test_a_store_that_fails_leaves_the_rest_for_later(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        spool.write_event(tmp_path, "ANNOTATION_CREATED", {"number": number})
    record, calls = store.events.record, []

    def busy(action: str, payload: dict[str, object], **options: str) -> int:
        calls.append(payload)
        if len(calls) == 2:
            raise StoreError("The database is locked.")
        return record(action, payload, **options)

    monkeypatch.setattr(store.events, "record", busy)
    with pytest.raises(StoreError):
        spool.drain(tmp_path, store, URL)
    assert len(list(tmp_path.glob("*.json"))) == 2
    assert len(spool.drain(tmp_path, store, URL)) == 2


@pytest.mark.parametrize("content", ["", "[1]", '{"action": "X"}', "{not json"])
def test_what_is_no_event_is_kept_aside(tmp_path: Path, store: Store, content: str) -> None:
    (tmp_path / "0.json").write_text(content)
    spool.write_event(tmp_path, "ANNOTATION_CREATED", {})
    assert len(spool.drain(tmp_path, store, URL)) == 1
    assert [path.name for path in tmp_path.glob("*.unreadable")] == ["0.unreadable"]


def test_an_event_that_the_database_refuses_for_good_blocks_no_other(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        spool.write_event(tmp_path, "ANNOTATION_CREATED", {"number": number})
    record = store.events.record

    def choosy(action: str, payload: dict[str, object], **options: str) -> int:
        if payload["number"] == 1:
            raise RefusedByStore("The database does not take a value.")
        return record(action, payload, **options)

    monkeypatch.setattr(store.events, "record", choosy)
    assert [store.events.get(event).payload["number"] for event in spool.drain(tmp_path, store, URL)] == [0, 2]
    assert not list(tmp_path.glob("*.json"))
    [aside] = tmp_path.glob("*.unreadable")
    assert json.loads(aside.read_text())["payload"] == {"number": 1}


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        spool.write_event(tmp_path, "ANNOTATION_CREATED", {"not json": object()})
    assert list(tmp_path.iterdir()) == []
    path = spool.write_event(tmp_path, "ANNOTATION_CREATED", {})
    assert json.loads(path.read_text()) == {
        "action": "ANNOTATION_CREATED",
        "payload": {},
        "label_studio_url": None,
        "idempotency_key": None,
    }


def test_an_event_keeps_where_it_came_from(tmp_path: Path, store: Store) -> None:
    spool.write_event(tmp_path, "ANNOTATION_CREATED", {}, "http://other:8080")
    spool.write_event(tmp_path, "ANNOTATION_CREATED", {})
    urls = [store.events.get(event).label_studio_url for event in spool.drain(tmp_path, store, URL)]
    assert urls == ["http://other:8080", URL]
