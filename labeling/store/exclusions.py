"""What no data set or statistic may use."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import (
    ColumnElement,
    ForeignKey,
    Row,
    SQLColumnExpression,
    String,
    UniqueConstraint,
    delete,
    exists,
    or_,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.base import Base, utc_now
from labeling.store.database import Database
from labeling.store.projects import Project, ProjectRow

TASK_DELETED = "the task was deleted in Label Studio"
"""Why such a task is left out: an exclusion also holds what comes late of it, and can be taken back."""

ExclusionScope = Literal["task", "annotation", "annotator", "region"]


class ExclusionRow(Base):
    """What no data set or statistic may use; `erased`: it was deleted on request, and must not come back."""

    __tablename__ = "exclusions"
    __table_args__ = (UniqueConstraint("project_row_id", "scope", "value", name="uq_exclusions_scope_value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_exclusions_project"))
    scope: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str]
    erased: Mapped[bool]
    who: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


@dataclass(frozen=True)
class Exclusion:
    """A task, annotation, annotator or region (annotation/region id) that no data set or statistic may use.

    `who` left it out: a user of our pages, None where that is not known.
    """

    scope: ExclusionScope
    value: str
    reason: str
    erased: bool = False
    who: str | None = None


@dataclass
class ExclusionStore:
    """What is left out."""

    database: Database

    def add(self, project: Project, exclusion: Exclusion) -> None:
        """Leave something out from now on; doing so again changes the reason."""
        with self.database.writing() as session:
            add_exclusion(session, project, exclusion)

    def remove(self, project: Project, scope: ExclusionScope, value: str) -> bool:
        """Take an exclusion back; False if there is none, or if it stands for something that was erased."""
        with self.database.writing() as session:
            row = _find(session, project, scope, value)
            if row is None or row.erased:
                return False
            session.delete(row)
            return True

    def of_project(self, project: Project) -> list[Exclusion]:
        """All of a project, the oldest first."""
        query = select(ExclusionRow).filter_by(project_row_id=project.id).order_by(ExclusionRow.id)
        with self.database.reading() as session:
            return [
                Exclusion(cast(ExclusionScope, row.scope), row.value, row.reason, row.erased, row.who)
                for row in session.scalars(query)
            ]

    def leave_out_deleted_tasks(self, project: Project, task_ids: Iterable[int]) -> None:
        """Leave out tasks that Label Studio deleted; what was left out before keeps its reason."""
        with self.database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)
            for value in dict.fromkeys(map(str, task_ids)):
                if _find(session, project, "task", value) is None:
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
        with self.database.writing() as session:
            session.execute(deleted)


Exclusions = dict[tuple[int, str, str], str]


def find_exclusions(session: Session, project_row_ids: Iterable[int], *, erased_only: bool = False) -> Exclusions:
    """(project row, scope, value) -> reason."""
    query = select(ExclusionRow).where(ExclusionRow.project_row_id.in_(list(project_row_ids)))
    if erased_only:
        query = query.where(ExclusionRow.erased)
    return {(row.project_row_id, row.scope, row.value): row.reason for row in session.scalars(query)}


def exclusion_of(exclusions: Exclusions, row: AnnotationRow | Row[Any], region_id: str | None = None) -> str | None:
    """Why an annotation is left out, or one region of it."""
    named = {"task": row.task_id, "annotation": row.annotation_id, "annotator": row.annotator_id}
    keys = [(row.project_row_id, scope, str(value)) for scope, value in named.items() if value is not None]
    if region_id is not None:
        keys.append((row.project_row_id, "region", f"{row.annotation_id}/{region_id}"))
    return next((exclusions[key] for key in keys if key in exclusions), None)


def is_excluded() -> ColumnElement[bool]:
    """The same as `exclusion_of`, for queries over AnnotationRow and CorrectionRow."""
    annotation = sql_cast(AnnotationRow.annotation_id, String)
    names: dict[ExclusionScope, ColumnElement[str]] = {
        "task": sql_cast(AnnotationRow.task_id, String),
        "annotation": annotation,
        "annotator": sql_cast(AnnotationRow.annotator_id, String),
        "region": annotation.concat("/").concat(CorrectionRow.__table__.c.region_id),
    }
    project = AnnotationRow.project_row_id
    return or_(*(_is_among(project, scope, name) for scope, name in names.items()))


def is_left_out(project_row_id: SQLColumnExpression[int], task_id: SQLColumnExpression[Any]) -> ColumnElement[bool]:
    """Whether a task is, for queries over rows that name one."""
    return _is_among(project_row_id, "task", sql_cast(task_id, String))


def _is_among(
    project_row_id: SQLColumnExpression[int], scope: ExclusionScope, name: ColumnElement[str]
) -> ColumnElement[bool]:
    """A question of its own for each scope: then the index answers it, however many exclusions there are."""
    return exists().where(
        ExclusionRow.project_row_id == project_row_id, ExclusionRow.scope == scope, ExclusionRow.value == name
    )


def add_exclusion(session: Session, project: Project, exclusion: Exclusion) -> None:
    """Leave something out from now on; what was erased stays so."""
    row = _find(session, project, exclusion.scope, exclusion.value)
    if row is None:
        row = ExclusionRow(project_row_id=project.id, scope=exclusion.scope, value=exclusion.value, erased=False)
        session.add(row)
    row.reason, row.who = exclusion.reason, exclusion.who
    row.erased = row.erased or exclusion.erased


def _find(session: Session, project: Project, scope: ExclusionScope, value: str) -> ExclusionRow | None:
    return session.scalar(select(ExclusionRow).filter_by(project_row_id=project.id, scope=scope, value=value))
