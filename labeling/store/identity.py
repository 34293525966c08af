"""A store's own name, by which a command and a backend can tell whether they mean the same one."""

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from labeling.store.base import Base
from labeling.store.database import Database


class StoreIdentityRow(Base):
    """One row, which the migration made."""

    __tablename__ = "store_identity"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)


def read_identity(database: Database) -> str:
    """32 hexadecimal digits, the same for whoever opens this store, and no other's."""
    with database.reading() as session:
        return session.scalars(select(StoreIdentityRow.id)).one()
