"""Whom a fine-tune run makes way for, and how much of the time beside a bulk job is its own."""

from dataclasses import dataclass, field

import pytest

from labeling.store import Project, Store
from worker.context import JobContext
from worker.finetune import run as running
from worker.finetune.run import BULK_CYCLE_S, LEASE_S, SHARE_BESIDE_BULK, Hold
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import GPU, PREDICT, enqueue_prediction, open_queue


@dataclass
class Clock:
    """Stands in for `time` in the module."""

    now: float = 0.0
    wall: float = field(default=2e9)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.wall


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(running, "time", clock)
    return clock


@pytest.fixture
def hold(context: JobContext, store: Store) -> Hold:
    project: Project = store.projects.upsert("http://127.0.0.1:8080", 1, "<View/>")
    store.finetunes.request("now", project)
    run = store.finetunes.claim("me", LEASE_S)
    assert run is not None
    return Hold(context, run, "me", lambda: False)


def busy_share(hold: Hold, clock: Clock) -> float:
    """Of two cycles, a second at a time."""
    seen = []
    for clock.now in range(2 * int(BULK_CYCLE_S)):
        seen.append(hold.is_busy())
    return sum(seen) / len(seen)


def test_nothing_to_do_is_no_reason_to_wait(hold: Hold, clock: Clock) -> None:
    assert busy_share(hold, clock) == 0


def test_beside_a_bulk_job_a_share_of_the_time_is_left(hold: Hold, clock: Clock, context: JobContext) -> None:
    for row in range(3):
        enqueue_prediction(context.connection, row)
    assert busy_share(hold, clock) == 1 - SHARE_BESIDE_BULK


def test_somebody_who_waits_comes_first(hold: Hold, clock: Clock, context: JobContext) -> None:
    enqueue_prediction(context.connection, 1)
    enqueue_prediction(context.connection, 2, front=True)
    assert busy_share(hold, clock) == 1


@pytest.mark.parametrize(("front", "share"), [(True, 1.0), (False, 1 - SHARE_BESIDE_BULK)])
def test_what_a_worker_computes_counts_as_what_it_was_queued_as(
    hold: Hold, clock: Clock, context: JobContext, front: bool, share: float
) -> None:
    seen: list[float] = []

    class Worker(LeasedWorker):
        def _install_signal_handlers(self) -> None:
            pass

    enqueue_prediction(context.connection, 1, front=front)
    clock.wall = 0.0  # leases are in the future
    Worker(GPU, context.connection, {PREDICT: lambda row: seen.append(busy_share(hold, clock))}).work(burst=True)
    assert seen == [share] and not open_queue(context.connection, GPU).count
