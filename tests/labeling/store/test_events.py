import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labeling.errors import StoreError
from labeling.store import Correction, Project, Store


@pytest.fixture
def correction(square) -> Callable[..., Correction]:
    def build(annotation_id: int = 7, region_id: str = "r1", **changes: Any) -> Correction:
        fields: dict[str, Any] = {
            "annotation_id": annotation_id,
            "task_id": 4,
            "region_id": region_id,
            "label": "red",
            "kind": "edited",
            "mask_before": square,
            "mask_after": ~square,
            "iou": 0.25,
            "annotator_id": 1,
            "lead_time_s": 21.975,
            "capped_lead_time_s": 21.975,
            "model_version": "v1",
        }
        return Correction(**fields | changes)

    return build


def record(store: Store) -> int:
    return store.record_event("ANNOTATION_CREATED", {"action": "ANNOTATION_CREATED"})


def test_an_event_is_kept_as_it_came(store: Store, recorded) -> None:
    payload = recorded("requests/webhook_annotation_created_in_browser_brush")["json"]
    event_id = store.record_event("ANNOTATION_CREATED", payload, label_studio_url="http://label-studio:8080")
    event = store.get_event(event_id)
    assert event.payload == payload
    assert (event.action, event.label_studio_url) == ("ANNOTATION_CREATED", "http://label-studio:8080")
    assert (event.processed_at, event.error, event.note) == (None, None, None)
    assert abs(datetime.now(UTC) - event.received_at) < timedelta(minutes=1)


def test_equal_payloads_are_two_events(store: Store) -> None:
    assert record(store) != record(store)


@pytest.mark.parametrize("text", ["ü\u0000", "\ud83d", "💡", "x" * 2_000_000], ids=["control", "half", "emoji", "long"])
def test_any_text_and_any_size(store: Store, text: str) -> None:
    event_id = store.record_event("ANNOTATION_CREATED", {"text": text, "rle": list(range(256)) * 1000})
    assert store.get_event(event_id).payload["text"] == text


def test_an_event_survives_without_being_closed(sqlite_file: Path, store: Store) -> None:
    event_id = record(store)
    with sqlite3.connect(sqlite_file) as connection:
        assert connection.execute("SELECT id FROM events").fetchall() == [(event_id,)]


def test_processed_events_are_not_found_again(store: Store) -> None:
    first, second, third = (record(store) for _ in range(3))
    assert store.unprocessed_events(0) == [first, second, third]
    assert store.unprocessed_events(60) == []
    store.mark_event_processed(first)
    store.mark_event_processed(second, error="no annotation", note="skipped")
    assert store.unprocessed_events(0) == [third]
    event = store.get_event(second)
    assert (event.error, event.note) == ("no annotation", "skipped")
    assert event.processed_at is not None
    with pytest.raises(StoreError, match="no event 99"):
        store.get_event(99)


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
    assert len(store.unprocessed_events(0)) == 12


def test_a_correction_with_its_masks(store: Store, project: Project, correction, square) -> None:
    event_id = record(store)
    store.save_corrections(
        event_id, project, [correction(), correction(region_id="r2", mask_before=None, kind="added")]
    )
    first, second = store.list_corrections(1)
    assert (first.event_id, first.project_id, first.annotation_id, first.task_id) == (event_id, 1, 7, 4)
    assert (first.kind, first.iou, first.lead_time_s, first.model_version) == ("edited", 0.25, 21.975, "v1")
    assert first.mask_before is not None
    assert first.mask_after is not None
    assert np.array_equal(store.read_mask(first.mask_before), square)
    assert np.array_equal(store.read_mask(first.mask_after), ~square)
    assert (second.kind, second.mask_before) == ("added", None)
    assert store.list_corrections(2) == []


def test_saving_an_event_again_replaces_what_it_told(store: Store, project: Project, correction) -> None:
    event_id = record(store)
    store.save_corrections(event_id, project, [correction(), correction(region_id="r2")])
    store.save_corrections(event_id, project, [correction(kind="accepted")])
    (only,) = store.list_corrections(with_history=True)
    assert only.kind == "accepted"


@pytest.mark.parametrize("in_order", [True, False])
def test_the_newest_event_of_an_annotation_counts(store: Store, project: Project, correction, in_order: bool) -> None:
    first, second = record(store), record(store)
    saves = [
        lambda: store.save_corrections(first, project, [correction(), correction(region_id="r2"), correction(8)]),
        lambda: store.save_corrections(second, project, [correction(kind="accepted")]),
    ]
    for save in saves if in_order else reversed(saves):
        save()
    current = {(item.annotation_id, item.region_id, item.kind) for item in store.list_corrections(1)}
    assert current == {(7, "r1", "accepted"), (8, "r1", "edited")}
    assert len(store.list_corrections(1, with_history=True)) == 4


def test_an_annotation_that_has_nothing_left(store: Store, project: Project, correction) -> None:
    store.save_corrections(record(store), project, [correction(), correction(8)])
    store.save_corrections(record(store), project, [], [7])
    assert [item.annotation_id for item in store.list_corrections(1)] == [8]
    assert len(store.list_corrections(1, with_history=True)) == 2


def test_annotations_of_two_label_studios_with_the_same_numbers(store: Store, project: Project, correction) -> None:
    other = store.upsert_project("http://other", 1, "<View/>")
    store.save_corrections(record(store), project, [correction()])
    store.save_corrections(record(store), other, [correction(kind="accepted")])
    assert sorted(item.kind for item in store.list_corrections(1)) == ["accepted", "edited"]
