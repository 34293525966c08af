"""The field's words: annotations (were reviews), requests (were wishes), project runs, active models (were live).

Tables and columns are renamed where they are. For anything else SQLite makes a table anew, and dropping the old one
deletes what refers to it: so constraints keep their names, and the longer `status` is a new column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    for index in ("ix_reviews_annotation", "ix_reviews_current", "ix_reviews_task_id"):
        op.drop_index(index, "reviews")
    op.rename_table("reviews", "annotations")
    op.create_index("ix_annotations_annotation", "annotations", ["project_row_id", "annotation_id"])
    op.create_index("ix_annotations_current", "annotations", ["project_row_id", "is_current"])
    op.create_index("ix_annotations_task_id", "annotations", ["task_id"])
    op.alter_column("corrections", "review_id", new_column_name="annotation_row_id")

    op.drop_index("ix_prediction_runs_project", "prediction_runs")
    op.rename_table("prediction_runs", "project_runs")
    op.alter_column("project_runs", "wanted", new_column_name="requested")
    op.create_index("ix_project_runs_project", "project_runs", ["project_row_id", "outcome"])

    op.drop_index("ix_live_models_project", "live_models")
    op.rename_table("live_models", "active_models")
    op.alter_column("active_models", "live_since", new_column_name="active_since")
    op.create_index("ix_active_models_project", "active_models", ["project_row_id", "withdrawn_at"])

    op.execute("UPDATE finetune_runs SET status = 'requested' WHERE status = 'wanted'")
    _rename_statuses_of_predictions()
    op.drop_index("uq_predictions_wish", "predictions")
    op.create_index(
        "uq_predictions_request",
        "predictions",
        ["project_row_id", "task_id", "model_version", "plan_digest"],
        unique=True,
        sqlite_where=sa.text("interactive = 0"),
        postgresql_where=sa.text("NOT interactive"),
    )


def _rename_statuses_of_predictions() -> None:
    op.drop_index("ix_predictions_status", "predictions")
    op.alter_column("predictions", "status", new_column_name="status_before")
    op.add_column("predictions", sa.Column("status", sa.String(32), nullable=False, server_default="requested"))
    op.execute(
        "UPDATE predictions SET status = CASE status_before WHEN 'wanted' THEN 'requested'"
        " WHEN 'held_back' THEN 'postponed_for_draft' ELSE status_before END"
    )
    op.drop_column("predictions", "status_before")
    op.create_index("ix_predictions_status", "predictions", ["status", "updated_at"])
