"""An RQ worker that runs jobs in its own process and says every few seconds that it still does.

RQ's SimpleWorker takes a lease of the job's whole time limit: after a SIGKILL its job counts as running for half an
hour. Here the lease is short and a thread renews it, so that the sweeper can tell a lost job from a long one.
"""

import contextlib
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from redis.client import Pipeline
from redis.exceptions import RedisError, ResponseError
from rq import Queue, SimpleWorker
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker import WorkerStatus

from worker.errors import QueueUnreachable
from worker.queue.allow_listed_job import AllowListedJob
from worker.queue.connection import Connection, what_is_wrong
from worker.queue.queues import open_queue
from worker.queue.retries import RetryLater

logger = logging.getLogger(__name__)

_REDIS_AGAIN_S = 5.0

T = TypeVar("T")


class LeasedWorker(SimpleWorker):
    """A worker on ONE queue (with several, RQ pops a job before it is safe elsewhere) for the functions it is given.

    Its name is new at each start: RQ refuses a name for minutes after a kill. QueueUnreachable.
    """

    lease_s: ClassVar[int] = 20
    log_result_lifespan = False

    def __init__(self, queue_name: str, connection: "Connection", functions: Mapping[str, Callable[..., Any]]) -> None:
        job_class = AllowListedJob.bound_to(functions)
        try:
            super().__init__(
                [open_queue(connection, queue_name, job_class)],
                name=f"{queue_name}-{socket.gethostname()}-{uuid.uuid4().hex[:8]}",
                connection=connection,
                job_class=job_class,
                serializer=JSONSerializer,
                worker_ttl=60,
                job_monitoring_interval=self.lease_s,
                maintenance_interval=60,
            )
        except RedisError as error:
            mend = "Check REDIS_URL, or run argenseg up."
            raise QueueUnreachable(f"Redis cannot be used: {error}.", mend) from error

    def bootstrap(self, *args: Any, **kwargs: Any) -> None:
        """Begin, as soon as Redis takes that: one that is full, or whose disk is, is waited for."""
        self._waiting_for_redis(lambda: super(LeasedWorker, self).bootstrap(*args, **kwargs))

    def dequeue_job_and_maintain_ttl(self, *args: Any, **kwargs: Any) -> Any:
        """The next job; None where this worker is to end. A Redis that takes no writes is waited for."""
        return self._waiting_for_redis(lambda: super(LeasedWorker, self).dequeue_job_and_maintain_ttl(*args, **kwargs))

    def _waiting_for_redis(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ResponseError as error:
                if self._stop_requested:
                    raise
                logger.warning("a worker waits: %s", what_is_wrong(error))
                with contextlib.suppress(RedisError):  # a full Redis takes that: we live
                    self.connection.expire(self.key, self.worker_ttl + 60)
                time.sleep(_REDIS_AGAIN_S)  # a signal to stop ends it by StopRequested, or this process

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:
        return self.lease_s

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """RQ asks Redis three times, before a job begins and after it; here once."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
            return
        with self.connection.pipeline(transaction=False) as at_once:
            super().heartbeat(timeout, at_once)
            at_once.execute()

    def execute_job(self, job: Job, queue: Queue) -> None:
        execution = self.prepare_execution(job)
        with self._renewed_leases(lambda: [(job, execution)]):
            self.perform_job(job, queue, execution)
        self.set_state(WorkerStatus.IDLE)

    def _finalize_success(self, job: Job, queue: Queue, execution: Execution, return_value: Any) -> None:
        """The end of a job that returned: here, and nowhere else, our retries become RQ's."""
        retry_or_value = return_value.to_rq() if isinstance(return_value, RetryLater) else return_value
        self._waiting_for_redis(
            lambda: super(LeasedWorker, self)._finalize_success(job, queue, execution, retry_or_value)
        )

    def _finalize_failure(self, *args: Any, **kwargs: Any) -> None:
        self._waiting_for_redis(lambda: super(LeasedWorker, self)._finalize_failure(*args, **kwargs))

    def register_death(self) -> None:
        with contextlib.suppress(ResponseError):  # then it runs out by itself
            super().register_death()  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def _renewed_leases(self, leased: Callable[[], Sequence[tuple[Job, Execution]]]) -> Iterator[None]:
        """Renew the leases of what `leased` names at the time, from a thread, until the end of the `with` block."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(self.lease_s / 4):
                for job, execution in leased():
                    try:
                        self.maintain_heartbeats(job, execution)
                    except RedisError as error:  # at worst the job runs twice
                        logger.warning("the lease of job %s could not be renewed: %s", job.id, error)

        thread = threading.Thread(target=renew, name="lease", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
