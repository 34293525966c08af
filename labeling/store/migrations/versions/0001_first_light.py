"""Projects, wanted predictions with their regions, events, reviews and corrections."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)
_DIGEST = sa.String(64)


def _reference(column: str, target: str, **key: Any) -> sa.Column[int]:
    return sa.Column(column, sa.Integer, sa.ForeignKey(target, **key), nullable=False)


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("label_studio_url", sa.String(500), nullable=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("label_config", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("label_studio_url", "project_id", name="uq_projects_url_project"),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", name="fk_predictions_project"),
        sa.Column("task_id", sa.Integer, nullable=False),
        sa.Column("task_data", sa.JSON, nullable=False),
        sa.Column("plan", sa.JSON, nullable=False),
        sa.Column("plan_digest", _DIGEST, nullable=False),
        sa.Column("model_version", sa.String(200), nullable=False),
        sa.Column("delivery", sa.String(8), nullable=False),
        sa.Column("interactive", sa.Boolean, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("result", sa.JSON),
        sa.Column("score", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("label_studio_prediction_id", sa.Integer),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
    )
    op.create_index("ix_predictions_status", "predictions", ["status", "updated_at"])
    op.create_index("ix_predictions_task", "predictions", ["project_row_id", "task_id"])
    op.create_index(
        "uq_predictions_wish",
        "predictions",
        ["project_row_id", "task_id", "model_version", "plan_digest"],
        unique=True,
        sqlite_where=sa.text("interactive = 0"),
        postgresql_where=sa.text("NOT interactive"),
    )
    op.create_table(
        "predicted_regions",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("prediction_id", "predictions.id", name="fk_predicted_regions_prediction", ondelete="CASCADE"),
        sa.Column("region_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("mask", _DIGEST, nullable=False),
    )
    op.create_index("ix_predicted_regions_prediction_id", "predicted_regions", ["prediction_id"])
    op.create_index("ix_predicted_regions_region", "predicted_regions", ["region_id"])
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("payload_sha256", _DIGEST, nullable=False),
        sa.Column("label_studio_url", sa.String(500)),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("processed_at", _TIME),
        sa.Column("error", sa.Text),
        sa.Column("note", sa.Text),
    )
    op.create_index("ix_events_payload_sha256", "events", ["payload_sha256"])
    op.create_index("ix_events_processed", "events", ["processed_at", "received_at"])
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("event_id", "events.id", name="fk_reviews_event"),
        _reference("project_row_id", "projects.id", name="fk_reviews_project"),
        sa.Column("annotation_id", sa.Integer, nullable=False),
        sa.UniqueConstraint("event_id", "annotation_id", name="uq_reviews_event_annotation"),
    )
    op.create_index("ix_reviews_annotation", "reviews", ["project_row_id", "annotation_id"])
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("review_id", "reviews.id", name="fk_corrections_review", ondelete="CASCADE"),
        sa.Column("task_id", sa.Integer, nullable=False),
        sa.Column("region_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("mask_before", _DIGEST),
        sa.Column("mask_after", _DIGEST),
        sa.Column("iou", sa.Double, nullable=False),
        sa.Column("annotator_id", sa.Integer),
        sa.Column("lead_time_s", sa.Double),
        sa.Column("capped_lead_time_s", sa.Double),
        sa.Column("model_version", sa.String(200)),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("review_id", "region_id", name="uq_corrections_review_region"),
    )
    op.create_index("ix_corrections_task_id", "corrections", ["task_id"])


def downgrade() -> None:
    for table in ("corrections", "reviews", "events", "predicted_regions", "predictions", "projects"):
        op.drop_table(table)
