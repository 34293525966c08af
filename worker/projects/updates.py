"""What an event reports of its project: the label config, and the version that annotators see."""

from labeling.label_studio.messages import ProjectUpdated
from labeling.store import EventRecord, Project
from worker.context import JobContext


def remember_project(context: JobContext, event: EventRecord) -> Project:
    """Our record of the event's project, brought up to date. ValidationError if it names no project; StoreError."""
    named = ProjectUpdated.model_validate(event.payload).project
    return context.store.projects.upsert(
        context.settings.installation_url, named.id, named.label_config, named.model_version
    )
