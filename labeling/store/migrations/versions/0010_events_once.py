"""An event that reached the store twice, late and by way of the spool folder, is kept once."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("events", sa.Column("idempotency_key", sa.String(36)))
    op.create_index("ix_events_idempotency_key", "events", ["idempotency_key"], unique=True)


def downgrade() -> None:
    op.drop_index("ix_events_idempotency_key", "events")
    op.drop_column("events", "idempotency_key")
