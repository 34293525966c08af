"""The event log: whatever happens on the way, in the end the store says what Label Studio says, and says it once."""

import base64
import hashlib
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeling.datasets import images
from labeling.errors import LabelStudioError, StoreError
from labeling.label_studio.client import TaskPage
from labeling.settings import Settings
from labeling.store import CorrectionFilter, Store, annotation_syncs
from labeling.store.tables import utc_now
from tests.worker.conftest import bright_square
from tests.worker.label_studio_double import CONFIG, LabelStudioDouble, box
from worker import reconcile, spool
from worker.jobs import JobContext, process_event

URL = "http://label-studio.test"


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


@pytest.fixture(scope="module")
def fresh_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("store") / "argenseg.db"
    Store.open(f"sqlite:///{file}", str(file.parent / "blobs")).close()
    return file


@pytest.fixture
def open_context(fresh_database: Path) -> Iterator[Callable[[LabelStudioDouble], JobContext]]:
    """A store and a data folder of its own for each call."""
    with TemporaryDirectory() as folder:
        stores: list[Store] = []

        def open_one(label_studio: LabelStudioDouble) -> JobContext:
            home = Path(folder) / str(len(stores))
            home.mkdir()
            shutil.copy(fresh_database, home)
            configured = Settings(data_dir=home, label_studio_url=URL)
            stores.append(Store.open(configured.database_url, configured.blob_url))
            stores[-1].upsert_project(URL, 5, CONFIG)
            return JobContext(configured, stores[-1], label_studio, None)  # type: ignore[arg-type]

        yield open_one
        for store in stores:
            store.close()


def project_of(context: JobContext) -> Any:
    return context.store.find_project(5, URL)


def state(context: JobContext) -> dict[int, tuple[Any, ...]]:
    """What the store says of each annotation."""
    return {
        review.annotation_id: (
            review.task_id,
            review.at,
            review.state,
            review.ground_truth,
            sorted((item.region_id, item.kind) for item in review.corrections),
        )
        for review in context.store.list_reviews()
    }


def truth(label_studio: LabelStudioDouble) -> dict[int, tuple[Any, ...]]:
    """What Label Studio says: nothing was predicted, so every region is an added one."""
    return {
        annotation_id: (
            item["task"],
            datetime.fromisoformat(item["updated_at"]),
            "skipped" if item["was_cancelled"] else "submitted",
            item["ground_truth"],
            [] if item["was_cancelled"] else sorted((region["id"], "added") for region in item["result"]),
        )
        for annotation_id, item in label_studio.annotations.items()
    }


def history(context: JobContext) -> list[tuple[int, str, datetime | None]]:
    everything = context.store.list_reviews(CorrectionFilter(with_history=True, with_excluded=True))
    return [
        (review.annotation_id, review.state, None if review.state == "deleted" else review.at) for review in everything
    ]


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


def recover(context: JobContext) -> None:
    """What a sweeper does after a kill, without Redis."""
    spool.drain(spool.spool_folder(context.settings), context.store, URL)
    for event_id in context.store.unprocessed_events(0):
        process_event(context, event_id)


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
        patch.setattr(reconcile, "LEASE_S", 0.0)
        shutil.copy(fresh_database, folder)
        configured = Settings(data_dir=Path(folder), label_studio_url=URL)
        with Store.open(configured.database_url, configured.blob_url) as store:
            store.upsert_project(URL, 5, CONFIG)
            label_studio = LabelStudioDouble()
            context = JobContext(configured, store, label_studio, None)  # type: ignore[arg-type]
            left = [lives]
            dying = replace(context, store=Mortal(store, left), client=Mortal(label_studio, left))  # type: ignore[arg-type]
            told: list[dict[str, Any]] = []
            for number, (action, which, way) in enumerate(actions):
                if number == synced_after:
                    with suppress(Killed):
                        reconcile.sync_project(dying, project_of(context))
                payload = do(label_studio, action, which)
                told += [payload] * {"stored": 1, "twice": 2, "spooled": 1, "lost": 0}[way] if payload else []
                if payload and way == "spooled":
                    spool.write_event(spool.spool_folder(configured), payload["action"], payload)
                    told.remove(payload)
            random.shuffle(told)
            for payload in told:
                event_id = store.record_event(payload["action"], payload, label_studio_url=URL)
                with suppress(Killed):
                    process_event(dying, event_id)
            with suppress(Killed):
                reconcile.sync_project(dying, project_of(context))
            with suppress(Killed):
                spool.drain(spool.spool_folder(configured), dying.store, URL)
            recover(context)
            is_silent = ("delete task", "lost") in {(action, way) for action, _, way in actions}
            reconcile.sync_project(context, project_of(context), everything=is_silent)  # else the daily pass finds it
            assert state(context) == truth(label_studio)
            kept = history(context)
            assert len(kept) == len(set(kept))
            delivered = {
                (item["id"], datetime.fromisoformat(item["updated_at"]))
                for payload in told
                if isinstance(item := payload.get("annotation"), dict)
            }
            assert delivered <= {(annotation_id, at) for annotation_id, _, at in kept}
            assert store.unprocessed_events(0) == []
            before = len(kept)
            assert reconcile.sync_project(context, project_of(context), everything=True) is not None
            assert len(history(context)) == before


def test_what_webhooks_missed_is_found_and_read_once(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    label_studio.create(1)
    label_studio.create(2, skipped=True)
    outcome = reconcile.sync_project(context, project_of(context))
    assert outcome == reconcile.SyncOutcome(tasks=3, changed=2)
    assert label_studio.reads == [1, 2]  # the third task has no annotations
    assert context.store.images_of_tasks(project_of(context), [1])[1].reference == "/data/1.png"
    label_studio.update(1, ground_truth=True)
    label_studio.delete(2)
    assert reconcile.sync_project(context, project_of(context)) == reconcile.SyncOutcome(2, 1, 1)
    assert state(context) == truth(label_studio)


def test_a_webhook_that_comes_after_its_annotation_was_found_deleted(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    late = label_studio.create(2)
    label_studio.delete(1)  # and this webhook is lost
    label_studio.create(1)
    reconcile.sync_project(context, project_of(context))
    process_event(context, context.store.record_event(late["action"], late, label_studio_url=URL))
    reconcile.sync_project(context, project_of(context))
    assert state(context) == truth(label_studio)


def test_only_what_changed_is_read_again(open_context) -> None:
    label_studio = LabelStudioDouble(tasks=50)
    context = open_context(label_studio)
    for task in range(1, 51):
        label_studio.create(task)
    reconcile.sync_project(context, project_of(context))
    label_studio.reads.clear()
    label_studio.update(7, lead_time=9.0)
    assert reconcile.sync_project(context, project_of(context)) == reconcile.SyncOutcome(2, 1)
    assert label_studio.reads == [7, 50]  # the last one that changed before is looked at once more


def test_once_a_day_all_tasks_are_counted(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble(tasks=6)
    context = open_context(label_studio)
    for task in range(1, 7):
        label_studio.create(task)
    reconcile.sync_project(context, project_of(context))
    label_studio.reads.clear()
    label_studio.annotations.pop(2)  # without a trace: the task's own time of change stays
    label_studio.annotations[3]["was_cancelled"] = True
    assert reconcile.sync_project(context, project_of(context)) == reconcile.SyncOutcome(1)
    monkeypatch.setattr(reconcile, "FULL_EVERY", -reconcile.FULL_EVERY)
    assert reconcile.sync_project(context, project_of(context)) == reconcile.SyncOutcome(3, 0, 1)
    assert label_studio.reads == [6, 6, 2, 3]
    assert reconcile.sync_project(context, project_of(context), everything=True) == reconcile.SyncOutcome(7)


def test_the_annotations_of_a_deleted_task_count_no_more(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """By webhook, also one that comes before what an annotator did before; by the daily pass where none came."""
    label_studio = LabelStudioDouble(tasks=9)
    context = open_context(label_studio)
    for task in label_studio.task_ids:
        label_studio.create(task)
    reconcile.sync_project(context, project_of(context))
    late = label_studio.update(1, lead_time=7.0)
    told = label_studio.delete_task(1)
    for payload in (told, told, late):
        process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
    assert state(context) == truth(label_studio) and len(state(context)) == 8
    assert "tasks [1] were deleted" in str(context.store.get_event(10).note)
    for task in (3, 6, 9):  # in the middle of a page, between two, after the last one
        label_studio.delete_task(task)
    monkeypatch.setattr(reconcile, "FULL_EVERY", -reconcile.FULL_EVERY)
    assert reconcile.sync_project(context, project_of(context)) == reconcile.SyncOutcome(0, 0, 3)
    assert state(context) == truth(label_studio) and len(state(context)) == 5
    for task in label_studio.task_ids:
        label_studio.delete_task(task)
    assert reconcile.sync_project(context, project_of(context)) == reconcile.SyncOutcome(0, 0, 5)
    assert reconcile.sync_project(context, project_of(context), everything=True) == reconcile.SyncOutcome()
    assert state(context) == {} and len(history(context)) == 10


def test_a_task_that_is_not_listed_is_not_deleted_therefore(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may have come after the list was made. And a Label Studio that does not answer says nothing."""
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    label_studio.create(1)
    reconcile.sync_project(context, project_of(context))
    with monkeypatch.context() as patch:
        patch.setattr(label_studio, "task_pages", lambda *_, **__: iter(()))
        assert reconcile.sync_project(context, project_of(context), everything=True) == reconcile.SyncOutcome()

        def fail(task_id: int) -> dict[str, Any]:
            raise LabelStudioError("502", status=502, is_transient=True)

        patch.setattr(label_studio, "get_task", fail)
        with pytest.raises(LabelStudioError):
            reconcile.sync_project(context, project_of(context), everything=True)
    assert state(context) == truth(label_studio) and len(state(context)) == 1


def test_images_of_corrections_are_kept(open_context) -> None:
    """Of tasks that nobody predicted, too; not of skipped, deleted and erased ones, nor where there is none."""
    label_studio = LabelStudioDouble(tasks=6)
    context = open_context(label_studio)
    for task in label_studio.task_ids:
        payload = label_studio.create(task, skipped=task == 2)
        payload["task"]["data"]["image"] = bright_square() if task < 6 else "data:image/png;base64,AAAA"
        process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
    project, stop = project_of(context), threading.Event()
    context.store.leave_out_deleted_tasks(project, [3])
    context.store.erase(project, "task", 4, "asked for")
    assert reconcile.keep_images(context, stop, set()) == 2
    known = context.store.images_of_tasks(project, range(1, 7))
    assert {task for task, image in known.items() if image.sha256} == {1, 5}
    content = base64.b64decode(bright_square().partition(",")[2])
    assert context.store.read_image(known[1].sha256 or "") == content
    assert (known[1].width, known[1].height) == (40, 30)
    assert reconcile.keep_images(context, stop, set()) == 0


def test_the_image_of_a_task_that_was_predicted_is_kept(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker knows its digest, but has the file in the cache only. It is not looked for again once it is kept."""
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    payload["task"]["data"]["image"] = bright_square()
    process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
    content = base64.b64decode(bright_square().partition(",")[2])
    digest, kept = hashlib.sha256(content).hexdigest(), set[str]()
    context.store.record_image(project_of(context), 1, bright_square(), sha256=digest, width=40, height=30)
    assert not context.store.holds_image(digest)
    assert reconcile.keep_images(context, threading.Event(), kept) == 1
    assert context.store.read_image(digest) == content
    assert reconcile.keep_images(context, threading.Event(), kept) == 0 and kept == {digest}
    monkeypatch.setattr(context.store._blobs, "holds", pytest.fail)
    assert reconcile.keep_images(context, threading.Event(), kept) == 0


def test_an_image_of_a_task_that_is_erased_while_it_is_fetched(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    payload["task"]["data"]["image"] = bright_square()
    process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
    fetch = images.fetch_image

    def slow(*arguments: Any, **options: Any) -> Path:
        context.store.erase(project_of(context), "task", 1, "asked for")
        return fetch(*arguments, **options)

    monkeypatch.setattr(images, "fetch_image", slow)
    reconcile.keep_images(context, threading.Event(), set())
    assert context.store.images_of_tasks(project_of(context), [1]) == {}


@pytest.mark.parametrize("meanwhile", ["erased", "another image"])
def test_what_changed_while_an_image_was_stored_stays(
    open_context, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    payload["task"]["data"]["image"] = bright_square()
    process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
    project, put, stored = project_of(context), context.store._blobs.put, []

    def slow(content: bytes) -> str:
        stored.append(put(content))
        if meanwhile == "erased":
            context.store.erase(project, "task", 1, "asked for")
        else:
            context.store.record_image(project, 1, "/data/new.png")
        return stored[0]

    with monkeypatch.context() as patch:
        patch.setattr(context.store._blobs, "put", slow)
        reconcile.keep_images(context, threading.Event(), set())
    known = context.store.images_of_tasks(project, [1])
    assert known == {} if meanwhile == "erased" else (known[1].reference, known[1].sha256) == ("/data/new.png", None)
    with pytest.raises(StoreError):
        context.store.read_image(stored[0])


def test_a_damaged_image_is_not_kept_and_the_mended_one_is(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    kind, _, code = bright_square().partition(",")
    damaged = base64.b64encode(base64.b64decode(code)[:-30]).decode()
    for image, kept in ((f"{kind},{damaged}", False), (bright_square(), True)):
        payload = label_studio.create(1)
        payload["task"]["data"]["image"] = image
        process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
        reconcile.keep_images(context, threading.Event(), set())
        assert (context.store.images_of_tasks(project_of(context), [1])[1].sha256 is not None) == kept


def test_a_deleted_task_that_is_there_again_counts_again(open_context) -> None:
    """As after a restored backup; not what was erased on request."""
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    for task in (1, 2):
        label_studio.create(task)
    project = project_of(context)
    reconcile.sync_project(context, project)
    context.store.leave_out_deleted_tasks(project, [1, 2])
    context.store.erase(project, "task", 2, "asked for")

    def counted() -> set[int]:
        return {each.task_id for each in context.store.list_reviews() if each.excluded is None}

    assert counted() == set()
    reconcile.sync_project(context, project, everything=True)
    assert counted() == {1}


def test_an_event_that_is_refused_for_good_keeps_no_other_from_being_processed(
    open_context, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = open_context(LabelStudioDouble())
    event_id = context.store.record_event("TASKS_CREATED", {"action": "TASKS_CREATED"}, label_studio_url=URL)

    def refuse(*_: Any) -> int:
        raise StoreError("The database takes no such number.")

    with monkeypatch.context() as patch:
        patch.setattr("worker.jobs.follow_event", refuse)
        assert process_event(context, event_id) == 0
    assert context.store.unprocessed_events(0) == []


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
            reconcile.sync_project(context, project_of(context))
        assert set(state(context)) == {1, 2, 3}
        assert reconcile.sync_all(context) == reconcile.SyncOutcome()
    late = label_studio.update(1, lead_time=7.0)  # read already, and changed since
    label_studio.reads.clear()
    reconcile.sync_all(context)
    assert state(context) == truth(label_studio)
    assert late["annotation"]["id"] == 1 and label_studio.reads == [1, 6, 3, 4, 5, 6]  # what changed, then the rest


def test_what_is_skipped_during_a_sync_is_not_taken_for_deleted(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    label_studio.create(1)
    reconcile.sync_all(context)
    read, skips = label_studio.list_annotations, iter([True])

    def skip(task_id: int) -> list[dict[str, Any]]:
        if next(skips, False):
            label_studio.update(1, was_cancelled=True)
        return read(task_id)

    monkeypatch.setattr(label_studio, "list_annotations", skip)
    reconcile.sync_project(context, project_of(context), everything=True)
    label_studio.update(1, was_cancelled=False)
    reconcile.sync_all(context)
    assert state(context) == truth(label_studio) and state(context)[1][2] == "submitted"


def test_a_label_config_that_came_during_a_sync_stays(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    known = project_of(context)
    newer = CONFIG.replace("red", "blue")
    context.store.upsert_project(URL, 5, newer)
    label_studio.create(1)
    assert reconcile.sync_project(context, known).changed == 1
    assert project_of(context).label_config == newer


def test_a_project_with_which_anything_is_wrong_holds_up_no_other(
    open_context, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    context.store.upsert_project(URL, 4, CONFIG)
    tell = label_studio.task_pages

    def of_project(project_id: int, **wanted: Any) -> Any:
        return iter([TaskPage([{}], 1)]) if project_id == 4 else tell(project_id, **wanted)

    monkeypatch.setattr(label_studio, "task_pages", of_project)
    label_studio.create(1)
    assert reconcile.sync_all(context).changed == 1


def test_after_a_start_what_was_missed_is_read_at_once(open_context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if the process before had just read all; of copies that start together, one reads."""
    label_studio, stop = LabelStudioDouble(), threading.Event()
    context = open_context(label_studio)
    with monkeypatch.context() as patch:
        patch.setattr(annotation_syncs, "utc_now", lambda: utc_now() - timedelta(seconds=30))
        reconcile.sync_project(context, project_of(context))
    label_studio.create(1)  # while nobody listened
    stop.set()  # after the first pass
    reconcile.run(context, stop)
    assert state(context) == truth(label_studio) and len(state(context)) == 1
    label_studio.create(2)
    reconcile.run(context, stop)
    assert len(state(context)) == 1


def test_one_reader_at_a_time(open_context) -> None:
    context = open_context(LabelStudioDouble())
    project = project_of(context)
    turn = context.store.begin_sync(project, lease_s=60)
    assert turn is not None
    assert reconcile.sync_project(context, project) is None
    context.store.end_sync(project, is_complete=True)
    assert reconcile.sync_project(context, project, not_within_s=60) is None
    assert reconcile.sync_project(context, project) is not None


def test_what_was_erased_does_not_come_back(open_context) -> None:
    label_studio = LabelStudioDouble()
    context = open_context(label_studio)
    payload = label_studio.create(1)
    label_studio.create(2)
    reconcile.sync_all(context)
    assert len(context.store.erase(project_of(context), "annotation", 1, "asked for").annotations) == 1
    for _ in range(2):
        process_event(context, context.store.record_event(payload["action"], payload, label_studio_url=URL))
        reconcile.sync_project(context, project_of(context), everything=True)
        payload = label_studio.update(1, lead_time=7.0)
    assert set(state(context)) == {2}
    with closing(sqlite3.connect(context.settings.data_dir / "argenseg.db")) as database:
        assert database.execute("SELECT count(*) FROM events WHERE payload LIKE '%\"r1\"%'").fetchone() == (0,)


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
                store.record_event(payload["action"], payload, label_studio_url=URL)
            except StoreError:
                spool.write_event(folder, payload["action"], payload)

    code = (
        "import sys; from labeling.store import Store; from labeling.corrections.events import process_event\n"
        "with Store.open(sys.argv[1], sys.argv[2]) as store:\n"
        "    while True:\n"
        "        for event_id in store.unprocessed_events(0): process_event(store, event_id)\n"
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
