"""A name of its own for each store, by which a command and a backend can tell whether they mean the same one."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    table = op.create_table("store_identity", sa.Column("id", sa.String(32), primary_key=True))
    op.bulk_insert(table, [{"id": uuid.uuid4().hex}])
