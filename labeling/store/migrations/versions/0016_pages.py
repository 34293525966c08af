"""What pages show of a project, and who left something out."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("projects", sa.Column("title", sa.Text(), nullable=True))
    op.add_column("projects", sa.Column("task_count", sa.Integer(), nullable=True))
    op.add_column("exclusions", sa.Column("who", sa.String(200), nullable=True))
