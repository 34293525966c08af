"""Webhook events as they came, and the corrections that they turned into."""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import aliased

from labeling.errors import StoreError
from labeling.store.blobs import BlobStore
from labeling.store.database import Database, to_json_text
from labeling.store.records import Correction, CorrectionKind, CorrectionRecord, EventRecord, Project
from labeling.store.tables import CorrectionRow, EventRow, ProjectRow, ReviewRow, utc_now


class EventStore:
    """The part of `Store` that is about events and corrections."""

    _database: Database
    _webhook_database: Database  # with a short busy timeout
    _blobs: BlobStore

    def record_event(self, action: str, payload: dict[str, Any], *, label_studio_url: str | None = None) -> int:
        """Commit a webhook's payload and return its id. Equal payloads are kept too: an event carries no id of its own.

        Waits half a second at most for another writer: then StoreError, and the payload must be kept elsewhere.
        """
        digest = hashlib.sha256(to_json_text(payload).encode()).hexdigest()
        row = EventRow(action=action[:64], payload=payload, payload_sha256=digest, label_studio_url=label_studio_url)
        with self._webhook_database.writing() as session:
            session.add(row)
            session.flush()
            return row.id

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

    def save_corrections(
        self, event_id: int, project: Project, corrections: Sequence[Correction], annotation_ids: Iterable[int] = ()
    ) -> None:
        """Store what an event told about annotations; `annotation_ids` names those of which nothing is left.

        For each annotation the newest event counts, in whatever order events are processed; what older ones told is
        kept. Saving an event again replaces what it told.
        """
        rows = {
            annotation_id: ReviewRow(event_id=event_id, project_row_id=project.id, annotation_id=annotation_id)
            for annotation_id in {*annotation_ids, *(correction.annotation_id for correction in corrections)}
        }
        corrected = [self._correction_row(rows[correction.annotation_id], correction) for correction in corrections]
        with self._database.writing() as session:
            session.execute(delete(ReviewRow).where(ReviewRow.event_id == event_id))
            session.add_all([*rows.values(), *corrected])

    def list_corrections(self, project_id: int | None = None, *, with_history: bool = False) -> list[CorrectionRecord]:
        """Corrections of one Label Studio project or of all, as the newest event of each annotation tells them."""
        query = select(CorrectionRow, ReviewRow, ProjectRow.project_id)
        query = query.join(ReviewRow, CorrectionRow.review_id == ReviewRow.id)
        query = query.join(ProjectRow, ReviewRow.project_row_id == ProjectRow.id)
        if project_id is not None:
            query = query.where(ProjectRow.project_id == project_id)
        if not with_history:
            other = aliased(ReviewRow)
            same = (other.project_row_id == ReviewRow.project_row_id) & (other.annotation_id == ReviewRow.annotation_id)
            newest = select(func.max(other.event_id)).where(same).correlate(ReviewRow).scalar_subquery()
            query = query.where(ReviewRow.event_id == newest)
        with self._database.reading() as session:
            return [_record(*row) for row in session.execute(query.order_by(CorrectionRow.id))]

    def _correction_row(self, review: ReviewRow, correction: Correction) -> CorrectionRow:
        before, after = correction.mask_before, correction.mask_after
        return CorrectionRow(
            review=review,
            task_id=correction.task_id,
            region_id=correction.region_id,
            label=correction.label,
            kind=correction.kind,
            mask_before=None if before is None else self._blobs.put_mask(before),
            mask_after=None if after is None else self._blobs.put_mask(after),
            iou=correction.iou,
            annotator_id=correction.annotator_id,
            lead_time_s=correction.lead_time_s,
            capped_lead_time_s=correction.capped_lead_time_s,
            model_version=correction.model_version,
        )


def _record(row: CorrectionRow, review: ReviewRow, project_id: int) -> CorrectionRecord:
    return CorrectionRecord(
        id=row.id,
        event_id=review.event_id,
        project_id=project_id,
        annotation_id=review.annotation_id,
        task_id=row.task_id,
        region_id=row.region_id,
        label=row.label,
        kind=cast(CorrectionKind, row.kind),
        mask_before=row.mask_before,
        mask_after=row.mask_after,
        iou=row.iou,
        annotator_id=row.annotator_id,
        lead_time_s=row.lead_time_s,
        capped_lead_time_s=row.capped_lead_time_s,
        model_version=row.model_version,
    )
