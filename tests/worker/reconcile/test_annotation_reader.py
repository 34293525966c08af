"""What the API tells and we do not know is recorded, once; what is only missing in a list is not taken for deleted."""

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from labeling.errors import LabelStudioError
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble
from tests.worker.synced import URL, history, project_of, state, truth
from worker.events.process import process_event
from worker.reconcile import project_sync
from worker.reconcile.sync_outcome import SyncOutcome


def test_what_webhooks_missed_is_found_and_read_once(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    label_studio.create(1)
    label_studio.create(2, skipped=True)
    outcome = project_sync.sync_project(context, project_of(context))
    assert outcome == SyncOutcome(tasks=3, changed=2)
    assert label_studio.reads == [1, 2]  # the third task has no annotations
    assert context.store.images.of_tasks(project_of(context), [1])[1].reference == "/data/1.png"
    label_studio.update(1, ground_truth=True)
    label_studio.delete(2)
    assert project_sync.sync_project(context, project_of(context)) == SyncOutcome(2, 1, 1)
    assert state(context) == truth(label_studio)


def test_a_webhook_that_comes_after_its_annotation_was_found_deleted(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    late = label_studio.create(2)
    label_studio.delete(1)  # and this webhook is lost
    label_studio.create(1)
    project_sync.sync_project(context, project_of(context))
    process_event(context, context.store.events.record(late["action"], late, label_studio_url=URL))
    project_sync.sync_project(context, project_of(context))
    assert state(context) == truth(label_studio)


def test_the_annotations_of_a_deleted_task_count_no_more(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """By webhook, also one that comes before what an annotator did before; by the daily pass where none came."""
    label_studio = LabelStudioDouble(tasks=9)
    context = open_context(label_studio)
    for task in label_studio.task_ids:
        label_studio.create(task)
    project_sync.sync_project(context, project_of(context))
    late = label_studio.update(1, lead_time=7.0)
    reported = label_studio.delete_task(1)
    for payload in (reported, reported, late):
        process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
    assert state(context) == truth(label_studio) and len(state(context)) == 8
    assert "tasks [1] were deleted" in str(context.store.events.get(10).note)
    for task in (3, 6, 9):  # in the middle of a page, between two, after the last one
        label_studio.delete_task(task)
    monkeypatch.setattr(project_sync, "FULL_EVERY", -project_sync.FULL_EVERY)
    assert project_sync.sync_project(context, project_of(context)) == SyncOutcome(0, 0, 3)
    assert state(context) == truth(label_studio) and len(state(context)) == 5
    for task in label_studio.task_ids:
        label_studio.delete_task(task)
    assert project_sync.sync_project(context, project_of(context)) == SyncOutcome(0, 0, 5)
    assert project_sync.sync_project(context, project_of(context), everything=True) == SyncOutcome()
    assert state(context) == {} and len(history(context)) == 10


def test_a_task_that_is_not_listed_is_not_deleted_therefore(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have come after the list was made. And a Label Studio that does not answer says nothing."""
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    label_studio.create(1)
    project_sync.sync_project(context, project_of(context))
    with monkeypatch.context() as patch:
        patch.setattr(label_studio, "task_pages", lambda *_, **__: iter(()))
        assert project_sync.sync_project(context, project_of(context), everything=True) == SyncOutcome()

        def fail(task_id: int) -> dict[str, Any]:
            raise LabelStudioError("502", status=502, is_transient=True)

        patch.setattr(label_studio, "get_task", fail)
        with pytest.raises(LabelStudioError):
            project_sync.sync_project(context, project_of(context), everything=True)
    assert state(context) == truth(label_studio) and len(state(context)) == 1


def test_what_is_skipped_during_a_sync_is_not_taken_for_deleted(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    label_studio.create(1)
    project_sync.sync_all(context)
    read, skips = label_studio.list_annotations, iter([True])

    def skip(task_id: int) -> list[dict[str, Any]]:
        if next(skips, False):
            label_studio.update(1, was_cancelled=True)
        return read(task_id)

    monkeypatch.setattr(label_studio, "list_annotations", skip)
    project_sync.sync_project(context, project_of(context), everything=True)
    label_studio.update(1, was_cancelled=False)
    project_sync.sync_all(context)
    assert state(context) == truth(label_studio) and state(context)[1][2] == "submitted"


def test_a_label_config_that_came_during_a_sync_stays(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    known = project_of(context)
    newer = CONFIG.replace("red", "blue")
    context.store.projects.upsert(URL, 5, newer)
    label_studio.create(1)
    assert project_sync.sync_project(context, known).changed == 1
    assert project_of(context).label_config == newer


def test_what_was_erased_does_not_come_back(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    label_studio.create(2)
    project_sync.sync_all(context)
    assert len(context.store.erasure.erase(project_of(context), "annotation", 1, "asked for").annotations) == 1
    for _ in range(2):
        process_event(context, context.store.events.record(payload["action"], payload, label_studio_url=URL))
        project_sync.sync_project(context, project_of(context), everything=True)
        payload = label_studio.update(1, lead_time=7.0)
    assert set(state(context)) == {2}
    with closing(sqlite3.connect(context.settings.data_dir / "argenseg.db")) as database:
        assert database.execute("SELECT count(*) FROM events WHERE payload LIKE '%\"r1\"%'").fetchone() == (0,)
