"""Wishes whose turn has not come yet: given back by a worker, or held up by an outage."""

from sqlalchemy import select, update

from labeling.store.database import Database
from labeling.store.operations_records import UnpredictedTask
from labeling.store.records import Project
from labeling.store.tables import PredictionRow, utc_now


class WaitingStore:
    """The part of `Store` that is about wishes that wait."""

    _database: Database

    def put_back(self, prediction_id: int) -> None:
        """A worker that had begun it did not try it: the attempt does not count."""
        begun = update(PredictionRow).where(
            PredictionRow.id == prediction_id, PredictionRow.status == "wanted", PredictionRow.attempts > 0
        )
        with self._database.writing() as session:
            session.execute(begun.values(attempts=PredictionRow.attempts - 1))

    def note_delay(self, prediction_id: int, reason: str) -> None:
        """Why it is still `wanted` or `ready`, for people. The reason is forgotten when it gets on."""
        waiting = update(PredictionRow).where(
            PredictionRow.id == prediction_id, PredictionRow.status.in_(["wanted", "ready"])
        )
        with self._database.writing() as session:
            session.execute(waiting.values(error=reason))

    def delayed_tasks(self, project: Project) -> list[UnpredictedTask]:
        """Tasks that are still `wanted` or `ready` because of an outage, the longest waiting first."""
        query = select(PredictionRow.id, PredictionRow.task_id, PredictionRow.error).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.status.in_(["wanted", "ready"]),
            PredictionRow.interactive.is_(False),
            PredictionRow.error.is_not(None),
        )
        with self._database.reading() as session:
            return [UnpredictedTask(*row) for row in session.execute(query.order_by(PredictionRow.id))]

    def waited_s(self, prediction_id: int) -> float:
        """Seconds since it was wished for; 0 if there is none of this id."""
        with self._database.reading() as session:
            row = session.get(PredictionRow, prediction_id)
            return 0.0 if row is None else (utc_now() - row.created_at).total_seconds()
