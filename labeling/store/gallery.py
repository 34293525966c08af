"""The newest predictions and corrections, a page at a time, as people look at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import ColumnElement, Select, exists, func, select
from sqlalchemy.orm import Session

from labeling.store.annotations.records import CorrectedRegion, CorrectionKind
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.database import Database
from labeling.store.events import EventRow
from labeling.store.exclusions import Exclusion, ExclusionRow, ExclusionScope, is_excluded
from labeling.store.predictions.records import PredictionStatus
from labeling.store.predictions.tables import PredictedRegionRow, PredictionRow
from labeling.store.projects import Project, ProjectRow, project_record


@dataclass(frozen=True)
class PredictionFilter:
    """Which predictions are meant; None means any. `label`: with a region of it. Scores are 0 to 1, both inclusive."""

    project: Project | None = None
    label: str | None = None
    status: PredictionStatus | None = None
    min_score: float | None = None
    max_score: float | None = None


@dataclass(frozen=True)
class ShownLabel:
    """The regions of one label in a prediction, with the least sure one's score."""

    label: str | None
    regions: int
    least_score: float | None


@dataclass(frozen=True)
class ShownPrediction:
    """A prediction as a list shows it; its regions are read with `store.predictions.regions(id)`."""

    id: int
    project: Project
    task_id: int
    model_version: str
    status: PredictionStatus
    error: str | None
    score: float | None
    at: datetime
    labels: tuple[ShownLabel, ...]


@dataclass(frozen=True)
class ShownCorrectionFilter:
    """Which corrections are meant; None means any. `label` is that before or after, `left_out` whether excluded."""

    project: Project | None = None
    label: str | None = None
    annotator_id: int | None = None
    kind: CorrectionKind | None = None
    left_out: bool | None = None


@dataclass(frozen=True)
class ShownCorrection:
    """A correction as a list shows it. `excluded` is what leaves it out: itself, its annotation, task or annotator."""

    id: int
    project: Project
    task_id: int
    annotation_id: int
    annotator_id: int | None
    at: datetime
    region: CorrectedRegion
    mask_before: str | None
    mask_after: str | None
    image_reference: str | None
    image_sha256: str | None
    excluded: Exclusion | None


@dataclass
class GalleryStore:
    """Lists for people, the newest first. The next page begins `before` the last id of this one."""

    database: Database

    def predictions(
        self, chosen: PredictionFilter, *, before: int | None = None, limit: int = 24
    ) -> list[ShownPrediction]:
        """What was asked for by nobody in particular: no typed prompts; nor what is not computed yet, or cancelled."""
        row = PredictionRow
        query = select(
            row.id, row.task_id, row.model_version, row.status, row.error, row.score, row.updated_at, row.computed_at
        ).add_columns(row.project_row_id)
        query = query.where(row.interactive.is_(False), *_of_predictions(chosen))
        query = query if before is None else query.where(row.id < before)
        with self.database.reading() as session:
            found = session.execute(query.order_by(row.id.desc()).limit(limit)).all()
            labels = _labels(session, [each.id for each in found])
            projects = _projects(session, {each.project_row_id for each in found})
        return [
            ShownPrediction(
                id=each.id,
                project=projects[each.project_row_id],
                task_id=each.task_id,
                model_version=each.model_version,
                status=cast(PredictionStatus, each.status),
                error=each.error,
                score=each.score,
                at=each.computed_at or each.updated_at,
                labels=tuple(labels.get(each.id, ())),
            )
            for each in found
        ]

    def corrections(
        self, chosen: ShownCorrectionFilter, *, before: int | None = None, limit: int = 24
    ) -> list[ShownCorrection]:
        """What is in the newest state of each annotation."""
        query = _corrections().where(*_of_corrections(chosen))
        query = query if before is None else query.where(CorrectionRow.id < before)
        return self._shown(query.order_by(CorrectionRow.id.desc()).limit(limit))

    def correction(self, correction_id: int) -> ShownCorrection | None:
        """One of them; None if there is none, or the annotation has a newer state."""
        return next(iter(self._shown(_corrections().where(CorrectionRow.id == correction_id))), None)

    def annotators(self, project: Project | None = None) -> list[int]:
        """Label Studio's numbers of those who annotated."""
        query = select(AnnotationRow.annotator_id).where(
            AnnotationRow.is_current, AnnotationRow.annotator_id.is_not(None)
        )
        query = query if project is None else query.where(AnnotationRow.project_row_id == project.id)
        with self.database.reading() as session:
            return [each for each in session.scalars(query.distinct().order_by(AnnotationRow.annotator_id)) if each]

    def masked_tasks(self, project: Project, model_version: str) -> int:
        """How many tasks were sent a prediction of this version."""
        query = select(func.count(PredictionRow.task_id.distinct())).where(
            PredictionRow.project_row_id == project.id,
            PredictionRow.model_version == model_version,
            PredictionRow.interactive.is_(False),
            PredictionRow.status.in_(["published", "delivered"]),
        )
        with self.database.reading() as session:
            return session.scalar(query) or 0

    def _shown(self, query: Select[CorrectionRow, AnnotationRow, datetime]) -> list[ShownCorrection]:
        with self.database.reading() as session:
            found = session.execute(query).all()
            exclusions = _exclusions(session, {annotation.project_row_id for _, annotation, _ in found})
            return [
                ShownCorrection(
                    id=row.id,
                    project=project_record(annotation.project),
                    task_id=annotation.task_id or 0,
                    annotation_id=annotation.annotation_id,
                    annotator_id=annotation.annotator_id,
                    at=annotation.annotation_at or received_at,
                    region=row.region,
                    mask_before=row.mask_before,
                    mask_after=row.mask_after,
                    image_reference=annotation.image_reference,
                    image_sha256=annotation.image_sha256,
                    excluded=_exclusion_of(exclusions, annotation, row.region.region_id),
                )
                for row, annotation, received_at in found
            ]


def _of_predictions(chosen: PredictionFilter) -> list[ColumnElement[bool]]:
    row = PredictionRow
    conditions = [
        row.status.not_in(["requested", "cancelled"]) if chosen.status is None else row.status == chosen.status
    ]
    if chosen.project is not None:
        conditions.append(row.project_row_id == chosen.project.id)
    if chosen.label is not None:
        region = PredictedRegionRow
        conditions.append(exists().where(region.prediction_id == row.id, region.label == chosen.label))
    if chosen.min_score is not None:
        conditions.append(row.score >= chosen.min_score)
    if chosen.max_score is not None:
        conditions.append(row.score <= chosen.max_score)
    return conditions


def _labels(session: Session, prediction_ids: Sequence[int]) -> dict[int, list[ShownLabel]]:
    row = PredictedRegionRow
    query = select(row.prediction_id, row.label, func.count(), func.min(row.score))
    query = query.where(row.prediction_id.in_(prediction_ids)).group_by(row.prediction_id, row.label)
    found: dict[int, list[ShownLabel]] = {}
    for prediction_id, label, regions, score in session.execute(query.order_by(row.prediction_id, func.min(row.id))):
        found.setdefault(prediction_id, []).append(ShownLabel(label, regions, score))
    return found


def _projects(session: Session, row_ids: set[int]) -> dict[int, Project]:
    rows = session.scalars(select(ProjectRow).where(ProjectRow.id.in_(row_ids)))
    return {row.id: project_record(row) for row in rows}


def _corrections() -> Select[CorrectionRow, AnnotationRow, datetime]:
    return (
        select(CorrectionRow, AnnotationRow, EventRow.received_at)
        .join(AnnotationRow, CorrectionRow.annotation_row_id == AnnotationRow.id)
        .join(EventRow, AnnotationRow.event_id == EventRow.id)
        .where(AnnotationRow.is_current)
    )


def _of_corrections(chosen: ShownCorrectionFilter) -> list[ColumnElement[bool]]:
    column = CorrectionRow.__table__.c
    conditions: list[ColumnElement[bool]] = []
    if chosen.project is not None:
        # not by the index of projects: all corrections of a large one would be read and sorted for one page
        conditions.append(AnnotationRow.project_row_id + 0 == chosen.project.id)
    if chosen.label is not None:
        conditions.append((column.label == chosen.label) | (column.label_before == chosen.label))
    if chosen.annotator_id is not None:
        conditions.append(AnnotationRow.annotator_id == chosen.annotator_id)
    if chosen.kind is not None:
        conditions.append(column.kind == chosen.kind)
    if chosen.left_out is not None:
        conditions.append(is_excluded() if chosen.left_out else ~is_excluded())
    return conditions


def _exclusions(session: Session, project_row_ids: set[int]) -> dict[tuple[int, str, str], Exclusion]:
    rows = session.scalars(select(ExclusionRow).where(ExclusionRow.project_row_id.in_(project_row_ids)))
    return {
        (row.project_row_id, row.scope, row.value): Exclusion(
            cast(ExclusionScope, row.scope), row.value, row.reason, row.erased, row.who
        )
        for row in rows
    }


def _exclusion_of(
    exclusions: dict[tuple[int, str, str], Exclusion], annotation: AnnotationRow, region_id: str
) -> Exclusion | None:
    """The widest one first: who takes back a smaller one finds it still left out."""
    named = {
        "annotator": annotation.annotator_id,
        "task": annotation.task_id,
        "annotation": annotation.annotation_id,
        "region": f"{annotation.annotation_id}/{region_id}",
    }
    keys = ((annotation.project_row_id, scope, str(value)) for scope, value in named.items())
    return next((exclusions[key] for key in keys if key in exclusions), None)
