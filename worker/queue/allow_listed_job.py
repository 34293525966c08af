"""A job of ours: what it runs is looked up, never imported."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from rq.job import Job, JobStatus

from worker.errors import ForbiddenJob


class AllowListedJob(Job):
    """A job that runs a function of a fixed table, or nothing.

    RQ imports whatever dotted name a job holds, for the function and for its callbacks; a JSON serializer does not
    change that. Here the name is only a key: who can write into Redis can ask for our jobs and for nothing else.
    """

    functions: ClassVar[Mapping[str, Callable[..., Any]]] = {}

    @classmethod
    def bound_to(cls, functions: Mapping[str, Callable[..., Any]]) -> "type[AllowListedJob]":
        """The job class of a worker process: `functions` are called with the job's arguments."""
        return cast(type[AllowListedJob], type(cls.__name__, (cls,), {"functions": dict(functions)}))

    @property
    def func(self) -> Callable[..., Any]:
        name = str(self.func_name).rpartition(".")[2]  # jobs of before 2026-12 name a module too
        function = self.functions.get(name) if self.instance is None else None
        if function is None:
            raise ForbiddenJob(f"Job {self.id} asks for {str(self.func_name)[:100]!r}, which this worker does not run.")
        return function

    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None

    def send_webhooks(self, status: str | JobStatus, *, exc_string: str | None = None) -> None:
        """RQ 3 posts to any URL that a job holds; ours hold none."""
