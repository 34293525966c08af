"""Erasing on request, for good: what is known of a task, of an annotation, or of all that one annotator submitted."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.datasets import DataSetRow
from labeling.store.events import EventRecord, EventRow
from labeling.store.exclusions import Exclusion, ExclusionRow, add_exclusion
from labeling.store.predictions.tables import PredictedRegionRow, PredictionRow
from labeling.store.projects import Project
from labeling.store.task_images import TaskImageRow
from labeling.store.trials import forget_task

ErasureScope = Literal["task", "annotation", "annotator"]

_EVENTS_AT_A_TIME = 20  # in one transaction: a webhook waits half a second for its turn to write
_MASKS_AT_A_TIME = 500  # in one query: databases limit the parameters
_NO_SYNC = {"synchronize_session": False}
_SCOPES: tuple[ErasureScope, ...] = ("task", "annotation", "annotator")  # in the order of Erased's fields


@dataclass(frozen=True)
class Erasure:
    """What was erased: `annotations` as "project/annotation", `images` by the SHA-256 of their files.

    `data_sets` counts the copies of manifests that held any of it.
    """

    annotations: frozenset[str]
    predictions: int
    images: tuple[str, ...]
    data_sets: int


@dataclass(frozen=True)
class Erased:
    """Numbers of what was erased in a project, and must not come back."""

    tasks: frozenset[int] = frozenset()
    annotations: frozenset[int] = frozenset()
    annotators: frozenset[int] = frozenset()

    def covers(self, annotation: dict[str, Any]) -> bool:
        """Whether an annotation of Label Studio's was erased."""
        who = annotation.get("completed_by")
        who = who.get("id") if isinstance(who, dict) else who
        pairs = ((annotation.get("id"), self.annotations), (annotation.get("task"), self.tasks), (who, self.annotators))
        return any(isinstance(number, int) and number in numbers for number, numbers in pairs)

    def scrub(self, payload: dict[str, Any]) -> dict[str, Any]:
        """An event's payload without what was erased; the same object if there is nothing of it.

        Of annotations only the ids are left, of tasks nothing; nor of the task that came with such an annotation.
        """
        annotations, tasks = _items(payload, "annotation", "annotations"), _items(payload, "task", "tasks")
        takes_task = any(self.covers(item) for item in annotations)
        if not takes_task and not any(item.get("id") in self.tasks for item in tasks):
            return payload
        scrubbed = {key: value for key, value in payload.items() if key not in ("task", "tasks")}
        for key in ("annotation", "annotations"):
            if key in payload:
                found = payload[key]
                scrubbed[key] = [self._stub(item) for item in found] if isinstance(found, list) else self._stub(found)
        if isinstance(payload.get("tasks"), list) and not takes_task:
            scrubbed["tasks"] = [item for item in tasks if item.get("id") not in self.tasks]
        return scrubbed

    def _stub(self, annotation: Any) -> Any:
        is_meant = isinstance(annotation, dict) and self.covers(annotation)
        return {"id": annotation.get("id"), "erased": True} if is_meant else annotation


@dataclass
class ErasureStore:
    """Erasing, and what was erased."""

    database: Database
    blobs: BlobStore

    def erase(self, project: Project, scope: ErasureScope, number: int, reason: str) -> Erasure:
        """Erase a task, an annotation, or all annotations of an annotator (Label Studio's numbers) from the store.

        Of annotations go their whole history, both masks of each region, and what events said; of a task also its
        predictions and its image, unless another task shows the same. Copies of data sets that hold any of it go too.
        None of it comes back: neither by webhook nor by reading Label Studio, and the task is not predicted any more.
        What is in Label Studio stays there. Done again, it finishes what was cut short.
        """
        with self.database.writing() as session:
            add_exclusion(session, project, Exclusion(scope, str(number), reason, erased=True))
            annotations, masks = _delete_annotations(session, project, scope, number)
            predictions, images = 0, list[str]()
            if scope == "task":
                predictions, predicted = _delete_predictions(session, project, number)
                forget_task(session, project, number)
                masks, images = masks | predicted, _delete_image(session, project, number)
            names = {f"{project.project_id}/{annotation_id}" for annotation_id in annotations}
            manifests = _forget_data_sets(session, names, reason)
            orphans = masks - used_masks(session, masks)
        self._scrub_events(project)
        for digest in (*orphans, *images, *manifests):
            self.blobs.delete(digest)
        self.database.empty_log()
        return Erasure(frozenset(names), predictions, tuple(images), len(manifests))

    def erased(self, project: Project) -> Erased:
        """What was erased in a project."""
        query = select(ExclusionRow.scope, ExclusionRow.value).where(
            ExclusionRow.project_row_id == project.id, ExclusionRow.erased
        )
        with self.database.reading() as session:
            found = session.execute(query).all()
        return Erased(*(frozenset(int(value) for scope, value in found if scope == of) for of in _SCOPES))

    def scrub_event(self, event: EventRecord, project: Project) -> EventRecord:
        """An event of a project without what was erased before it came, in the store too."""
        payload = self.erased(project).scrub(event.payload)
        if payload is event.payload:
            return event
        with self.database.writing() as session:
            session.get_one(EventRow, event.id).payload = payload
        return replace(event, payload=payload)

    def _scrub_events(self, project: Project) -> None:
        erased = self.erased(project)
        with self.database.reading() as session:
            event_ids = list(session.scalars(select(EventRow.id)))
        for start in range(0, len(event_ids), _EVENTS_AT_A_TIME):
            some = EventRow.id.in_(event_ids[start : start + _EVENTS_AT_A_TIME])
            with self.database.writing() as session:
                for event in session.scalars(select(EventRow).where(some)):
                    named = event.payload.get("project")
                    is_same_project = isinstance(named, dict) and named.get("id") == project.project_id
                    if is_same_project and event.label_studio_url in (None, project.label_studio_url):
                        event.payload = erased.scrub(event.payload)


def _delete_annotations(
    session: Session, project: Project, scope: ErasureScope, number: int
) -> tuple[set[int], set[str]]:
    """Their ids and masks."""
    column = {
        "task": AnnotationRow.task_id,
        "annotation": AnnotationRow.annotation_id,
        "annotator": AnnotationRow.annotator_id,
    }
    meant = select(AnnotationRow.annotation_id).where(
        AnnotationRow.project_row_id == project.id, column[scope] == number
    )
    rows = (AnnotationRow.project_row_id == project.id) & AnnotationRow.annotation_id.in_(meant)
    query = select(CorrectionRow.mask_before, CorrectionRow.mask_after).join(CorrectionRow.annotation).where(rows)
    masks = {digest for row in session.execute(query) for digest in row if digest is not None}
    annotations = set(session.scalars(meant))
    session.execute(delete(AnnotationRow).where(rows), execution_options=_NO_SYNC)
    return annotations, masks


def _delete_predictions(session: Session, project: Project, task_id: int) -> tuple[int, set[str]]:
    """How many there were, and their masks."""
    of_task = (PredictionRow.project_row_id == project.id) & (PredictionRow.task_id == task_id)
    prediction_ids = list(session.scalars(select(PredictionRow.id).where(of_task)))
    query = select(PredictedRegionRow.mask).where(PredictedRegionRow.prediction_id.in_(prediction_ids))
    masks = set(session.scalars(query))
    session.execute(delete(PredictionRow).where(of_task), execution_options=_NO_SYNC)
    return len(prediction_ids), masks


def _delete_image(session: Session, project: Project, task_id: int) -> list[str]:
    """The digest of the task's image, if no other task shows it."""
    row = session.scalar(select(TaskImageRow).filter_by(project_row_id=project.id, task_id=task_id))
    if row is None:
        return []
    session.delete(row)
    session.flush()
    is_shown = session.scalar(select(TaskImageRow.id).filter_by(sha256=row.sha256).limit(1)) is not None
    return [] if is_shown or row.sha256 is None else [row.sha256]


def _forget_data_sets(session: Session, names: set[str], reason: str) -> list[str]:
    """The digests of manifests that hold one of these annotations ("project/annotation")."""
    manifests = []
    for row in session.scalars(select(DataSetRow)):
        if names & set(row.lineage["annotations"]) and "manifest_blob" in row.lineage:
            manifests.append(str(row.lineage["manifest_blob"]))
            row.lineage = {key: row.lineage[key] for key in row.lineage if key != "manifest_blob"} | {"erased": reason}
    return manifests


def used_masks(session: Session, masks: Iterable[str]) -> set[str]:
    """Those of these masks that corrections or predictions show."""
    digests, used = list(masks), set[str]()
    for start in range(0, len(digests), _MASKS_AT_A_TIME):
        for column in (CorrectionRow.mask_before, CorrectionRow.mask_after, PredictedRegionRow.mask):
            query = select(column).where(column.in_(digests[start : start + _MASKS_AT_A_TIME]))
            used.update(digest for digest in session.scalars(query) if digest is not None)
    return used


def _items(payload: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    """What an event carries under these keys, alone or as a list."""
    found = (payload.get(key) for key in keys)
    items = (item for each in found for item in (each if isinstance(each, list) else [each]))
    return [item for item in items if isinstance(item, dict)]
