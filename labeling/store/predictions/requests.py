"""Requests: predictions that are asked for, until they are computed; each step atomic."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, Select, case, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from labeling.errors import StoreError
from labeling.prompts.plan import PromptPlan
from labeling.prompts.task_values import task_value
from labeling.store.base import utc_now
from labeling.store.database import Database
from labeling.store.predictions.records import SENT_STATUSES, Delivery, PredictionRequest, TaskRequest
from labeling.store.predictions.rows import change_row, get_row, prediction_request, rows_where, unchanged_rows
from labeling.store.predictions.tables import PredictionRow
from labeling.store.project_runs import ProjectRunRow
from labeling.store.projects import Project

_ROWS_AT_A_TIME = 500  # in one query: databases limit the parameters


@dataclass
class RequestStore:
    """Requests for predictions."""

    database: Database

    def add(
        self,
        project: Project,
        task_id: int,
        task_data: dict[str, Any],
        plan: PromptPlan,
        model_version: str,
        *,
        delivery: Delivery,
        interactive: bool = False,
        image_key: str = "image",
        run_id: int | None = None,
    ) -> PredictionRequest:
        """Record a request; the same one (project, task, version, prompts) is one row, except for interactive ones.

        A task whose data names another image (under `image_key`) than the row's is another request.

        An existing row is requested anew if it had failed. "sync" turns a queued push into an answer that someone waits
        for. A "push" of what was sent before makes it `ready` again: Label Studio asks only for what it does not have.
        `run_id`: the run over the project that requests it, and counts it.
        """
        row = _request_row(project, TaskRequest(task_id, task_data, plan), model_version, delivery, run_id, interactive)
        with self.database.writing() as session:
            existing = None if interactive else _existing_request(session, row)
            if existing is None:
                try:
                    with session.begin_nested():
                        session.add(row)
                except IntegrityError:  # another process was faster
                    existing = _existing_request(session, row)
            elif _shows_another_image(existing, row, image_key):
                _retire(session, existing)
                session.add(row)
                existing = None
            if existing is not None:
                _request_again(existing, delivery, run_id)
                existing.task_data = task_data
                row = existing
            session.flush()
            session.refresh(row)
            return prediction_request(row)

    def add_all(
        self,
        project: Project,
        tasks: Sequence[TaskRequest],
        model_version: str,
        *,
        delivery: Delivery,
        image_key: str = "image",
        run_id: int | None = None,
    ) -> list[PredictionRequest]:
        """Record many requests at once, each as `add` does; all of them or none."""
        rows = [_request_row(project, task, model_version, delivery, run_id) for task in tasks]
        try:
            with self.database.writing() as session:
                same = _same_requests(project.id, [row.task_id for row in rows], model_version)
                known = {(row.task_id, row.plan_digest): row for row in session.scalars(same)}
                for row in rows:
                    existing = known.setdefault((row.task_id, row.plan_digest), row)
                    if _shows_another_image(existing, row, image_key):
                        known[row.task_id, row.plan_digest] = row
                        _retire(session, existing)
                    elif existing is not row:
                        _request_again(existing, delivery, run_id)
                        existing.task_data = row.task_data
                session.add_all(known.values())
                session.flush()
                return [prediction_request(known[row.task_id, row.plan_digest]) for row in rows]
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # another process requested one of them meanwhile
            return [
                self.add(
                    project,
                    task.task_id,
                    task.task_data,
                    task.plan,
                    model_version,
                    delivery=delivery,
                    image_key=image_key,
                    run_id=run_id,
                )
                for task in tasks
            ]

    def retire(self, project: Project, model_version: str, task_ids: Sequence[int]) -> None:
        """What was sent of this version for these tasks is not what a new request for them asks: it is computed anew.

        What was predicted stays, for corrections of it.
        """
        same = _same_requests(project.id, task_ids, model_version).where(PredictionRow.status.in_(SENT_STATUSES))
        with self.database.writing() as session:
            for row in session.scalars(same).all():
                _retire(session, row)

    def begin(self, prediction_id: int) -> PredictionRequest | None:
        """Count an attempt and return the row if it is still requested; None if there is nothing to do any more."""
        with self.database.writing() as session:
            values = {"attempts": PredictionRow.attempts + 1, "begun_at": utc_now()}
            begun = change_row(session, rows_where(prediction_id, "requested").values(values))
            return prediction_request(get_row(session, prediction_id)) if begun else None

    def put_back(self, prediction_id: int) -> None:
        """A worker that had begun it did not try it: the attempt does not count."""
        begun = update(PredictionRow).where(
            PredictionRow.id == prediction_id, PredictionRow.status == "requested", PredictionRow.attempts > 0
        )
        with self.database.writing() as session:
            session.execute(begun.values(attempts=PredictionRow.attempts - 1))

    def note_delay(self, prediction_id: int, reason: str) -> None:
        """Why it is still `requested` or `ready`, for people. The reason is forgotten when it gets on."""
        waiting = update(PredictionRow).where(
            PredictionRow.id == prediction_id, PredictionRow.status.in_(["requested", "ready"])
        )
        with self.database.writing() as session:
            session.execute(waiting.values(error=reason))

    def postpone(self, prediction_id: int, reason: str) -> None:
        """It was begun, and cannot be done just now by no fault of its own: the attempt does not count."""
        begun = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status == "requested")
        fewer = case((PredictionRow.attempts > 0, PredictionRow.attempts - 1), else_=0)
        with self.database.writing() as session:
            session.execute(begun.values(error=reason, attempts=fewer))

    def cancel(self, prediction_ids: Sequence[int]) -> int:
        """Cancel requests for a version that is not to become active after all, unless they are computed or somebody
        waits for them; returns how many.
        """
        count = 0
        for start in range(0, len(prediction_ids), _ROWS_AT_A_TIME):
            some = PredictionRow.id.in_(prediction_ids[start : start + _ROWS_AT_A_TIME])
            waiting = update(PredictionRow).where(
                some, PredictionRow.status == "requested", PredictionRow.delivery == "push"
            )
            with self.database.writing() as session:
                cancelled = session.execute(waiting.values(status="cancelled"))
                count += cast(CursorResult[Any], cancelled).rowcount
        return count

    def cancel_all(self, project: Project) -> list[int]:
        """Cancel the requests that nobody waits for and no worker has begun, or that are postponed; returns which.

        The runs that made them do not count them any more.
        """
        waiting = update(PredictionRow).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.status == "requested",
            PredictionRow.delivery == "push",
            PredictionRow.interactive.is_(False),
            or_(PredictionRow.attempts == 0, PredictionRow.error.is_not(None)),
        )
        cancelling = waiting.values(status="cancelled").returning(PredictionRow.id, PredictionRow.run_id)
        with self.database.writing() as session:
            cancelled = session.execute(cancelling, execution_options={"synchronize_session": False}).all()
            for run_id, count in Counter(run_id for _, run_id in cancelled).items():
                run = update(ProjectRunRow).where(ProjectRunRow.id == run_id)
                session.execute(run.values(requested=ProjectRunRow.requested - count))
            return [row_id for row_id, _ in cancelled]

    def stale(self, older_than_s: float, *, after: int = 0, limit: int | None = None) -> list[int]:
        """Ids of rows that have been requested, and not begun, for longer than this: their jobs may be lost.

        Those larger than `after`, in order; there may be as many as there are tasks.
        """
        return unchanged_rows(self.database, "requested", older_than_s, after=after, limit=limit)

    def requested_tasks(self, project: Project, task_ids: Collection[int]) -> set[int]:
        """Those of these tasks that were ever requested, of whatever version and whatever became of it."""
        query = select(PredictionRow.task_id).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.task_id.in_(task_ids),
            PredictionRow.interactive.is_(False),
        )
        with self.database.reading() as session:
            return set(session.scalars(query))

    def waited_s(self, prediction_id: int) -> float:
        """Seconds since it was requested; 0 if there is none of this id."""
        with self.database.reading() as session:
            row = session.get(PredictionRow, prediction_id)
            return 0.0 if row is None else (utc_now() - row.created_at).total_seconds()


def _request_row(
    project: Project,
    task: TaskRequest,
    model_version: str,
    delivery: Delivery,
    run_id: int | None,
    interactive: bool = False,
) -> PredictionRow:
    return PredictionRow(
        project_row_id=project.id,
        task_id=task.task_id,
        task_data=task.task_data,
        plan=task.plan.to_json(),
        plan_digest=task.plan.digest(),
        model_version=model_version,
        delivery=delivery,
        interactive=interactive,
        status="requested",
        error=None,
        result=None,
        score=None,
        label_studio_prediction_id=None,
        run_id=run_id,
        attempts=0,
    )


def _same_requests(project_row_id: int, task_ids: Sequence[int], model_version: str) -> Select[PredictionRow]:
    query = select(PredictionRow).where(
        PredictionRow.project_row_id == project_row_id,
        PredictionRow.task_id.in_(task_ids),
        PredictionRow.model_version == model_version,
        PredictionRow.interactive.is_(False),
    )
    return query.with_for_update(of=PredictionRow)


def _existing_request(session: Session, row: PredictionRow) -> PredictionRow | None:
    same = _same_requests(row.project_row_id, [row.task_id], row.model_version)
    return session.scalar(same.where(PredictionRow.plan_digest == row.plan_digest))


def _shows_another_image(existing: PredictionRow, row: PredictionRow, image_key: str) -> bool:
    """Whether the existing row was computed, or is just now, of another image than the task's."""
    is_begun = existing.result is not None or (existing.status == "requested" and existing.attempts > 0)
    return is_begun and task_value(existing.task_data, image_key) != task_value(row.task_data, image_key)


def _retire(session: Session, row: PredictionRow) -> None:
    """The task shows another image now. What was predicted of the old one stays, for corrections of it."""
    row.plan_digest = f"{row.id} {row.plan_digest}"[:64]
    row.status = "cancelled" if row.status in ("requested", "ready", "postponed_for_draft") else row.status
    session.flush()  # its name is free before the new row takes it


def _request_again(row: PredictionRow, delivery: Delivery, run_id: int | None) -> None:
    if run_id is not None or row.status == "cancelled":  # its run does not count that any more
        row.run_id = run_id
    if row.status in ("failed", "cancelled"):
        row.status, row.error, row.delivery, row.attempts = "requested", None, delivery, 0
    elif row.status in ("pruned", "postponed_for_draft"):
        row.status, row.error, row.delivery = "ready", None, delivery
    elif row.status in ("requested", "ready"):
        row.delivery = "sync" if delivery == "sync" else row.delivery
    elif delivery == "push":
        row.status, row.delivery, row.label_studio_prediction_id = "ready", "push", None
