"""How far each project's annotations were read from Label Studio; one reader at a time."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ForeignKey, func, select
from sqlalchemy.orm import Mapped, mapped_column

from labeling.store.annotations.tables import AnnotationRow
from labeling.store.base import Base, is_leased, utc_now
from labeling.store.database import Database
from labeling.store.events import EventRow
from labeling.store.projects import Project, ProjectRow

FOUND = "ANNOTATION_FOUND"
"""The action of events that report what was read from Label Studio, not what a webhook brought."""


class SyncRow(Base):
    """How far the annotations of a project were read from Label Studio, and who reads them now.

    `full_after`: the task up to which the open pass over all tasks got; None: no pass is open.
    """

    __tablename__ = "annotation_syncs"

    project_row_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id", name="fk_annotation_syncs_project"), primary_key=True
    )
    synced_until: Mapped[datetime | None]
    synced_at: Mapped[datetime | None]
    full_synced_at: Mapped[datetime | None]
    full_after: Mapped[int | None]
    lease_until: Mapped[datetime | None]


@dataclass(frozen=True)
class SyncTurn:
    """Leave to read a project's annotations from Label Studio: those of tasks changed after `since` (None: never read).

    `full_synced_at`: when all tasks were last looked at; `full_after`: the task up to which an open pass over them got.
    """

    since: datetime | None
    full_synced_at: datetime | None
    full_after: int | None


@dataclass
class AnnotationSyncStore:
    """The turns to read annotations from Label Studio."""

    database: Database

    def begin(self, project: Project, *, lease_s: float, not_within_s: float = 0.0) -> SyncTurn | None:
        """Take the turn for `lease_s` seconds; None if another process has it, or had it less than so long ago."""
        now = utc_now()
        with self.database.writing() as session:
            session.get_one(ProjectRow, project.id, with_for_update=True)
            row = session.get(SyncRow, project.id)
            if row is None:
                row = SyncRow(project_row_id=project.id)
                session.add(row)
            is_fresh = row.synced_at is not None and row.synced_at > now - timedelta(seconds=not_within_s)
            if is_leased(row.lease_until, lease_s) or is_fresh:
                return None
            row.lease_until = now + timedelta(seconds=lease_s)
            return SyncTurn(row.synced_until, row.full_synced_at, row.full_after)

    def oldest_reported(self, project: Project) -> datetime | None:
        """When the oldest annotation was changed that an event reported after the last complete sync had ended.

        Such an event may be late: of an annotation that the sync had already found deleted.
        """
        query = (
            select(func.min(AnnotationRow.annotation_at))
            .join(EventRow, AnnotationRow.event_id == EventRow.id)
            .join(SyncRow, AnnotationRow.project_row_id == SyncRow.project_row_id)
            .where(AnnotationRow.project_row_id == project.id, EventRow.processed_at >= SyncRow.synced_at)
            .where(EventRow.action != FOUND)
        )
        with self.database.reading() as session:
            return session.scalar(query)

    def extend(self, project: Project, *, lease_s: float, full_after: int | None = None) -> None:
        """Keep the turn for another `lease_s` seconds; the pass over all tasks got up to the task `full_after`."""
        with self.database.writing() as session:
            row = session.get_one(SyncRow, project.id)
            row.lease_until = utc_now() + timedelta(seconds=lease_s)
            row.full_after = row.full_after if full_after is None else full_after

    def note_changes_read(self, project: Project, until: datetime) -> None:
        """All tasks that changed before `until`, by Label Studio's clock, were read, or are in the pass over all."""
        with self.database.writing() as session:
            session.get_one(SyncRow, project.id).synced_until = until

    def end(self, project: Project, *, is_complete: bool, is_full: bool = False) -> None:
        """Give the turn back; `is_full`: all tasks were looked at."""
        now = utc_now()
        with self.database.writing() as session:
            row = session.get_one(SyncRow, project.id)
            row.lease_until = None
            row.synced_at = now if is_complete else row.synced_at
            if is_full:
                row.full_synced_at, row.full_after = now, None
