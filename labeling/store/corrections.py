"""What events told about annotations: the state of each, its history, and the corrections in it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session, contains_eager, selectinload

from labeling.store.blobs import BlobStore
from labeling.store.correction_records import (
    AskedPrompt,
    Correction,
    CorrectionFilter,
    CorrectionRecord,
    Exclusion,
    Review,
    ReviewRecord,
    ReviewState,
    TaskImage,
)
from labeling.store.correction_tables import CorrectionRow, EventRow, ExclusionRow, ReviewRow, TaskImageRow
from labeling.store.database import Database
from labeling.store.exclusions import Exclusions, add_exclusion, exclusion_of, find_exclusions
from labeling.store.predictions import project_record
from labeling.store.records import Project
from labeling.store.tables import ProjectRow
from labeling.store.task_images import remember_images

TASK_DELETED = "the task was deleted in Label Studio"
"""Why such a task is left out: an exclusion also holds what comes late of it, and can be taken back."""

_SAME_FIELDS = (  # of Correction, CorrectionRow and CorrectionRecord
    "region_id",
    "region_type",
    "label",
    "kind",
    "iou",
    "boundary_iou",
    "changed_pixels",
    "predicted_region_id",
    "label_before",
    "prompt",
    "score",
    "model_version",
    "interactive",
    "vertices_before",
    "vertices_after",
)
_REVIEW_FIELDS = (  # of Review, ReviewRow and ReviewRecord
    "annotation_id",
    "task_id",
    "state",
    "annotator_id",
    "lead_time_s",
    "capped_lead_time_s",
    "ground_truth",
    "prediction_id",
    "model_version",
    "unread",
    "image_reference",
)


class CorrectionStore:
    """The part of `Store` that is about annotations and corrections."""

    _database: Database
    _blobs: BlobStore

    def save_reviews(self, event_id: int, project: Project, reviews: Sequence[Review]) -> int:
        """Store what an event told about annotations, and return of how many something new.

        Of each annotation the newest state counts, in whatever order events are saved; the older ones are its history.
        What another event told before (the same annotation at the same time) is not stored twice, what was erased is
        not stored at all, and saving an event again replaces what it told.
        """
        rows = [self._review_row(event_id, project, review) for review in reviews]
        with self._database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)  # one writer for each project's annotations
            session.execute(delete(ReviewRow).where(ReviewRow.event_id == event_id))
            erased = find_exclusions(session, [project.id], erased_only=True)
            unwanted = {row.annotation_id for row in rows if exclusion_of(erased, row) is not None}
            history = _history(session, project, [row.annotation_id for row in rows])
            new = [
                row
                for row in rows
                if row.annotation_id not in unwanted and not _is_known(history.get(row.annotation_id, []), row)
            ]
            remember_images(session, project, new)
            session.add_all(new)
            session.flush()
            for states in _history(session, project, [row.annotation_id for row in rows]).values():
                newest = max(states, key=_newness)
                for row in states:
                    row.is_current = row is newest
            return len(new)

    def list_reviews(self, wanted: CorrectionFilter | None = None) -> list[ReviewRecord]:
        """Annotations with their corrections, the oldest first.

        Those whose state is `deleted` are there only with history. `label` and `model_version` choose among
        corrections; an annotation in which there are none of these is left out.
        """
        wanted = wanted or CorrectionFilter()
        with self._database.reading() as session:
            rows = list(session.scalars(_reviews(wanted)))
            exclusions = find_exclusions(session, {row.project_row_id for row in rows})
            reviews = [_review_record(row, exclusions, wanted) for row in rows]
        is_narrow = wanted.label is not None or wanted.model_version is not None
        return sorted(
            (review for review in reviews if _is_wanted(review, wanted) and (review.corrections or not is_narrow)),
            key=lambda review: (review.at, review.event_id, review.id),
        )

    def find_corrections(self, wanted: CorrectionFilter) -> list[CorrectionRecord]:
        """The corrections of `list_reviews`."""
        return [correction for review in self.list_reviews(wanted) for correction in review.corrections]

    def list_corrections(self, project_id: int | None = None, *, with_history: bool = False) -> list[CorrectionRecord]:
        """Corrections of one Label Studio project or of all, as the newest state of each annotation has them."""
        return self.find_corrections(CorrectionFilter(project_id=project_id, with_history=with_history))

    def annotation_times(self, project: Project, annotation_ids: Iterable[int]) -> dict[int, set[datetime]]:
        """When each of these annotations changed, as far as stored events tell; absent: nothing is known of it."""
        query = select(ReviewRow.annotation_id, ReviewRow.annotation_at).where(
            ReviewRow.project_row_id == project.id,
            ReviewRow.annotation_id.in_(list(annotation_ids)),
            ReviewRow.annotation_at.is_not(None),
        )
        times: dict[int, set[datetime]] = {}
        with self._database.reading() as session:
            for annotation_id, at in session.execute(query):
                times.setdefault(annotation_id, set()).update([at] if at else [])
        return times

    def annotations_of_tasks(self, project: Project, task_ids: Iterable[int]) -> dict[int, dict[int, ReviewState]]:
        """The annotations of tasks that are not deleted, as far as we know: task id -> annotation id -> state."""
        query = select(ReviewRow.task_id, ReviewRow.annotation_id, ReviewRow.state).where(
            ReviewRow.project_row_id == project.id,
            ReviewRow.task_id.in_(list(task_ids)),
            ReviewRow.is_current,
            ReviewRow.state != "deleted",
        )
        known: dict[int, dict[int, ReviewState]] = {}
        with self._database.reading() as session:
            for task_id, annotation_id, state in session.execute(query):
                known.setdefault(task_id or 0, {})[annotation_id] = cast(ReviewState, state)
        return known

    def annotated_tasks(self, project: Project, *, after: int, until: int | None = None) -> list[int]:
        """Tasks with annotations that are neither deleted nor left out with their task, by id in (after, until]."""
        query = select(ReviewRow.task_id).where(
            ReviewRow.project_row_id == project.id,
            ReviewRow.is_current,
            ReviewRow.state != "deleted",
            ReviewRow.task_id > after,
        )
        query = query if until is None else query.where(ReviewRow.task_id <= until)
        with self._database.reading() as session:
            excluded = find_exclusions(session, [project.id])
            task_ids = session.scalars(query.distinct().order_by(ReviewRow.task_id))
            return [each for each in task_ids if each and (project.id, "task", str(each)) not in excluded]

    def submitted_images(self, project: Project) -> list[TaskImage]:
        """The images of submitted tasks, but for tasks that are left out; kept or not, with a digest if it is known."""
        query = (
            select(TaskImageRow.task_id, TaskImageRow.reference, TaskImageRow.sha256)
            .join(ReviewRow, (ReviewRow.project_row_id == project.id) & (ReviewRow.task_id == TaskImageRow.task_id))
            .where(TaskImageRow.project_row_id == project.id)
            .where(ReviewRow.is_current, ReviewRow.state == "submitted")
        )
        with self._database.reading() as session:
            excluded = find_exclusions(session, [project.id])
            return [
                TaskImage(task_id, reference, sha256, None, None)
                for task_id, reference, sha256 in session.execute(query.distinct().order_by(TaskImageRow.task_id))
                if (project.id, "task", str(task_id)) not in excluded
            ]

    def leave_out_deleted_tasks(self, project: Project, task_ids: Iterable[int]) -> None:
        """Leave out tasks that Label Studio deleted; what was left out before keeps its reason."""
        with self._database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)
            excluded = find_exclusions(session, [project.id])
            for value in dict.fromkeys(map(str, task_ids)):
                if (project.id, "task", value) not in excluded:
                    add_exclusion(session, project, Exclusion("task", value, TASK_DELETED))

    def take_in_restored_tasks(self, project: Project, task_ids: Iterable[int]) -> None:
        """Label Studio has these tasks: those that it had deleted were restored, or their numbers used again."""
        deleted = delete(ExclusionRow).where(
            ExclusionRow.project_row_id == project.id,
            ExclusionRow.scope == "task",
            ExclusionRow.value.in_(list(map(str, task_ids))),
            ExclusionRow.reason == TASK_DELETED,
            ExclusionRow.erased.is_(False),
        )
        with self._database.writing() as session:
            session.execute(deleted)

    def _review_row(self, event_id: int, project: Project, review: Review) -> ReviewRow:
        return ReviewRow(
            **{name: getattr(review, name) for name in _REVIEW_FIELDS},
            event_id=event_id,
            project_row_id=project.id,
            annotation_at=review.at,
            is_current=False,
            asked=[{"label": item.label, "prompt": item.prompt} for item in review.asked],
            corrections=self._correction_rows(review.corrections),
        )

    def _correction_rows(self, corrections: Iterable[Correction]) -> list[CorrectionRow]:
        both_sides = [mask for item in corrections for mask in (item.mask_before, item.mask_after) if mask is not None]
        masks = list(dict.fromkeys(both_sides))  # what was left as it was is one object
        stored = dict(zip(masks, self._blobs.put_masks(masks), strict=True))
        return [
            CorrectionRow(
                **{name: getattr(item, name) for name in _SAME_FIELDS},
                mask_before=None if item.mask_before is None else stored[item.mask_before],
                mask_after=None if item.mask_after is None else stored[item.mask_after],
            )
            for item in corrections
        ]


def _history(session: Session, project: Project, annotation_ids: Sequence[int]) -> dict[int, list[ReviewRow]]:
    """All that is stored of these annotations."""
    query = (
        select(ReviewRow)
        .join(ReviewRow.event)
        .options(contains_eager(ReviewRow.event).load_only(EventRow.received_at))
        .where(ReviewRow.project_row_id == project.id, ReviewRow.annotation_id.in_(annotation_ids))
    )
    history: dict[int, list[ReviewRow]] = {}
    for row in session.scalars(query.execution_options(populate_existing=True)):
        history.setdefault(row.annotation_id, []).append(row)
    return history


def _newness(row: ReviewRow) -> tuple[bool, datetime, int]:
    """A deletion is the end; before that the annotation's own clock counts, which all of its events share."""
    return row.state == "deleted", row.annotation_at or row.event.received_at, row.event_id


def _is_known(history: list[ReviewRow], row: ReviewRow) -> bool:
    if row.state == "deleted":
        return any(other.state == "deleted" for other in history)
    return row.annotation_at is not None and any(
        other.annotation_at == row.annotation_at and other.state != "deleted" for other in history
    )


def _reviews(wanted: CorrectionFilter) -> Select[Any]:
    query = (
        select(ReviewRow)
        .join(ReviewRow.event)
        .join(ProjectRow, ReviewRow.project_row_id == ProjectRow.id)
        .options(contains_eager(ReviewRow.event).load_only(EventRow.received_at), selectinload(ReviewRow.corrections))
    )
    if not wanted.with_history:
        query = query.where(ReviewRow.is_current, ReviewRow.state != "deleted")
    for column, value in (
        (ProjectRow.project_id, wanted.project_id),
        (ProjectRow.label_studio_url, None if wanted.label_studio_url is None else wanted.label_studio_url.rstrip("/")),
        (ReviewRow.annotator_id, wanted.annotator_id),
        (ReviewRow.task_id, wanted.task_id),
        (ReviewRow.annotation_id, wanted.annotation_id),
        (ReviewRow.model_version, wanted.began_from),
    ):
        query = query if value is None else query.where(column == value)
    return query


def _is_wanted(review: ReviewRecord, wanted: CorrectionFilter) -> bool:
    return (
        (wanted.with_excluded or review.excluded is None)
        and (wanted.since is None or review.at >= wanted.since)
        and (wanted.until is None or review.at < wanted.until)
    )


def _review_record(row: ReviewRow, exclusions: Exclusions, wanted: CorrectionFilter) -> ReviewRecord:
    corrections = [_record(item, row, exclusion_of(exclusions, row, item.region_id)) for item in row.corrections]
    left_out = [item for item in corrections if item.excluded is not None]
    return ReviewRecord(
        **{name: getattr(row, name) for name in _REVIEW_FIELDS},
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
            if (wanted.with_excluded or item.excluded is None)
            and (wanted.label is None or wanted.label in (item.label, item.label_before))
            and (wanted.model_version is None or item.model_version == wanted.model_version)
        ),
    )


def _record(row: CorrectionRow, review: ReviewRow, excluded: str | None) -> CorrectionRecord:
    assert review.task_id is not None, review.id  # only deleted annotations have none, and no corrections either
    return CorrectionRecord(
        **{name: getattr(row, name) for name in _SAME_FIELDS},
        id=row.id,
        event_id=review.event_id,
        project_id=review.project.project_id,
        annotation_id=review.annotation_id,
        task_id=review.task_id,
        at=review.annotation_at or review.event.received_at,
        annotator_id=review.annotator_id,
        lead_time_s=review.lead_time_s,
        capped_lead_time_s=review.capped_lead_time_s,
        ground_truth=review.ground_truth,
        mask_before=row.mask_before,
        mask_after=row.mask_after,
        image_sha256=review.image_sha256,
        excluded=excluded,
    )
