"""/metrics for Prometheus: the sums that all processes count in Redis, and gauges read from the store, Redis and disk.

Every family is there from the start. What cannot be asked just now is left out rather than shown as 0; whether Redis
and the store answer are gauges of their own.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from backend.web.health import readiness
from backend.web.services import Services
from labeling.errors import StoreError
from labeling.store import Project, Store
from labeling.versions import weights_name
from worker.queue.heartbeats import SCHEDULER, SWEEPER, is_alive
from worker.queue.metrics import COUNTERS, HISTOGRAMS, Histogram, Sums, read_sums
from worker.queue.queues import WORKED_BY, live_workers, queued_jobs

PATH = "/metrics"

_REDIS_S = 1.0
_STATUSES = ("requested", "ready", "published", "delivered", "failed", "cancelled", "pruned", "postponed_for_draft")


@dataclass(frozen=True)
class _Queues:
    """What Redis knows at one moment."""

    sums: Sums
    depth: dict[str, int]
    workers: dict[str, int]
    alive: dict[str, bool]


def make_blueprint(services: Services) -> Blueprint:
    """The route /metrics."""
    metrics = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(_Families(services))

    @metrics.get(PATH)
    def scrape() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return metrics


class _Families(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> list[Metric]:
        """Nothing is asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        services = self._services
        queues = services.background.call(_REDIS_S, _ask_queues, services)
        yield _gauge("argenseg_redis_up", "Whether Redis answers.", queues is not None)
        if queues is not None:
            yield from _counted(queues)
        yield _gauge(
            "argenseg_can_store_events", "Whether a webhook's event can be kept.", readiness(services)["ready"]
        )
        yield _gauge(
            "argenseg_disk_free_bytes", "Free in the data folder.", shutil.disk_usage(services.settings.data_dir).free
        )
        try:
            yield from _of_the_store(services.store, weights_name(services.settings.model)[0])
        except StoreError:
            yield _gauge("argenseg_store_up", "Whether the database answers.", False)
        else:
            yield _gauge("argenseg_store_up", "Whether the database answers.", True)


def _ask_queues(services: Services) -> _Queues:
    connection = services.connection
    return _Queues(
        sums=read_sums(connection),
        depth={queue: queued_jobs(connection, queue) for queue in WORKED_BY},
        workers={queue: live_workers(connection, queue) for queue in WORKED_BY},
        alive={process: is_alive(connection, process) for process in (SWEEPER, SCHEDULER)},
    )


def _counted(queues: _Queues) -> Iterator[Metric]:
    for counter in COUNTERS:
        sums = CounterMetricFamily(counter.name, counter.help, labels=[counter.label])
        for value, count in queues.sums.counted(counter):
            sums.add_metric([value], count)
        yield sums
    for histogram in HISTOGRAMS:
        yield _histogram(histogram, queues.sums)
    yield _gauges("argenseg_queue_depth", "Jobs that wait in a queue.", "queue", queues.depth)
    yield _gauges("argenseg_workers", "Workers that gave a sign of life in the last minute.", "queue", queues.workers)
    yield _gauges("argenseg_process_alive", "Whether a copy of the process lives.", "process", queues.alive)


def _histogram(histogram: Histogram, sums: Sums) -> Metric:
    bounds = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
    family = HistogramMetricFamily(
        histogram.name, histogram.help, labels=[] if histogram.label is None else [histogram.label]
    )
    for value, buckets in sums.observed(histogram):
        labels = [] if histogram.label is None else [value]
        family.add_metric(labels, list(zip(bounds, buckets.cumulative, strict=True)), buckets.sum)
    return family


def _of_the_store(store: Store, default: str) -> Iterator[Metric]:
    counts = dict.fromkeys(_STATUSES, 0) | store.progress.counts()
    yield _gauges("argenseg_predictions", "Predictions by what became of them so far.", "status", counts)
    waiting = store.events.count_unprocessed(older_than_s=0)
    yield _gauge("argenseg_events_waiting", "Webhook events that are stored and not yet followed.", waiting)
    active = GaugeMetricFamily(
        "argenseg_model_info", "The active version of each project.", labels=["project", "version"]
    )
    active.add_metric(["default", _active_name(store, None, default)], 1)
    for project in store.projects.all():
        active.add_metric([str(project.project_id), _active_name(store, project, default)], 1)
    yield active


def _active_name(store: Store, project: Project | None, default: str) -> str:
    version = store.models.active(project)
    return default if version is None else version.name


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help_text, value=float(value))


def _gauges(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for value, measured in values.items():
        family.add_metric([value], float(measured))
    return family
