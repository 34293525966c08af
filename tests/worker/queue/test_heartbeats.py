"""Which processes that work on no queue are at work."""

import socket
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest
from rq.defaults import RQ_KEY_PREFIX

from labeling.store import Store
from tests.worker.conftest import RedisServer, Want, wait_until
from worker import sweeper
from worker.context import JobContext
from worker.events import spool
from worker.finetune import scheduler
from worker.queue import heartbeats
from worker.queue.heartbeats import SCHEDULER, SWEEPER, is_alive


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


@pytest.mark.parametrize("part", ["spooled events", "events", "queued again"])
def test_a_long_sweep_is_a_sign_of_life_and_one_that_hangs_is_none(
    context: JobContext, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(heartbeats, "_LASTS_S", 1)
    monkeypatch.setattr(sweeper, "sweep", partial(sweeper.sweep, stale_s=0.0))
    things, worked_off, go_on, stop = 8, [], threading.Event(), threading.Event()

    def slow(*_: object, **__: object) -> int:
        worked_off.append(is_alive(context.connection, SWEEPER))
        time.sleep(0.3)
        if len(worked_off) == things:
            go_on.wait(60)
        return 1

    for number in range(things):
        if part == "spooled events":
            spool.write_event(spool.spool_folder(context.settings), "ANNOTATION_CREATED", {})
        elif part == "events":
            store.events.record("ANNOTATION_CREATED", {})
        else:
            want(task_id=number)
    if part == "spooled events":
        monkeypatch.setattr(store.events, "record", slow)
    else:
        monkeypatch.setattr(sweeper, "process_event" if part == "events" else "enqueue_rows", slow)
        monkeypatch.setattr(sweeper, "ROWS_AT_A_TIME", 1)
    thread = threading.Thread(target=sweeper.run, args=(context, stop))
    thread.start()
    wait_until(lambda: len(worked_off) == things)
    stop.set()
    assert all(worked_off)
    wait_until(lambda: not is_alive(context.connection, SWEEPER), 5)
    go_on.set()
    thread.join()


def test_installations_in_one_redis_are_told_apart(context: JobContext) -> None:
    heartbeats.beat(context.connection, SWEEPER)
    keys = {f"{RQ_KEY_PREFIX}:alive:sweeper", f"{RQ_KEY_PREFIX}:alive:sweeper:{socket.gethostname()}"}
    assert {key.decode() for key in context.connection.keys("*alive*")} == keys


def test_a_process_is_alive_on_its_host_only(context: JobContext) -> None:
    heartbeats.beat(context.connection, SWEEPER)
    assert is_alive(context.connection, SWEEPER, host=socket.gethostname())
    assert not is_alive(context.connection, SWEEPER, host="another")


def test_a_redis_that_is_away_stops_nobody(context: JobContext, redis_server: RedisServer) -> None:
    redis_server.kill()
    heartbeats.beat(context.connection, SWEEPER)
