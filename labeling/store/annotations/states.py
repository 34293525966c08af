"""The state of each annotation and its history, as events reported them."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session, contains_eager, selectinload

from labeling.store.annotations.records import (
    Annotation,
    AnnotationFields,
    AnnotationRecord,
    AnnotationState,
    AskedPrompt,
    CorrectedRegion,
    Correction,
    CorrectionFilter,
    CorrectionRecord,
)
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.events import EventRow
from labeling.store.exclusions import Exclusions, exclusion_of, find_exclusions, is_left_out
from labeling.store.projects import Project, ProjectRow, project_record
from labeling.store.task_images import remember_images

_ROWS_AT_A_TIME = 500


@dataclass
class AnnotationStore:
    """Annotations, each with its corrections."""

    database: Database
    blobs: BlobStore

    def save(self, event_id: int, project: Project, annotations: Sequence[Annotation]) -> int:
        """Store what an event reported of annotations, and return of how many something new.

        Of each annotation the newest state counts, in whatever order events are saved; the older ones are its history.
        What another event reported before (the same annotation at the same time) is not stored twice, what was erased
        is not stored at all, and saving an event again replaces what it reported.
        """
        rows = [self._annotation_row(event_id, project, annotation) for annotation in annotations]
        with self.database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)  # one writer for each project's annotations
            session.execute(delete(AnnotationRow).where(AnnotationRow.event_id == event_id))
            erased = find_exclusions(session, [project.id], erased_only=True)
            gone = {row.annotation_id for row in rows if exclusion_of(erased, row) is not None}
            history = _history(session, project, [row.annotation_id for row in rows])
            new = [
                row
                for row in rows
                if row.annotation_id not in gone and not _is_known(history.get(row.annotation_id, []), row)
            ]
            remember_images(session, project, new)
            session.add_all(new)
            session.flush()
            for states in _history(session, project, [row.annotation_id for row in rows]).values():
                newest = max(states, key=_newness)
                for row in states:
                    row.is_current = row is newest
            return len(new)

    def find(self, chosen: CorrectionFilter | None = None) -> list[AnnotationRecord]:
        """Annotations with their corrections, the oldest first.

        Those whose state is `deleted` are there only with history. `label` and `model_version` choose among
        corrections; an annotation in which there are none of these is left out.
        """
        return list(self.stream(chosen))

    def stream(self, chosen: CorrectionFilter | None = None) -> Iterator[AnnotationRecord]:
        """The same, some at a time, as they were when it began: there may be more than fit into memory."""
        chosen = chosen or CorrectionFilter()
        is_narrow = chosen.label is not None or chosen.model_version is not None
        with self.database.reading() as session:
            row_ids = array("q", session.scalars(_chosen_rows(chosen)))
            exclusions = find_exclusions(session, session.scalars(select(ProjectRow.id)))
        for start in range(0, len(row_ids), _ROWS_AT_A_TIME):
            some = row_ids[start : start + _ROWS_AT_A_TIME]
            with self.database.reading() as session:
                rows = {row.id: row for row in session.scalars(_annotations(some))}
                found = [_annotation_record(rows[row_id], exclusions, chosen) for row_id in some if row_id in rows]
            for annotation in found:
                is_excluded = annotation.excluded is not None and not chosen.with_excluded
                if not is_excluded and (annotation.corrections or not is_narrow):
                    yield annotation

    def times(self, project: Project, annotation_ids: Iterable[int]) -> dict[int, set[datetime]]:
        """When each of these annotations changed, as far as stored events say; absent: nothing is known of it."""
        query = select(AnnotationRow.annotation_id, AnnotationRow.annotation_at).where(
            AnnotationRow.project_row_id == project.id,
            AnnotationRow.annotation_id.in_(list(annotation_ids)),
            AnnotationRow.annotation_at.is_not(None),
        )
        times: dict[int, set[datetime]] = {}
        with self.database.reading() as session:
            for annotation_id, at in session.execute(query):
                times.setdefault(annotation_id, set()).update([at] if at else [])
        return times

    def of_tasks(self, project: Project, task_ids: Iterable[int]) -> dict[int, dict[int, AnnotationState]]:
        """The annotations of tasks that are not deleted, as far as we know: task id -> annotation id -> state."""
        query = select(AnnotationRow.task_id, AnnotationRow.annotation_id, AnnotationRow.state).where(
            AnnotationRow.project_row_id == project.id,
            AnnotationRow.task_id.in_(list(task_ids)),
            AnnotationRow.is_current,
            AnnotationRow.state != "deleted",
        )
        known: dict[int, dict[int, AnnotationState]] = {}
        with self.database.reading() as session:
            for task_id, annotation_id, state in session.execute(query):
                known.setdefault(task_id or 0, {})[annotation_id] = cast(AnnotationState, state)
        return known

    def annotated_tasks(self, project: Project, *, after: int, until: int | None = None) -> list[int]:
        """Tasks with annotations that are neither deleted nor left out with their task, by id in (after, until]."""
        query = select(AnnotationRow.task_id).where(
            AnnotationRow.project_row_id == project.id,
            AnnotationRow.is_current,
            AnnotationRow.state != "deleted",
            AnnotationRow.task_id > after,
            ~is_left_out(AnnotationRow.project_row_id, AnnotationRow.task_id),
        )
        query = query if until is None else query.where(AnnotationRow.task_id <= until)
        with self.database.reading() as session:
            return [each for each in session.scalars(query.distinct().order_by(AnnotationRow.task_id)) if each]

    def _annotation_row(self, event_id: int, project: Project, annotation: Annotation) -> AnnotationRow:
        return AnnotationRow(
            **_values(annotation, AnnotationFields, but="asked"),
            event_id=event_id,
            project_row_id=project.id,
            annotation_at=annotation.at,
            is_current=False,
            asked=[{"label": item.label, "prompt": item.prompt} for item in annotation.asked],
            corrections=self._correction_rows(annotation.corrections),
        )

    def _correction_rows(self, corrections: Iterable[Correction]) -> list[CorrectionRow]:
        both_sides = [mask for item in corrections for mask in (item.mask_before, item.mask_after) if mask is not None]
        masks = list(dict.fromkeys(both_sides))  # what was left as it was is one object
        stored = dict(zip(masks, self.blobs.put_masks(masks), strict=True))
        return [
            CorrectionRow(
                region=CorrectedRegion(**_values(item, CorrectedRegion)),
                mask_before=None if item.mask_before is None else stored[item.mask_before],
                mask_after=None if item.mask_after is None else stored[item.mask_after],
            )
            for item in corrections
        ]


def _history(session: Session, project: Project, annotation_ids: Sequence[int]) -> dict[int, list[AnnotationRow]]:
    """All that is stored of these annotations."""
    query = (
        select(AnnotationRow)
        .join(AnnotationRow.event)
        .options(contains_eager(AnnotationRow.event).load_only(EventRow.received_at))
        .where(AnnotationRow.project_row_id == project.id, AnnotationRow.annotation_id.in_(annotation_ids))
    )
    history: dict[int, list[AnnotationRow]] = {}
    for row in session.scalars(query.execution_options(populate_existing=True)):
        history.setdefault(row.annotation_id, []).append(row)
    return history


def _newness(row: AnnotationRow) -> tuple[bool, datetime, int]:
    """A deletion is the end; before that the annotation's own clock counts, which all of its events share."""
    return row.state == "deleted", row.annotation_at or row.event.received_at, row.event_id


def _is_known(history: list[AnnotationRow], row: AnnotationRow) -> bool:
    if row.state == "deleted":
        return any(other.state == "deleted" for other in history)
    return row.annotation_at is not None and any(
        other.annotation_at == row.annotation_at and other.state != "deleted" for other in history
    )


def _annotations(row_ids: Sequence[int]) -> Select[Any]:
    """In no order."""
    return (
        select(AnnotationRow)
        .join(AnnotationRow.event)
        .options(
            contains_eager(AnnotationRow.event).load_only(EventRow.received_at), selectinload(AnnotationRow.corrections)
        )
        .where(AnnotationRow.id.in_(row_ids))
    )


def _chosen_rows(chosen: CorrectionFilter) -> Select[int]:
    """Their ids, the oldest first."""
    at = func.coalesce(AnnotationRow.annotation_at, EventRow.received_at)
    query = (
        select(AnnotationRow.id)
        .join(AnnotationRow.event)
        .join(ProjectRow, AnnotationRow.project_row_id == ProjectRow.id)
        .order_by(at, AnnotationRow.event_id, AnnotationRow.id)
    )
    if not chosen.with_history:
        query = query.where(AnnotationRow.is_current, AnnotationRow.state != "deleted")
    for column, value in (
        (ProjectRow.project_id, chosen.project_id),
        (ProjectRow.label_studio_url, None if chosen.label_studio_url is None else chosen.label_studio_url.rstrip("/")),
        (AnnotationRow.annotator_id, chosen.annotator_id),
        (AnnotationRow.task_id, chosen.task_id),
        (AnnotationRow.annotation_id, chosen.annotation_id),
        (AnnotationRow.model_version, chosen.began_from),
    ):
        query = query if value is None else query.where(column == value)
    query = query if chosen.since is None else query.where(at >= chosen.since)
    return query if chosen.until is None else query.where(at < chosen.until)


def _annotation_record(row: AnnotationRow, exclusions: Exclusions, chosen: CorrectionFilter) -> AnnotationRecord:
    corrections = [_record(item, row, exclusion_of(exclusions, row, item.region.region_id)) for item in row.corrections]
    left_out = [item for item in corrections if item.excluded is not None]
    return AnnotationRecord(
        **_values(row, AnnotationFields, but="asked"),
        id=row.id,
        event_id=row.event_id,
        project=project_record(row.project),
        at=row.annotation_at or row.event.received_at,
        asked=tuple(AskedPrompt(**item) for item in row.asked),
        image_sha256=row.image_sha256,
        excluded=exclusion_of(exclusions, row),
        excluded_labels=frozenset(label for item in left_out for label in (item.label, item.label_before)),
        corrections=tuple(
            item
            for item in corrections
            if (chosen.with_excluded or item.excluded is None)
            and (chosen.label is None or chosen.label in (item.label, item.label_before))
            and (chosen.model_version is None or item.model_version == chosen.model_version)
        ),
    )


def _record(row: CorrectionRow, annotation: AnnotationRow, excluded: str | None) -> CorrectionRecord:
    assert annotation.task_id is not None, (
        annotation.id
    )  # only deleted annotations have none, and no corrections either
    return CorrectionRecord(
        **vars(row.region),
        id=row.id,
        event_id=annotation.event_id,
        project_id=annotation.project.project_id,
        annotation_id=annotation.annotation_id,
        task_id=annotation.task_id,
        at=annotation.annotation_at or annotation.event.received_at,
        annotator_id=annotation.annotator_id,
        lead_time_s=annotation.lead_time_s,
        capped_lead_time_s=annotation.capped_lead_time_s,
        ground_truth=annotation.ground_truth,
        mask_before=row.mask_before,
        mask_after=row.mask_after,
        image_sha256=annotation.image_sha256,
        excluded=excluded,
    )


def _values(source: object, record: type[AnnotationFields] | type[CorrectedRegion], *, but: str = "") -> dict[str, Any]:
    """The fields of `record` as `source` has them, `but` one."""
    return {field.name: getattr(source, field.name) for field in fields(record) if field.name != but}
