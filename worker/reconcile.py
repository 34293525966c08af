"""Finds what webhooks missed: a backend that was down, a webhook that was never connected.

Label Studio's API tells the state of now. What we do not know becomes an event like a webhook's, and takes its way: so
that an event comes twice, or before or after a webhook of the same state, changes nothing. What an annotator overwrote
meanwhile cannot be found. Any number of copies may run.
"""

import logging
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Any, Self

from argenseg_model.errors import ARGenSegError
from labeling.datasets.images import ImageKeeper
from labeling.errors import LabelConfigError, LabelingError, LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.store.annotation_syncs import FOUND
from labeling.store.erasure import Erased
from labeling.store.records import Project
from worker import spool
from worker.changed_tasks import ChangedTasks
from worker.jobs import JobContext, process_event
from worker.missed_tasks import MissedTasks
from worker.wishes import Wishes, enqueue_wishes, label_studio_url

logger = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=10)  # what Label Studio stamped before the last sync may have been committed after it
FULL_EVERY = timedelta(days=1)
KEEP_S = 120.0  # how long images are fetched for at a time
LEASE_S = 300.0  # longer than one page of tasks takes
_NOT_WITHIN = 0.5  # of the interval: several copies share the work
_NOT_WITHIN_AT_START_S = 5.0  # copies that start together share it too, but what was missed since is looked for at once
_TASKS_AT_A_TIME = 100
_TASKS_AT_MOST = 1000  # that are put to work in one sync: the others in the next ones
_NOT_FOUND = 404


@dataclass(frozen=True)
class SyncOutcome:
    """How many tasks were looked at, how many annotations were found that we did not know as they are, and how many
    tasks that are to be predicted: new ones, and those whose data was changed.
    """

    tasks: int = 0
    changed: int = 0
    deleted: int = 0
    new_tasks: int = 0
    changed_tasks: int = 0

    @property
    def put_to_work(self) -> int:
        """How many tasks are to be predicted."""
        return self.new_tasks + self.changed_tasks

    def __add__(self, other: "SyncOutcome") -> "SyncOutcome":
        return SyncOutcome(*map(add, astuple(self), astuple(other)))


def sync_project(
    context: JobContext, project: Project, *, everything: bool = False, not_within_s: float = 0.0
) -> SyncOutcome | None:
    """Read the annotations of a project's tasks that changed since the last time, and record what we lack.

    Once a day all tasks are looked at too, and read where Label Studio has another number of annotations than we; the
    first time, and with `everything`, all annotations are read. Tasks with annotations that we know and Label Studio
    does not any more were deleted. That pass goes on where it was interrupted. New tasks of which a webhook should have
    told are predicted, as they would have been then, and those again whose prompt or image was changed.

    None if another process is doing it, or did so less than `not_within_s` ago. LabelStudioError if Label Studio cannot
    be read, StoreError if the store fails: what was recorded until then stays.
    """
    client, store = context.client, context.store
    if client is None:
        raise LabelingError("Annotations are read from Label Studio: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.")
    turn = store.begin_sync(project, lease_s=LEASE_S, not_within_s=not_within_s)
    if turn is None:
        return None
    outcome, is_complete = SyncOutcome(), False
    is_full = everything or turn.full_after is not None or _is_long_ago(turn.full_synced_at)
    try:
        _catch_up(context)
        project = store.find_project(project.project_id, project.label_studio_url) or project  # its config of now
        began = client.server_time() or datetime.now(UTC)
        reader = _Reader.of(context, client, project, began)
        if turn.since is not None:
            since = min(turn.since - OVERLAP, store.oldest_heard(project) or turn.since)
            for page in client.task_pages(project.project_id, changed_since=since):
                outcome += reader.read(page.tasks)
                outcome += reader.put_to_work(page.tasks, outcome)
                store.extend_sync(project, lease_s=LEASE_S)
        if turn.since is None or outcome.put_to_work < _TASKS_AT_MOST:
            store.note_changes_read(project, began)  # what changes while all tasks are looked at is read the next time
        if is_full:
            is_thorough = everything or turn.full_synced_at is None
            last = 0 if everything else turn.full_after or 0
            for page in client.task_pages(project.project_id, after=last):
                outcome += reader.read(page.tasks if is_thorough else reader.differing(page.tasks))
                outcome += reader.put_to_work(page.tasks, outcome)
                store.take_in_restored_tasks(project, [task["id"] for task in page.tasks])
                outcome += reader.find_deleted(last, page.tasks)
                last = page.tasks[-1]["id"]
                store.extend_sync(project, lease_s=LEASE_S, full_after=last)
            outcome += reader.find_deleted(last)
        is_complete = True
    finally:
        store.end_sync(project, is_complete=is_complete, is_full=is_complete and is_full)
    if outcome.changed or outcome.deleted or outcome.put_to_work:
        logger.info("project %d: webhooks had missed %s", project.project_id, outcome)
    return outcome


def sync_all(context: JobContext, *, not_within_s: float = 0.0) -> SyncOutcome:
    """`sync_project` for every project of our Label Studio; one that fails is logged, and the others go on."""
    total = SyncOutcome()
    for project in context.store.projects_of(label_studio_url(context.settings)):
        try:
            total += sync_project(context, project, not_within_s=not_within_s) or SyncOutcome()
        except LabelingError as error:
            logger.warning("project %d: its annotations are read again later: %s", project.project_id, error)
        except Exception:  # whatever is wrong with one project, the annotations of the others must be found
            logger.exception("project %d could not be reconciled", project.project_id)
    return total


def keep_images(context: JobContext, stop: threading.Event, kept_before: set[str]) -> int:
    """Keep the images of submitted tasks that are not kept yet, and return how many; a while long, in any order.

    Later Label Studio, or where it has them from, may have them no more. `kept_before`: digests of those that are known
    to be kept, which are not looked for again; what is found is added.
    """
    keeper, until, kept = ImageKeeper(context.store, context.client, context.settings), time.monotonic() + KEEP_S, 0
    for project in context.store.projects_of(label_studio_url(context.settings)):
        images = [each for each in context.store.submitted_images(project) if each.sha256 not in kept_before]
        random.shuffle(images)  # some may never be had: they must not keep the others from being tried
        for image in images:
            if stop.is_set() or time.monotonic() > until:
                return kept
            try:
                if image.sha256 is not None and context.store.holds_image(image.sha256):
                    kept_before.add(image.sha256)
                    continue
                keeper.fetch(project, image)
            except (LabelingError, ARGenSegError, OSError) as error:
                logger.info("project %d: task %d: its image is not kept: %s", project.project_id, image.task_id, error)
            else:
                kept += 1
    return kept


def run(context: JobContext, stop: threading.Event) -> None:
    """Sync at once, and then every RECONCILE_INTERVAL_S, until `stop` is set; not at all if that is 0.

    Then the images of corrections are kept that are not yet.
    """
    interval_s = context.settings.reconcile_interval_s
    if context.client is None or not interval_s:
        return
    kept_before: set[str] = set()
    not_within_s = min(_NOT_WITHIN_AT_START_S, interval_s * _NOT_WITHIN)
    while True:
        try:
            sync_all(context, not_within_s=not_within_s)
            keep_images(context, stop, kept_before)
        except LabelingError as error:
            logger.warning("a reconciliation is put off: %s", error)
        except Exception:  # the next one may succeed, and the sweeper beside it must not end
            logger.exception("a reconciliation failed")
        if stop.wait(interval_s):
            return
        not_within_s = interval_s * _NOT_WITHIN


def _catch_up(context: JobContext) -> None:
    """What webhooks did bring must be known before we look for what they did not."""
    spool.drain(spool.spool_folder(context.settings), context.store, label_studio_url(context.settings))
    for event_id in context.store.unprocessed_events(0):
        process_event(context, event_id)


@dataclass(frozen=True)
class _Reader:
    """Reads the annotations of tasks, and records what we do not know."""

    context: JobContext
    client: LabelStudioClient
    project: Project
    erased: Erased
    missed: MissedTasks
    changed: ChangedTasks | None

    @classmethod
    def of(cls, context: JobContext, client: LabelStudioClient, project: Project, began: datetime) -> Self:
        """For a sync that `began` then, by Label Studio's clock."""
        erased, share = context.store.erased(project), context.settings.blind_share
        missed = MissedTasks(context.store, client, project, erased.tasks, share, began)
        return cls(context, client, project, erased, missed, _changed_tasks(context, project))

    def differing(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The tasks of which Label Studio counts other annotations than we know."""
        known = self.context.store.annotations_of_tasks(self.project, [task["id"] for task in tasks])

        def is_different(task: dict[str, Any]) -> bool:
            states = list(known.get(task["id"], {}).values())
            return _counts(task) != [states.count("submitted"), states.count("skipped")]

        return [task for task in tasks if is_different(task)]

    def read(self, tasks: list[dict[str, Any]]) -> SyncOutcome:
        """Read them, one by one."""
        return sum((self._read_task(task) for task in tasks if task["id"] not in self.erased.tasks), SyncOutcome())

    def put_to_work(self, tasks: list[dict[str, Any]], so_far: SyncOutcome) -> SyncOutcome:
        """Have the tasks predicted that a webhook should have told of, and those whose data was changed, unless enough
        are under way.
        """
        if so_far.put_to_work >= _TASKS_AT_MOST:
            return SyncOutcome()
        new = self.missed.event_of(tasks)
        if new is not None:
            self._record(new)
        changed = [] if self.changed is None else self.changed.want_again(tasks)
        enqueue_wishes(self.context.connection, changed)
        return SyncOutcome(new_tasks=len(new["tasks"]) if new else 0, changed_tasks=len(changed))

    def find_deleted(self, after: int, listed: Sequence[dict[str, Any]] = ()) -> SyncOutcome:
        """Record the deletion of tasks after `after` (up to the last of `listed`, if any) that are not among these."""
        store, project = self.context.store, self.project
        known = store.annotated_tasks(project, after=after, until=listed[-1]["id"] if listed else None)
        suspects = sorted(set(known) - {task["id"] for task in listed})
        outcome = SyncOutcome()
        for start in range(0, len(suspects), _TASKS_AT_A_TIME):
            gone = [task_id for task_id in suspects[start : start + _TASKS_AT_A_TIME] if self._is_deleted(task_id)]
            if gone:
                annotations = sum(map(len, store.annotations_of_tasks(project, gone).values()))
                outcome += SyncOutcome(deleted=annotations)
                payload = {"action": "TASKS_DELETED", "tasks": [{"id": each} for each in gone], **_facts(project)}
                self._record(payload)
            store.extend_sync(project, lease_s=LEASE_S)
        return outcome

    def _is_deleted(self, task_id: int) -> bool:
        """Whether Label Studio says so: a task may be missing in a list because it came after the list was made."""
        try:
            self.client.get_task(task_id)
        except LabelStudioError as error:
            if error.status != _NOT_FOUND:
                raise
            return True
        return False

    def _record(self, payload: dict[str, Any]) -> None:
        """As if a webhook had brought it."""
        store, url = self.context.store, self.project.label_studio_url
        process_event(self.context, store.record_event(payload["action"], payload, label_studio_url=url))

    def _read_task(self, task: dict[str, Any]) -> SyncOutcome:
        context, project, task_id = self.context, self.project, int(task["id"])
        ours = context.store.annotations_of_tasks(project, [task_id]).get(task_id, {})  # theirs are no older
        submitted, skipped = _counts(task)
        annotations = self.client.list_annotations(task_id) if ours or submitted or skipped else []
        annotations += self.client.list_skips(project.project_id, task_id) if skipped else []
        # one that was skipped, or is no skip any more, while we read is in neither list; a deletion would be final
        missing = sorted(ours.keys() - {annotation["id"] for annotation in annotations})
        annotations += filter(None, map(self.client.find_annotation, missing))
        annotations = [annotation for annotation in annotations if not self.erased.covers(annotation)]
        known = context.store.annotation_times(project, [annotation["id"] for annotation in annotations])
        missed = [item for item in annotations if _time(item) not in known.get(item["id"], set())]
        gone = sorted(ours.keys() - {annotation["id"] for annotation in annotations})
        for payload in _events(project, task, missed, gone):
            self._record(payload)
        return SyncOutcome(1, len(missed), len(gone))


def _changed_tasks(context: JobContext, project: Project) -> ChangedTasks | None:
    """None where nothing can be predicted now: annotations are read all the same."""
    try:
        wishes = Wishes(context.settings, context.store, project.project_id, project.label_config, as_pinned=True)
    except (LabelConfigError, ARGenSegError, OSError) as error:
        logger.info("project %d: changed tasks are not looked for: %s", project.project_id, error)
        return None
    return ChangedTasks(context.store, wishes)


def _events(
    project: Project, task: dict[str, Any], missed: list[dict[str, Any]], gone: list[int]
) -> Iterator[dict[str, Any]]:
    """Payloads such as webhooks have, in the order in which things happened."""
    facts = _facts(project)
    for annotation in sorted(missed, key=lambda item: str(item.get("updated_at"))):
        shown = {"id": task["id"], "data": task.get("data")}
        yield {"action": FOUND, "annotation": annotation, "task": shown, **facts}
    if gone:
        yield {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": each} for each in gone], **facts}


def _facts(project: Project) -> dict[str, Any]:
    """Without the label config: a webhook may have brought a newer one since this sync began."""
    return {"project": {"id": project.project_id}}


def _time(annotation: dict[str, Any]) -> datetime | None:
    at = annotation.get("updated_at")
    return datetime.fromisoformat(at) if isinstance(at, str) else None


def _counts(task: dict[str, Any]) -> list[Any]:
    """How many annotations Label Studio counts: submitted, skipped."""
    return [task.get(name) for name in ("total_annotations", "cancelled_annotations")]


def _is_long_ago(moment: datetime | None) -> bool:
    return moment is None or moment < datetime.now(UTC) - FULL_EVERY
