"""Fine-tune runs: wanted once, run by one process of all hosts at a time, stopped and taken up again."""

import logging
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labeling.errors import StoreError
from labeling.store.correction_tables import CorrectionRow, EventRow, ReviewRow
from labeling.store.database import Database
from labeling.store.exclusions import is_excluded
from labeling.store.model_records import FinetuneRun, FinetuneSchedule, FinetuneStatus
from labeling.store.model_tables import FinetuneRunRow, FinetuneScheduleRow
from labeling.store.models import project_of
from labeling.store.records import Project
from labeling.store.tables import utc_now

logger = logging.getLogger(__name__)

_OPEN = ("wanted", "running")


class FinetuneRunStore:
    """The part of `Store` that is about fine-tune runs."""

    _database: Database

    def want_finetune(
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
            status="wanted",
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
        with self._database.writing() as session:
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

    def claim_finetune(self, holder: str, lease_s: float) -> FinetuneRun | None:
        """Take the oldest run that waits, or whose holder has been silent for longer than its lease. None if there is
        none whose time has come, or another one is running: one at a time on all hosts.
        """
        now = utc_now()
        rows_in_order = select(FinetuneRunRow).where(FinetuneRunRow.status.in_(_OPEN)).order_by(FinetuneRunRow.id)
        with self._database.writing() as session:
            rows = list(session.scalars(rows_in_order.with_for_update()))
            leased = [row for row in rows if row.leased_until is not None and row.leased_until > now]
            due = [row for row in rows if row.not_before is None or row.not_before <= now]
            if not due or any(row.holder != holder for row in leased):
                return None
            running = [row for row in due if row.status == "running"]
            row = (running or due)[0]
            row.status, row.holder, row.leased_until = "running", holder, now + timedelta(seconds=lease_s)
            row.not_before = row.error = None
            session.flush()
            return _run(session, row)

    def renew_finetune(self, run_id: int, holder: str, lease_s: float) -> FinetuneRun | None:
        """Say that the holder still works on it: the run as it is now, or None if it is not the holder's any more."""
        with self._database.writing() as session:
            row = _row(session, run_id)
            if row.status != "running" or row.holder != holder:
                return None
            row.leased_until = utc_now() + timedelta(seconds=lease_s)
            return _run(session, row)

    def begin_finetune(self, run_id: int, candidate: str | None, base: str) -> FinetuneRun:
        """Fix what the run makes, from when on that is sure, and from what; what was fixed before stays."""
        with self._database.writing() as session:
            row = _row(session, run_id)
            row.candidate, row.base = row.candidate or candidate, row.base or base
            session.flush()
            return _run(session, row)

    def end_finetune(
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
        with self._database.writing() as session:
            return cast(CursorResult[Any], session.execute(open_run.values(change))).rowcount == 1

    def release_finetune(self, run_id: int, holder: str) -> None:
        """Let go of a running run: it is wanted again, and whoever takes it up goes on where it was."""
        mine = update(FinetuneRunRow).where(FinetuneRunRow.id == run_id, FinetuneRunRow.holder == holder)
        with self._database.writing() as session:
            released = {"status": "wanted", "holder": None, "leased_until": None}
            session.execute(mine.where(FinetuneRunRow.status == "running").values(released))

    def put_off_finetune(self, run_id: int, holder: str, wait_s: float, reason: str) -> None:
        """Let go of a running run until an outage may be over, and count the attempt. `reason` is for people."""
        with self._database.writing() as session:
            row = _row(session, run_id)
            if row.status == "running" and row.holder == holder:
                row.status, row.holder, row.leased_until, row.error = "wanted", None, None, reason
                row.attempts, row.not_before = row.attempts + 1, utc_now() + timedelta(seconds=wait_s)

    def stop_finetunes(self, project: Project | None = None) -> int:
        """Ask the open runs (of one project) to stop; those that nobody runs (any more: the lease has run out) end at
        once. Returns how many they are.
        """
        query = select(FinetuneRunRow).where(FinetuneRunRow.status.in_(_OPEN)).order_by(FinetuneRunRow.id)
        if project is not None:
            query = query.where(FinetuneRunRow.project_row_id == project.id)
        with self._database.writing() as session:
            rows = list(session.scalars(query.with_for_update()))
            for row in rows:
                row.stop_requested = True
                if _is_abandoned(row):
                    _end_stopped(row)
            return len(rows)

    def get_finetune(self, run_id: int) -> FinetuneRun:
        """StoreError if there is none of this id."""
        with self._database.reading() as session:
            return _run(session, _row(session, run_id))

    def list_finetunes(self, limit: int = 50, *, project: Project | None = None) -> list[FinetuneRun]:
        """The newest runs first; of all, or of one project."""
        query = select(FinetuneRunRow).order_by(FinetuneRunRow.id.desc()).limit(limit)
        if project is not None:
            query = query.where(FinetuneRunRow.project_row_id == project.id)
        with self._database.reading() as session:
            return [_run(session, row) for row in session.scalars(query)]

    def count_corrections(self, project: Project, since: datetime | None = None) -> int:
        """How many corrections a project has that teach something, of all or of annotations that changed since then.

        These are the regions that an annotator edited, deleted or added, in the newest state of each submitted
        annotation; not accepted ones, and not what is excluded.
        """
        query = (
            select(func.count(CorrectionRow.id))
            .join(ReviewRow, CorrectionRow.review_id == ReviewRow.id)
            .join(EventRow, ReviewRow.event_id == EventRow.id)
            .where(ReviewRow.project_row_id == project.id, ReviewRow.is_current, CorrectionRow.kind != "accepted")
            .where(~is_excluded())
        )
        if since is not None:  # by when we made something of it: a webhook may come late
            query = query.where(or_(EventRow.processed_at.is_(None), EventRow.processed_at >= since))
        with self._database.reading() as session:
            return session.scalar(query) or 0

    def set_finetune_schedule(self, project: Project, schedule: FinetuneSchedule | None) -> None:
        """A project's own schedule; None: as the settings say."""
        with self._database.writing() as session:
            row = session.get(FinetuneScheduleRow, project.id)
            if row is not None:
                session.delete(row)
                session.flush()
            if schedule is not None:
                own = {"cron": schedule.cron, "corrections": schedule.corrections}
                session.add(FinetuneScheduleRow(project_row_id=project.id, **own))

    def find_finetune_schedule(self, project: Project) -> FinetuneSchedule | None:
        """A project's own schedule, if it has one."""
        with self._database.reading() as session:
            row = session.get(FinetuneScheduleRow, project.id)
            return None if row is None else FinetuneSchedule(row.cron, row.corrections)


def _row(session: Session, run_id: int) -> FinetuneRunRow:
    row = session.get(FinetuneRunRow, run_id)
    if row is None:
        raise StoreError(f"There is no fine-tune run {run_id} in the store. Was the database replaced?")
    return row


def _is_abandoned(row: FinetuneRunRow) -> bool:
    """Whether nobody works on an open run: it waits, or its holder is gone."""
    return row.status == "wanted" or row.leased_until is None or row.leased_until <= utc_now()


def _end_stopped(row: FinetuneRunRow) -> None:
    reason = "It was stopped while it waited." if row.status == "wanted" else "It was stopped; its process was gone."
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
