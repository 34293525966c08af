"""START_TRAINING: somebody pressed the button in Label Studio."""

from labeling.store import EventRecord
from worker.context import JobContext
from worker.projects.updates import remember_project


def request_training(context: JobContext, event: EventRecord) -> None:
    """Request a fine-tune run of the event's project, once. ValidationError if it names no project; StoreError."""
    project = remember_project(context, event)
    corrections = context.store.corrections.count(project)
    context.store.finetunes.request(f"finetune-event-{event.id}", project, corrections=corrections)
