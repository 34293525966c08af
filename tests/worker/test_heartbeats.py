"""Which processes that work on no queue are at work."""

import threading
from collections.abc import Callable

import pytest
from rq.defaults import RQ_KEY_PREFIX

from tests.worker.conftest import RedisServer, wait_until
from worker import heartbeats, scheduler, sweeper
from worker.heartbeats import SCHEDULER, SWEEPER, is_alive
from worker.jobs import JobContext


@pytest.mark.parametrize(("process", "run"), [(SWEEPER, sweeper.run), (SCHEDULER, scheduler.run)])
def test_a_process_is_alive_while_it_runs(
    context: JobContext, monkeypatch: pytest.MonkeyPatch, process: str, run: Callable[..., None]
) -> None:
    monkeypatch.setattr(heartbeats, "_LASTS_S", 1)
    assert not is_alive(context.connection, process)
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(context, stop))
    thread.start()
    wait_until(lambda: is_alive(context.connection, process))
    stop.set()
    thread.join()
    wait_until(lambda: not is_alive(context.connection, process))


def test_installations_in_one_redis_are_told_apart(context: JobContext) -> None:
    heartbeats.beat(context.connection, SWEEPER)
    assert context.connection.keys("*alive*") == [f"{RQ_KEY_PREFIX}:alive:sweeper".encode()]


def test_a_redis_that_is_away_stops_nobody(context: JobContext, redis_server: RedisServer) -> None:
    redis_server.kill()
    heartbeats.beat(context.connection, SWEEPER)
