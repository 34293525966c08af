"""How far predictions got: counts, failures, delays and the pace."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import cast

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import aliased

from labeling.store.base import utc_now
from labeling.store.database import Database
from labeling.store.predictions.records import (
    SENT_STATUSES,
    AnsweredTask,
    Delay,
    Pace,
    PredictionStatus,
    UnpredictedTask,
)
from labeling.store.predictions.rows import of_version
from labeling.store.predictions.tables import PredictionRow
from labeling.store.projects import Project, ProjectRow

_PACE_SAMPLE = 200  # predictions


@dataclass
class ProgressStore:
    """Questions about many predictions at once."""

    database: Database

    def counts(self, project_id: int | None = None) -> dict[str, int]:
        """How many predictions are in each status (absent: none), of one Label Studio project or of all."""
        query = select(PredictionRow.status, func.count()).group_by(PredictionRow.status)
        if project_id is not None:
            query = query.join(ProjectRow).where(ProjectRow.project_id == project_id)
        with self.database.reading() as session:
            return dict(session.execute(query).all())

    def versions(self, limit: int = 100) -> list[str]:
        """The versions that predictions were requested of, the newest first."""
        query = select(PredictionRow.model_version).group_by(PredictionRow.model_version)
        with self.database.reading() as session:
            return list(session.scalars(query.order_by(func.max(PredictionRow.id).desc()).limit(limit)))

    def version_counts(self, project: Project) -> dict[str, dict[str, int]]:
        """How many predictions of each version are in each status, the newest version first; no typed prompts."""
        query = select(PredictionRow.model_version, PredictionRow.status, func.count(), func.max(PredictionRow.id))
        query = query.where(PredictionRow.project_row_id == project.id, PredictionRow.interactive.is_(False))
        query = query.group_by(PredictionRow.model_version, PredictionRow.status)
        counts: dict[str, dict[str, int]] = {}
        with self.database.reading() as session:
            for version, status, count, _ in session.execute(query.order_by(func.max(PredictionRow.id).desc())):
                counts.setdefault(version, {})[status] = count
        return counts

    def statuses(
        self, project: Project, model_version: str, task_ids: Collection[int]
    ) -> dict[tuple[int, str], PredictionStatus]:
        """How far the predictions of these tasks got, by (task id, digest of the plan); absent: never requested."""
        query = select(PredictionRow.task_id, PredictionRow.plan_digest, PredictionRow.status)
        query = query.where(of_version(project, model_version), PredictionRow.task_id.in_(task_ids))
        with self.database.reading() as session:
            return {(task, digest): cast(PredictionStatus, status) for task, digest, status in session.execute(query)}

    def answered_tasks(
        self, project: Project, model_version: str, task_ids: Collection[int]
    ) -> dict[int, AnsweredTask]:
        """Of these tasks those to which we sent a prediction of this version, with what the one sent last answers."""
        query = select(PredictionRow.task_id, PredictionRow.plan_digest, PredictionRow.task_data).where(
            of_version(project, model_version),
            PredictionRow.task_id.in_(task_ids),
            PredictionRow.status.in_(SENT_STATUSES),
        )
        with self.database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.updated_at, PredictionRow.id))
            return {task: AnsweredTask(digest, data) for task, digest, data in rows}

    def failed_tasks(self, project: Project, model_version: str) -> list[UnpredictedTask]:
        """Tasks without a prediction of this version because it failed, by task."""
        failed, other = PredictionRow, aliased(PredictionRow)
        better = exists().where(
            other.project_row_id == failed.project_row_id,
            other.task_id == failed.task_id,
            other.model_version == failed.model_version,
            other.interactive.is_(False),
            other.status.not_in(["failed", "cancelled"]),
        )
        query = select(failed.id, failed.task_id, failed.error)
        query = query.where(of_version(project, model_version), failed.status == "failed", ~better)
        with self.database.reading() as session:
            rows = session.execute(query.order_by(failed.task_id, failed.id))
            newest = {task: (row_id, reason or "The reason is not known.") for row_id, task, reason in rows}
        return [UnpredictedTask(row_id, task, reason) for task, (row_id, reason) in newest.items()]

    def delays(self, project: Project, model_version: str) -> list[Delay]:
        """What holds up predictions of this version, the most frequent reason first."""
        count = func.count()
        query = select(PredictionRow.status, PredictionRow.error, count)
        query = query.where(
            of_version(project, model_version),
            PredictionRow.status.in_(["requested", "ready"]),
            PredictionRow.error.is_not(None),
        )
        query = query.group_by(PredictionRow.status, PredictionRow.error).order_by(count.desc(), PredictionRow.error)
        with self.database.reading() as session:
            rows = session.execute(query)
            return [Delay(cast(PredictionStatus, status), reason or "", tasks) for status, reason, tasks in rows]

    def delayed_tasks(self, project: Project) -> list[UnpredictedTask]:
        """Tasks that are still `requested` or `ready` because of an outage, the longest waiting first."""
        query = select(PredictionRow.id, PredictionRow.task_id, PredictionRow.error).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.status.in_(["requested", "ready"]),
            PredictionRow.interactive.is_(False),
            PredictionRow.error.is_not(None),
        )
        with self.database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.id))
            return [UnpredictedTask(row_id, task, reason or "") for row_id, task, reason in rows]

    def failed_answers(self, project: Project, since: datetime, limit: int = 100) -> list[UnpredictedTask]:
        """What annotators asked for on the page and did not get, the newest first; a task once for each reason."""
        query = select(PredictionRow.id, PredictionRow.task_id, PredictionRow.error).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.interactive,
            PredictionRow.status.in_(["failed", "requested", "ready"]),
            or_(PredictionRow.status == "failed", PredictionRow.delivery == "push"),  # push: the page gave up
            PredictionRow.updated_at >= since,
        )
        failed: dict[tuple[int, str], UnpredictedTask] = {}
        with self.database.reading() as session:
            for row_id, task, error in session.execute(query.order_by(PredictionRow.id.desc()).limit(limit)):
                reason = error or "The page stopped waiting before the answer came."
                failed.setdefault((task, reason), UnpredictedTask(row_id, task, reason))
        return list(failed.values())

    def is_overtaken(self, prediction_id: int, seconds: float) -> bool:
        """Whether it was postponed, and has been ready for so long, while others of its project were sent."""
        late, other = PredictionRow, aliased(PredictionRow)
        query = select(late.id).where(
            late.id == prediction_id,
            late.status == "ready",
            late.error.is_not(None),
            late.computed_at <= utc_now() - timedelta(seconds=seconds),
            exists().where(
                other.project_row_id == late.project_row_id,
                other.status == "published",
                other.updated_at >= late.computed_at,
            ),
        )
        with self.database.reading() as session:
            return session.scalar(query) is not None

    def pace(self, *, weights: str, project: Project | None = None, since: datetime | None = None) -> Pace | None:
        """The pace of the newest predictions of a model of this name, of one project or of all; None if none is known.

        Only time in which something was being computed counts, so that several workers, batches and nights are right.
        """
        query = select(PredictionRow.begun_at, PredictionRow.computed_at).where(
            PredictionRow.computed_at.is_not(None),
            PredictionRow.model_version.startswith(f"{weights} · ", autoescape=True),
        )
        if project is not None:
            query = query.where(PredictionRow.project_row_id == project.id)
        if since is not None:
            query = query.where(PredictionRow.computed_at >= since)
        with self.database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.computed_at.desc()).limit(_PACE_SAMPLE)).all()
        spans = [(max(begun, since or begun), computed) for begun, computed in rows if begun and computed]
        return Pace(_covered_s(spans) / len(spans), len(spans)) if spans else None


def _covered_s(spans: Iterable[tuple[datetime, datetime]]) -> float:
    """Seconds that are in at least one of the spans."""
    edges = sorted([(begun, 1) for begun, _ in spans] + [(end, -1) for _, end in spans])
    covered, open_spans = 0.0, 0
    for (start, change), (end, _) in pairwise(edges):
        open_spans += change
        covered += (end - start).total_seconds() if open_spans else 0.0
    return covered
