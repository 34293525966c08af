"""How far each project's annotations were read from Label Studio; one reader at a time."""

from datetime import datetime, timedelta

from sqlalchemy import func, select

from labeling.store.correction_records import SyncTurn
from labeling.store.correction_tables import EventRow, ReviewRow, SyncRow
from labeling.store.database import Database
from labeling.store.predictions import project_record
from labeling.store.records import Project
from labeling.store.tables import ProjectRow, utc_now

FOUND = "ANNOTATION_FOUND"
"""The action of events that tell what was read from Label Studio, not what a webhook brought."""


class SyncStore:
    """The part of `Store` that is about reading annotations from Label Studio."""

    _database: Database

    def projects_of(self, label_studio_url: str) -> list[Project]:
        """The projects of one Label Studio."""
        query = select(ProjectRow).filter_by(label_studio_url=label_studio_url.rstrip("/")).order_by(ProjectRow.id)
        with self._database.reading() as session:
            return [project_record(row) for row in session.scalars(query)]

    def begin_sync(self, project: Project, *, lease_s: float, not_within_s: float = 0.0) -> SyncTurn | None:
        """Take the turn for `lease_s` seconds; None if another process has it, or had it less than so long ago."""
        now = utc_now()
        with self._database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)
            row = session.get(SyncRow, project.id)
            if row is None:
                row = SyncRow(project_row_id=project.id)
                session.add(row)
            is_fresh = row.synced_at is not None and row.synced_at > now - timedelta(seconds=not_within_s)
            if (row.lease_until is not None and row.lease_until > now) or is_fresh:
                return None
            row.lease_until = now + timedelta(seconds=lease_s)
            return SyncTurn(row.synced_until, row.full_synced_at, row.full_after)

    def oldest_heard(self, project: Project) -> datetime | None:
        """When the oldest annotation was changed of which an event told us after the last complete sync had ended.

        Such an event may be late: of an annotation that the sync had already found deleted.
        """
        query = (
            select(func.min(ReviewRow.annotation_at))
            .join(EventRow, ReviewRow.event_id == EventRow.id)
            .join(SyncRow, ReviewRow.project_row_id == SyncRow.project_row_id)
            .where(ReviewRow.project_row_id == project.id, EventRow.processed_at >= SyncRow.synced_at)
            .where(EventRow.action != FOUND)
        )
        with self._database.reading() as session:
            return session.scalar(query)

    def extend_sync(self, project: Project, *, lease_s: float, full_after: int | None = None) -> None:
        """Keep the turn for another `lease_s` seconds; the pass over all tasks got up to the task `full_after`."""
        with self._database.writing() as session:
            row = session.get_one(SyncRow, project.id)
            row.lease_until = utc_now() + timedelta(seconds=lease_s)
            row.full_after = row.full_after if full_after is None else full_after

    def note_changes_read(self, project: Project, until: datetime) -> None:
        """All tasks that changed before `until`, by Label Studio's clock, were read, or are in the pass over all."""
        with self._database.writing() as session:
            session.get_one(SyncRow, project.id).synced_until = until

    def end_sync(self, project: Project, *, is_complete: bool, is_full: bool = False) -> None:
        """Give the turn back; `is_full`: all tasks were looked at."""
        now = utc_now()
        with self._database.writing() as session:
            row = session.get_one(SyncRow, project.id)
            row.lease_until = None
            row.synced_at = now if is_complete else row.synced_at
            if is_full:
                row.full_synced_at, row.full_after = now, None
