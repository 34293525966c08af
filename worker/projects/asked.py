"""What a /predict of Label Studio asks for: who waits for it, and its requests in the store."""

import logging
from dataclasses import dataclass, replace

from labeling.errors import StoreError
from labeling.label_studio.messages import PredictRequest, Task
from labeling.prompts.interaction import Interaction, read_interaction
from labeling.settings import Settings
from labeling.store import PredictionRequest, Store
from worker.projects.requests import ProjectRequests

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asked:
    """Requests that were recorded, either way; what could not be is logged.

    `awaited`: one for each task where somebody looks at its page, None where nothing is predicted. `to_push`: without
    their tasks' data.
    """

    awaited: tuple[PredictionRequest | None, ...] = ()
    to_push: tuple[PredictionRequest, ...] = ()


def record_asked(settings: Settings, store: Store, message: PredictRequest) -> Asked:
    """Record the requests. A page that asks waits, and so does one task that was opened, unless it is blind; not many
    at once, as of Retrieve Predictions. LabelConfigError or StoreError where nothing of the project can be recorded.
    """
    requests = ProjectRequests(settings, store, message.project, message.label_config, as_pinned=True)
    if message.context is None:
        if len(message.tasks) == 1 and not requests.is_blind(message.tasks[0]):
            return _awaited(requests, message.tasks, None)
        return _to_push(requests, message.tasks)
    interaction = read_interaction(message.context.result or [], requests.config)
    if interaction is not None:
        return _awaited(requests, message.tasks, interaction)
    return Asked() if message.context.result else _to_push(requests, message.tasks)  # what it holds: another tool's


def _awaited(requests: ProjectRequests, tasks: list[Task], interaction: Interaction | None) -> Asked:
    return Asked(awaited=tuple(_request_now(requests, task, interaction) for task in tasks))


def _request_now(requests: ProjectRequests, task: Task, interaction: Interaction | None) -> PredictionRequest | None:
    if requests.is_erased(task):
        return None
    try:
        return requests.request(task, delivery="sync", asked=interaction)
    except StoreError as error:
        logger.warning("Task %d: %s", task.id, error)
        return None


def _to_push(requests: ProjectRequests, tasks: list[Task]) -> Asked:
    rows: list[PredictionRequest] = []
    try:
        for row in requests.request_all(tasks):
            rows.append(replace(row, task_data={}, result=None))  # thousands of them may wait for their jobs
    except StoreError as error:
        logger.warning("%d of %d tasks were requested, then: %s", len(rows), len(tasks), error)
    return Asked(to_push=tuple(rows))
