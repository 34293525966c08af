"""Which version a project shows, as Label Studio last told: new tasks are predicted with it."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("projects", sa.Column("shown_version", sa.Text))


def downgrade() -> None:
    op.drop_column("projects", "shown_version")
