"""What became of predicted regions, read as columns: statistics of a whole installation in a moment, without masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, SQLColumnExpression, select

from labeling.store.annotations.records import AskedPrompt, CorrectionKind
from labeling.store.annotations.tables import AnnotationRow, CorrectionRow
from labeling.store.database import Database
from labeling.store.events import EventRow
from labeling.store.exclusions import Exclusions, exclusion_of, find_exclusions, is_excluded
from labeling.store.projects import Project


class RegionOutcome(NamedTuple):
    """A region of an annotation, as in CorrectedRegion."""

    kind: CorrectionKind
    label: str | None
    label_before: str | None
    prompt: str | None
    model_version: str | None
    score: float | None
    iou: float
    boundary_iou: float
    changed_pixels: int
    interactive: bool


@dataclass(frozen=True)
class AnnotationOutcome:
    """A submitted annotation with its regions, but for what is excluded; the fields are those of AnnotationRecord."""

    project_id: int
    task_id: int
    at: datetime
    prediction_id: int | None
    model_version: str | None
    lead_time_s: float | None
    capped_lead_time_s: float | None
    ground_truth: bool
    asked: tuple[AskedPrompt, ...]
    regions: tuple[RegionOutcome, ...]

    @property
    def is_untouched(self) -> bool:
        """Whether nobody opened it, as in AnnotationRecord."""
        return not self.lead_time_s and not self.ground_truth and all(each.kind == "accepted" for each in self.regions)


@dataclass
class OutcomeStore:
    """Reads annotations with the fate of their regions, fifty thousand in half a second."""

    database: Database

    def of_projects(self, projects: Sequence[Project]) -> list[AnnotationOutcome]:
        """The submitted annotations of these projects in their newest state, but for what is excluded; in no order."""
        numbers = {project.id: project.project_id for project in projects}
        with self.database.reading() as session:
            exclusions = find_exclusions(session, numbers)
            regions: dict[int, list[RegionOutcome]] = {}
            for annotation, *values in session.execute(_regions(list(numbers), exclusions)):
                regions.setdefault(annotation, []).append(RegionOutcome._make(values))
            return [
                AnnotationOutcome(
                    project_id=numbers[row.project_row_id],
                    task_id=row.task_id,
                    at=row.annotation_at or row.received_at,
                    prediction_id=row.prediction_id,
                    model_version=row.model_version,
                    lead_time_s=row.lead_time_s,
                    capped_lead_time_s=row.capped_lead_time_s,
                    ground_truth=row.ground_truth,
                    asked=tuple(AskedPrompt(**item) for item in row.asked),
                    regions=tuple(regions.get(row.id, ())),
                )
                for row in session.execute(_annotations(list(numbers)))
                if exclusion_of(exclusions, row) is None
            ]


def _annotations(project_row_ids: Sequence[int]) -> Select[Any]:
    row = AnnotationRow
    columns: tuple[Any, ...] = (
        *(row.id, row.project_row_id, row.annotation_id, row.task_id, row.annotator_id, row.annotation_at),
        *(EventRow.received_at, row.prediction_id, row.model_version, row.lead_time_s, row.capped_lead_time_s),
        *(row.ground_truth, row.asked),
    )
    return select(*columns).join(row.event).where(*_is_meant(project_row_ids))


def _regions(project_row_ids: Sequence[int], exclusions: Exclusions) -> Select[Any]:
    columns = CorrectionRow.__table__.c
    query = (
        select(CorrectionRow.annotation_row_id, *(columns[name] for name in RegionOutcome._fields))
        .join(AnnotationRow, CorrectionRow.annotation_row_id == AnnotationRow.id)
        .where(*_is_meant(project_row_ids))
        .order_by(CorrectionRow.annotation_row_id, CorrectionRow.id)
    )
    return query.where(~is_excluded()) if exclusions else query


def _is_meant(project_row_ids: Sequence[int]) -> tuple[SQLColumnExpression[bool], ...]:
    return (
        AnnotationRow.project_row_id.in_(project_row_ids),
        AnnotationRow.is_current,
        AnnotationRow.state == "submitted",
    )
