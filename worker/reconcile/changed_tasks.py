"""Finds the tasks whose data was changed after we predicted them: Label Studio keeps the old masks, unreported."""

from dataclasses import dataclass
from typing import Any

from labeling.label_studio.client import LabelStudioClient
from labeling.label_studio.messages import Task
from labeling.prompts.plan import plan_prompts
from labeling.prompts.task_values import task_value
from labeling.store import PredictionRequest, Store
from worker.projects.requests import ProjectRequests
from worker.publishing.drafts import find_untouched

_LEFT_ALONE = ("requested", "ready", "failed", "postponed_for_draft")


@dataclass(frozen=True)
class ChangedTasks:
    """Those of one project, under the version that `requests` are of."""

    store: Store
    requests: ProjectRequests

    def request_again(self, tasks: list[dict[str, Any]]) -> list[PredictionRequest]:
        """Request those of Label Studio's tasks that ask something else, or show another image, than what we sent.

        Not for tasks with annotations: the old prediction is what these were made from. The publisher replaces it.
        """
        unlabeled = [Task.model_validate(task) for task in tasks if task.get("total_annotations") == 0]
        answered = self.store.progress.answered_tasks(
            self.requests.project, self.requests.model_version, [task.id for task in unlabeled]
        )
        known = self.store.progress.statuses(self.requests.project, self.requests.model_version, list(answered))
        changed = []
        for task in unlabeled:
            digest = plan_prompts(self.requests.config, task.data).digest()
            if task.id not in answered or known.get((task.id, digest)) in _LEFT_ALONE:
                continue
            before, image_key = answered[task.id], self.requests.config.image_key
            shown = task_value(before.task_data, image_key), task_value(task.data, image_key)
            if before.plan_digest != digest or shown[0] != shown[1]:
                changed.append(task)
        return list(self.requests.request_all(changed))

    def look_again(self, client: LabelStudioClient) -> list[PredictionRequest]:
        """Request again what the publisher postponed, where nobody annotates the task any more: that somebody discards
        a draft is no change of its task, and no webhook reports it. Label Studio is not asked about tasks that we know
        to be annotated, of which there would be ever more.
        """
        requested: list[PredictionRequest] = []
        all_postponed = self.store.predictions.postponed_for_draft(self.requests.project, self.requests.model_version)
        annotated = self.store.annotations.of_tasks(self.requests.project, {each.task_id for each in all_postponed})
        for postponed in all_postponed:
            if "submitted" in annotated.get(postponed.task_id, {}).values():
                continue
            found = find_untouched(client, self.requests.project.project_id, postponed.task_id)
            if found is None:
                continue
            task = Task.model_validate(found)
            if plan_prompts(self.requests.config, task.data).digest() == postponed.plan_digest:
                requested += self.requests.request_all([task])
            else:
                self.store.predictions.cancel_postponed(postponed.id)
                requested += self.request_again([found])
        return requested
