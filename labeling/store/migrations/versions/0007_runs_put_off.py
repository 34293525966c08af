"""Fine-tune runs that an outage ended are tried again, a limited number of times; and who asks during a run is told."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("finetune_runs", sa.Column("asked_again", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("finetune_runs", sa.Column("attempts", sa.Integer, nullable=False, server_default="0"))
    op.add_column("finetune_runs", sa.Column("not_before", sa.DateTime(timezone=True)))


def downgrade() -> None:
    for column in ("not_before", "attempts", "asked_again"):
        op.drop_column("finetune_runs", column)
