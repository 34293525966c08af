"""Model versions, and which of them is active for a project or by default."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, ForeignKey, Index, Select, String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.errors import StoreError
from labeling.store.base import Base, utc_now
from labeling.store.database import Database
from labeling.store.finetunes import FinetuneRunRow
from labeling.store.predictions.tables import PredictionRow
from labeling.store.projects import Project, ProjectRow, project_of, project_record

ModelState = Literal["candidate", "accepted", "refused", "deleted"]


class ModelVersionRow(Base):
    """A fine-tuned model. Its name never comes again, also when its weights were deleted."""

    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    folder: Mapped[str]
    parent: Mapped[str] = mapped_column(String(500))
    project_row_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", name="fk_model_versions_project"))
    state: Mapped[str] = mapped_column(String(16))
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ActiveModelRow(Base):
    """From when on a version was active, for one project or (no project) by default. No version: the model of the
    settings. The newest row that was not withdrawn counts; rollback withdraws it.
    """

    __tablename__ = "active_models"
    __table_args__ = (Index("ix_active_models_project", "project_row_id", "withdrawn_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", name="fk_live_models_project"))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id", name="fk_live_models_version"))
    active_since: Mapped[datetime] = mapped_column(default=utc_now)
    withdrawn_at: Mapped[datetime | None]


@dataclass(frozen=True)
class ModelVersion:
    """A fine-tuned model: `folder` is what a worker loads, `parent` the name or folder that it learnt from.

    `state`: a candidate is not judged yet; accepted and refused are the gate's word; deleted has no weights any more.
    `project` is None where it was made for all.
    """

    id: int
    name: str
    folder: str
    parent: str
    project: Project | None
    state: ModelState
    report: dict[str, Any] | None
    created_at: datetime


@dataclass
class ModelStore:
    """Model versions."""

    database: Database

    def add(self, name: str, folder: str, parent: str, project: Project | None = None) -> ModelVersion:
        """A new candidate; adding it again is harmless. StoreError if the name means another folder, or was deleted."""
        row = ModelVersionRow(
            name=name,
            folder=folder,
            parent=parent,
            project_row_id=None if project is None else project.id,
            state="candidate",
            report=None,
        )
        with self.database.writing() as session:
            try:
                with session.begin_nested():
                    session.add(row)
            except IntegrityError:
                row = _named(session, name)
                if row.folder != folder:
                    raise StoreError(f"There is a model {name} already, in {row.folder}. Give another name.") from None
                _check_is_there(row)
            session.flush()
            return _version(session, row)

    def judge(self, name: str, state: ModelState, report: dict[str, Any] | None = None) -> None:
        """Keep the gate's word, and its report if there is one. StoreError for a version that is unknown or deleted."""
        with self.database.writing() as session:
            row = _named(session, name)
            _check_is_there(row)
            row.state, row.report = state, row.report if report is None else report

    def get(self, name: str) -> ModelVersion:
        """StoreError if there is none of this name."""
        with self.database.reading() as session:
            return _version(session, _named(session, name))

    def find(self, name: str, *, with_deleted: bool = False) -> ModelVersion | None:
        """The version of this name, unless it was deleted."""
        query = select(ModelVersionRow).where(ModelVersionRow.name == name)
        if not with_deleted:
            query = query.where(ModelVersionRow.state != "deleted")
        with self.database.reading() as session:
            row = session.scalar(query)
            return None if row is None else _version(session, row)

    def all(self) -> list[ModelVersion]:
        """All versions, the newest first."""
        with self.database.reading() as session:
            rows = session.scalars(select(ModelVersionRow).order_by(ModelVersionRow.id.desc()))
            return [_version(session, row) for row in rows]

    def next_name(self, parent: str) -> str:
        """The name of the next version that descends from `parent`: starter-1.1 after starter-1, then starter-1.2.

        What a postponed run is to make has its name already.
        """
        promised = select(FinetuneRunRow.candidate).where(
            FinetuneRunRow.ended_at.is_(None), FinetuneRunRow.candidate.is_not(None)
        )
        with self.database.reading() as session:
            names = [*session.scalars(select(ModelVersionRow.name)), *session.scalars(promised)]
        root = re.sub(r"\.\d+$", "", parent) if parent in names else parent
        taken = [int(name[len(root) + 1 :]) for name in names if re.fullmatch(re.escape(root) + r"\.\d{1,9}", name)]
        return f"{root}.{max(taken, default=0) + 1}"

    def active(self, project: Project | None = None) -> ModelVersion | None:
        """The active version of a project (None: of one without an own); None is the model of the settings."""
        with self.database.reading() as session:
            row = _active_row(session, project)
            return None if row is None or row.version_id is None else _version_of(session, row.version_id)

    def set_active(self, name: str | None, project: Project | None = None) -> ModelVersion | None:
        """Make a version (None: the model of the settings) active for a project or, without one, for all that have none
        of their own; returns what was active before. StoreError for a version that is unknown or deleted.
        """
        with self.database.writing() as session:
            version = None if name is None else _named(session, name)
            if version is not None:
                _check_is_there(version)
            before = _active_row(session, project)
            target = None if version is None else version.id
            if before is None or before.version_id != target or before.project_row_id != _scope(project):
                session.add(ActiveModelRow(project_row_id=_scope(project), version_id=target))
            return None if before is None or before.version_id is None else _version_of(session, before.version_id)

    def withdraw_active(self, project: Project | None = None) -> ModelVersion | None:
        """Take back the newest `set_active` of this project or default; returns what is active now (None: the model of
        the settings). StoreError if there is nothing to take back.
        """
        with self.database.writing() as session:
            row = session.scalar(_own_active_rows(project).limit(1))
            if row is None:
                raise StoreError("There is no earlier version to go back to: nothing was promoted here.")
            row.withdrawn_at = utc_now()
            session.flush()
            now = _active_row(session, project)
            return None if now is None or now.version_id is None else _version_of(session, now.version_id)

    def was_active(self, name: str, project: Project | None = None) -> bool:
        """Whether a version was ever active for this project itself or, without one, as the default."""
        query = (
            select(ActiveModelRow.id)
            .join(ModelVersionRow, ActiveModelRow.version_id == ModelVersionRow.id)
            .where(ModelVersionRow.name == name, _in_scope(project))
        )
        with self.database.reading() as session:
            return session.scalar(query.limit(1)) is not None

    def active_for(self, name: str) -> list[str]:
        """Where a version is active now, for people: "project 3", "default"."""
        with self.database.reading() as session:
            version = _named(session, name)
            projects = [None, *(project_record(row) for row in session.scalars(select(ProjectRow)))]
            found = []
            for project in projects:
                row = session.scalar(_own_active_rows(project).limit(1))
                if row is not None and row.version_id == version.id:
                    found.append("default" if project is None else f"project {project.project_id}")
            return found

    def projects_on_default(self) -> list[Project]:
        """The projects that have no active version of their own."""
        with self.database.reading() as session:
            projects = [project_record(row) for row in session.scalars(select(ProjectRow).order_by(ProjectRow.id))]
            return [each for each in projects if session.scalar(_own_active_rows(each).limit(1)) is None]

    def delete(self, name: str) -> ModelVersion:
        """Mark a version as deleted and forget that it was active earlier; its row and report stay. What it was still
        to predict has failed. StoreError while it is active.
        """
        if places := self.active_for(name):
            raise StoreError(f"{name} is active ({', '.join(places)}). Promote another version or roll back first.")
        with self.database.writing() as session:
            row = _named(session, name)
            row.state = "deleted"
            earlier = update(ActiveModelRow).where(
                ActiveModelRow.version_id == row.id, ActiveModelRow.withdrawn_at.is_(None)
            )
            session.execute(earlier.values(withdrawn_at=utc_now()))
            of_version = PredictionRow.model_version.startswith(f"{name} · ", autoescape=True)
            reason = f"The weights of {name} were deleted before its turn came. Predict it with the active version."
            waiting = update(PredictionRow).where(PredictionRow.status == "requested", of_version)
            session.execute(waiting.values(status="failed", error=reason))
            return _version(session, row)


def _scope(project: Project | None) -> int | None:
    return None if project is None else project.id


def _in_scope(project: Project | None) -> ColumnElement[bool]:
    column, scope = ActiveModelRow.project_row_id, _scope(project)
    return column.is_(None) if scope is None else column == scope


def _own_active_rows(project: Project | None) -> Select[ActiveModelRow]:
    own = select(ActiveModelRow).where(_in_scope(project))
    return own.where(ActiveModelRow.withdrawn_at.is_(None)).order_by(ActiveModelRow.id.desc())


def _active_row(session: Session, project: Project | None) -> ActiveModelRow | None:
    own = session.scalar(_own_active_rows(project).limit(1))
    return own if own is not None or project is None else session.scalar(_own_active_rows(None).limit(1))


def _named(session: Session, name: str) -> ModelVersionRow:
    row = session.scalar(select(ModelVersionRow).where(ModelVersionRow.name == name))
    if row is None:
        raise StoreError(f"There is no model version {name!r}. See argenseg models list.")
    return row


def _check_is_there(row: ModelVersionRow) -> None:
    if row.state == "deleted":
        raise StoreError(f"The weights of {row.name} were deleted. Take another version.")


def _version_of(session: Session, version_id: int) -> ModelVersion:
    row = session.get(ModelVersionRow, version_id)
    assert row is not None  # the foreign key holds it
    return _version(session, row)


def _version(session: Session, row: ModelVersionRow) -> ModelVersion:
    return ModelVersion(
        id=row.id,
        name=row.name,
        folder=row.folder,
        parent=row.parent,
        project=project_of(session, row.project_row_id),
        state=cast(ModelState, row.state),
        report=row.report,
        created_at=row.created_at,
    )
