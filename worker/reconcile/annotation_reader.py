"""Reads annotations from Label Studio's API, which tells the state of now: what we do not know becomes an event like a
webhook's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from labeling.errors import LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.store import Erased, Project
from labeling.store.annotation_syncs import FOUND
from worker.context import JobContext
from worker.events.process import process_missed_event
from worker.reconcile.sync_outcome import SyncOutcome

_TASKS_AT_A_TIME = 100
_NOT_FOUND = 404


@dataclass(frozen=True)
class AnnotationReader:
    """Reads the annotations of a project's tasks, and records what we do not know."""

    context: JobContext
    client: LabelStudioClient
    project: Project
    erased: Erased

    @classmethod
    def of(cls, context: JobContext, client: LabelStudioClient, project: Project) -> Self:
        """One that leaves out what was erased on request until now."""
        return cls(context, client, project, context.store.erasure.erased(project))

    def differing(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The tasks of which Label Studio counts other annotations than we know."""
        known = self.context.store.annotations.of_tasks(self.project, [task["id"] for task in tasks])

        def is_different(task: dict[str, Any]) -> bool:
            states = list(known.get(task["id"], {}).values())
            return _counts(task) != [states.count("submitted"), states.count("skipped")]

        return [task for task in tasks if is_different(task)]

    def read(self, tasks: list[dict[str, Any]]) -> SyncOutcome:
        """Read them, one by one."""
        return sum((self._read_task(task) for task in tasks if task["id"] not in self.erased.tasks), SyncOutcome())

    def find_deleted(self, after: int, listed: Sequence[dict[str, Any]] = ()) -> Iterator[SyncOutcome]:
        """Record the deletion of tasks after `after` (up to the last of `listed`, if any) that are not among these;
        some at a time, because each is asked for.
        """
        store, project = self.context.store, self.project
        known = store.annotations.annotated_tasks(project, after=after, until=listed[-1]["id"] if listed else None)
        suspects = sorted(set(known) - {task["id"] for task in listed})
        for start in range(0, len(suspects), _TASKS_AT_A_TIME):
            gone = [task_id for task_id in suspects[start : start + _TASKS_AT_A_TIME] if self._is_deleted(task_id)]
            annotations = sum(map(len, store.annotations.of_tasks(project, gone).values()))
            if gone:
                self._record({"action": "TASKS_DELETED", "tasks": [{"id": each} for each in gone], **_facts(project)})
            yield SyncOutcome(deleted=annotations)

    def _is_deleted(self, task_id: int) -> bool:
        """Whether Label Studio says so: a task may be missing in a list because it came after the list was made."""
        try:
            self.client.get_task(task_id)
        except LabelStudioError as error:
            if error.status != _NOT_FOUND or self.client.fault() is not None:
                raise
            return True
        return False

    def _record(self, payload: dict[str, Any]) -> None:
        process_missed_event(self.context, payload, self.project.label_studio_url)

    def _read_task(self, task: dict[str, Any]) -> SyncOutcome:
        context, project, task_id = self.context, self.project, int(task["id"])
        ours = context.store.annotations.of_tasks(project, [task_id]).get(task_id, {})  # theirs are no older
        submitted, skipped = _counts(task)
        annotations = self.client.list_annotations(task_id) if ours or submitted or skipped else []
        annotations += self.client.list_skips(project.project_id, task_id) if skipped else []
        # one that was skipped, or is no skip any more, while we read is in neither list; a deletion would be final
        missing = sorted(ours.keys() - {annotation["id"] for annotation in annotations})
        annotations += filter(None, map(self.client.find_annotation, missing))
        annotations = [annotation for annotation in annotations if not self.erased.covers(annotation)]
        known = context.store.annotations.times(project, [annotation["id"] for annotation in annotations])
        missed = [item for item in annotations if _time(item) not in known.get(item["id"], set())]
        gone = sorted(ours.keys() - {annotation["id"] for annotation in annotations})
        for payload in _events(project, task, missed, gone):
            self._record(payload)
        return SyncOutcome(1, len(missed), len(gone))


def _events(
    project: Project, task: dict[str, Any], missed: list[dict[str, Any]], gone: list[int]
) -> Iterator[dict[str, Any]]:
    """Payloads such as webhooks have, in the order in which things happened."""
    facts = _facts(project)
    for annotation in sorted(missed, key=lambda item: str(item.get("updated_at"))):
        shown = {"id": task["id"], "data": task.get("data")}
        yield {"action": FOUND, "annotation": annotation, "task": shown, **facts}
    if gone:
        yield {"action": "ANNOTATIONS_DELETED", "annotations": [{"id": each} for each in gone], **facts}


def _facts(project: Project) -> dict[str, Any]:
    """Without the label config: a webhook may have brought a newer one since this sync began."""
    return {"project": {"id": project.project_id}}


def _time(annotation: dict[str, Any]) -> datetime | None:
    at = annotation.get("updated_at")
    return datetime.fromisoformat(at) if isinstance(at, str) else None


def _counts(task: dict[str, Any]) -> list[Any]:
    """How many annotations Label Studio counts: submitted, skipped."""
    return [task.get(name) for name in ("total_annotations", "cancelled_annotations")]
