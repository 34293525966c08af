"""Trials of prompts, and what each of them found in its tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "prompt_trials",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "project_row_id", sa.Integer, sa.ForeignKey("projects.id", name="fk_prompt_trials_project"), nullable=False
        ),
        sa.Column("label", sa.Text),
        sa.Column("wordings", sa.JSON, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("task_limit", sa.Integer, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("who", sa.String(200), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.Column("ended_at", _TIME),
    )
    op.create_index("ix_prompt_trials_status", "prompt_trials", ["status", "updated_at"])
    op.create_index("ix_prompt_trials_project_row_id", "prompt_trials", ["project_row_id"])
    op.create_table(
        "prompt_trial_tasks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column(
            "trial_id",
            sa.Integer,
            sa.ForeignKey("prompt_trials.id", name="fk_prompt_trial_tasks_trial", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.Column("task_id", sa.Integer, nullable=False),
        sa.Column("task_data", sa.JSON, nullable=False),
        sa.Column("tried_at", _TIME),
        sa.Column("seconds", sa.Double),
        sa.Column("problem", sa.Text),
        sa.Column("measures", sa.JSON),
        sa.Column("masks", sa.JSON),
        sa.UniqueConstraint("trial_id", "task_id", name="uq_prompt_trial_tasks_task"),
    )
