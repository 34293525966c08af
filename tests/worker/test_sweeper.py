import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from labeling.label_studio.client import LabelStudioClient
from labeling.store import Store
from tests.worker.conftest import RedisServer, Want
from tests.worker.publishing.test_publisher import make_ready
from worker import sweeper
from worker.context import JobContext
from worker.events import process, spool
from worker.queue import queues
from worker.queue.queues import (
    GPU,
    PREDICT,
    PUBLISH,
    PUBLISH_PREDICTION,
    enqueue_prediction,
    enqueue_publish,
    live_rows,
    open_queue,
)
from worker.sweeper import sweep


def test_only_what_is_not_under_way_is_queued_again(context: JobContext, want: Want) -> None:
    rows = [want(task_id=number) for number in range(3)]
    enqueue_prediction(context.connection, rows[0].id)
    assert sweep(context, stale_s=0) == 2
    assert live_rows(context.connection, GPU, PREDICT) == {row.id for row in rows}
    assert sweep(context, stale_s=0) == 0
    assert open_queue(context.connection, GPU).count == 3


def test_two_sweepers_at_the_same_moment_queue_everything_once(
    context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [want(task_id=number) for number in range(3)]

    def look_while_another_sweeps(*args: object) -> set[int]:
        monkeypatch.setattr(sweeper, "live_rows", live_rows)
        seen = live_rows(context.connection, GPU, PREDICT)
        assert sweep(context, stale_s=0) == 0
        return seen

    monkeypatch.setattr(sweeper, "live_rows", look_while_another_sweeps)
    assert sweep(context, stale_s=0) == len(rows)
    assert open_queue(context.connection, GPU).count == len(rows)
    open_queue(context.connection, GPU).empty()
    assert sweep(context, stale_s=0) == len(rows), "its turn has ended"


def test_what_is_fresh_is_left_alone(context: JobContext, want: Want) -> None:
    want()
    assert sweep(context) == 0


def test_unpublished_predictions_are_queued_again(context: JobContext, store: Store) -> None:
    rows = [make_ready(store, "http://label-studio.test", task_id=number) for number in range(2)]
    enqueue_publish(context.connection, rows[0].id)
    assert sweep(context, stale_s=0) == 0  # there is no Label Studio to send them to
    context = replace(context, client=LabelStudioClient("http://label-studio.test", "token"))
    assert sweep(context, stale_s=0) == 1
    assert live_rows(context.connection, PUBLISH, PUBLISH_PREDICTION) == {row.id for row in rows}


def test_events_are_processed_without_redis(context: JobContext, store: Store, redis_server: RedisServer) -> None:
    event_id = store.events.record("ANNOTATIONS_DELETED", {"action": "ANNOTATIONS_DELETED", "annotations": []})
    folder = spool.spool_folder(context.settings)
    spool.write_event(folder, "ANNOTATIONS_DELETED", {"action": "ANNOTATIONS_DELETED", "annotations": []})
    redis_server.kill()
    assert sweep(context, stale_s=0) == 3  # one from the spool folder, then both
    assert store.events.unprocessed(0) == []
    assert store.events.get(event_id).processed_at is not None


def test_an_event_that_breaks_our_code_is_kept_with_its_error(
    context: JobContext, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(process, "record_corrections", broken)
    event_id = store.events.record("ANNOTATION_CREATED", {})
    assert sweep(context, stale_s=0) == 1
    assert store.events.get(event_id).error == "ZeroDivisionError: a bug"
    assert sweep(context, stale_s=0) == 0


def test_an_errand_that_fails_does_not_keep_the_others_from_running(
    context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> list[int]:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    monkeypatch.setattr(spool, "drain", broken)
    want()
    assert sweep(context, stale_s=0) == 1
    assert "a sweep failed" in caplog.text and "surrogates not allowed" in caplog.text


def test_a_redis_that_is_down_is_waited_for(context: JobContext, want: Want, redis_server: RedisServer) -> None:
    want()
    redis_server.kill()
    assert sweep(context, stale_s=0) == 0
    redis_server.start()
    assert sweep(context, stale_s=0) == 1


def test_a_full_queue_is_filled_as_it_drains(context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queues, "MAX_QUEUED_JOBS", 2)
    for number in range(3):
        want(task_id=number)
    assert sweep(context, stale_s=0) == 2
    assert sweep(context, stale_s=0) == 0
    open_queue(context.connection, GPU).empty()
    assert sweep(context, stale_s=0) == 2


def test_the_loop_sweeps_and_ends_at_once(context: JobContext, want: Want, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper, "STALE_S", 0.0)
    stop, swept = threading.Event(), threading.Event()
    monkeypatch.setattr(sweeper, "sweep", lambda _, **__: swept.set() or 0)
    with ThreadPoolExecutor() as pool:
        running = pool.submit(sweeper.run, context, stop)
        assert swept.wait(5)
        began = time.monotonic()
        stop.set()
        running.result(timeout=5)
    assert time.monotonic() - began < 0.5
