"""The table of what people asked for: predict a whole project."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from labeling.store.tables import Base, utc_now


class PredictionRunRow(Base):
    """One `argenseg predict`, with its options: what `--resume` goes on with. `outcome` is null while it is open."""

    __tablename__ = "prediction_runs"
    __table_args__ = (Index("ix_prediction_runs_project", "project_row_id", "outcome"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_row_id: Mapped[int] = mapped_column(ForeignKey("projects.id", name="fk_prediction_runs_project"))
    model_version: Mapped[str] = mapped_column(String(200))
    only_unlabeled: Mapped[bool]
    task_limit: Mapped[int | None]
    pin: Mapped[bool]
    wanted: Mapped[int] = mapped_column(default=0)
    outcome: Mapped[str | None] = mapped_column(String(16))
    started_at: Mapped[datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[datetime | None]
