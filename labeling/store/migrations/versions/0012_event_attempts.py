"""How often an event was begun: one that ends its process is set aside."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("events", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
