"""Which image an annotation was made on: its task may show another one later."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("reviews", sa.Column("image_reference", sa.Text))
    op.add_column("reviews", sa.Column("image_sha256", sa.String(64)))


def downgrade() -> None:
    op.drop_column("reviews", "image_sha256")
    op.drop_column("reviews", "image_reference")
