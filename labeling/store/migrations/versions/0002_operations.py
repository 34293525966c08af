"""What operating many projects needs: runs over a project, and how long each prediction took."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("predictions", sa.Column("begun_at", _TIME))
    op.add_column("predictions", sa.Column("computed_at", _TIME))
    op.create_index("ix_predictions_computed", "predictions", ["computed_at"])
    op.create_table(
        "prediction_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "project_row_id",
            sa.Integer,
            sa.ForeignKey("projects.id", name="fk_prediction_runs_project"),
            nullable=False,
        ),
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


def downgrade() -> None:
    op.drop_table("prediction_runs")
    op.drop_index("ix_predictions_computed", "predictions")
    op.drop_column("predictions", "computed_at")
    op.drop_column("predictions", "begun_at")
