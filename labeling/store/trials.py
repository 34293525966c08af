"""Trials of prompts: rows before they are jobs, a row for each task with what every wording found in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, ForeignKey, Index, String, UniqueConstraint, delete, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.errors import StoreError
from labeling.store.base import Base, utc_now
from labeling.store.database import Database
from labeling.store.projects import Project, ProjectRow, project_record

TrialStatus = Literal["requested", "running", "done", "failed", "cancelled"]

_OPEN = ("requested", "running")
_KEPT = 30  # of a project; the pictures of older ones are gone with them


class PromptTrialRow(Base):
    """One trial. `attempts` counts how often it was begun since a task of it was last finished."""

    __tablename__ = "prompt_trials"
    __table_args__ = (Index("ix_prompt_trials_status", "status", "updated_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_prompt_trials_project"), index=True)
    label: Mapped[str | None]
    wordings: Mapped[list[dict[str, Any]]]
    model: Mapped[str]
    task_limit: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    error: Mapped[str | None]
    who: Mapped[str] = mapped_column(String(200))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    ended_at: Mapped[datetime | None]


class PromptTrialTaskRow(Base):
    """One task of a trial. `measures` and `masks` (1-bit PNG, base64) have an entry for each wording."""

    __tablename__ = "prompt_trial_tasks"
    __table_args__ = (UniqueConstraint("trial_id", "task_id", name="uq_prompt_trial_tasks_task"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    trial_id: Mapped[int] = mapped_column(
        ForeignKey("prompt_trials.id", name="fk_prompt_trial_tasks_trial", ondelete="CASCADE")
    )
    task_id: Mapped[int]
    task_data: Mapped[dict[str, Any]]
    tried_at: Mapped[datetime | None]
    seconds: Mapped[float | None]
    problem: Mapped[str | None]
    measures: Mapped[list[dict[str, Any]] | None]
    masks: Mapped[dict[str, Any] | None] = mapped_column(deferred=True)


@dataclass(frozen=True)
class PromptTrial:
    """A trial of `wordings` (as `Wording.to_json` has them) of a label, with a model (what a worker loads).

    `done` of `tasks` were tried; `tasks` is 0 until they are known. `who` asked for it.
    """

    id: int
    project: Project
    label: str | None
    wordings: tuple[dict[str, Any], ...]
    model: str
    task_limit: int
    status: TrialStatus
    error: str | None
    who: str
    attempts: int
    tasks: int
    done: int
    created_at: datetime
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        """Whether something of it is still to be done."""
        return self.status in _OPEN


@dataclass(frozen=True)
class TrialTask:
    """A task of a trial. `measures` has a dict (TaskMeasure) for each wording once it was tried without a `problem`."""

    id: int
    trial_id: int
    task_id: int
    data: dict[str, Any]
    is_tried: bool
    seconds: float | None
    problem: str | None
    measures: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class TrialMasks:
    """What was drawn in a task, 1-bit PNGs in base64: by people, and by each wording."""

    truth: str | None
    found: tuple[str, ...]


@dataclass
class TrialStore:
    """Trials of prompts."""

    database: Database

    def request(
        self,
        project: Project,
        label: str | None,
        wordings: Sequence[dict[str, Any]],
        *,
        model: str,
        limit: int,
        who: str,
    ) -> PromptTrial:
        """Ask for a trial on at most `limit` tasks. The oldest of many ended ones go for it."""
        row = PromptTrialRow(
            project_row_id=project.id,
            label=label,
            wordings=list(wordings),
            model=model,
            task_limit=limit,
            status="requested",
            who=who[:200],
        )
        with self.database.writing() as session:
            session.add(row)
            session.flush()
            ended = select(PromptTrialRow.id).where(
                PromptTrialRow.project_row_id == project.id, PromptTrialRow.status.not_in(_OPEN)
            )
            old = list(session.scalars(ended.order_by(PromptTrialRow.id.desc()).offset(_KEPT)))
            session.execute(delete(PromptTrialTaskRow).where(PromptTrialTaskRow.trial_id.in_(old)))
            session.execute(delete(PromptTrialRow).where(PromptTrialRow.id.in_(old)))
            return _trial(session, row)

    def get(self, trial_id: int) -> PromptTrial:
        """StoreError if there is none of this id."""
        with self.database.reading() as session:
            return _trial(session, _row(session, trial_id))

    def newest(self, limit: int = 20) -> list[PromptTrial]:
        """The newest first."""
        with self.database.reading() as session:
            rows = session.scalars(select(PromptTrialRow).order_by(PromptTrialRow.id.desc()).limit(limit))
            return [_trial(session, row) for row in rows]

    def open_ones(self, project: Project) -> list[PromptTrial]:
        """A project's trials of which something is still to be done, the oldest first."""
        query = select(PromptTrialRow).where(
            PromptTrialRow.project_row_id == project.id, PromptTrialRow.status.in_(_OPEN)
        )
        with self.database.reading() as session:
            return [_trial(session, row) for row in session.scalars(query.order_by(PromptTrialRow.id))]

    def stale(self, older_than_s: float, *, after: int = 0, limit: int | None = None) -> list[int]:
        """Ids, larger than `after` and in order, of open trials at which nothing happened for so long."""
        before = utc_now() - timedelta(seconds=older_than_s)
        query = select(PromptTrialRow.id).where(
            PromptTrialRow.id > after, PromptTrialRow.status.in_(_OPEN), PromptTrialRow.updated_at < before
        )
        with self.database.reading() as session:
            return list(session.scalars(query.order_by(PromptTrialRow.id).limit(limit)))

    def begin(self, trial_id: int) -> PromptTrial | None:
        """Take a trial in hand and count the attempt; None if there is nothing left to do."""
        with self.database.writing() as session:
            row = session.get(PromptTrialRow, trial_id)
            if row is None or row.status not in _OPEN:
                return None
            row.status, row.attempts, row.error = "running", row.attempts + 1, None
            session.flush()
            return _trial(session, row)

    def set_tasks(self, trial_id: int, tasks: Sequence[tuple[int, dict[str, Any]]]) -> None:
        """Fix the tasks (their numbers and data) on which it is tried, once."""
        with self.database.writing() as session:
            if session.scalar(_count(trial_id)) == 0:
                session.add_all(
                    PromptTrialTaskRow(trial_id=trial_id, task_id=task_id, task_data=data) for task_id, data in tasks
                )

    def next_task(self, trial_id: int) -> TrialTask | None:
        """A task that was not tried yet; None if there is none."""
        query = select(PromptTrialTaskRow).filter_by(trial_id=trial_id, tried_at=None).order_by(PromptTrialTaskRow.id)
        with self.database.reading() as session:
            row = session.scalar(query.limit(1))
            return None if row is None else _task(row)

    def save_task(
        self,
        task: TrialTask,
        *,
        seconds: float | None = None,
        problem: str | None = None,
        measures: Sequence[dict[str, Any]] = (),
        masks: TrialMasks | None = None,
    ) -> None:
        """Keep what became of a task: `measures` and `masks`, or the `problem` for which it counts for nothing."""
        with self.database.writing() as session:
            row = session.get(PromptTrialTaskRow, task.id)
            trial = session.get(PromptTrialRow, task.trial_id)
            if row is None or trial is None:  # erased on request meanwhile
                return
            row.tried_at, row.seconds, row.problem, row.measures = utc_now(), seconds, problem, list(measures)
            row.masks = None if masks is None else {"truth": masks.truth, "found": list(masks.found)}
            trial.attempts, trial.updated_at = 0, utc_now()

    def note_delay(self, trial_id: int, reason: str) -> None:
        """Say why an open trial is tried again later."""
        self._change(trial_id, error=reason)

    def end(self, trial_id: int, status: TrialStatus, error: str | None = None) -> None:
        """Close an open trial, with the reason for people."""
        self._change(trial_id, status=status, error=error, ended_at=utc_now())

    def cancel(self, trial_id: int) -> bool:
        """Close an open trial because somebody wants it; what was found stays. Whether it was open."""
        return self._change(trial_id, status="cancelled", ended_at=utc_now())

    def tasks(self, trial_id: int) -> list[TrialTask]:
        """All tasks of a trial, without their masks."""
        query = select(PromptTrialTaskRow).filter_by(trial_id=trial_id).order_by(PromptTrialTaskRow.id)
        with self.database.reading() as session:
            return [_task(row) for row in session.scalars(query)]

    def masks(self, trial_id: int, task_id: int) -> tuple[TrialTask, TrialMasks] | None:
        """A task of a trial with what was drawn in it; None if nothing is known of that."""
        query = select(PromptTrialTaskRow).filter_by(trial_id=trial_id, task_id=task_id)
        with self.database.reading() as session:
            row = session.scalar(query)
            if row is None or row.masks is None:
                return None
            return _task(row), TrialMasks(row.masks["truth"], tuple(row.masks["found"]))

    def _change(self, trial_id: int, **values: Any) -> bool:
        still_open = update(PromptTrialRow).where(PromptTrialRow.id == trial_id, PromptTrialRow.status.in_(_OPEN))
        with self.database.writing() as session:
            changed = session.execute(still_open.values(values))
            return cast(CursorResult[Any], changed).rowcount == 1


def forget_task(session: Session, project: Project, task_id: int) -> None:
    """Delete what trials of a project keep of a task."""
    trials = select(PromptTrialRow.id).where(PromptTrialRow.project_row_id == project.id)
    of_task = (PromptTrialTaskRow.task_id == task_id) & PromptTrialTaskRow.trial_id.in_(trials)
    session.execute(delete(PromptTrialTaskRow).where(of_task), execution_options={"synchronize_session": False})


def _count(trial_id: int) -> Any:
    return select(func.count(PromptTrialTaskRow.id)).where(PromptTrialTaskRow.trial_id == trial_id)


def _row(session: Session, trial_id: int) -> PromptTrialRow:
    row = session.get(PromptTrialRow, trial_id)
    if row is None:
        raise StoreError(f"There is no trial {trial_id}. Only the newest {_KEPT} of a project are kept.")
    return row


def _trial(session: Session, row: PromptTrialRow) -> PromptTrial:
    return PromptTrial(
        id=row.id,
        project=project_record(session.get_one(ProjectRow, row.project_row_id)),
        label=row.label,
        wordings=tuple(row.wordings),
        model=row.model,
        task_limit=row.task_limit,
        status=cast(TrialStatus, row.status),
        error=row.error,
        who=row.who,
        attempts=row.attempts,
        tasks=session.scalar(_count(row.id)) or 0,
        done=session.scalar(_count(row.id).where(PromptTrialTaskRow.tried_at.is_not(None))) or 0,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def _task(row: PromptTrialTaskRow) -> TrialTask:
    return TrialTask(
        id=row.id,
        trial_id=row.trial_id,
        task_id=row.task_id,
        data=row.task_data,
        is_tried=row.tried_at is not None,
        seconds=row.seconds,
        problem=row.problem,
        measures=tuple(row.measures or ()),
    )
