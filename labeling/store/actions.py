"""Who changed what, when and why: every writing action of a person, from either door."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, mapped_column

from labeling.store.base import Base, utc_now
from labeling.store.database import Database

ActionName = Literal[
    "promote", "roll back", "exclude", "include", "delete", "start", "stop", "cancel", "pin", "prune", "schedule"
]

_WHO_LENGTH = 200


class ActionRow(Base):
    """One writing action. Nothing refers to it, and it refers to nothing: it outlives what it was done to."""

    __tablename__ = "actions"

    id: Mapped[int] = mapped_column(primary_key=True)
    done_at: Mapped[datetime] = mapped_column(default=utc_now)
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str]
    who: Mapped[str] = mapped_column(String(_WHO_LENGTH))
    reason: Mapped[str]


@dataclass(frozen=True)
class Action:
    """What was done to what (`subject`, such as "starter-1.1, project 3"), by whom; `reason` may be empty."""

    done_at: datetime
    action: str
    subject: str
    who: str
    reason: str


@dataclass
class ActionStore:
    """The record of writing actions."""

    database: Database

    def add(self, action: ActionName, subject: str, *, who: str, reason: str = "") -> None:
        """Record what was just done. StoreError as the database fails."""
        row = ActionRow(action=action, subject=subject, who=who[:_WHO_LENGTH], reason=reason)
        with self.database.writing() as session:
            session.add(row)

    def latest(self, count: int) -> list[Action]:
        """At most `count` of them, the newest first."""
        query = select(ActionRow).order_by(ActionRow.id.desc()).limit(count)
        with self.database.reading() as session:
            return [Action(row.done_at, row.action, row.subject, row.who, row.reason) for row in session.scalars(query)]
