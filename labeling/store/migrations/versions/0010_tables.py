"""All tables. Ten revisions of a product that was never released are this one, under the last one's number."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = None

_TIME = sa.DateTime(timezone=True)
_DIGEST = sa.String(64)


def _reference(column: str, target: str, name: str, *, nullable: bool = False, **key: Any) -> sa.Column[int]:
    return sa.Column(column, sa.Integer, sa.ForeignKey(target, name=name, **key), nullable=nullable)


def _project_key(name: str) -> sa.Column[int]:
    return sa.Column("project_row_id", sa.Integer, sa.ForeignKey("projects.id", name=name), primary_key=True)


def upgrade() -> None:
    op.create_table(
        "projects",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("label_studio_url", sa.String(500), nullable=False),
        sa.Column("project_id", sa.Integer, nullable=False),
        sa.Column("label_config", sa.Text, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("shown_version", sa.Text),
        sa.UniqueConstraint("label_studio_url", "project_id", name="uq_projects_url_project"),
    )
    _create_predictions()
    _create_events_and_annotations()
    _create_data_sets()
    _create_models()


def _create_predictions() -> None:
    op.create_table(
        "predictions",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", "fk_predictions_project"),
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
        sa.Column("begun_at", _TIME),
        sa.Column("computed_at", _TIME),
        sa.Column("run_id", sa.Integer),
    )
    op.create_index("ix_predictions_status", "predictions", ["status", "updated_at"])
    op.create_index("ix_predictions_task", "predictions", ["project_row_id", "task_id"])
    op.create_index("ix_predictions_computed", "predictions", ["computed_at"])
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
        _reference("prediction_id", "predictions.id", "fk_predicted_regions_prediction", ondelete="CASCADE"),
        sa.Column("region_id", sa.Text, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("score", sa.Double),
        sa.Column("mask", _DIGEST, nullable=False),
    )
    op.create_index("ix_predicted_regions_prediction_id", "predicted_regions", ["prediction_id"])
    op.create_index("ix_predicted_regions_region", "predicted_regions", ["region_id"])
    op.create_table(
        "prediction_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", "fk_prediction_runs_project"),
        sa.Column("model_version", sa.String(200), nullable=False),
        sa.Column("only_unlabeled", sa.Boolean, nullable=False),
        sa.Column("task_limit", sa.Integer),
        sa.Column("pin", sa.Boolean, nullable=False),
        sa.Column("wanted", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String(16)),
        sa.Column("started_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
    )
    op.create_index("ix_prediction_runs_project", "prediction_runs", ["project_row_id", "outcome"])


def _create_events_and_annotations() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("label_studio_url", sa.String(500)),
        sa.Column("received_at", _TIME, nullable=False),
        sa.Column("processed_at", _TIME),
        sa.Column("error", sa.Text),
        sa.Column("note", sa.Text),
        sa.Column("idempotency_key", sa.String(36)),
    )
    op.create_index("ix_events_processed", "events", ["processed_at", "received_at"])
    op.create_index("ix_events_idempotency_key", "events", ["idempotency_key"], unique=True)
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("event_id", "events.id", "fk_reviews_event"),
        _reference("project_row_id", "projects.id", "fk_reviews_project"),
        sa.Column("annotation_id", sa.Integer, nullable=False),
        sa.Column("task_id", sa.Integer),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("is_current", sa.Boolean, nullable=False),
        sa.Column("annotation_at", _TIME),
        sa.Column("annotator_id", sa.Integer),
        sa.Column("lead_time_s", sa.Double),
        sa.Column("capped_lead_time_s", sa.Double),
        sa.Column("ground_truth", sa.Boolean, nullable=False),
        sa.Column("prediction_id", sa.Integer),
        sa.Column("model_version", sa.String(200)),
        sa.Column("asked", sa.JSON, nullable=False),
        sa.Column("unread", sa.Integer, nullable=False),
        sa.Column("image_reference", sa.Text),
        sa.Column("image_sha256", _DIGEST),
        sa.UniqueConstraint("event_id", "annotation_id", name="uq_reviews_event_annotation"),
    )
    op.create_index("ix_reviews_annotation", "reviews", ["project_row_id", "annotation_id"])
    op.create_index("ix_reviews_current", "reviews", ["project_row_id", "is_current"])
    op.create_index("ix_reviews_task_id", "reviews", ["task_id"])
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("review_id", "reviews.id", "fk_corrections_review", ondelete="CASCADE"),
        sa.Column("region_id", sa.Text, nullable=False),
        sa.Column("region_type", sa.String(32), nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("mask_before", _DIGEST),
        sa.Column("mask_after", _DIGEST),
        sa.Column("iou", sa.Double, nullable=False),
        sa.Column("boundary_iou", sa.Double, nullable=False),
        sa.Column("changed_pixels", sa.Integer, nullable=False),
        sa.Column("predicted_region_id", sa.Text),
        sa.Column("label_before", sa.Text),
        sa.Column("prompt", sa.Text),
        sa.Column("score", sa.Double),
        sa.Column("model_version", sa.String(200)),
        sa.Column("interactive", sa.Boolean, nullable=False),
        sa.Column("vertices_before", sa.Integer),
        sa.Column("vertices_after", sa.Integer),
        sa.UniqueConstraint("review_id", "region_id", name="uq_corrections_review_region"),
    )
    op.create_index("ix_corrections_mask_before", "corrections", ["mask_before"])
    op.create_index("ix_corrections_mask_after", "corrections", ["mask_after"])
    op.create_table(
        "exclusions",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", "fk_exclusions_project"),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("project_row_id", "scope", "value", name="uq_exclusions_scope_value"),
    )
    op.create_table(
        "annotation_syncs",
        _project_key("fk_annotation_syncs_project"),
        sa.Column("synced_until", _TIME),
        sa.Column("synced_at", _TIME),
        sa.Column("lease_until", _TIME),
        sa.Column("full_synced_at", _TIME),
        sa.Column("full_after", sa.Integer),
    )


def _create_data_sets() -> None:
    op.create_table(
        "task_images",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", "fk_task_images_project"),
        sa.Column("task_id", sa.Integer, nullable=False),
        sa.Column("reference", sa.Text, nullable=False),
        sa.Column("sha256", _DIGEST),
        sa.Column("width", sa.Integer),
        sa.Column("height", sa.Integer),
        sa.UniqueConstraint("project_row_id", "task_id", name="uq_task_images_task"),
    )
    op.create_index("ix_task_images_sha256", "task_images", ["sha256"])
    op.create_table(
        "image_splits",
        sa.Column("sha256", _DIGEST, primary_key=True),
        sa.Column("perceptual_hash", _DIGEST, nullable=False),
        sa.Column("image_group", _DIGEST, nullable=False),
        sa.Column("side", sa.String(16), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_index("ix_image_splits_image_group", "image_splits", ["image_group"])
    op.create_table(
        "data_sets",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("digest", _DIGEST, nullable=False, unique=True),
        sa.Column("parent_digest", _DIGEST),
        sa.Column("lineage", sa.JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
    )


def _create_models() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("parent", sa.String(500), nullable=False),
        _reference("project_row_id", "projects.id", "fk_model_versions_project", nullable=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("report", sa.JSON),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "live_models",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", "fk_live_models_project", nullable=True),
        _reference("version_id", "model_versions.id", "fk_live_models_version", nullable=True),
        sa.Column("live_since", _TIME, nullable=False),
        sa.Column("withdrawn_at", _TIME),
    )
    op.create_index("ix_live_models_project", "live_models", ["project_row_id", "withdrawn_at"])
    op.create_table(
        "finetune_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("slot", sa.String(200), nullable=False, unique=True),
        _reference("project_row_id", "projects.id", "fk_finetune_runs_project", nullable=True),
        sa.Column("manifest", sa.Text),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("corrections", sa.Integer, nullable=False),
        sa.Column("candidate", sa.String(100)),
        sa.Column("base", sa.Text),
        sa.Column("holder", sa.String(200)),
        sa.Column("leased_until", _TIME),
        sa.Column("stop_requested", sa.Boolean, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("report", sa.JSON),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
        sa.Column("asked_again", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("not_before", _TIME),
    )
    op.create_index("ix_finetune_runs_status", "finetune_runs", ["status"])
    op.create_table(
        "finetune_schedules",
        _project_key("fk_finetune_schedules_project"),
        sa.Column("cron", sa.String(200)),
        sa.Column("corrections", sa.Integer),
    )
