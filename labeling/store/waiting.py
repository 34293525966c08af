"""Wishes that wait: given back by a worker, held up by an outage or by who annotates the task; and what somebody on the
page waited for in vain.
"""

from datetime import datetime

from sqlalchemy import or_, select, update

from labeling.store.database import Database
from labeling.store.operations_records import HeldBackPrediction, UnpredictedTask
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
            rows = session.execute(query.order_by(PredictionRow.id))
            return [UnpredictedTask(row_id, task, reason or "") for row_id, task, reason in rows]

    def hold_back(self, prediction_id: int, reason: str) -> None:
        """It is computed and must not be sent now, with a reason for people."""
        ready = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status == "ready")
        with self._database.writing() as session:
            session.execute(ready.values(status="held_back", error=reason))

    def held_back_predictions(self, project: Project, model_version: str) -> list[HeldBackPrediction]:
        """Those of this version, by task."""
        query = select(PredictionRow.id, PredictionRow.task_id, PredictionRow.plan_digest).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.model_version == model_version,
            PredictionRow.status == "held_back",
        )
        with self._database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.task_id, PredictionRow.id))
            return [HeldBackPrediction(*row) for row in rows]

    def let_go(self, prediction_id: int) -> None:
        """What was held back answers nothing that its task asks any more."""
        held_back = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status == "held_back")
        with self._database.writing() as session:
            session.execute(held_back.values(status="cancelled"))

    def failed_answers(self, project: Project, since: datetime, limit: int = 100) -> list[UnpredictedTask]:
        """What annotators asked for on the page and did not get, the newest first; a task once for each reason."""
        query = select(PredictionRow.id, PredictionRow.task_id, PredictionRow.error).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.interactive,
            PredictionRow.status.in_(["failed", "wanted", "ready"]),
            or_(PredictionRow.status == "failed", PredictionRow.delivery == "push"),  # push: the page gave up
            PredictionRow.updated_at >= since,
        )
        failed: dict[tuple[int, str], UnpredictedTask] = {}
        with self._database.reading() as session:
            for row_id, task, error in session.execute(query.order_by(PredictionRow.id.desc()).limit(limit)):
                reason = error or "The page stopped waiting before the answer came."
                failed.setdefault((task, reason), UnpredictedTask(row_id, task, reason))
        return list(failed.values())

    def waited_s(self, prediction_id: int) -> float:
        """Seconds since it was wished for; 0 if there is none of this id."""
        with self._database.reading() as session:
            row = session.get(PredictionRow, prediction_id)
            return 0.0 if row is None else (utc_now() - row.created_at).total_seconds()
