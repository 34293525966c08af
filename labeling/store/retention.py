"""What was kept long enough: payloads of events, and what annotators asked for on the page and did not take.

Corrections hold what training and statistics need of both: masks before and after, prompt, label, whether it was asked
for on the page. So nothing of these is lost by it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, select

from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.erasure import used_masks
from labeling.store.events import EventRow
from labeling.store.predictions.tables import PredictedRegionRow, PredictionRow

_AT_A_TIME = 50  # in one transaction: a webhook waits half a second for its turn to write
_ENDED = ("published", "delivered", "failed", "cancelled")
PRUNED: dict[str, Any] = {"pruned": True}
"""The payload of an event that an annotation came from, and that is kept for its time only."""


@dataclass
class RetentionStore:
    """What may go. Each question has its twin that does it."""

    database: Database
    blobs: BlobStore

    def old_events(self, before: datetime) -> int:
        """How many events were processed before this time and still have their payload."""
        return self._count(EventRow.id, _is_old_event(before))

    def forget_events(self, before: datetime) -> int:
        """Delete them; of those that annotations came from, the payload. Returns how many."""
        forgotten = 0
        while ids := self._some(select(EventRow.id).where(_is_old_event(before))):
            named = exists().where(AnnotationRow.event_id == EventRow.id)
            with self.database.writing() as session:
                session.execute(delete(EventRow).where(EventRow.id.in_(ids), ~named), execution_options=_UNSYNCED)
                for event in session.scalars(select(EventRow).where(EventRow.id.in_(ids))):
                    event.payload = PRUNED
                    event.action = f"{_PRUNED_ACTION}{event.action}"[:64]
            forgotten += len(ids)
        return forgotten

    def old_interactive(self, before: datetime) -> int:
        """How many answers to what was typed, boxed or pointed at on a page are older than this, and were not taken."""
        return self._count(PredictionRow.id, _is_old_interactive(before))

    def forget_interactive(self, before: datetime) -> int:
        """Delete them, and their masks unless something else shows the same. Returns how many."""
        forgotten = 0
        while ids := self._some(select(PredictionRow.id).where(_is_old_interactive(before))):
            with self.database.writing() as session:
                regions = PredictedRegionRow.prediction_id.in_(ids)
                masks = set(session.scalars(select(PredictedRegionRow.mask).where(regions)))
                session.execute(delete(PredictedRegionRow).where(regions), execution_options=_UNSYNCED)
                session.execute(delete(PredictionRow).where(PredictionRow.id.in_(ids)), execution_options=_UNSYNCED)
                orphans = masks - used_masks(session, masks)
            for digest in orphans:
                self.blobs.delete_unless_new(digest)
            forgotten += len(ids)
        return forgotten

    def _count(self, column: Any, is_meant: ColumnElement[bool]) -> int:
        with self.database.reading() as session:
            return session.scalar(select(func.count(column)).where(is_meant)) or 0

    def _some(self, ids: Select[int]) -> list[int]:
        with self.database.reading() as session:
            return list(session.scalars(ids.limit(_AT_A_TIME)))


_UNSYNCED = {"synchronize_session": False}
_PRUNED_ACTION = "pruned "


def _is_old_event(before: datetime) -> ColumnElement[bool]:
    return (EventRow.processed_at < before) & ~EventRow.action.startswith(_PRUNED_ACTION)


def _is_old_interactive(before: datetime) -> ColumnElement[bool]:
    """A mask that was taken stays: when its annotation is changed again, that is compared with what was asked for."""
    columns = CorrectionRow.__table__.c
    was_taken = exists().where(
        PredictedRegionRow.prediction_id == PredictionRow.id,
        columns.mask_before == PredictedRegionRow.mask,  # which has an index
        columns.predicted_region_id == PredictedRegionRow.region_id,
    )
    is_old = PredictionRow.interactive & PredictionRow.status.in_(_ENDED) & (PredictionRow.updated_at < before)
    return is_old & ~was_taken
