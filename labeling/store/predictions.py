"""Wanted predictions: from the wish over the computed result to its delivery, each step atomic."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, Select, Update, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from labeling.errors import StoreError
from labeling.predictions import Prediction
from labeling.prompts.plan import PromptPlan
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.records import (
    Delivered,
    Delivery,
    PredictedRegionRecord,
    PredictionStatus,
    Project,
    TaskWish,
    WantedPrediction,
)
from labeling.store.tables import PredictedRegionRow, PredictionRow, ProjectRow, utc_now

# a region's row comes with its prediction: a thousand regions must not come with a thousand copies of the result
_WITHOUT_RESULT = joinedload(PredictedRegionRow.prediction).load_only(
    PredictionRow.model_version, PredictionRow.interactive
)


class PredictionStore:
    """The part of `Store` that is about predictions."""

    _database: Database
    _blobs: BlobStore

    def want_prediction(
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
    ) -> WantedPrediction:
        """Record a wish; the same wish (project, task, version, prompts) is one row, except for interactive ones.

        A task whose data names another image (under `image_key`) than the row's is another wish.

        An existing row is wanted anew if it had failed. "sync" turns a queued push into an answer that someone waits
        for. A "push" of what was sent before makes it `ready` again: Label Studio asks only for what it does not have.
        `run_id`: the run over the project that wants it, and counts it.
        """
        row = _wish_row(project, TaskWish(task_id, task_data, plan), model_version, delivery, run_id, interactive)
        with self._database.writing() as session:
            existing = None if interactive else _existing_wish(session, row)
            if existing is None:
                try:
                    with session.begin_nested():
                        session.add(row)
                except IntegrityError:  # another process was faster
                    existing = _existing_wish(session, row)
            elif _shows_another_image(existing, row, image_key):
                _retire(session, existing)
                session.add(row)
                existing = None
            if existing is not None:
                _want_again(existing, delivery, run_id)
                existing.task_data = task_data
                row = existing
            session.flush()
            session.refresh(row)
            return _wanted(row)

    def want_predictions(
        self,
        project: Project,
        wishes: Sequence[TaskWish],
        model_version: str,
        *,
        delivery: Delivery,
        image_key: str = "image",
        run_id: int | None = None,
    ) -> list[WantedPrediction]:
        """Record many wishes at once, each as `want_prediction` does; all of them or none."""
        rows = [_wish_row(project, wish, model_version, delivery, run_id) for wish in wishes]
        try:
            with self._database.writing() as session:
                same = _same_wishes(project.id, [row.task_id for row in rows], model_version)
                known = {(row.task_id, row.plan_digest): row for row in session.scalars(same)}
                for row in rows:
                    existing = known.setdefault((row.task_id, row.plan_digest), row)
                    if _shows_another_image(existing, row, image_key):
                        known[row.task_id, row.plan_digest] = row
                        _retire(session, existing)
                    elif existing is not row:
                        _want_again(existing, delivery, run_id)
                        existing.task_data = row.task_data
                session.add_all(known.values())
                session.flush()
                return [_wanted(known[row.task_id, row.plan_digest]) for row in rows]
        except StoreError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
            # another process wanted one of them meanwhile
            return [
                self.want_prediction(
                    project,
                    wish.task_id,
                    wish.task_data,
                    wish.plan,
                    model_version,
                    delivery=delivery,
                    image_key=image_key,
                    run_id=run_id,
                )
                for wish in wishes
            ]

    def get_prediction(self, prediction_id: int) -> WantedPrediction:
        """StoreError if there is none of this id."""
        with self._database.reading() as session:
            return _wanted(_row(session, prediction_id))

    def begin_prediction(self, prediction_id: int) -> WantedPrediction | None:
        """Count an attempt and return the row if it is still wanted; None if there is nothing to do any more."""
        with self._database.writing() as session:
            change = {"attempts": PredictionRow.attempts + 1, "begun_at": utc_now()}
            begun = _change(session, _where(prediction_id, "wanted").values(change))
            return _wanted(_row(session, prediction_id)) if begun else None

    def finish_prediction(self, prediction_id: int, prediction: Prediction) -> Delivery:
        """Store a result and its regions' masks, and return how it is to be delivered as of now.

        "sync": someone waits for it and takes it with `deliver_now`. "push": publish it. Doing so twice is harmless.
        """
        masks = self._blobs.put_masks([region.shape for region in prediction.regions])
        regions = [
            PredictedRegionRow(
                prediction_id=prediction_id,
                region_id=region.region_id,
                label=region.label,
                prompt=region.prompt,
                score=region.score,
                mask=mask,
            )
            for region, mask in zip(prediction.regions, masks, strict=True)
        ]
        with self._database.writing() as session:
            finished = _change(
                session,
                _where(prediction_id, "wanted", "failed").values(
                    status="ready",
                    result=prediction.result,
                    score=prediction.score,
                    error=None,
                    computed_at=utc_now(),
                ),
            )
            if finished:
                session.add_all(regions)
            return cast(Delivery, _row(session, prediction_id).delivery)

    def deliver_now(self, prediction_id: int) -> Delivered | None:
        """End a wait: the row with its result, now `delivered`; or None, and then it will be pushed when it is ready.

        A row that was sent before is returned as it is, with the time since then.
        """
        with self._database.writing() as session:
            ready = _where(prediction_id, "ready").where(PredictionRow.delivery == "sync")
            while True:
                if _change(session, ready.values(status="delivered")):
                    return Delivered(_wanted(_row(session, prediction_id)), None)
                if _change(session, _where(prediction_id, "wanted").values(delivery="push")):
                    return None
                row = _row(session, prediction_id)
                if row.status in ("published", "delivered"):
                    return Delivered(_wanted(row), (utc_now() - row.updated_at).total_seconds())
                if row.status not in ("wanted", "ready") or row.delivery == "push":
                    return None  # otherwise it became ready between the two updates

    def fail_prediction(self, prediction_id: int, reason: str) -> None:
        """Give up computing or publishing it, with a reason for people. What was sent before stays as it is."""
        with self._database.writing() as session:
            _change(session, _where(prediction_id, "wanted", "ready").values(status="failed", error=reason))

    def mark_published(self, prediction_id: int, label_studio_prediction_id: int | None) -> None:
        """Label Studio holds it, under this id."""
        change = {"status": "published", "label_studio_prediction_id": label_studio_prediction_id, "error": None}
        with self._database.writing() as session:
            _change(session, _where(prediction_id, "ready", "published", "delivered").values(change))

    def stale_predictions(self, older_than_s: float) -> list[int]:
        """Ids of rows that have been wanted, and not begun, for longer than this: their jobs may be lost."""
        return self._unchanged("wanted", older_than_s)

    def unpublished_predictions(self, older_than_s: float) -> list[int]:
        """Ids of rows that have been ready for longer than this, also those whose waiter never came back."""
        return self._unchanged("ready", older_than_s)

    def counts(self, project_id: int | None = None) -> dict[str, int]:
        """How many predictions are in each status (absent: none), of one Label Studio project or of all."""
        query = select(PredictionRow.status, func.count()).group_by(PredictionRow.status)
        if project_id is not None:
            query = query.join(ProjectRow).where(ProjectRow.project_id == project_id)
        with self._database.reading() as session:
            return dict(session.execute(query).all())

    def model_versions(self, limit: int = 100) -> list[str]:
        """The versions that predictions were wanted of, the newest first."""
        query = select(PredictionRow.model_version).group_by(PredictionRow.model_version)
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(func.max(PredictionRow.id).desc()).limit(limit)))

    def find_predicted_region(self, project: Project, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        """The region of this id that we predicted for the task, the newest if there are several."""
        query = _regions(project, task_id).where(PredictedRegionRow.region_id == region_id)
        with self._database.reading() as session:
            row = session.scalar(query.order_by(PredictedRegionRow.id.desc()).limit(1))
            return None if row is None else self._region(row)

    def predicted_regions(self, prediction_id: int) -> list[PredictedRegionRecord]:
        """All regions of one of our predictions; not those of an earlier attempt that could not be published."""
        of_prediction = PredictedRegionRow.prediction_id == prediction_id
        query = select(PredictedRegionRow).where(of_prediction).options(_WITHOUT_RESULT)
        with self._database.reading() as session:
            current = {region["id"] for region in _row(session, prediction_id).result or []}
            rows = session.scalars(query.order_by(PredictedRegionRow.id))
            return [self._region(row) for row in rows if row.region_id in current]

    def find_sent_prediction(
        self, project: Project, task_id: int, label_studio_prediction_id: int, *, or_newest: bool
    ) -> int | None:
        """Our id of the prediction that Label Studio knows under its id.

        Label Studio never tells the id of a prediction that it got as an answer to /predict. With `or_newest`, where
        none has this id, it is the newest of the task that was delivered that way.
        """
        sent = select(PredictionRow.id).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.task_id == task_id,
            PredictionRow.status.in_(["published", "delivered"]),
            PredictionRow.interactive.is_(False),
        )
        known = sent.where(PredictionRow.label_studio_prediction_id == label_studio_prediction_id)
        unknown = sent.where(PredictionRow.label_studio_prediction_id.is_(None))
        with self._database.reading() as session:
            for query in (known, unknown) if or_newest else (known,):
                found = session.scalar(query.order_by(PredictionRow.id.desc()).limit(1))
                if found is not None:
                    return found
        return None

    def _region(self, row: PredictedRegionRow) -> PredictedRegionRecord:
        return PredictedRegionRecord(
            prediction_id=row.prediction_id,
            region_id=row.region_id,
            label=row.label,
            prompt=row.prompt,
            score=row.score,
            shape=self._blobs.get_cropped(row.mask),
            model_version=row.prediction.model_version,
            interactive=row.prediction.interactive,
        )

    def _unchanged(self, status: str, older_than_s: float) -> list[int]:
        before = utc_now() - timedelta(seconds=older_than_s)
        query = select(PredictionRow.id).where(PredictionRow.status == status, PredictionRow.updated_at <= before)
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(PredictionRow.id)))


def _wish_row(
    project: Project,
    wish: TaskWish,
    model_version: str,
    delivery: Delivery,
    run_id: int | None,
    interactive: bool = False,
) -> PredictionRow:
    return PredictionRow(
        project_row_id=project.id,
        task_id=wish.task_id,
        task_data=wish.task_data,
        plan=wish.plan.to_json(),
        plan_digest=wish.plan.digest(),
        model_version=model_version,
        delivery=delivery,
        interactive=interactive,
        status="wanted",
        error=None,
        result=None,
        score=None,
        label_studio_prediction_id=None,
        run_id=run_id,
        attempts=0,
    )


def _same_wishes(project_row_id: int, task_ids: Sequence[int], model_version: str) -> Select[PredictionRow]:
    query = select(PredictionRow).where(
        PredictionRow.project_row_id == project_row_id,
        PredictionRow.task_id.in_(task_ids),
        PredictionRow.model_version == model_version,
        PredictionRow.interactive.is_(False),
    )
    return query.with_for_update(of=PredictionRow)


def _existing_wish(session: Session, row: PredictionRow) -> PredictionRow | None:
    same = _same_wishes(row.project_row_id, [row.task_id], row.model_version)
    return session.scalar(same.where(PredictionRow.plan_digest == row.plan_digest))


def _shows_another_image(existing: PredictionRow, row: PredictionRow, image_key: str) -> bool:
    """Whether the existing row was computed, or is just now, of another image than the task's."""
    is_begun = existing.result is not None or (existing.status == "wanted" and existing.attempts > 0)
    return is_begun and existing.task_data.get(image_key) != row.task_data.get(image_key)


def _retire(session: Session, row: PredictionRow) -> None:
    """The task shows another image now. What was predicted of the old one stays, for corrections of it."""
    row.plan_digest = f"{row.id} {row.plan_digest}"[:64]
    row.status = "cancelled" if row.status in ("wanted", "ready", "held_back") else row.status
    session.flush()  # its name is free before the new row takes it


def _want_again(row: PredictionRow, delivery: Delivery, run_id: int | None) -> None:
    if run_id is not None or row.status == "cancelled":  # its run does not count that any more
        row.run_id = run_id
    if row.status in ("failed", "cancelled"):
        row.status, row.error, row.delivery, row.attempts = "wanted", None, delivery, 0
    elif row.status in ("pruned", "held_back"):
        row.status, row.error, row.delivery = "ready", None, delivery
    elif row.status in ("wanted", "ready"):
        row.delivery = "sync" if delivery == "sync" else row.delivery
    elif delivery == "push":
        row.status, row.delivery, row.label_studio_prediction_id = "ready", "push", None


def _row(session: Session, prediction_id: int) -> PredictionRow:
    row = session.get(PredictionRow, prediction_id, populate_existing=True)
    if row is None:
        raise StoreError(f"There is no prediction {prediction_id} in the store. Was the database replaced?")
    return row


def _where(prediction_id: int, *statuses: str) -> Update:
    return update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status.in_(statuses))


def _change(session: Session, change: Update) -> bool:
    """Run a conditional update of one row; whether its condition held."""
    result = session.execute(change, execution_options={"synchronize_session": False})
    return cast(CursorResult[Any], result).rowcount == 1


def _regions(project: Project, task_id: int) -> Select[PredictedRegionRow]:
    of_task = (PredictionRow.project_row_id == project.id) & (PredictionRow.task_id == task_id)
    return select(PredictedRegionRow).where(PredictedRegionRow.prediction.has(of_task)).options(_WITHOUT_RESULT)


def _wanted(row: PredictionRow) -> WantedPrediction:
    return WantedPrediction(
        id=row.id,
        project=project_record(row.project),
        task_id=row.task_id,
        task_data=row.task_data,
        plan=PromptPlan.from_json(row.plan),
        model_version=row.model_version,
        delivery=cast(Delivery, row.delivery),
        interactive=row.interactive,
        status=cast(PredictionStatus, row.status),
        error=row.error,
        result=row.result,
        score=row.score,
        attempts=row.attempts,
        label_studio_prediction_id=row.label_studio_prediction_id,
    )


def project_record(row: ProjectRow) -> Project:
    """A project's row as it is handed out."""
    return Project(row.id, row.label_studio_url, row.project_id, row.label_config, row.shown_version)
