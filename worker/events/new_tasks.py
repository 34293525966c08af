"""TASKS_CREATED: new tasks are predicted before anybody opens them."""

from labeling.label_studio.messages import TasksCreated
from labeling.store import EventRecord
from worker.context import JobContext
from worker.projects.active_model import model_of_version
from worker.projects.requests import ProjectRequests, enqueue_requests


def request_new_tasks(context: JobContext, event: EventRecord) -> None:
    """Request the predictions of the event's tasks.

    Of the version that annotators see and, while a run over the project is open, of the run's too: it may be pinned
    when the run ends. ValidationError if the event is no TASKS_CREATED; LabelConfigError; StoreError.
    """
    settings, store, created = context.settings, context.store, TasksCreated.model_validate(event.payload)
    project = created.project
    requests = ProjectRequests(
        settings, store, project.id, project.label_config, as_pinned=True, shown_version=project.model_version
    )
    enqueue_requests(context.connection, list(requests.request_all(created.tasks)))
    run = store.project_runs.find_open(requests.project)
    if run is not None and run.model_version != requests.model_version:
        model = model_of_version(settings, store, run.model_version, requests.config)
        if model is not None:
            of_run = ProjectRequests(settings, store, project.id, project.label_config, model)
            enqueue_requests(context.connection, of_run.request_all(created.tasks))
