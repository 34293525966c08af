"""Work on whole projects: runs, their progress and failures, the pace, and predictions that newer ones replaced."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text, update
from sqlalchemy.orm import aliased

from labeling.store.correction_tables import EventRow
from labeling.store.database import Database
from labeling.store.operations_records import (
    AnsweredPrediction,
    AnsweredTask,
    Delay,
    Pace,
    PredictionRun,
    RunOptions,
    RunOutcome,
    SentPrediction,
    UnpredictedTask,
)
from labeling.store.operations_tables import PredictionRunRow
from labeling.store.records import PredictionStatus, Project
from labeling.store.tables import PredictionRow, utc_now

_SENT = ("published", "delivered")
_PACE_SAMPLE = 200  # predictions


class OperationStore:
    """The part of `Store` that is about work on whole projects."""

    _database: Database

    def begin_run(self, project: Project, model_version: str, options: RunOptions) -> PredictionRun:
        """Open a run over a project; one that was open before is closed, because this one does its work."""
        row = PredictionRunRow(
            project_row_id=project.id,
            model_version=model_version,
            only_unlabeled=options.only_unlabeled,
            task_limit=options.limit,
            pin=options.pin,
        )
        with self._database.writing() as session:
            session.execute(_open_runs(project).values(outcome="finished", ended_at=utc_now()))
            session.add(row)
            session.flush()
            return _run(row)

    def resume_run(self, project: Project, run_id: int, model_version: str) -> PredictionRun:
        """Open a run again that was cancelled, for the version of now; what it has put to work stays counted."""
        with self._database.writing() as session:
            session.execute(_open_runs(project).values(outcome="finished", ended_at=utc_now()))
            row = session.get_one(PredictionRunRow, run_id)
            row.model_version, row.outcome, row.ended_at = model_version, None, None
            session.flush()
            return _run(row)

    def find_open_run(self, project: Project) -> PredictionRun | None:
        """The run over this project that neither finished nor was cancelled."""
        return self._newest_run(_runs(project).where(PredictionRunRow.outcome.is_(None)))

    def find_last_run(self, project: Project) -> PredictionRun | None:
        """The newest run over this project, whatever became of it."""
        return self._newest_run(_runs(project))

    def count_into_run(self, run_id: int, tasks: int) -> None:
        """So many more tasks were put to work by this run."""
        with self._database.writing() as session:
            counted = update(PredictionRunRow).where(PredictionRunRow.id == run_id)
            session.execute(counted.values(wanted=PredictionRunRow.wanted + tasks))

    def end_runs(self, project: Project, outcome: RunOutcome) -> None:
        """Close the open runs over this project."""
        with self._database.writing() as session:
            session.execute(_open_runs(project).values(outcome=outcome, ended_at=utc_now()))

    def task_statuses(
        self, project: Project, model_version: str, task_ids: Collection[int]
    ) -> dict[tuple[int, str], PredictionStatus]:
        """How far the predictions of these tasks got, by (task id, digest of the plan); absent: never wanted."""
        query = select(PredictionRow.task_id, PredictionRow.plan_digest, PredictionRow.status)
        query = query.where(_of_version(project, model_version), PredictionRow.task_id.in_(task_ids))
        with self._database.reading() as session:
            return {(task, digest): cast(PredictionStatus, status) for task, digest, status in session.execute(query)}

    def wished_tasks(self, project: Project, task_ids: Collection[int]) -> set[int]:
        """Those of these tasks that were ever wished for, of whatever version and whatever became of it."""
        query = select(PredictionRow.task_id).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.task_id.in_(task_ids),
            PredictionRow.interactive.is_(False),
        )
        with self._database.reading() as session:
            return set(session.scalars(query))

    def answered_tasks(
        self, project: Project, model_version: str, task_ids: Collection[int]
    ) -> dict[int, AnsweredTask]:
        """Of these tasks those to which we sent a prediction of this version, with what the one sent last answers."""
        query = select(PredictionRow.task_id, PredictionRow.plan_digest, PredictionRow.task_data).where(
            _of_version(project, model_version), PredictionRow.task_id.in_(task_ids), PredictionRow.status.in_(_SENT)
        )
        with self._database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.updated_at, PredictionRow.id))
            return {task: AnsweredTask(digest, data) for task, digest, data in rows}

    def version_counts(self, project: Project) -> dict[str, dict[str, int]]:
        """How many predictions of each version are in each status, the newest version first; no typed prompts."""
        query = select(PredictionRow.model_version, PredictionRow.status, func.count(), func.max(PredictionRow.id))
        query = query.where(PredictionRow.project_row_id == project.id, PredictionRow.interactive.is_(False))
        query = query.group_by(PredictionRow.model_version, PredictionRow.status)
        counts: dict[str, dict[str, int]] = {}
        with self._database.reading() as session:
            for version, status, count, _ in session.execute(query.order_by(func.max(PredictionRow.id).desc())):
                counts.setdefault(version, {})[status] = count
        return counts

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
        query = query.where(_of_version(project, model_version), failed.status == "failed", ~better)
        with self._database.reading() as session:
            rows = session.execute(query.order_by(failed.task_id, failed.id))
            newest = {task: (row_id, reason or "The reason is not known.") for row_id, task, reason in rows}
        return [UnpredictedTask(row_id, task, reason) for task, (row_id, reason) in newest.items()]

    def delays(self, project: Project, model_version: str) -> list[Delay]:
        """What holds up predictions of this version, the most frequent reason first."""
        count = func.count()
        query = select(PredictionRow.status, PredictionRow.error, count)
        query = query.where(
            _of_version(project, model_version),
            PredictionRow.status.in_(["wanted", "ready"]),
            PredictionRow.error.is_not(None),
        )
        query = query.group_by(PredictionRow.status, PredictionRow.error).order_by(count.desc(), PredictionRow.error)
        with self._database.reading() as session:
            rows = session.execute(query)
            return [Delay(cast(PredictionStatus, status), reason or "", tasks) for status, reason, tasks in rows]

    def is_overtaken(self, prediction_id: int, seconds: float) -> bool:
        """Whether it was put off, and has been ready for so long, while others of its project were sent."""
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
        with self._database.reading() as session:
            return session.scalar(query) is not None

    def forget_failure(self, prediction_id: int) -> None:
        """The task that failed is gone: nobody has to see it any more."""
        failed = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status == "failed")
        with self._database.writing() as session:
            session.execute(failed.values(status="cancelled"))

    def cancel_predictions(self, project: Project) -> list[int]:
        """Take back the wishes that nobody waits for and no worker has begun, or that are put off; returns which.

        The runs that wanted them do not count them any more.
        """
        wanted = update(PredictionRow).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.status == "wanted",
            PredictionRow.delivery == "push",
            PredictionRow.interactive.is_(False),
            or_(PredictionRow.attempts == 0, PredictionRow.error.is_not(None)),
        )
        cancelling = wanted.values(status="cancelled").returning(PredictionRow.id, PredictionRow.run_id)
        with self._database.writing() as session:
            cancelled = session.execute(cancelling, execution_options={"synchronize_session": False}).all()
            for run_id, count in Counter(run_id for _, run_id in cancelled).items():
                run = update(PredictionRunRow).where(PredictionRunRow.id == run_id)
                session.execute(run.values(wanted=PredictionRunRow.wanted - count))
            return [row_id for row_id, _ in cancelled]

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
        with self._database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.computed_at.desc()).limit(_PACE_SAMPLE)).all()
        spans = [(max(begun, since or begun), computed) for begun, computed in rows if begun and computed]
        return Pace(_covered_s(spans) / len(spans), len(spans)) if spans else None

    def superseded_predictions(self, project: Project, kept_versions: Sequence[str]) -> list[SentPrediction]:
        """Predictions that we sent, of other versions, on tasks that hold one of `kept_versions` that we sent too."""
        number = PredictionRow.label_studio_prediction_id
        query = _superseded(project, kept_versions).where(number.is_not(None))
        with self._database.reading() as session:
            rows = session.execute(query.add_columns(number).order_by(PredictionRow.id))
            return [SentPrediction(row_id, task, version, sent or 0) for row_id, task, version, sent in rows]

    def superseded_answers(self, project: Project, kept_versions: Sequence[str]) -> list[AnsweredPrediction]:
        """The same of those whose numbers in Label Studio are not known, by task."""
        query = _superseded(project, kept_versions).where(PredictionRow.label_studio_prediction_id.is_(None))
        with self._database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.task_id, PredictionRow.id))
            return [AnsweredPrediction(row_id, task, version) for row_id, task, version in rows]

    def mark_pruned(self, prediction_id: int) -> None:
        """Label Studio does not hold it any more. It stays here, for corrections that were made from it."""
        pruned = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status.in_(_SENT))
        with self._database.writing() as session:
            session.execute(pruned.values(status="pruned", label_studio_prediction_id=None))

    def _newest_run(self, runs: Select[PredictionRunRow]) -> PredictionRun | None:
        with self._database.reading() as session:
            row = session.scalar(runs.order_by(PredictionRunRow.id.desc()).limit(1))
            return None if row is None else _run(row)

    def schema_revision(self) -> str:
        """The newest migration that ran."""
        with self._database.reading() as session:
            return str(session.scalar(text("SELECT version_num FROM alembic_version")))

    def newest_event(self) -> int:
        """The id of the newest stored event, 0 if there is none."""
        with self._database.reading() as session:
            return session.scalar(select(func.max(EventRow.id))) or 0

    def has_event(self, action: str, project_id: int, *, after: int) -> bool:
        """Whether an event of this kind, of this Label Studio project, was stored after the event `after`."""
        query = select(EventRow.payload).where(EventRow.id > after, EventRow.action == action)
        with self._database.reading() as session:
            projects = [payload.get("project") for payload in session.scalars(query)]
        return any(isinstance(project, dict) and project.get("id") == project_id for project in projects)


def _runs(project: Project) -> Select[PredictionRunRow]:
    return select(PredictionRunRow).where(PredictionRunRow.project_row_id == project.id)


def _open_runs(project: Project) -> Any:
    return update(PredictionRunRow).where(
        PredictionRunRow.project_row_id == project.id, PredictionRunRow.outcome.is_(None)
    )


def _of_version(project: Project, model_version: str) -> ColumnElement[bool]:
    return and_(
        PredictionRow.project_row_id == project.id,
        PredictionRow.model_version == model_version,
        PredictionRow.interactive.is_(False),
    )


def _superseded(project: Project, kept_versions: Sequence[str]) -> Select[int, int, str]:
    """Row, task and version of what is replaced by one of `kept_versions` on the same task."""
    old, kept = PredictionRow, aliased(PredictionRow)
    replaced = exists().where(
        kept.project_row_id == old.project_row_id,
        kept.task_id == old.task_id,
        kept.model_version.in_(kept_versions),
        kept.status.in_(_SENT),
        kept.interactive.is_(False),
    )
    return select(old.id, old.task_id, old.model_version).where(
        old.project_row_id == project.id,
        old.status.in_(_SENT),
        old.interactive.is_(False),
        old.model_version.not_in(kept_versions),
        replaced,
    )


def _covered_s(spans: Iterable[tuple[datetime, datetime]]) -> float:
    """Seconds that are in at least one of the spans."""
    edges = sorted([(begun, 1) for begun, _ in spans] + [(end, -1) for _, end in spans])
    covered, open_spans = 0.0, 0
    for (start, change), (end, _) in pairwise(edges):
        open_spans += change
        covered += (end - start).total_seconds() if open_spans else 0.0
    return covered


def _run(row: PredictionRunRow) -> PredictionRun:
    options = RunOptions(row.only_unlabeled, row.task_limit, row.pin)
    return PredictionRun(row.id, row.model_version, options, row.wanted, cast(RunOutcome | None, row.outcome))
