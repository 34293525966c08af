"""The tables of predictions; masks are named by the SHA-256 of their PNG in the blob folder."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from labeling.store.base import Base, utc_now
from labeling.store.projects import ProjectRow


class PredictionRow(Base):
    """A requested prediction: a row before it is a job, and the truth about how far it got."""

    __tablename__ = "predictions"
    __table_args__ = (
        Index(
            "uq_predictions_request",
            "project_row_id",
            "task_id",
            "model_version",
            "plan_digest",
            unique=True,
            sqlite_where=text("interactive = 0"),
            postgresql_where=text("NOT interactive"),
        ),
        Index("ix_predictions_status", "status", "updated_at"),
        Index("ix_predictions_task", "project_row_id", "task_id"),
        Index("ix_predictions_computed", "computed_at"),
        Index(
            "ix_predictions_progress",
            "project_row_id",
            "model_version",
            "status",
            sqlite_where=text("interactive = 0"),
            postgresql_where=text("NOT interactive"),
            postgresql_include=["id"],
        ),
        Index(
            "ix_predictions_held_up",
            "project_row_id",
            "status",
            sqlite_where=text("error IS NOT NULL"),
            postgresql_where=text("error IS NOT NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_predictions_project"))
    task_id: Mapped[int]
    task_data: Mapped[dict[str, Any]]
    plan: Mapped[list[dict[str, Any]]]
    plan_digest: Mapped[str] = mapped_column(String(64))
    model_version: Mapped[str] = mapped_column(String(200))
    delivery: Mapped[str] = mapped_column(String(8))
    interactive: Mapped[bool]
    status: Mapped[str] = mapped_column(String(32))
    error: Mapped[str | None]
    result: Mapped[list[dict[str, Any]] | None]
    score: Mapped[float | None]
    attempts: Mapped[int] = mapped_column(default=0)
    label_studio_prediction_id: Mapped[int | None]
    run_id: Mapped[int | None]  # the run over the project that counts it; null: none requested it
    begun_at: Mapped[datetime | None]
    computed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    project: Mapped[ProjectRow] = relationship(lazy="joined", innerjoin=True)


class PredictedRegionRow(Base):
    """A region as the model drew it: what the annotator's version is compared with."""

    __tablename__ = "predicted_regions"
    __table_args__ = (Index("ix_predicted_regions_region", "region_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    prediction_id: Mapped[int] = mapped_column(
        ForeignKey("predictions.id", name="fk_predicted_regions_prediction", ondelete="CASCADE"), index=True
    )
    region_id: Mapped[str]
    label: Mapped[str | None]
    prompt: Mapped[str]
    score: Mapped[float | None]
    mask: Mapped[str] = mapped_column(String(64))

    prediction: Mapped[PredictionRow] = relationship(lazy="joined", innerjoin=True)
