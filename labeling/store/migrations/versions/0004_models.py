"""Model versions, which of them is live, fine-tune runs and schedules."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_TIME = sa.DateTime(timezone=True)


def _reference(column: str, target: str, name: str, **options: Any) -> sa.Column[int]:
    return sa.Column(column, sa.Integer, sa.ForeignKey(target, name=name), **options)


def upgrade() -> None:
    op.create_table(
        "model_versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(100), nullable=False, unique=True),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("parent", sa.String(500), nullable=False),
        _reference("project_row_id", "projects.id", "fk_model_versions_project"),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("report", sa.JSON),
        sa.Column("created_at", _TIME, nullable=False),
    )
    op.create_table(
        "live_models",
        sa.Column("id", sa.Integer, primary_key=True),
        _reference("project_row_id", "projects.id", "fk_live_models_project"),
        _reference("version_id", "model_versions.id", "fk_live_models_version"),
        sa.Column("live_since", _TIME, nullable=False),
        sa.Column("withdrawn_at", _TIME),
    )
    op.create_index("ix_live_models_project", "live_models", ["project_row_id", "withdrawn_at"])
    op.create_table(
        "finetune_runs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("slot", sa.String(200), nullable=False, unique=True),
        _reference("project_row_id", "projects.id", "fk_finetune_runs_project"),
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
    )
    op.create_index("ix_finetune_runs_status", "finetune_runs", ["status"])
    op.create_table(
        "finetune_schedules",
        _reference("project_row_id", "projects.id", "fk_finetune_schedules_project", primary_key=True),
        sa.Column("cron", sa.String(200)),
        sa.Column("corrections", sa.Integer),
    )


def downgrade() -> None:
    for table in ("finetune_schedules", "finetune_runs", "live_models", "model_versions"):
        op.drop_table(table)
