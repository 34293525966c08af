"""Runs over whole projects: what people asked for by `argenseg predict`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast

from sqlalchemy import ForeignKey, Index, Select, String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from labeling.store.base import Base, utc_now
from labeling.store.database import Database
from labeling.store.projects import Project

RunOutcome = Literal["finished", "cancelled"]


class ProjectRunRow(Base):
    """One `argenseg predict`, with its options: what `--resume` goes on with. `outcome` is null while it is open."""

    __tablename__ = "project_runs"
    __table_args__ = (Index("ix_project_runs_project", "project_row_id", "outcome"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_prediction_runs_project"))
    model_version: Mapped[str] = mapped_column(String(200))
    only_unlabeled: Mapped[bool]
    task_limit: Mapped[int | None]
    pin: Mapped[bool]
    requested: Mapped[int] = mapped_column(default=0)
    outcome: Mapped[str | None] = mapped_column(String(16))
    started_at: Mapped[datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True)
class RunOptions:
    """What a run over a project was asked to do. `limit`: at most so many tasks."""

    only_unlabeled: bool = False
    limit: int | None = None
    pin: bool = False


@dataclass(frozen=True)
class ProjectRun:
    """A run over a project; `outcome` is None while it is open. `requested` counts the tasks it requested."""

    id: int
    model_version: str
    options: RunOptions
    requested: int
    outcome: RunOutcome | None = None


@dataclass
class ProjectRunStore:
    """Runs over projects."""

    database: Database

    def begin(self, project: Project, model_version: str, options: RunOptions) -> ProjectRun:
        """Open a run over a project; one that was open before is closed, because this one does its work."""
        row = ProjectRunRow(
            project_row_id=project.id,
            model_version=model_version,
            only_unlabeled=options.only_unlabeled,
            task_limit=options.limit,
            pin=options.pin,
        )
        with self.database.writing() as session:
            session.execute(_open_runs(project).values(outcome="finished", ended_at=utc_now()))
            session.add(row)
            session.flush()
            return _run(row)

    def resume(self, project: Project, run_id: int, model_version: str) -> ProjectRun:
        """Open a run again that was cancelled, for the version of now; what it has put to work stays counted."""
        with self.database.writing() as session:
            session.execute(_open_runs(project).values(outcome="finished", ended_at=utc_now()))
            row = session.get_one(ProjectRunRow, run_id)
            row.model_version, row.outcome, row.ended_at = model_version, None, None
            session.flush()
            return _run(row)

    def find_open(self, project: Project) -> ProjectRun | None:
        """The run over this project that neither finished nor was cancelled."""
        return self._newest(_runs(project).where(ProjectRunRow.outcome.is_(None)))

    def find_last(self, project: Project) -> ProjectRun | None:
        """The newest run over this project, whatever became of it."""
        return self._newest(_runs(project))

    def add_tasks(self, run_id: int, tasks: int) -> None:
        """So many more tasks were put to work by this run."""
        with self.database.writing() as session:
            counted = update(ProjectRunRow).where(ProjectRunRow.id == run_id)
            session.execute(counted.values(requested=ProjectRunRow.requested + tasks))

    def end(self, project: Project, outcome: RunOutcome) -> None:
        """Close the open runs over this project."""
        with self.database.writing() as session:
            session.execute(_open_runs(project).values(outcome=outcome, ended_at=utc_now()))

    def _newest(self, runs: Select[ProjectRunRow]) -> ProjectRun | None:
        with self.database.reading() as session:
            row = session.scalar(runs.order_by(ProjectRunRow.id.desc()).limit(1))
            return None if row is None else _run(row)


def _runs(project: Project) -> Select[ProjectRunRow]:
    return select(ProjectRunRow).where(ProjectRunRow.project_row_id == project.id)


def _open_runs(project: Project) -> Any:
    return update(ProjectRunRow).where(ProjectRunRow.project_row_id == project.id, ProjectRunRow.outcome.is_(None))


def _run(row: ProjectRunRow) -> ProjectRun:
    options = RunOptions(row.only_unlabeled, row.task_limit, row.pin)
    return ProjectRun(row.id, row.model_version, options, row.requested, cast(RunOutcome | None, row.outcome))
