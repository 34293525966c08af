"""A store that is kept in step with a Label Studio in memory: what it says, and what it should say."""

from datetime import datetime
from typing import Any

from labeling.store import CorrectionFilter
from tests.worker.label_studio_double import LabelStudioDouble
from worker.context import JobContext
from worker.events import spool
from worker.events.process import process_event

URL = "http://label-studio.test"


def project_of(context: JobContext) -> Any:
    return context.store.projects.find(5, URL)


def state(context: JobContext) -> dict[int, tuple[Any, ...]]:
    """What the store says of each annotation."""
    return {
        annotation.annotation_id: (
            annotation.task_id,
            annotation.at,
            annotation.state,
            annotation.ground_truth,
            sorted((item.region_id, item.kind) for item in annotation.corrections),
        )
        for annotation in context.store.annotations.find()
    }


def truth(label_studio: LabelStudioDouble) -> dict[int, tuple[Any, ...]]:
    """What Label Studio says: nothing was predicted, so every region is an added one."""
    return {
        annotation_id: (
            item["task"],
            datetime.fromisoformat(item["updated_at"]),
            "skipped" if item["was_cancelled"] else "submitted",
            item["ground_truth"],
            [] if item["was_cancelled"] else sorted((region["id"], "added") for region in item["result"]),
        )
        for annotation_id, item in label_studio.annotations.items()
    }


def history(context: JobContext) -> list[tuple[int, str, datetime | None]]:
    everything = context.store.annotations.find(CorrectionFilter(with_history=True, with_excluded=True))
    return [
        (annotation.annotation_id, annotation.state, None if annotation.state == "deleted" else annotation.at)
        for annotation in everything
    ]


def recover(context: JobContext) -> None:
    """What a sweeper does after a kill, without Redis."""
    spool.drain(spool.spool_folder(context.settings), context.store, URL)
    for event_id in context.store.events.unprocessed(0):
        process_event(context, event_id)
