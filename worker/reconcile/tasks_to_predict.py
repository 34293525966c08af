"""Has the tasks predicted that no webhook reported, or reports: new ones, and those whose data was changed."""

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from argenseg_model.errors import ARGenSegError
from labeling.errors import LabelConfigError
from labeling.label_studio.client import LabelStudioClient
from labeling.store import Project
from worker.context import JobContext
from worker.events.process import process_missed_event
from worker.projects.requests import ProjectRequests, enqueue_requests
from worker.reconcile.changed_tasks import ChangedTasks
from worker.reconcile.missed_tasks import MissedTasks
from worker.reconcile.sync_outcome import SyncOutcome

logger = logging.getLogger(__name__)

_AT_MOST = 1000  # tasks that are put to work in one sync: the others in the next ones


@dataclass(frozen=True)
class TasksToPredict:
    """Those of one project. `changed` is None where nothing can be predicted now: annotations are read all the same."""

    context: JobContext
    client: LabelStudioClient
    project: Project
    missed: MissedTasks
    changed: ChangedTasks | None

    @classmethod
    def of(cls, context: JobContext, client: LabelStudioClient, project: Project, began: datetime) -> Self:
        """For a sync that `began` then, by Label Studio's clock."""
        erased, share = context.store.erasure.erased(project).tasks, context.settings.blind_share
        missed = MissedTasks(context.store, client, project, erased, share, began)
        return cls(context, client, project, missed, _changed_tasks(context, project))

    @staticmethod
    def are_enough(so_far: SyncOutcome) -> bool:
        """Whether the others of Label Studio's tasks are left for the next sync."""
        return so_far.put_to_work >= _AT_MOST

    def put_to_work(self, tasks: list[dict[str, Any]], so_far: SyncOutcome) -> SyncOutcome:
        """Request those of Label Studio's `tasks` that lack a prediction, unless enough are under way."""
        if self.are_enough(so_far):
            return SyncOutcome()
        new = self.missed.event_of(tasks)
        if new is not None:
            process_missed_event(self.context, new, self.project.label_studio_url)
        changed = [] if self.changed is None else self.changed.request_again(tasks)
        enqueue_requests(self.context.connection, changed)
        return SyncOutcome(new_tasks=len(new["tasks"]) if new else 0, changed_tasks=len(changed))

    def look_again(self) -> SyncOutcome:
        """Request what was postponed while somebody annotated its task, where that was given up."""
        changed = [] if self.changed is None else self.changed.look_again(self.client)
        enqueue_requests(self.context.connection, changed)
        return SyncOutcome(changed_tasks=len(changed))


def _changed_tasks(context: JobContext, project: Project) -> ChangedTasks | None:
    try:
        requests = ProjectRequests(
            context.settings, context.store, project.project_id, project.label_config, as_pinned=True
        )
    except (LabelConfigError, ARGenSegError, OSError) as error:
        logger.info("project %d: changed tasks are not looked for: %s", project.project_id, error)
        return None
    return ChangedTasks(context.store, requests)
