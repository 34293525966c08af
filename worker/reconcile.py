"""Finds the annotations that webhooks missed: a backend that was down, a webhook that was never connected.

Label Studio's API tells the state of now. What we do not know becomes an event like a webhook's, and takes its way: so
that an event comes twice, or before or after a webhook of the same state, changes nothing. What an annotator overwrote
meanwhile cannot be found. Any number of copies may run.
"""

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from labeling.errors import LabelingError
from labeling.label_studio.client import LabelStudioClient
from labeling.store.records import Project
from worker import spool
from worker.jobs import JobContext, process_event
from worker.wishes import label_studio_url

logger = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=10)  # what Label Studio stamped before the last sync may have been committed after it
LEASE_S = 300.0  # longer than one page of tasks takes
_NOT_WITHIN = 0.5  # of the interval: several copies share the work


@dataclass(frozen=True)
class SyncOutcome:
    """How many tasks were looked at, and how many annotations were found that we did not know as they are."""

    tasks: int = 0
    changed: int = 0
    deleted: int = 0


def sync_project(
    context: JobContext, project: Project, *, everything: bool = False, not_within_s: float = 0.0
) -> SyncOutcome | None:
    """Read a project's annotations that changed since the last time (or `everything`), and record what we lack.

    None if another process is doing it, or did so less than `not_within_s` ago. LabelStudioError if Label Studio cannot
    be read, StoreError if the store fails: what was recorded until then stays, and the next time begins anew.
    """
    client = context.client
    if client is None:
        raise LabelingError("Annotations are read from Label Studio: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.")
    turn = context.store.begin_sync(project, lease_s=LEASE_S, not_within_s=not_within_s)
    if turn is None:
        return None
    outcome, until, is_complete = SyncOutcome(), turn.since, False
    try:
        _catch_up(context)
        since = None if everything or turn.since is None else turn.since - OVERLAP
        if since is not None and (heard := context.store.oldest_heard(project)) is not None:
            since = min(since, heard)
        for page in client.task_pages(project.project_id, changed_since=since):
            for task in page.tasks:
                changed, deleted = _sync_task(context, client, project, task)
                outcome = SyncOutcome(outcome.tasks + 1, outcome.changed + changed, outcome.deleted + deleted)
            times = [datetime.fromisoformat(task["updated_at"]) for task in page.tasks if task.get("updated_at")]
            until = max([*times, *([until] if until else [])], default=None)
            context.store.extend_sync(project, lease_s=LEASE_S)
        is_complete = True
    finally:
        context.store.end_sync(project, until, is_complete=is_complete)
    if outcome.changed or outcome.deleted:
        logger.info("project %d: webhooks had missed %s", project.project_id, outcome)
    return outcome


def sync_all(context: JobContext, *, not_within_s: float = 0.0) -> SyncOutcome:
    """`sync_project` for every project of our Label Studio; one that fails is logged, and the others go on."""
    total = SyncOutcome()
    for project in context.store.projects_of(label_studio_url(context.settings)):
        try:
            found = sync_project(context, project, not_within_s=not_within_s) or SyncOutcome()
        except LabelingError as error:
            logger.warning("project %d: its annotations are read again later: %s", project.project_id, error)
            continue
        total = SyncOutcome(total.tasks + found.tasks, total.changed + found.changed, total.deleted + found.deleted)
    return total


def run(context: JobContext, stop: threading.Event) -> None:
    """Sync at once, and then every RECONCILE_INTERVAL_S, until `stop` is set; not at all if that is 0."""
    interval_s = context.settings.reconcile_interval_s
    if context.client is None or not interval_s:
        return
    while True:
        try:
            sync_all(context, not_within_s=interval_s * _NOT_WITHIN)
        except LabelingError as error:
            logger.warning("a reconciliation is put off: %s", error)
        except Exception:  # the next one may succeed, and the sweeper beside it must not end
            logger.exception("a reconciliation failed")
        if stop.wait(interval_s):
            return


def _catch_up(context: JobContext) -> None:
    """What webhooks did bring must be known before we look for what they did not."""
    spool.drain(spool.spool_folder(context.settings), context.store, label_studio_url(context.settings))
    for event_id in context.store.unprocessed_events(0):
        process_event(context, event_id)


def _sync_task(
    context: JobContext, client: LabelStudioClient, project: Project, task: dict[str, Any]
) -> tuple[int, int]:
    """How many annotations of the task had changed, and how many were gone, without our knowing."""
    task_id = int(task["id"])
    ours = context.store.annotations_of_tasks(project, [task_id])  # before Label Studio's: theirs are no older
    counts = [task.get(name) for name in ("total_annotations", "cancelled_annotations")]
    annotations = client.list_annotations(task_id) if ours or counts != [0, 0] else []
    erased = context.store.erased(project)
    annotations = [annotation for annotation in annotations if not erased.covers(annotation)]
    known = context.store.annotation_times(project, [annotation["id"] for annotation in annotations])
    missed = [item for item in annotations if _time(item) not in known.get(item["id"], set())]
    gone = sorted(ours.keys() - {annotation["id"] for annotation in annotations})
    for payload in _events(project, task, missed, gone):
        event_id = context.store.record_event(payload["action"], payload, label_studio_url=project.label_studio_url)
        process_event(context, event_id)
    return len(missed), len(gone)


def _events(
    project: Project, task: dict[str, Any], missed: list[dict[str, Any]], gone: list[int]
) -> Iterator[dict[str, Any]]:
    """Payloads such as webhooks have, in the order in which things happened."""
    facts = {"project": {"id": project.project_id, "label_config": project.label_config}, "reconciled": True}
    for annotation in sorted(missed, key=lambda item: str(item.get("updated_at"))):
        shown = {"id": task["id"], "data": task.get("data")}
        yield {"action": "ANNOTATION_UPDATED", "annotation": annotation, "task": shown, **facts}
    if gone:
        yield {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": each} for each in gone], **facts}


def _time(annotation: dict[str, Any]) -> datetime | None:
    at = annotation.get("updated_at")
    return datetime.fromisoformat(at) if isinstance(at, str) else None
