"""What no data set or statistic may use, and what was erased on request."""

from collections.abc import Iterable
from typing import Any, cast

from sqlalchemy import ColumnElement, String, delete, exists, or_, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from labeling.store.blobs import BlobStore
from labeling.store.correction_records import Exclusion, ExclusionScope
from labeling.store.correction_tables import CorrectionRow, EventRow, ExclusionRow, ReviewRow, TaskImageRow
from labeling.store.database import Database
from labeling.store.records import Project
from labeling.store.tables import PredictedRegionRow


class ExclusionStore:
    """The part of `Store` that is about leaving out and erasing."""

    _database: Database
    _blobs: BlobStore

    def exclude(self, project: Project, exclusion: Exclusion) -> None:
        """Leave something out from now on; doing so again changes the reason."""
        with self._database.writing() as session:
            _add_exclusion(session, project, exclusion)

    def include(self, project: Project, scope: ExclusionScope, value: str) -> bool:
        """Take an exclusion back; False if there is none, or if it stands for something that was erased."""
        with self._database.writing() as session:
            row = session.scalar(select(ExclusionRow).filter_by(project_row_id=project.id, scope=scope, value=value))
            if row is None or row.erased:
                return False
            session.delete(row)
            return True

    def list_exclusions(self, project: Project) -> list[Exclusion]:
        """All of a project, the oldest first."""
        query = select(ExclusionRow).filter_by(project_row_id=project.id).order_by(ExclusionRow.id)
        with self._database.reading() as session:
            return [
                Exclusion(cast(ExclusionScope, row.scope), row.value, row.reason, row.erased)
                for row in session.scalars(query)
            ]

    def erase(
        self, project: Project, *, task_id: int | None = None, annotation_id: int | None = None, reason: str
    ) -> int:
        """Delete a task's or an annotation's corrections, with their masks and what events said of them, for good.

        Returns how many annotations were known. They do not come back: neither by webhook nor by reading Label Studio.
        The annotations in Label Studio stay as they are.
        """
        if (task_id is None) == (annotation_id is None):
            raise ValueError("either a task or an annotation is erased")
        of_project = ReviewRow.project_row_id == project.id
        meant = ReviewRow.task_id == task_id if annotation_id is None else ReviewRow.annotation_id == annotation_id
        with self._database.writing() as session:
            scope: ExclusionScope = "task" if annotation_id is None else "annotation"
            _add_exclusion(session, project, Exclusion(scope, str(task_id or annotation_id), reason, erased=True))
            rows = list(session.scalars(select(ReviewRow).where(of_project, meant)))
            annotation_ids = {row.annotation_id for row in rows}
            digests = _masks(session, [row.id for row in rows])
            for event in session.scalars(select(EventRow).where(EventRow.id.in_({row.event_id for row in rows}))):
                event.payload = without_annotations(event.payload, annotation_ids)
            session.execute(delete(ReviewRow).where(of_project, ReviewRow.annotation_id.in_(annotation_ids)))
            if task_id is not None:
                session.execute(delete(TaskImageRow).filter_by(project_row_id=project.id, task_id=task_id))
            orphans = [digest for digest in digests if not _is_used(session, digest)]
        for digest in orphans:
            self._blobs.delete(digest)
        return len(annotation_ids)


Exclusions = dict[tuple[int, str, str], str]


def find_exclusions(session: Session, project_row_ids: Iterable[int], *, erased_only: bool = False) -> Exclusions:
    """(project row, scope, value) -> reason."""
    query = select(ExclusionRow).where(ExclusionRow.project_row_id.in_(list(project_row_ids)))
    if erased_only:
        query = query.where(ExclusionRow.erased)
    return {(row.project_row_id, row.scope, row.value): row.reason for row in session.scalars(query)}


def exclusion_of(exclusions: Exclusions, row: ReviewRow, region_id: str | None = None) -> str | None:
    """Why an annotation is left out, or one region of it."""
    named = {"task": row.task_id, "annotation": row.annotation_id, "annotator": row.annotator_id}
    keys = [(row.project_row_id, scope, str(value)) for scope, value in named.items() if value is not None]
    if region_id is not None:
        keys.append((row.project_row_id, "region", f"{row.annotation_id}/{region_id}"))
    return next((exclusions[key] for key in keys if key in exclusions), None)


def is_excluded() -> ColumnElement[bool]:
    """The same as `exclusion_of`, for queries over ReviewRow and CorrectionRow."""
    annotation = sql_cast(ReviewRow.annotation_id, String)
    names = {
        "task": sql_cast(ReviewRow.task_id, String),
        "annotation": annotation,
        "annotator": sql_cast(ReviewRow.annotator_id, String),
        "region": annotation.concat("/").concat(CorrectionRow.region_id),
    }
    is_meant = or_(*((ExclusionRow.scope == scope) & (ExclusionRow.value == name) for scope, name in names.items()))
    return exists().where(ExclusionRow.project_row_id == ReviewRow.project_row_id, is_meant)


def _add_exclusion(session: Session, project: Project, exclusion: Exclusion) -> None:
    key = {"project_row_id": project.id, "scope": exclusion.scope, "value": exclusion.value}
    row = session.scalar(select(ExclusionRow).filter_by(**key))
    if row is None:
        row = ExclusionRow(**key, erased=False)
        session.add(row)
    row.reason = exclusion.reason
    row.erased = row.erased or exclusion.erased


def _masks(session: Session, review_ids: list[int]) -> set[str]:
    query = select(CorrectionRow.mask_before, CorrectionRow.mask_after).where(CorrectionRow.review_id.in_(review_ids))
    return {digest for masks in session.execute(query) for digest in masks if digest is not None}


def _is_used(session: Session, digest: str) -> bool:
    in_correction = exists().where(or_(CorrectionRow.mask_before == digest, CorrectionRow.mask_after == digest))
    in_prediction = exists().where(PredictedRegionRow.mask == digest)
    return bool(session.scalar(select(in_correction | in_prediction)))


def without_annotations(payload: dict[str, Any], annotation_ids: set[int]) -> dict[str, Any]:
    """An event's payload with nothing left of these annotations but their ids."""

    def scrub(annotation: Any) -> Any:
        is_meant = isinstance(annotation, dict) and annotation.get("id") in annotation_ids
        return {"id": annotation["id"], "erased": True} if is_meant else annotation

    scrubbed = dict(payload)
    for key in ("annotation", "annotations"):
        found = payload.get(key)
        if found is not None:
            scrubbed[key] = [scrub(item) for item in found] if isinstance(found, list) else scrub(found)
    scrubbed.pop("task", None)
    return scrubbed
