"""Computed predictions: stored with their regions, sent, replaced; each step atomic."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import Select, exists, select, update
from sqlalchemy.orm import aliased, joinedload

from labeling.predictions import Prediction
from labeling.store.base import utc_now
from labeling.store.blobs import BlobStore
from labeling.store.database import Database
from labeling.store.predictions.records import (
    SENT_STATUSES,
    AnsweredPrediction,
    Delivered,
    Delivery,
    PostponedPrediction,
    PredictedRegionRecord,
    PredictionRequest,
    SentPrediction,
)
from labeling.store.predictions.rows import change_row, get_row, prediction_request, rows_where, unchanged_rows
from labeling.store.predictions.tables import PredictedRegionRow, PredictionRow
from labeling.store.projects import Project

# a region's row comes with its prediction: a thousand regions must not come with a thousand copies of the result
_WITHOUT_RESULT = joinedload(PredictedRegionRow.prediction).load_only(
    PredictionRow.model_version, PredictionRow.interactive
)


@dataclass
class PredictionStore:
    """Predictions, from the computed result to its delivery."""

    database: Database
    blobs: BlobStore

    def get(self, prediction_id: int) -> PredictionRequest:
        """StoreError if there is none of this id."""
        with self.database.reading() as session:
            return prediction_request(get_row(session, prediction_id))

    def finish(self, prediction_id: int, prediction: Prediction) -> Delivery:
        """Store a result and its regions' masks, and return how it is to be delivered as of now.

        "sync": someone waits for it and takes it with `deliver_now`. "push": publish it. Doing so twice is harmless.
        """
        masks = self.blobs.put_masks([region.shape for region in prediction.regions])
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
        with self.database.writing() as session:
            finished = change_row(
                session,
                rows_where(prediction_id, "requested", "failed").values(
                    status="ready",
                    result=prediction.result,
                    score=prediction.score,
                    error=None,
                    computed_at=utc_now(),
                ),
            )
            if finished:
                session.add_all(regions)
            return cast(Delivery, get_row(session, prediction_id).delivery)

    def deliver_now(self, prediction_id: int) -> Delivered | None:
        """End a wait: the row with its result, now `delivered`; or None, and then it will be pushed when it is ready.

        A row that was sent before is returned as it is, with the time since then.
        """
        with self.database.writing() as session:
            ready = rows_where(prediction_id, "ready").where(PredictionRow.delivery == "sync")
            while True:
                if change_row(session, ready.values(status="delivered")):
                    return Delivered(prediction_request(get_row(session, prediction_id)), None)
                if change_row(session, rows_where(prediction_id, "requested").values(delivery="push")):
                    return None
                row = get_row(session, prediction_id)
                if row.status in SENT_STATUSES:
                    return Delivered(prediction_request(row), (utc_now() - row.updated_at).total_seconds())
                if row.status not in ("requested", "ready") or row.delivery == "push":
                    return None  # otherwise it became ready between the two updates

    def fail(self, prediction_id: int, reason: str) -> None:
        """Give up computing or publishing it, with a reason for people. What was sent before stays as it is."""
        with self.database.writing() as session:
            change_row(session, rows_where(prediction_id, "requested", "ready").values(status="failed", error=reason))

    def forget_failure(self, prediction_id: int) -> None:
        """The task that failed is gone: nobody has to see it any more."""
        failed = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status == "failed")
        with self.database.writing() as session:
            session.execute(failed.values(status="cancelled"))

    def mark_published(self, prediction_id: int, label_studio_prediction_id: int | None) -> None:
        """Label Studio holds it, under this id."""
        change = {"status": "published", "label_studio_prediction_id": label_studio_prediction_id, "error": None}
        with self.database.writing() as session:
            change_row(session, rows_where(prediction_id, "ready", *SENT_STATUSES).values(change))

    def mark_pruned(self, prediction_id: int) -> None:
        """Label Studio does not hold it any more. It stays here, for corrections that were made from it."""
        pruned = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status.in_(SENT_STATUSES))
        with self.database.writing() as session:
            session.execute(pruned.values(status="pruned", label_studio_prediction_id=None))

    def unpublished(self, older_than_s: float, *, after: int = 0, limit: int | None = None) -> list[int]:
        """Ids of rows that have been ready for longer than this, also those whose waiter never came back.

        Those larger than `after`, in order; there may be as many as there are tasks.
        """
        return unchanged_rows(self.database, "ready", older_than_s, after=after, limit=limit)

    def postpone_for_draft(self, prediction_id: int, reason: str) -> None:
        """It is computed and must not be sent now, with a reason for people."""
        ready = update(PredictionRow).where(PredictionRow.id == prediction_id, PredictionRow.status == "ready")
        with self.database.writing() as session:
            session.execute(ready.values(status="postponed_for_draft", error=reason))

    def postponed_for_draft(self, project: Project, model_version: str) -> list[PostponedPrediction]:
        """Those of this version, by task."""
        query = select(PredictionRow.id, PredictionRow.task_id, PredictionRow.plan_digest).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.model_version == model_version,
            PredictionRow.status == "postponed_for_draft",
        )
        with self.database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.task_id, PredictionRow.id))
            return [PostponedPrediction(*row) for row in rows]

    def cancel_postponed(self, prediction_id: int) -> None:
        """What was postponed answers nothing that its task asks any more."""
        postponed = update(PredictionRow).where(
            PredictionRow.id == prediction_id, PredictionRow.status == "postponed_for_draft"
        )
        with self.database.writing() as session:
            session.execute(postponed.values(status="cancelled"))

    def regions(self, prediction_id: int) -> list[PredictedRegionRecord]:
        """All regions of one of our predictions; not those of an earlier attempt that could not be published."""
        of_prediction = PredictedRegionRow.prediction_id == prediction_id
        query = select(PredictedRegionRow).where(of_prediction).options(_WITHOUT_RESULT)
        with self.database.reading() as session:
            current = {region["id"] for region in get_row(session, prediction_id).result or []}
            rows = session.scalars(query.order_by(PredictedRegionRow.id))
            return [self._region(row) for row in rows if row.region_id in current]

    def find_region(self, project: Project, task_id: int, region_id: str) -> PredictedRegionRecord | None:
        """The region of this id that we predicted for the task, the newest if there are several."""
        query = _regions(project, task_id).where(PredictedRegionRow.region_id == region_id)
        with self.database.reading() as session:
            row = session.scalar(query.order_by(PredictedRegionRow.id.desc()).limit(1))
            return None if row is None else self._region(row)

    def find_sent(
        self, project: Project, task_id: int, label_studio_prediction_id: int, *, or_newest: bool
    ) -> int | None:
        """Our id of the prediction that Label Studio knows under its id.

        Label Studio never gives the id of a prediction that it got as an answer to /predict. With `or_newest`, where
        none has this id, it is the newest of the task that was delivered that way.
        """
        sent = select(PredictionRow.id).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.task_id == task_id,
            PredictionRow.status.in_(SENT_STATUSES),
            PredictionRow.interactive.is_(False),
        )
        known = sent.where(PredictionRow.label_studio_prediction_id == label_studio_prediction_id)
        unknown = sent.where(PredictionRow.label_studio_prediction_id.is_(None))
        with self.database.reading() as session:
            for query in (known, unknown) if or_newest else (known,):
                found = session.scalar(query.order_by(PredictionRow.id.desc()).limit(1))
                if found is not None:
                    return found
        return None

    def superseded(self, project: Project, kept_versions: Sequence[str]) -> list[SentPrediction]:
        """Predictions that we sent, of other versions, on tasks that hold one of `kept_versions` that we sent too."""
        number = PredictionRow.label_studio_prediction_id
        query = _superseded(project, kept_versions).where(number.is_not(None))
        with self.database.reading() as session:
            rows = session.execute(query.add_columns(number).order_by(PredictionRow.id))
            return [SentPrediction(row_id, task, version, sent or 0) for row_id, task, version, sent in rows]

    def superseded_answers(self, project: Project, kept_versions: Sequence[str]) -> list[AnsweredPrediction]:
        """The same of those whose numbers in Label Studio are not known, by task."""
        query = _superseded(project, kept_versions).where(PredictionRow.label_studio_prediction_id.is_(None))
        with self.database.reading() as session:
            rows = session.execute(query.order_by(PredictionRow.task_id, PredictionRow.id))
            return [AnsweredPrediction(row_id, task, version) for row_id, task, version in rows]

    def _region(self, row: PredictedRegionRow) -> PredictedRegionRecord:
        return PredictedRegionRecord(
            prediction_id=row.prediction_id,
            region_id=row.region_id,
            label=row.label,
            prompt=row.prompt,
            score=row.score,
            shape=self.blobs.get_cropped(row.mask),
            model_version=row.prediction.model_version,
            interactive=row.prediction.interactive,
        )


def _regions(project: Project, task_id: int) -> Select[PredictedRegionRow]:
    of_task = (PredictionRow.project_row_id == project.id) & (PredictionRow.task_id == task_id)
    return select(PredictedRegionRow).where(PredictedRegionRow.prediction.has(of_task)).options(_WITHOUT_RESULT)


def _superseded(project: Project, kept_versions: Sequence[str]) -> Select[int, int, str]:
    """Row, task and version of what is replaced by one of `kept_versions` on the same task."""
    old, kept = PredictionRow, aliased(PredictionRow)
    replaced = exists().where(
        kept.project_row_id == old.project_row_id,
        kept.task_id == old.task_id,
        kept.model_version.in_(kept_versions),
        kept.status.in_(SENT_STATUSES),
        kept.interactive.is_(False),
    )
    return select(old.id, old.task_id, old.model_version).where(
        old.project_row_id == project.id,
        old.status.in_(SENT_STATUSES),
        old.interactive.is_(False),
        old.model_version.not_in(kept_versions),
        replaced,
    )
