"""What happened, counted in one hash of Redis: every process of every host adds to it, and /metrics shows the sums.

prometheus-client's own way for several processes keeps files in a folder of one host. A Redis that forgets sets all to
0 again, as a restarted process would: Prometheus is made for that.
"""

import logging
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from redis import RedisError
from rq.defaults import RQ_KEY_PREFIX

from labeling.settings import Settings
from worker.queue.connection import Connection, asking_redis, connect

logger = logging.getLogger(__name__)

_HASH = f"{RQ_KEY_PREFIX}:argenseg:metrics"  # as RQ's own keys, which may be all that we may use
_TIMEOUT_S = 0.2
_QUIET_S = 30.0  # after an error: whoever counts has other work
_SEPARATOR = "|"
_SUM = "sum"
ONLY = ""

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)


@dataclass(frozen=True)
class Counter:
    """A sum for each of `values` of one label, all shown from the start."""

    name: str
    help: str
    label: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Histogram:
    """How many measurements were at most as large as each of `bounds`; one histogram for each of a label's `values`.

    Without a label there is one, of the value ONLY.
    """

    name: str
    help: str
    bounds: tuple[float, ...]
    label: str | None = None
    values: tuple[str, ...] = (ONLY,)


@dataclass(frozen=True)
class Buckets:
    """A histogram's state: `cumulative` counts, one for each bound and one for all; `sum` of the measurements."""

    cumulative: tuple[float, ...]
    sum: float


_KINDS = ("batch", "interactive")

QUEUE_WAIT = Histogram(
    "argenseg_queue_wait_seconds", "From the request for a prediction to a worker's start on it.", _SECONDS, "kind",
    _KINDS,
)  # fmt: skip
BATCH_SIZE = Histogram("argenseg_batch_tasks", "Tasks that were given to the model at once.", (1, 2, 4, 8, 16, 32, 64))
INFERENCE = Histogram("argenseg_inference_seconds", "A batch in the model, images and prompts to masks.", _SECONDS)
PUBLISH = Histogram(
    "argenseg_publish_seconds", "Sending one prediction to Label Studio.", _SECONDS, "outcome",
    ("published", "postponed", "failed"),
)  # fmt: skip
END_TO_END = Histogram(
    "argenseg_end_to_end_seconds", "From the request for a prediction until Label Studio had it.", _SECONDS, "kind",
    _KINDS,
)  # fmt: skip
SENT = Counter("argenseg_predictions_sent", "Predictions that Label Studio got.", "delivery", ("push", "answer"))
FAILURES = Counter(
    "argenseg_failures", "Predictions that failed for good, by what was at fault.", "kind",
    ("image", "model", "prompt", "label_config", "label_studio", "other"),
)  # fmt: skip
CORRECTIONS = Counter(
    "argenseg_corrections", "Regions that annotators submitted or deleted.", "outcome",
    ("accepted", "edited", "deleted", "added"),
)  # fmt: skip
EVENTS = Counter("argenseg_events_processed", "Webhook events that were followed.", "outcome", ("processed", "failed"))
TRAINING_RUNS = Counter(
    "argenseg_training_runs", "Fine-tune runs that ended.", "outcome", ("promoted", "refused", "failed", "stopped")
)

COUNTERS = (SENT, FAILURES, CORRECTIONS, EVENTS, TRAINING_RUNS)
HISTOGRAMS = (QUEUE_WAIT, BATCH_SIZE, INFERENCE, PUBLISH, END_TO_END)


@dataclass
class Metrics:
    """Adds to the sums. A Redis that is away or silent costs a fifth of a second now and then, and is never raised."""

    connection: "Connection"
    _quiet_until: float = 0.0
    _later: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> "Metrics":
        """Over a connection of its own, whose short timeouts suit what may be left out."""
        return cls(connect(settings, timeout_s=_TIMEOUT_S))

    def count(self, counter: Counter, value: str, by: int = 1) -> None:
        """Add to the sum of a label's value. ValueError if the counter has no such value."""
        _check(counter, value)
        self._add({_field(counter.name, value): by})

    def observe(self, histogram: Histogram, value: str, measured: float) -> None:
        """Add a measurement to the histogram of a label's value. ValueError if the histogram has no such value."""
        self.observe_later(histogram, value, measured)
        self.flush()

    def observe_later(self, histogram: Histogram, value: str, measured: float) -> None:
        """The same with the next `flush`: while somebody waits for an answer, Redis is not asked for this."""
        _check(histogram, value)
        bucket = bisect_left(histogram.bounds, measured)
        fields = (_field(histogram.name, value, str(bucket)), _field(histogram.name, value, _SUM))
        for name, by in zip(fields, (1, measured), strict=True):
            self._later[name] = self._later.get(name, 0) + by

    def flush(self) -> None:
        """Add what was left for later, all at once."""
        if self._later:
            later, self._later = self._later, {}
            self._add(later)

    def _add(self, increments: Mapping[str, float]) -> None:
        if time.monotonic() < self._quiet_until:
            return
        try:
            with self.connection.pipeline(transaction=False) as pipeline:
                for field, by in increments.items():
                    pipeline.hincrbyfloat(_HASH, field, by)
                pipeline.execute()
        except RedisError as error:
            self._quiet_until = time.monotonic() + _QUIET_S
            logger.debug("nothing is counted for %g s: %s", _QUIET_S, error)


@dataclass(frozen=True)
class Sums:
    """All sums as they were at one moment."""

    fields: Mapping[str, float]

    def counted(self, counter: Counter) -> Iterator[tuple[str, float]]:
        """Each value of the label with its sum; 0 where nothing happened."""
        for value in counter.values:
            yield value, self.fields.get(_field(counter.name, value), 0.0)

    def observed(self, histogram: Histogram) -> Iterator[tuple[str, Buckets]]:
        """Each value of the label with its buckets."""
        for value in histogram.values:
            counts = (
                self.fields.get(_field(histogram.name, value, str(bucket)), 0.0)
                for bucket in range(len(histogram.bounds) + 1)
            )
            yield value, Buckets(tuple(accumulate(counts)), self.fields.get(_field(histogram.name, value, _SUM), 0.0))


@asking_redis()
def read_sums(connection: "Connection") -> Sums:
    """The sums of all processes. QueueUnreachable."""
    stored = connection.hgetall(_HASH)
    return Sums({_text(field): float(value) for field, value in stored.items()})


def _check(family: Counter | Histogram, value: str) -> None:
    if value not in family.values:
        raise ValueError(f"{family.name} has no {family.label} {value!r}: it is one of {', '.join(family.values)}.")


def _field(*parts: str) -> str:
    return _SEPARATOR.join(parts)


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
