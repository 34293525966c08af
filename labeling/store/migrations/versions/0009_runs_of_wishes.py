"""Which run over a project a prediction was wanted by: what is taken back is not counted into others."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("predictions", sa.Column("run_id", sa.Integer))


def downgrade() -> None:
    op.drop_column("predictions", "run_id")
