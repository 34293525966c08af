"""The event log: whatever happens on the way, in the end the store says what Label Studio says, and says it once."""

import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.errors import LabelStudioError, StoreError
from labeling.label_studio.client import TaskPage
from labeling.settings import Settings
from labeling.store import Store, annotation_syncs
from labeling.store.base import utc_now
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble, box
from tests.worker.synced import URL, history, project_of, recover, state, truth
from worker.context import JobContext
from worker.events import spool
from worker.events.process import process_event
from worker.reconcile import project_sync
from worker.reconcile.sync_outcome import SyncOutcome


class Killed(BaseException):
    """The process ended here."""


class Mortal:
    """A store or client in a process that is killed before or after its n-th call: then nothing works any more."""

    def __init__(self, target: Any, lives: list[int]) -> None:
        self._target, self._lives = target, lives

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*args: Any, **options: Any) -> Any:
            self._live()
            answer = found(*args, **options)
            self._live()
            return answer

        return call

    def _live(self) -> None:
        self._lives[0] -= 1
        if self._lives[0] < 0:
            raise Killed


def do(label_studio: LabelStudioDouble, action: str, which: int) -> dict[str, Any] | None:
    """One thing that an annotator does, and its webhook's payload."""
    tasks = label_studio.task_ids
    if tasks and action in ("create", "skip"):
        return label_studio.create(tasks[which % len(tasks)], skipped=action == "skip")
    if tasks and action == "delete task":
        return label_studio.delete_task(tasks[which % len(tasks)])
    if not label_studio.annotations or action not in ("delete", "redraw", "toggle", "cancel"):
        return None
    annotation_id = sorted(label_studio.annotations)[which % len(label_studio.annotations)]
    if action == "delete":
        return label_studio.delete(annotation_id)
    known = label_studio.annotations[annotation_id]
    changes = {
        "redraw": {"result": [box(f"r{which}", 50), box("second", 25)], "was_cancelled": False},
        "toggle": {"ground_truth": not known["ground_truth"]},
        "cancel": {"was_cancelled": True},
    }
    return label_studio.update(annotation_id, **changes[action])


ACTIONS = st.tuples(
    st.sampled_from(["create", "skip", "redraw", "toggle", "cancel", "delete", "delete task"]),
    st.integers(0, 5),
    st.sampled_from(["stored", "twice", "spooled", "lost"]),
)


@given(st.lists(ACTIONS, max_size=12), st.randoms(), st.integers(0, 120), st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_nothing_is_lost_and_nothing_doubled(
    fresh_database: Path, actions: list[tuple[str, int, str]], random: Any, lives: int, synced_after: int
) -> None:
    """Events twice, out of order, in the spool folder or lost; a sync in between; killed between any two steps."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(project_sync, "LEASE_S", 0.0)
        shutil.copy(fresh_database, folder)
        configured = Settings(data_dir=Path(folder), label_studio_url=URL)
        with Store.open(configured.database_url, configured.blob_url) as store:
            store.projects.upsert(URL, 5, CONFIG)
            label_studio = LabelStudioDouble()
            context = JobContext(configured, store, label_studio, None)  # type: ignore[arg-type]
            left = [lives]
            dying = replace(context, store=Mortal(store, left), client=Mortal(label_studio, left))  # type: ignore[arg-type]
            reported: list[dict[str, Any]] = []
            for number, (action, which, way) in enumerate(actions):
                if number == synced_after:
                    with suppress(Killed):
                        project_sync.sync_project(dying, project_of(context))
                payload = do(label_studio, action, which)
                reported += [payload] * {"stored": 1, "twice": 2, "spooled": 1, "lost": 0}[way] if payload else []
                if payload and way == "spooled":
                    spool.write_event(spool.spool_folder(configured), payload["action"], payload)
                    reported.remove(payload)
            random.shuffle(reported)
            for payload in reported:
                event_id = store.events.record(payload["action"], payload, label_studio_url=URL)
                with suppress(Killed):
                    process_event(dying, event_id)
            with suppress(Killed):
                project_sync.sync_project(dying, project_of(context))
            with suppress(Killed):
                spool.drain(spool.spool_folder(configured), dying.store, URL)
            recover(context)
            is_silent = ("delete task", "lost") in {(action, way) for action, _, way in actions}
            project_sync.sync_project(
                context, project_of(context), everything=is_silent
            )  # else the daily pass finds it
            assert state(context) == truth(label_studio)
            kept = history(context)
            assert len(kept) == len(set(kept))
            delivered = {
                (item["id"], datetime.fromisoformat(item["updated_at"]))
                for payload in reported
                if isinstance(item := payload.get("annotation"), dict)
            }
            assert delivered <= {(annotation_id, at) for annotation_id, _, at in kept}
            assert store.events.unprocessed(0) == []
            before = len(kept)
            assert project_sync.sync_project(context, project_of(context), everything=True) is not None
            assert len(history(context)) == before


def test_only_what_changed_is_read_again(open_context) -> None:
    label_studio = LabelStudioDouble(tasks=50)
    context = open_context(label_studio)
    for task in range(1, 51):
        label_studio.create(task)
    project_sync.sync_project(context, project_of(context))
    label_studio.reads.clear()
    label_studio.update(7, lead_time=9.0)
    assert project_sync.sync_project(context, project_of(context)) == SyncOutcome(2, 1)
    assert label_studio.reads == [7, 50]  # the last one that changed before is looked at once more


def test_once_a_day_all_tasks_are_counted(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble(tasks=6)
    context = open_context(label_studio)
    for task in range(1, 7):
        label_studio.create(task)
    project_sync.sync_project(context, project_of(context))
    label_studio.reads.clear()
    label_studio.annotations.pop(2)  # without a trace: the task's own time of change stays
    label_studio.annotations[3]["was_cancelled"] = True
    assert project_sync.sync_project(context, project_of(context)) == SyncOutcome(1)
    monkeypatch.setattr(project_sync, "FULL_EVERY", -project_sync.FULL_EVERY)
    assert project_sync.sync_project(context, project_of(context)) == SyncOutcome(3, 0, 1)
    assert label_studio.reads == [6, 6, 2, 3]
    assert project_sync.sync_project(context, project_of(context), everything=True) == SyncOutcome(7)


def test_a_deleted_task_that_is_there_again_counts_again(open_context) -> None:
    """As after a restored backup; not what was erased on request."""
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    for task in (1, 2):
        label_studio.create(task)
    project = project_of(context)
    project_sync.sync_project(context, project)
    context.store.exclusions.leave_out_deleted_tasks(project, [1, 2])
    context.store.erasure.erase(project, "task", 2, "asked for")

    def counted() -> set[int]:
        return {each.task_id for each in context.store.annotations.find() if each.excluded is None}

    assert counted() == set()
    project_sync.sync_project(context, project, everything=True)
    assert counted() == {1}


def test_a_label_studio_that_fails_in_the_middle(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble(tasks=6)
    context = open_context(label_studio)
    for task in range(1, 7):
        label_studio.create(task)
    with monkeypatch.context() as patch:

        def fail(task_id: int) -> list[dict[str, Any]]:
            if task_id == 4:
                raise LabelStudioError("502", status=502, is_transient=True)
            return LabelStudioDouble.list_annotations(label_studio, task_id)

        patch.setattr(label_studio, "list_annotations", fail)
        with pytest.raises(LabelStudioError):
            project_sync.sync_project(context, project_of(context))
        assert set(state(context)) == {1, 2, 3}
        assert project_sync.sync_all(context) == SyncOutcome()
    late = label_studio.update(1, lead_time=7.0)  # read already, and changed since
    label_studio.reads.clear()
    project_sync.sync_all(context)
    assert state(context) == truth(label_studio)
    assert late["annotation"]["id"] == 1 and label_studio.reads == [1, 6, 3, 4, 5, 6]  # what changed, then the rest


def test_a_project_with_which_anything_is_wrong_holds_up_no_other(
    open_context, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    context.store.projects.upsert(URL, 4, CONFIG)
    tell = label_studio.task_pages

    def of_project(project_id: int, **wanted: Any) -> Any:
        return iter([TaskPage([{}], 1)]) if project_id == 4 else tell(project_id, **wanted)

    monkeypatch.setattr(label_studio, "task_pages", of_project)
    label_studio.create(1)
    assert project_sync.sync_all(context).changed == 1


def test_after_a_start_what_was_missed_is_read_at_once(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the process before had just read all; of copies that start together, one reads."""
    label_studio, stop = LabelStudioDouble(), threading.Event()
    context = open_context(label_studio)
    with monkeypatch.context() as patch:
        patch.setattr(annotation_syncs, "utc_now", lambda: utc_now() - timedelta(seconds=30))
        project_sync.sync_project(context, project_of(context))
    label_studio.create(1)  # while nobody listened
    stop.set()  # after the first pass
    project_sync.run(context, stop)
    assert state(context) == truth(label_studio) and len(state(context)) == 1
    label_studio.create(2)
    project_sync.run(context, stop)
    assert len(state(context)) == 1


def test_one_reader_at_a_time(open_context) -> None:
    context = open_context(LabelStudioDouble())
    project = project_of(context)
    turn = context.store.syncs.begin(project, lease_s=60)
    assert turn is not None
    assert project_sync.sync_project(context, project) is None
    context.store.syncs.end(project, is_complete=True)
    assert project_sync.sync_project(context, project, not_within_s=60) is None
    assert project_sync.sync_project(context, project) is not None


def test_a_thousand_events_in_a_burst_and_kill_9(open_context) -> None:
    """Webhooks of many threads, while a process that works them off is killed again and again."""
    label_studio = LabelStudioDouble(tasks=20)
    context = open_context(label_studio)
    payloads = [label_studio.create(number % 20 + 1) for number in range(500)]
    payloads += [label_studio.update(annotation_id, ground_truth=True) for annotation_id in label_studio.annotations]
    store, folder = context.store, spool.spool_folder(context.settings)

    def send(mine: list[dict[str, Any]]) -> None:
        for payload in mine:
            try:
                store.events.record(payload["action"], payload, label_studio_url=URL)
            except StoreError:
                spool.write_event(folder, payload["action"], payload)

    code = (
        "import sys; from labeling.store import Store; from labeling.corrections.events import record_corrections\n"
        "with Store.open(sys.argv[1], sys.argv[2]) as store:\n"
        "    while True:\n"
        "        for event_id in store.events.unprocessed(0): record_corrections(store, event_id)\n"
    )
    command = [sys.executable, "-c", code, context.settings.database_url, context.settings.blob_url]
    threads = [threading.Thread(target=send, args=(payloads[number::8],)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        worker = subprocess.Popen(command)
        time.sleep(2.5)
        worker.kill()
        worker.wait()
    for thread in threads:
        thread.join()
    recover(context)
    assert state(context) == truth(label_studio)
    kept = history(context)
    assert len(kept) == len(set(kept)) == 1000
