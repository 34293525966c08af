"""Webhook events as they came."""

from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from labeling.errors import StoreError
from labeling.store.correction_records import EventRecord
from labeling.store.correction_tables import EventRow
from labeling.store.database import Database
from labeling.store.tables import utc_now


class EventStore:
    """The part of `Store` that is about events."""

    _database: Database
    _webhook_database: Database  # with a short busy timeout

    def record_event(
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
            with self._webhook_database.writing() as session:
                session.add(row)
                session.flush()
                return row.id
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
        with self._webhook_database.reading() as session:
            return session.scalars(select(EventRow.id).where(EventRow.idempotency_key == idempotency_key)).one()

    def get_event(self, event_id: int) -> EventRecord:
        """StoreError if there is none of this id."""
        with self._database.reading() as session:
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

    def mark_event_processed(self, event_id: int, error: str | None = None, note: str | None = None) -> None:
        """Done with it; `error` says why nothing came of it, `note` what was left out."""
        with self._database.writing() as session:
            done = update(EventRow).where(EventRow.id == event_id)
            session.execute(done.values(processed_at=utc_now(), error=error, note=note))

    def unprocessed_events(self, older_than_s: float) -> list[int]:
        """Ids of events that arrived longer ago than this and were not processed, oldest first."""
        before = utc_now() - timedelta(seconds=older_than_s)
        query = select(EventRow.id).where(EventRow.processed_at.is_(None), EventRow.received_at <= before)
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(EventRow.id)))


def _storable(text: str) -> str:
    """Without what a text column does not take: NUL (PostgreSQL), and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode()
