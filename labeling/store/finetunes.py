"""Fine-tune runs: requested once, run by one process of all hosts at a time, stopped and taken up again."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import CursorResult, ForeignKey, Index, String, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.errors import StoreError
from labeling.store.base import Base, is_leased, utc_now
from labeling.store.database import Database
from labeling.store.projects import Project, project_of

logger = logging.getLogger(__name__)

FinetuneStatus = Literal["requested", "running", "promoted", "refused", "failed", "stopped"]

_OPEN = ("requested", "running")


class FinetuneRunRow(Base):
    """A requested or finished fine-tune run. `slot` makes any number of schedulers request one run only once.

    `attempts` counts those that an outage ended; the next one is `not_before` a time.
    """

    __tablename__ = "finetune_runs"
    __table_args__ = (Index("ix_finetune_runs_status", "status"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[str] = mapped_column(String(200), unique=True)
    project_row_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", name="fk_finetune_runs_project"))
    manifest: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    corrections: Mapped[int]
    candidate: Mapped[str | None] = mapped_column(String(100))
    base: Mapped[str | None]
    holder: Mapped[str | None] = mapped_column(String(200))
    leased_until: Mapped[datetime | None]
    stop_requested: Mapped[bool]
    asked_again: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    error: Mapped[str | None]
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[datetime | None]


class FinetuneScheduleRow(Base):
    """When a project is fine-tuned, where that differs from the settings."""

    __tablename__ = "finetune_schedules"

    project_row_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id", name="fk_finetune_schedules_project"), primary_key=True
    )
    cron: Mapped[str | None] = mapped_column(String(200))
    corrections: Mapped[int | None]


@dataclass(frozen=True)
class FinetuneRun:
    """A fine-tune run. `corrections` is how many that teach something the project had when it was requested.

    `manifest` is None where it is to be made of the project's. `base` is set when it begins, `candidate` when it is
    sure that there is enough to learn from. `attempts` counts those that an outage ended; the next is `not_before` a
    time, and `error` says why. `asked_again`: somebody asked for a run while this one was open.
    """

    id: int
    slot: str
    project: Project | None
    manifest: str | None
    status: FinetuneStatus
    corrections: int
    candidate: str | None
    base: str | None
    stop_requested: bool
    asked_again: bool
    attempts: int
    not_before: datetime | None
    error: str | None
    report: dict[str, Any] | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class FinetuneSchedule:
    """When to fine-tune: at the times of a cron expression, and after so many new corrections; None: never by that."""

    cron: str | None
    corrections: int | None


@dataclass
class FinetuneStore:
    """Fine-tune runs and their schedules."""

    database: Database

    def request(
        self, slot: str, project: Project | None, *, corrections: int = 0, manifest: str | None = None
    ) -> FinetuneRun | None:
        """Ask for a run; None if the slot was taken before, or a run of this project is open already.

        The open one then remembers that it was asked for again. One that was to stop and whose holder is gone, ends.
        """
        scope = None if project is None else project.id
        row = FinetuneRunRow(
            slot=slot,
            project_row_id=scope,
            manifest=manifest,
            status="requested",
            corrections=corrections,
            candidate=None,
            base=None,
            holder=None,
            leased_until=None,
            stop_requested=False,
            not_before=None,
            error=None,
            report=None,
        )
        same = FinetuneRunRow.project_row_id.is_(None) if scope is None else FinetuneRunRow.project_row_id == scope
        with self.database.writing() as session:
            open_run = session.scalar(select(FinetuneRunRow).where(same, FinetuneRunRow.status.in_(_OPEN)).limit(1))
            if open_run is not None and open_run.stop_requested and _is_abandoned(open_run):
                _end_stopped(open_run)
            elif open_run is not None:
                if open_run.slot != slot:
                    logger.info("%s asks for nothing new: run %d is open already", slot, open_run.id)
                    open_run.asked_again = True
                return None
            try:
                with session.begin_nested():
                    session.add(row)
            except IntegrityError:
                return None
            session.flush()
            return _run(session, row)

    def claim(self, holder: str, lease_s: float) -> FinetuneRun | None:
        """Take the oldest run that waits, or whose holder has been silent for longer than its lease. None if there is
        none whose time has come, or another one is running: one at a time on all hosts.
        """
        now = utc_now()
        rows_in_order = select(FinetuneRunRow).where(FinetuneRunRow.status.in_(_OPEN)).order_by(FinetuneRunRow.id)
        with self.database.writing() as session:
            rows = list(session.scalars(rows_in_order.with_for_update()))
            leased = [row for row in rows if is_leased(row.leased_until, lease_s)]
            due = [row for row in rows if row.not_before is None or row.not_before <= now]
            if not due or any(row.holder != holder for row in leased):
                return None
            running = [row for row in due if row.status == "running"]
            row = (running or due)[0]
            row.status, row.holder, row.leased_until = "running", holder, now + timedelta(seconds=lease_s)
            row.not_before = row.error = None
            session.flush()
            return _run(session, row)

    def renew(self, run_id: int, holder: str, lease_s: float) -> FinetuneRun | None:
        """Say that the holder still works on it: the run as it is now, or None if it is not the holder's any more."""
        with self.database.writing() as session:
            row = _row(session, run_id)
            if row.status != "running" or row.holder != holder:
                return None
            row.leased_until = utc_now() + timedelta(seconds=lease_s)
            return _run(session, row)

    def begin(self, run_id: int, candidate: str | None, base: str) -> FinetuneRun:
        """Fix what the run makes, from when on that is sure, and from what; what was fixed before stays."""
        with self.database.writing() as session:
            row = _row(session, run_id)
            row.candidate, row.base = row.candidate or candidate, row.base or base
            session.flush()
            return _run(session, row)

    def end(
        self,
        run_id: int,
        status: FinetuneStatus,
        *,
        holder: str | None = None,
        error: str | None = None,
        report: dict[str, Any] | None = None,
    ) -> bool:
        """Close a run, with the reason for people or the report. With `holder`, only if it is still that one's; whether
        it was closed.
        """
        change = {"status": status, "error": error, "report": report, "ended_at": utc_now(), "leased_until": None}
        open_run = update(FinetuneRunRow).where(FinetuneRunRow.id == run_id, FinetuneRunRow.status.in_(_OPEN))
        if holder is not None:
            open_run = open_run.where(FinetuneRunRow.holder == holder)
        with self.database.writing() as session:
            return cast(CursorResult[Any], session.execute(open_run.values(change))).rowcount == 1

    def release(self, run_id: int, holder: str) -> None:
        """Give a running run back: it is requested again, and whoever takes it up goes on where it was."""
        mine = update(FinetuneRunRow).where(FinetuneRunRow.id == run_id, FinetuneRunRow.holder == holder)
        with self.database.writing() as session:
            released = {"status": "requested", "holder": None, "leased_until": None}
            session.execute(mine.where(FinetuneRunRow.status == "running").values(released))

    def postpone(self, run_id: int, holder: str, wait_s: float, reason: str) -> None:
        """Give a running run back until an outage may be over, and count the attempt. `reason` is for people."""
        with self.database.writing() as session:
            row = _row(session, run_id)
            if row.status == "running" and row.holder == holder:
                row.status, row.holder, row.leased_until, row.error = "requested", None, None, reason
                row.attempts, row.not_before = row.attempts + 1, utc_now() + timedelta(seconds=wait_s)

    def stop(self, project: Project | None = None) -> int:
        """Ask the open runs (of one project) to stop; those that nobody runs (any more: the lease has run out) end at
        once. Returns how many they are.
        """
        query = select(FinetuneRunRow).where(FinetuneRunRow.status.in_(_OPEN)).order_by(FinetuneRunRow.id)
        if project is not None:
            query = query.where(FinetuneRunRow.project_row_id == project.id)
        with self.database.writing() as session:
            rows = list(session.scalars(query.with_for_update()))
            for row in rows:
                row.stop_requested = True
                if _is_abandoned(row):
                    _end_stopped(row)
            return len(rows)

    def get(self, run_id: int) -> FinetuneRun:
        """StoreError if there is none of this id."""
        with self.database.reading() as session:
            return _run(session, _row(session, run_id))

    def newest(self, limit: int = 50, *, project: Project | None = None) -> list[FinetuneRun]:
        """The newest runs first; of all, or of one project."""
        query = select(FinetuneRunRow).order_by(FinetuneRunRow.id.desc()).limit(limit)
        if project is not None:
            query = query.where(FinetuneRunRow.project_row_id == project.id)
        with self.database.reading() as session:
            return [_run(session, row) for row in session.scalars(query)]

    def set_schedule(self, project: Project, schedule: FinetuneSchedule | None) -> None:
        """A project's own schedule; None: as the settings say."""
        with self.database.writing() as session:
            row = session.get(FinetuneScheduleRow, project.id)
            if row is not None:
                session.delete(row)
                session.flush()
            if schedule is not None:
                own = {"cron": schedule.cron, "corrections": schedule.corrections}
                session.add(FinetuneScheduleRow(project_row_id=project.id, **own))

    def find_schedule(self, project: Project) -> FinetuneSchedule | None:
        """A project's own schedule, if it has one."""
        with self.database.reading() as session:
            row = session.get(FinetuneScheduleRow, project.id)
            return None if row is None else FinetuneSchedule(row.cron, row.corrections)


def _row(session: Session, run_id: int) -> FinetuneRunRow:
    row = session.get(FinetuneRunRow, run_id)
    if row is None:
        raise StoreError(f"There is no fine-tune run {run_id} in the store. Was the database replaced?")
    return row


def _is_abandoned(row: FinetuneRunRow) -> bool:
    """Whether nobody works on an open run: it waits, or its holder is gone."""
    return row.status == "requested" or row.leased_until is None or row.leased_until <= utc_now()


def _end_stopped(row: FinetuneRunRow) -> None:
    reason = "It was stopped while it waited." if row.status == "requested" else "It was stopped; its process was gone."
    row.status, row.error, row.ended_at, row.leased_until = "stopped", reason, utc_now(), None


def _run(session: Session, row: FinetuneRunRow) -> FinetuneRun:
    return FinetuneRun(
        id=row.id,
        slot=row.slot,
        project=project_of(session, row.project_row_id),
        manifest=row.manifest,
        status=cast(FinetuneStatus, row.status),
        corrections=row.corrections,
        candidate=row.candidate,
        base=row.base,
        stop_requested=row.stop_requested,
        asked_again=row.asked_again,
        attempts=row.attempts,
        not_before=row.not_before,
        error=row.error,
        report=row.report,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
