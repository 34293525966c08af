"""What a sync with Label Studio found."""

from dataclasses import astuple, dataclass
from operator import add


@dataclass(frozen=True)
class SyncOutcome:
    """How many tasks were looked at, how many annotations were found that we did not know as they are, and how many
    tasks that are to be predicted: new ones, and those whose data was changed.
    """

    tasks: int = 0
    changed: int = 0
    deleted: int = 0
    new_tasks: int = 0
    changed_tasks: int = 0

    @property
    def put_to_work(self) -> int:
        """How many tasks are to be predicted."""
        return self.new_tasks + self.changed_tasks

    def __add__(self, other: "SyncOutcome") -> "SyncOutcome":
        return SyncOutcome(*map(add, astuple(self), astuple(other)))
