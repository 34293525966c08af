"""Webhook events as they came."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, String, and_, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column

from labeling.errors import StoreError
from labeling.store.base import Base, is_older, utc_now
from labeling.store.database import Database


class EventRow(Base):
    """A webhook's payload, stored before it was answered."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_processed", "processed_at", "received_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    label_studio_url: Mapped[str | None] = mapped_column(String(500))
    idempotency_key: Mapped[str | None] = mapped_column(String(36), unique=True, index=True)
    received_at: Mapped[datetime] = mapped_column(default=utc_now)
    processed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    note: Mapped[str | None]
    attempts: Mapped[int] = mapped_column(default=0, server_default="0")


@dataclass(frozen=True)
class EventRecord:
    """A webhook's payload as it came. `note` says what was skipped in it."""

    id: int
    action: str
    payload: dict[str, Any]
    label_studio_url: str | None
    received_at: datetime
    processed_at: datetime | None
    error: str | None
    note: str | None


@dataclass(frozen=True)
class EventFailure:
    """An event of which nothing came, and why."""

    id: int
    action: str
    reason: str


@dataclass
class EventStore:
    """Webhook events."""

    database: Database
    webhook_database: Database  # with a short busy timeout
    _not_counting: list[int] = field(default_factory=list)

    def record(
        self,
        action: str,
        payload: dict[str, Any],
        *,
        label_studio_url: str | None = None,
        idempotency_key: str | None = None,
    ) -> int:
        """Commit a webhook's payload and return its id. Equal payloads are kept too: an event carries no id of its own.

        `idempotency_key`: one that its receiver gave it; what comes again with the same is the same event.
        Waits half a second at most for another writer: then StoreError, and the payload must be kept elsewhere.
        """
        row = EventRow(
            action=_storable(action)[:64],
            payload=payload,
            label_studio_url=label_studio_url,
            idempotency_key=idempotency_key,
        )
        try:
            with self.webhook_database.writing() as session:
                session.add(row)
                session.flush()
                return row.id
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
        with self.webhook_database.reading() as session:
            return session.scalars(select(EventRow.id).where(EventRow.idempotency_key == idempotency_key)).one()

    def require_writable(self) -> None:
        """StoreError if an event cannot be kept just now: another writer, no rights, or no room on the disk."""
        with self.webhook_database.writing() as session:
            session.execute(select(EventRow.id).limit(1))
        self.webhook_database.require_room()

    def get(self, event_id: int) -> EventRecord:
        """StoreError if there is none of this id."""
        with self.database.reading() as session:
            row = session.get(EventRow, event_id)
            if row is None:
                raise StoreError(f"There is no event {event_id} in the store. Was the database replaced?")
            return EventRecord(
                id=row.id,
                action=row.action,
                payload=row.payload,
                label_studio_url=row.label_studio_url,
                received_at=row.received_at,
                processed_at=row.processed_at,
                error=row.error,
                note=row.note,
            )

    def begin(self, event_id: int) -> int:
        """Count one more attempt to process an event, before it is read; how many there were with it.

        0 for one that is processed, or not there: nothing is left to do.
        """
        with self.database.writing() as session:
            for owed in self._not_counting:  # the store was away when they were to be taken off
                self._take_off(session, owed)
            self._not_counting.clear()
            begun = update(EventRow).where(EventRow.id == event_id, EventRow.processed_at.is_(None))
            return session.scalar(begun.values(attempts=EventRow.attempts + 1).returning(EventRow.attempts)) or 0

    def postpone(self, event_id: int) -> None:
        """The last attempt was nobody's fault, and does not count; also where the store cannot be written just now."""
        try:
            with self.database.writing() as session:
                self._take_off(session, event_id)
        except StoreError:
            self._not_counting.append(event_id)

    @staticmethod
    def _take_off(session: Session, event_id: int) -> None:
        fewer = update(EventRow).where(EventRow.id == event_id, EventRow.attempts > 0)
        session.execute(fewer.values(attempts=EventRow.attempts - 1))

    def failures(self, within: timedelta) -> list[EventFailure]:
        """What was set aside lately, newest first."""
        query = select(EventRow.id, EventRow.action, EventRow.error).where(
            EventRow.error.is_not(None), EventRow.processed_at >= utc_now() - within
        )
        with self.database.reading() as session:
            rows = session.execute(query.order_by(EventRow.id.desc()))
            return [EventFailure(row.id, row.action, row.error) for row in rows]

    def mark_processed(self, event_id: int, error: str | None = None, note: str | None = None) -> None:
        """Done with it; `error` says why nothing came of it, `note` what was left out."""
        with self.database.writing() as session:
            done = update(EventRow).where(EventRow.id == event_id)
            session.execute(done.values(processed_at=utc_now(), error=error, note=note))

    def unprocessed(self, older_than_s: float, *, after: int = 0, limit: int | None = None) -> list[int]:
        """Ids of events that arrived longer ago than this and were not processed: those larger than `after`, in
        order.
        """
        query = select(EventRow.id).where(_is_unprocessed(older_than_s), EventRow.id > after)
        with self.database.reading() as session:
            return list(session.scalars(query.order_by(EventRow.id).limit(limit)))

    def count_unprocessed(self, older_than_s: float) -> int:
        """How many these are."""
        with self.database.reading() as session:
            return session.scalar(select(func.count()).where(_is_unprocessed(older_than_s))) or 0

    def newest(self) -> int:
        """The id of the newest stored event, 0 if there is none."""
        with self.database.reading() as session:
            return session.scalar(select(func.max(EventRow.id))) or 0

    def has(self, action: str, project_id: int, *, after: int) -> bool:
        """Whether an event of this kind, of this Label Studio project, was stored after the event `after`."""
        query = select(EventRow.payload).where(EventRow.id > after, EventRow.action == action)
        with self.database.reading() as session:
            projects = [payload.get("project") for payload in session.scalars(query)]
        return any(isinstance(project, dict) and project.get("id") == project_id for project in projects)


def _is_unprocessed(older_than_s: float) -> ColumnElement[bool]:
    return and_(EventRow.processed_at.is_(None), is_older(EventRow.received_at, older_than_s))


def _storable(text: str) -> str:
    """Without what a text column does not take: NUL (PostgreSQL), and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode()
