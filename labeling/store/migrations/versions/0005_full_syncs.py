"""How far the pass over all annotations got; events without the digest of their payload, which nobody asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("annotation_syncs", sa.Column("full_synced_at", sa.DateTime(timezone=True)))
    op.add_column("annotation_syncs", sa.Column("full_after", sa.Integer))
    op.drop_index("ix_events_payload_sha256", "events")
    op.drop_column("events", "payload_sha256")


def downgrade() -> None:
    op.add_column("events", sa.Column("payload_sha256", sa.String(64), nullable=False, server_default=""))
    op.create_index("ix_events_payload_sha256", "events", ["payload_sha256"])
    op.drop_column("annotation_syncs", "full_after")
    op.drop_column("annotation_syncs", "full_synced_at")
