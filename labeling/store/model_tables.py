"""The tables of what was learnt: model versions, which of them is live, fine-tune runs and their schedules."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from labeling.store.tables import Base, utc_now


class ModelVersionRow(Base):
    """A fine-tuned model. Its name never comes again, also when its weights were deleted."""

    __tablename__ = "model_versions"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    folder: Mapped[str]
    parent: Mapped[str] = mapped_column(String(500))
    project_row_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", name="fk_model_versions_project"))
    state: Mapped[str] = mapped_column(String(16))
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class LiveModelRow(Base):
    """From when on a version was live, for one project or (no project) by default. No version: the model of the
    settings. The newest row that was not withdrawn counts; rollback withdraws it.
    """

    __tablename__ = "live_models"
    __table_args__ = (Index("ix_live_models_project", "project_row_id", "withdrawn_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", name="fk_live_models_project"))
    version_id: Mapped[int | None] = mapped_column(ForeignKey("model_versions.id", name="fk_live_models_version"))
    live_since: Mapped[datetime] = mapped_column(default=utc_now)
    withdrawn_at: Mapped[datetime | None]


class FinetuneRunRow(Base):
    """A wanted or finished fine-tune run. `slot` makes any number of schedulers want one run only once.

    `attempts` counts those that an outage ended; the next one is `not_before` a time.
    """

    __tablename__ = "finetune_runs"
    __table_args__ = (Index("ix_finetune_runs_status", "status"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    slot: Mapped[str] = mapped_column(String(200), unique=True)
    project_row_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id", name="fk_finetune_runs_project"))
    manifest: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    corrections: Mapped[int]
    candidate: Mapped[str | None] = mapped_column(String(100))
    base: Mapped[str | None]
    holder: Mapped[str | None] = mapped_column(String(200))
    leased_until: Mapped[datetime | None]
    stop_requested: Mapped[bool]
    asked_again: Mapped[bool] = mapped_column(default=False)
    attempts: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[datetime | None]
    error: Mapped[str | None]
    report: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[datetime | None]


class FinetuneScheduleRow(Base):
    """When a project is fine-tuned, where that differs from the settings."""

    __tablename__ = "finetune_schedules"

    project_row_id: Mapped[int] = mapped_column(
        ForeignKey("projects.id", name="fk_finetune_schedules_project"), primary_key=True
    )
    cron: Mapped[str | None] = mapped_column(String(200))
    corrections: Mapped[int | None]
