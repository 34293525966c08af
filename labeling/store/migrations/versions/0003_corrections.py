"""Reviews with all that an annotation says, corrections with their geometry, exclusions, image sides, data sets.

Reviews and corrections are derived from the events, which are kept: they are made anew, by processing those again.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = sa.DateTime(timezone=True)
_DIGEST = sa.String(64)


def _reference(column: str, target: str, **key: Any) -> sa.Column[int]:
    return sa.Column(column, sa.Integer, sa.ForeignKey(target, **key), nullable=False)


def upgrade() -> None:
    op.drop_table("corrections")
    op.drop_table("reviews")
    op.execute("UPDATE events SET processed_at = NULL WHERE action LIKE 'ANNOTATION%'")
    op.create_table(
        "reviews",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("event_id", "events.id", name="fk_reviews_event"),
        _reference("project_row_id", "projects.id", name="fk_reviews_project"),
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
        sa.UniqueConstraint("event_id", "annotation_id", name="uq_reviews_event_annotation"),
    )
    op.create_index("ix_reviews_annotation", "reviews", ["project_row_id", "annotation_id"])
    op.create_index("ix_reviews_current", "reviews", ["project_row_id", "is_current"])
    op.create_index("ix_reviews_task_id", "reviews", ["task_id"])
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("review_id", "reviews.id", name="fk_corrections_review", ondelete="CASCADE"),
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
        _reference("project_row_id", "projects.id", name="fk_exclusions_project"),
        sa.Column("scope", sa.String(16), nullable=False),
        sa.Column("value", sa.String(200), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("erased", sa.Boolean, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.UniqueConstraint("project_row_id", "scope", "value", name="uq_exclusions_scope_value"),
    )
    op.create_table(
        "annotation_syncs",
        sa.Column(
            "project_row_id",
            sa.Integer,
            sa.ForeignKey("projects.id", name="fk_annotation_syncs_project"),
            primary_key=True,
        ),
        sa.Column("synced_until", _TIME),
        sa.Column("synced_at", _TIME),
        sa.Column("lease_until", _TIME),
    )
    op.create_table(
        "task_images",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", name="fk_task_images_project"),
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
