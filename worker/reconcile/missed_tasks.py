"""Finds the new tasks that no webhook reported: Label Studio reports them once, whoever listens."""

import logging
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from labeling.corrections.blind_slice import is_blind
from labeling.errors import LabelConfigError, LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.label_config import parse_label_config
from labeling.store import Project, Store

logger = logging.getLogger(__name__)

_NOT_TO_BE_READ = frozenset({403, 404})


@dataclass(frozen=True)
class MissedTasks:
    """Those of one project, of all that were there at `began` by Label Studio's clock. `erased`: task ids."""

    store: Store
    client: LabelStudioClient
    project: Project
    erased: frozenset[int]
    blind_share: float
    began: datetime

    def event_of(self, tasks: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The TASKS_CREATED that should have reported some of these tasks, with Label Studio's project of now; or None.

        Only of tasks that are younger than the webhook, and than what we know of the project: what was there before,
        nobody asked us to predict. And not of tasks that were ever requested, hold a prediction or an annotation of
        anybody's, or are to have none. None too where the label config cannot be used: it would be said at each sync.
        """
        missed = [task for task in tasks if self._may_be_missed(task)]
        requested = (
            self.store.requests.requested_tasks(self.project, [task["id"] for task in missed]) if missed else set()
        )
        missed = [task for task in missed if task["id"] not in requested]
        missed = [task for task in missed if self._reported_since is not None and _time(task) >= self._reported_since]
        if not missed:
            return None
        project = self.client.get_project(self.project.project_id)
        try:
            parse_label_config(project.get("label_config") or "")
        except LabelConfigError as error:
            logger.info("project %d: %d new tasks are not predicted: %s", project["id"], len(missed), error)
            return None
        facts = {name: project.get(name) for name in ("id", "label_config", "model_version")}
        shown = [{"id": task["id"], "data": task["data"]} for task in missed]
        return {"action": "TASKS_CREATED", "tasks": shown, "project": facts}

    def _may_be_missed(self, task: dict[str, Any]) -> bool:
        if task.get("total_predictions") != 0 or task.get("total_annotations") != 0 or _time(task) >= self.began:
            return False  # of one that came just now, the webhook may be on its way
        task_id = int(task["id"])
        return task_id not in self.erased and not is_blind(self.project.project_id, task_id, self.blind_share)

    @cached_property
    def _reported_since(self) -> datetime | None:
        """Since when a webhook reports new tasks to us; None: none does, or it may not be read.

        Whose a webhook is, its address does not tell for sure; but none reported a project to us that we did not know.
        """
        try:
            hooks = self.client.list_webhooks(self.project.project_id)
        except LabelStudioError as error:
            if error.status not in _NOT_TO_BE_READ:
                raise
            return None
        reported_since = min((_time(hook) for hook in hooks if _reports_new_tasks(hook)), default=None)
        return None if reported_since is None else max(reported_since, self.store.projects.first_seen(self.project))


def _reports_new_tasks(hook: dict[str, Any]) -> bool:
    is_ours = urlsplit(hook["url"]).path.endswith("/webhook")
    is_asked = hook["send_for_all_actions"] or "TASKS_CREATED" in hook["actions"]
    return bool(is_ours and hook["is_active"] and hook["send_payload"] and is_asked)


def _time(made: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(made["created_at"])
