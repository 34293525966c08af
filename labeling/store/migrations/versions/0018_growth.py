"""Indices for questions that looked at all rows of a project, and which images of tasks are known to be kept."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.create_index(
        "ix_predictions_progress",
        "predictions",
        ["project_row_id", "model_version", "status"],
        sqlite_where=sa.text("interactive = 0"),
        postgresql_where=sa.text("NOT interactive"),
        postgresql_include=["id"],
    )
    op.create_index(
        "ix_predictions_held_up",
        "predictions",
        ["project_row_id", "status"],
        sqlite_where=sa.text("error IS NOT NULL"),
        postgresql_where=sa.text("error IS NOT NULL"),
    )
    op.drop_index("ix_annotations_current", "annotations")
    op.create_index("ix_annotations_current", "annotations", ["project_row_id", "is_current", "task_id"])
    op.add_column("task_images", sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_task_images_to_keep",
        "task_images",
        ["project_row_id", "task_id"],
        sqlite_where=sa.text("kept = 0"),
        postgresql_where=sa.text("NOT kept"),
    )
