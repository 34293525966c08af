"""Tables of events, annotations, corrections and their images."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from labeling.store.tables import Base, ProjectRow, utc_now


class EventRow(Base):
    """A webhook's payload, stored before it was answered."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_processed", "processed_at", "received_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    action: Mapped[str] = mapped_column(String(64))
    payload: Mapped[dict[str, Any]]
    label_studio_url: Mapped[str | None] = mapped_column(String(500))
    idempotency_key: Mapped[str | None] = mapped_column(String(36), unique=True, index=True)
    received_at: Mapped[datetime] = mapped_column(default=utc_now)
    processed_at: Mapped[datetime | None]
    error: Mapped[str | None]
    note: Mapped[str | None]


class ReviewRow(Base):
    """One annotation as one event told it; `is_current` marks the newest state of each annotation."""

    __tablename__ = "reviews"
    __table_args__ = (
        UniqueConstraint("event_id", "annotation_id", name="uq_reviews_event_annotation"),
        Index("ix_reviews_annotation", "project_row_id", "annotation_id"),
        Index("ix_reviews_current", "project_row_id", "is_current"),
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
        back_populates="review", lazy="raise", order_by="CorrectionRow.id", passive_deletes=True
    )


class CorrectionRow(Base):
    """What became of one region in one review."""

    __tablename__ = "corrections"
    __table_args__ = (UniqueConstraint("review_id", "region_id", name="uq_corrections_review_region"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    review_id: Mapped[int] = mapped_column(ForeignKey("reviews.id", name="fk_corrections_review", ondelete="CASCADE"))
    region_id: Mapped[str]
    region_type: Mapped[str] = mapped_column(String(32))
    label: Mapped[str | None]
    kind: Mapped[str] = mapped_column(String(16))
    mask_before: Mapped[str | None] = mapped_column(String(64), index=True)
    mask_after: Mapped[str | None] = mapped_column(String(64), index=True)
    iou: Mapped[float]
    boundary_iou: Mapped[float]
    changed_pixels: Mapped[int]
    predicted_region_id: Mapped[str | None]
    label_before: Mapped[str | None]
    prompt: Mapped[str | None]
    score: Mapped[float | None]
    model_version: Mapped[str | None] = mapped_column(String(200))
    interactive: Mapped[bool]
    vertices_before: Mapped[int | None]
    vertices_after: Mapped[int | None]

    review: Mapped[ReviewRow] = relationship(back_populates="corrections", lazy="raise")


class ExclusionRow(Base):
    """What no data set or statistic may use; `erased`: it was deleted on request, and must not come back."""

    __tablename__ = "exclusions"
    __table_args__ = (UniqueConstraint("project_row_id", "scope", "value", name="uq_exclusions_scope_value"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_exclusions_project"))
    scope: Mapped[str] = mapped_column(String(16))
    value: Mapped[str] = mapped_column(String(200))
    reason: Mapped[str]
    erased: Mapped[bool]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class SyncRow(Base):
    """How far the annotations of a project were read from Label Studio, and who reads them now.

    `full_after`: the task up to which the open pass over all tasks got; None: no pass is open.
    """

    __tablename__ = "annotation_syncs"

    project_row_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id", name="fk_annotation_syncs_project"), primary_key=True
    )
    synced_until: Mapped[datetime | None]
    synced_at: Mapped[datetime | None]
    full_synced_at: Mapped[datetime | None]
    full_after: Mapped[int | None]
    lease_until: Mapped[datetime | None]


class TaskImageRow(Base):
    """Which image a task shows, by its content."""

    __tablename__ = "task_images"
    __table_args__ = (UniqueConstraint("project_row_id", "task_id", name="uq_task_images_task"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_task_images_project"))
    task_id: Mapped[int]
    reference: Mapped[str]
    sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    width: Mapped[int | None]
    height: Mapped[int | None]


class ImageSplitRow(Base):
    """The side of an image, drawn once: by its content, together with all that look nearly the same."""

    __tablename__ = "image_splits"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    perceptual_hash: Mapped[str] = mapped_column(String(64))
    group: Mapped[str] = mapped_column("image_group", String(64), index=True)
    side: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class DataSetRow(Base):
    """An immutable data set: its manifest is the blob of this digest."""

    __tablename__ = "data_sets"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    parent_digest: Mapped[str | None] = mapped_column(String(64))
    lineage: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
