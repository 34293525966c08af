"""Sums of several processes in a real Redis."""

import socket
import time

import pytest
from redis import Redis

from labeling.settings import Settings
from tests.worker.conftest import RedisServer
from worker.queue.connection import connect
from worker.queue.metrics import COUNTERS, HISTOGRAMS, PUBLISH, SENT, Counter, Histogram, Metrics, read_sums


def test_what_two_processes_count_is_added_up(redis_server: RedisServer, redis_connection: Redis) -> None:
    Metrics(redis_connection).count(SENT, "push")
    Metrics(connect(redis_server.settings)).count(SENT, "push", 2)
    assert dict(read_sums(redis_connection).counted(SENT)) == {"push": 3, "answer": 0}


def test_a_measurement_is_in_all_buckets_that_are_not_smaller(redis_connection: Redis) -> None:
    for measured in (0.05, 0.3, 7200.0):
        Metrics(redis_connection).observe(PUBLISH, "published", measured)
    buckets = dict(read_sums(redis_connection).observed(PUBLISH))["published"]
    at_most = dict(zip((*PUBLISH.bounds, float("inf")), buckets.cumulative, strict=True))
    assert (at_most[0.05], at_most[0.25], at_most[0.5], at_most[3600.0], at_most[float("inf")]) == (1, 1, 2, 2, 3)
    assert buckets.sum == pytest.approx(7200.35)


def test_a_value_that_a_family_does_not_have_is_refused(redis_connection: Redis) -> None:
    with pytest.raises(ValueError, match="has no delivery 'pigeon'"):
        Metrics(redis_connection).count(SENT, "pigeon")


def test_a_dead_redis_stops_nobody(redis_server: RedisServer) -> None:
    connection = connect(redis_server.settings)
    redis_server.kill()
    Metrics(connection).count(SENT, "push")
    redis_server.start()
    assert dict(read_sums(connect(redis_server.settings)).counted(SENT))["push"] == 0


def test_a_silent_redis_is_asked_once_and_then_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}"
        metrics = Metrics.of(Settings(redis_url=url))
        began = time.monotonic()
        for _ in range(20):
            metrics.count(SENT, "push")
    assert time.monotonic() - began < 5  # each alone would take as long as other commands may: 10 s


@pytest.mark.parametrize("family", [*COUNTERS, *HISTOGRAMS], ids=lambda family: family.name)
def test_a_familys_name_and_values_fit_prometheus(family: Counter | Histogram) -> None:
    assert family.name.startswith("argenseg_") and not family.name.endswith("_total")
    assert family.help.endswith(".") and len(set(family.values)) == len(family.values) > 0
