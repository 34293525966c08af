"""Redis, what waits in it, who works on it, and who looks after it."""

from collections.abc import Iterator

from backend.operations.doctor.findings import Finding, failure, ok, skipped, warning
from labeling.settings import Settings
from worker.errors import QueueUnreachable
from worker.queue.connection import MORE_MEMORY, connect, is_full, is_reachable, redis_socket, server_facts
from worker.queue.heartbeats import SCHEDULER, SWEEPER, is_alive
from worker.queue.queues import MAX_QUEUED_JOBS, WORKED_BY, live_workers, queued_jobs

_OLDEST = (6, 2)


def redis(settings: Settings) -> Iterator[Finding]:
    """Does it answer, is it new enough, and does it keep jobs?"""
    connection = connect(settings)
    try:
        server = server_facts(connection)
    except QueueUnreachable as error:
        where = "REDIS_URL" if settings.redis_url else f"the embedded one at {redis_socket(settings)}"
        yield failure(f"{error.fault} It is looked for at {where}.", error.mend)
        return
    version = str(server.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        yield failure(f"Redis {version} is too old: jobs could be lost.", "Update it to 6.2 or newer.")
    if server.get("maxmemory_policy", "noeviction") != "noeviction":
        yield warning(
            f"Redis forgets keys when its memory is full ({server['maxmemory_policy']}).",
            "Set maxmemory-policy noeviction in its configuration.",
        )
    if is_full(server):
        yield failure("Redis is full: it takes no jobs.", MORE_MEMORY)
        return
    yield ok(f"Redis {version} answers.")


def workers(settings: Settings) -> Iterator[Finding]:
    """For each queue: what waits, and is there somebody to do it? And to find what got lost, and to fine-tune?"""
    connection = connect(settings)
    if not is_reachable(connection):
        yield skipped("Not known while Redis does not answer.")
        return
    if is_full(server_facts(connection)):
        yield skipped("Not known while Redis is full: workers wait, and cannot say that they live.")
        return
    for name, command in WORKED_BY.items():
        depth, alive = queued_jobs(connection, name), live_workers(connection, name)
        text = f"Queue {name}: {depth} jobs wait, {alive} {command}{'s' if alive != 1 else ''}."
        if not alive:
            yield failure(text, f"Start argenseg up, or argenseg {command}; its log says why it ended.")
        elif depth >= MAX_QUEUED_JOBS:
            yield warning(f"{text} It is full: more is taken when there is room.", f"Start another argenseg {command}.")
        else:
            yield ok(text)
    if is_alive(connection, SWEEPER):
        yield ok("A sweeper looks for what got lost.")
    else:
        yield failure(
            "No sweeper runs: what is to be tried again later, or got lost, waits for ever.",
            "Start argenseg up, or argenseg sweeper; its log says why it ended.",
        )
    if is_alive(connection, SCHEDULER):
        yield ok("A scheduler fine-tunes when it is time.")
    else:
        yield warning(
            "No scheduler runs: fine-tuning that is queued or due waits.", "Start argenseg up, or argenseg scheduler."
        )
