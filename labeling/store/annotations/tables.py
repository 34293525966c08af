"""The tables of annotations and corrections; masks are named by the SHA-256 of their PNG in the blob folder."""

from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, MappedColumn, composite, mapped_column, relationship

from labeling.store.annotations.records import CorrectedRegion
from labeling.store.base import Base
from labeling.store.events import EventRow
from labeling.store.projects import ProjectRow


class AnnotationRow(Base):
    """One annotation as one event reported it; `is_current` marks the newest state of each annotation.

    The constraints have the names of the table's first name: SQLite cannot rename them.
    """

    __tablename__ = "annotations"
    __table_args__ = (
        UniqueConstraint("event_id", "annotation_id", name="uq_reviews_event_annotation"),
        Index("ix_annotations_annotation", "project_row_id", "annotation_id"),
        Index("ix_annotations_current", "project_row_id", "is_current", "task_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", name="fk_reviews_event"))
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_reviews_project"))
    annotation_id: Mapped[int]
    task_id: Mapped[int | None] = mapped_column(index=True)
    state: Mapped[str] = mapped_column(String(16))
    is_current: Mapped[bool]
    annotation_at: Mapped[datetime | None]
    annotator_id: Mapped[int | None]
    lead_time_s: Mapped[float | None]
    capped_lead_time_s: Mapped[float | None]
    ground_truth: Mapped[bool]
    prediction_id: Mapped[int | None]
    model_version: Mapped[str | None] = mapped_column(String(200))
    asked: Mapped[list[dict[str, Any]]]
    unread: Mapped[int]
    image_reference: Mapped[str | None]
    image_sha256: Mapped[str | None] = mapped_column(String(64))

    event: Mapped[EventRow] = relationship(lazy="raise")
    project: Mapped[ProjectRow] = relationship(lazy="joined", innerjoin=True)
    corrections: Mapped[list["CorrectionRow"]] = relationship(
        back_populates="annotation", lazy="raise", order_by="CorrectionRow.id", passive_deletes=True
    )


def _columns_of(record: type[CorrectedRegion]) -> Iterator[MappedColumn[Any]]:
    """A column for each field, named and typed as it is."""
    widths = {"region_type": 32, "kind": 16, "model_version": 200}
    for field in fields(record):
        yield mapped_column(String(widths[field.name])) if field.name in widths else mapped_column()


class CorrectionRow(Base):
    """What became of one region in one annotation. The table has a column for each field of `region`."""

    __tablename__ = "corrections"
    __table_args__ = (UniqueConstraint("annotation_row_id", "region_id", name="uq_corrections_review_region"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    annotation_row_id: Mapped[int] = mapped_column(
        ForeignKey("annotations.id", name="fk_corrections_review", ondelete="CASCADE")
    )
    region: Mapped[CorrectedRegion] = composite(*_columns_of(CorrectedRegion))
    mask_before: Mapped[str | None] = mapped_column(String(64), index=True)
    mask_after: Mapped[str | None] = mapped_column(String(64), index=True)

    annotation: Mapped[AnnotationRow] = relationship(back_populates="corrections", lazy="raise")
