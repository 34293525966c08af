"""Model versions, and which of them is live for a project or by default."""

import re
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Select, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labeling.errors import StoreError
from labeling.store.database import Database
from labeling.store.model_records import ModelState, ModelVersion
from labeling.store.model_tables import FinetuneRunRow, LiveModelRow, ModelVersionRow
from labeling.store.predictions import project_record
from labeling.store.records import Project
from labeling.store.tables import PredictionRow, ProjectRow, utc_now

_WISHES_AT_A_TIME = 500  # in one query: databases limit the parameters


class ModelStore:
    """The part of `Store` that is about model versions."""

    _database: Database

    def add_model(self, name: str, folder: str, parent: str, project: Project | None = None) -> ModelVersion:
        """A new candidate; adding it again is harmless. StoreError if the name means another folder, or was deleted."""
        row = ModelVersionRow(
            name=name,
            folder=folder,
            parent=parent,
            project_row_id=None if project is None else project.id,
            state="candidate",
            report=None,
        )
        with self._database.writing() as session:
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

    def judge_model(self, name: str, state: ModelState, report: dict[str, Any] | None = None) -> None:
        """Keep the gate's word, and its report if there is one. StoreError for a version that is unknown or deleted."""
        with self._database.writing() as session:
            row = _named(session, name)
            _check_is_there(row)
            row.state, row.report = state, row.report if report is None else report

    def get_model(self, name: str) -> ModelVersion:
        """StoreError if there is none of this name."""
        with self._database.reading() as session:
            return _version(session, _named(session, name))

    def find_model(self, name: str, *, with_deleted: bool = False) -> ModelVersion | None:
        """The version of this name, unless it was deleted."""
        query = select(ModelVersionRow).where(ModelVersionRow.name == name)
        if not with_deleted:
            query = query.where(ModelVersionRow.state != "deleted")
        with self._database.reading() as session:
            row = session.scalar(query)
            return None if row is None else _version(session, row)

    def list_models(self) -> list[ModelVersion]:
        """All versions, the newest first."""
        with self._database.reading() as session:
            rows = session.scalars(select(ModelVersionRow).order_by(ModelVersionRow.id.desc()))
            return [_version(session, row) for row in rows]

    def next_model_name(self, parent: str) -> str:
        """The name of the next version that descends from `parent`: starter-1.1 after starter-1, then starter-1.2.

        What a run that was put off is to make has its name already.
        """
        promised = select(FinetuneRunRow.candidate).where(
            FinetuneRunRow.ended_at.is_(None), FinetuneRunRow.candidate.is_not(None)
        )
        with self._database.reading() as session:
            names = [*session.scalars(select(ModelVersionRow.name)), *session.scalars(promised)]
        root = re.sub(r"\.\d+$", "", parent) if parent in names else parent
        taken = [int(name[len(root) + 1 :]) for name in names if re.fullmatch(re.escape(root) + r"\.\d{1,9}", name)]
        return f"{root}.{max(taken, default=0) + 1}"

    def live_model(self, project: Project | None = None) -> ModelVersion | None:
        """What serves a project (None: one without a word of its own); None is the model of the settings."""
        with self._database.reading() as session:
            row = _live_row(session, project)
            return None if row is None or row.version_id is None else _version_of(session, row.version_id)

    def set_live_model(self, name: str | None, project: Project | None = None) -> ModelVersion | None:
        """Let a version (None: the model of the settings) serve a project or, without one, all that have none of their
        own; returns what served before. StoreError for a version that is unknown or deleted.
        """
        with self._database.writing() as session:
            version = None if name is None else _named(session, name)
            if version is not None:
                _check_is_there(version)
            before = _live_row(session, project)
            target = None if version is None else version.id
            if before is None or before.version_id != target or before.project_row_id != _scope(project):
                session.add(LiveModelRow(project_row_id=_scope(project), version_id=target))
            return None if before is None or before.version_id is None else _version_of(session, before.version_id)

    def withdraw_live_model(self, project: Project | None = None) -> ModelVersion | None:
        """Take back the newest `set_live_model` of this project or default; returns what serves now (None: the model of
        the settings). StoreError if there is nothing to take back.
        """
        with self._database.writing() as session:
            row = session.scalar(_own_live_rows(project).limit(1))
            if row is None:
                raise StoreError("There is no earlier version to go back to: nothing was promoted here.")
            row.withdrawn_at = utc_now()
            session.flush()
            now = _live_row(session, project)
            return None if now is None or now.version_id is None else _version_of(session, now.version_id)

    def was_live(self, name: str, project: Project | None = None) -> bool:
        """Whether a version ever served by a word of this project's own or, without one, as the default."""
        query = (
            select(LiveModelRow.id)
            .join(ModelVersionRow, LiveModelRow.version_id == ModelVersionRow.id)
            .where(ModelVersionRow.name == name, _in_scope(project))
        )
        with self._database.reading() as session:
            return session.scalar(query.limit(1)) is not None

    def live_projects(self, name: str) -> list[str]:
        """What a version serves now, for people: "project 3", "default"."""
        with self._database.reading() as session:
            version = _named(session, name)
            projects = [None, *(project_record(row) for row in session.scalars(select(ProjectRow)))]
            served = []
            for project in projects:
                row = session.scalar(_own_live_rows(project).limit(1))
                if row is not None and row.version_id == version.id:
                    served.append("default" if project is None else f"project {project.project_id}")
            return served

    def projects_on_default(self) -> list[Project]:
        """The projects that have no live version of their own."""
        with self._database.reading() as session:
            projects = [project_record(row) for row in session.scalars(select(ProjectRow).order_by(ProjectRow.id))]
            return [each for each in projects if session.scalar(_own_live_rows(each).limit(1)) is None]

    def take_back_wishes(self, prediction_ids: Sequence[int]) -> int:
        """Cancel wishes for a version that is not to serve after all, unless they are computed or somebody waits for
        them; returns how many.
        """
        count = 0
        for start in range(0, len(prediction_ids), _WISHES_AT_A_TIME):
            some = PredictionRow.id.in_(prediction_ids[start : start + _WISHES_AT_A_TIME])
            wanted = update(PredictionRow).where(
                some, PredictionRow.status == "wanted", PredictionRow.delivery == "push"
            )
            with self._database.writing() as session:
                cancelled = session.execute(wanted.values(status="cancelled"))
                count += cast(CursorResult[Any], cancelled).rowcount
        return count

    def delete_model(self, name: str) -> ModelVersion:
        """Mark a version as deleted and forget that it was live earlier; its row and report stay. What it was still to
        predict has failed. StoreError while it serves.
        """
        if serves := self.live_projects(name):
            raise StoreError(f"{name} is live ({', '.join(serves)}). Promote another version or roll back first.")
        with self._database.writing() as session:
            row = _named(session, name)
            row.state = "deleted"
            earlier = update(LiveModelRow).where(LiveModelRow.version_id == row.id, LiveModelRow.withdrawn_at.is_(None))
            session.execute(earlier.values(withdrawn_at=utc_now()))
            of_version = PredictionRow.model_version.startswith(f"{name} · ", autoescape=True)
            reason = f"The weights of {name} were deleted before its turn came. Predict it with what serves now."
            wanted = update(PredictionRow).where(PredictionRow.status == "wanted", of_version)
            session.execute(wanted.values(status="failed", error=reason))
            return _version(session, row)


def project_of(session: Session, project_row_id: int | None) -> Project | None:
    """The project behind a row's reference."""
    row = None if project_row_id is None else session.get(ProjectRow, project_row_id)
    return None if row is None else project_record(row)


def _scope(project: Project | None) -> int | None:
    return None if project is None else project.id


def _in_scope(project: Project | None) -> ColumnElement[bool]:
    column, scope = LiveModelRow.project_row_id, _scope(project)
    return column.is_(None) if scope is None else column == scope


def _own_live_rows(project: Project | None) -> Select[LiveModelRow]:
    own = select(LiveModelRow).where(_in_scope(project))
    return own.where(LiveModelRow.withdrawn_at.is_(None)).order_by(LiveModelRow.id.desc())


def _live_row(session: Session, project: Project | None) -> LiveModelRow | None:
    own = session.scalar(_own_live_rows(project).limit(1))
    return own if own is not None or project is None else session.scalar(_own_live_rows(None).limit(1))


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
