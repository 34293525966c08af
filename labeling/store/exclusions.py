"""What no data set or statistic may use."""

from collections.abc import Iterable
from typing import cast

from sqlalchemy import ColumnElement, String, exists, or_, select
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from labeling.store.correction_records import Exclusion, ExclusionScope
from labeling.store.correction_tables import CorrectionRow, ExclusionRow, ReviewRow
from labeling.store.database import Database
from labeling.store.records import Project


class ExclusionStore:
    """The part of `Store` that is about leaving out."""

    _database: Database

    def exclude(self, project: Project, exclusion: Exclusion) -> None:
        """Leave something out from now on; doing so again changes the reason."""
        with self._database.writing() as session:
            add_exclusion(session, project, exclusion)

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


def add_exclusion(session: Session, project: Project, exclusion: Exclusion) -> None:
    """Leave something out from now on; what was erased stays so."""
    key = {"project_row_id": project.id, "scope": exclusion.scope, "value": exclusion.value}
    row = session.scalar(select(ExclusionRow).filter_by(**key))
    if row is None:
        row = ExclusionRow(**key, erased=False)
        session.add(row)
    row.reason = exclusion.reason
    row.erased = row.erased or exclusion.erased
