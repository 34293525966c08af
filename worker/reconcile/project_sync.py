"""Finds what webhooks missed: a backend that was down, a webhook that was never connected.

When and in which order a project is read; what is found becomes an event like a webhook's, and takes its way: so that
an event comes twice, or before or after a webhook of the same state, changes nothing. What an annotator overwrote
meanwhile cannot be found. Any number of copies may run.
"""

import logging
import threading
from datetime import UTC, datetime, timedelta
from functools import partial

from labeling.errors import LabelingError
from labeling.store import Project
from labeling.store.base import in_pages
from worker.context import JobContext
from worker.events import spool
from worker.events.process import process_event
from worker.reconcile.annotation_reader import AnnotationReader
from worker.reconcile.kept_images import keep_images
from worker.reconcile.sync_outcome import SyncOutcome
from worker.reconcile.tasks_to_predict import TasksToPredict

logger = logging.getLogger(__name__)

OVERLAP = timedelta(minutes=10)  # what Label Studio stamped before the last sync may have been committed after it
FULL_EVERY = timedelta(days=1)
LEASE_S = 300.0  # longer than one page of tasks takes
_NOT_WITHIN = 0.5  # of the interval: several copies share the work
_NOT_WITHIN_AT_START_S = 5.0  # copies that start together share it too, but what was missed since is looked for at once


def sync_project(
    context: JobContext, project: Project, *, everything: bool = False, not_within_s: float = 0.0
) -> SyncOutcome | None:
    """Read the annotations of a project's tasks that changed since the last time, and record what we lack.

    Tasks that a webhook should have reported are predicted. With `everything` all annotations are read anew.

    None if another process is doing it, or did so less than `not_within_s` ago. LabelStudioError if Label Studio cannot
    be read, StoreError if the store fails: what was recorded until then stays.
    """
    client, store = context.client, context.store
    if client is None:
        raise LabelingError("Annotations are read from Label Studio: set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY.")
    turn = store.syncs.begin(project, lease_s=LEASE_S, not_within_s=not_within_s)
    if turn is None:
        return None
    outcome, is_complete = SyncOutcome(), False
    is_full = everything or turn.full_after is not None or _is_long_ago(turn.full_synced_at)
    try:
        _catch_up(context)
        project = store.projects.find(project.project_id, project.label_studio_url) or project  # its config of now
        began = client.server_time() or datetime.now(UTC)
        reader = AnnotationReader.of(context, client, project)
        to_predict = TasksToPredict.of(context, client, project, began)
        if turn.since is not None:
            since = min(turn.since - OVERLAP, store.syncs.oldest_reported(project) or turn.since)
            for page in client.task_pages(project.project_id, changed_since=since):
                outcome += reader.read(page.tasks)
                outcome += to_predict.put_to_work(page.tasks, outcome)
                store.syncs.extend(project, lease_s=LEASE_S)
        if turn.since is None or not to_predict.are_enough(outcome):
            # what changes while all tasks are looked at is read the next time
            store.syncs.note_changes_read(project, began)
        if is_full:  # once a day; goes on where it was interrupted
            # read are those of which Label Studio has another number of annotations than we, the first time all
            is_thorough = everything or turn.full_synced_at is None
            last = 0 if everything else turn.full_after or 0
            for page in client.task_pages(project.project_id, after=last):
                outcome += reader.read(page.tasks if is_thorough else reader.differing(page.tasks))
                outcome += to_predict.put_to_work(page.tasks, outcome)
                store.exclusions.take_in_restored_tasks(project, [task["id"] for task in page.tasks])
                for found in reader.find_deleted(last, page.tasks):
                    outcome += found
                    store.syncs.extend(project, lease_s=LEASE_S)
                last = page.tasks[-1]["id"]
                store.syncs.extend(project, lease_s=LEASE_S, full_after=last)
            for found in reader.find_deleted(last):
                outcome += found
                store.syncs.extend(project, lease_s=LEASE_S)
        outcome += to_predict.look_again()
        is_complete = True
    finally:
        store.syncs.end(project, is_complete=is_complete, is_full=is_complete and is_full)
    if outcome.changed or outcome.deleted or outcome.put_to_work:
        logger.info("project %d: webhooks had missed %s", project.project_id, outcome)
    return outcome


def sync_all(context: JobContext, *, not_within_s: float = 0.0) -> SyncOutcome:
    """`sync_project` for every project of our Label Studio; one that fails is logged, and the others go on."""
    total = SyncOutcome()
    for project in context.store.projects.of_address(context.settings.installation_url):
        try:
            total += sync_project(context, project, not_within_s=not_within_s) or SyncOutcome()
        except LabelingError as error:
            logger.warning("project %d: its annotations are read again later: %s", project.project_id, error)
        except Exception:  # whatever is wrong with one project, the annotations of the others must be found
            logger.exception("project %d could not be reconciled", project.project_id)
    return total


def run(context: JobContext, stop: threading.Event) -> None:
    """Sync at once, and then every RECONCILE_INTERVAL_S, until `stop` is set; not at all if that is 0.

    Then the images of corrections are kept that are not yet.
    """
    interval_s = context.settings.reconcile_interval_s
    if context.client is None or not interval_s:
        return
    not_within_s = min(_NOT_WITHIN_AT_START_S, interval_s * _NOT_WITHIN)
    while True:
        try:
            sync_all(context, not_within_s=not_within_s)
            keep_images(context, stop)
        except LabelingError as error:
            logger.warning("a reconciliation is postponed: %s", error)
        except Exception:  # the next one may succeed, and the sweeper beside it must not end
            logger.exception("a reconciliation failed")
        if stop.wait(interval_s):
            return
        not_within_s = interval_s * _NOT_WITHIN


def _catch_up(context: JobContext) -> None:
    """What webhooks did bring must be known before we look for what they did not."""
    spool.drain(spool.spool_folder(context.settings), context.store, context.settings.installation_url)
    for some in in_pages(partial(context.store.events.unprocessed, 0)):
        for event_id in some:
            process_event(context, event_id)


def _is_long_ago(moment: datetime | None) -> bool:
    return moment is None or moment < datetime.now(UTC) - FULL_EVERY
