"""/metrics as Prometheus reads it, and that the dashboard and the alerts ask for what is there."""

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from labeling.settings import Settings
from tests.backend.web.recorded import recorded, send
from worker.queue.connection import connect
from worker.queue.metrics import CORRECTIONS, INFERENCE, ONLY, Metrics

ROOT = Path(__file__).parents[3]
QUERIES = [
    panel_target["expr"]
    for panel in json.loads((ROOT / "docker/grafana/argenseg.json").read_text())["panels"]
    for panel_target in panel["targets"]
]
ALERTS = re.findall(r"expr: (.+)", (ROOT / "docker/prometheus/alerts.yaml").read_text())


def samples(client: FlaskClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.get_data(as_text=True))
        for sample in family.samples
    }


def test_families_are_there_from_the_start(client: FlaskClient) -> None:
    text = client.get("/metrics").get_data(as_text=True)
    families = list(text_string_to_metric_families(text))
    assert len(families) >= 12
    assert all(family.name.startswith("argenseg_") and family.documentation for family in families)
    found = samples(client)
    assert found["argenseg_corrections_total", (("outcome", "edited"),)] == 0
    assert found["argenseg_inference_seconds_bucket", (("le", "+Inf"),)] == 0
    assert found["argenseg_redis_up", ()] == found["argenseg_can_store_events", ()] == 1


def test_what_other_processes_count_is_shown(client: FlaskClient, settings: Settings) -> None:
    Metrics(connect(settings)).count(CORRECTIONS, "edited", 3)
    Metrics(connect(settings)).observe(INFERENCE, ONLY, 0.3)
    found = samples(client)
    assert found["argenseg_corrections_total", (("outcome", "edited"),)] == 3
    assert found["argenseg_inference_seconds_bucket", (("le", "0.25"),)] == 0
    assert found["argenseg_inference_seconds_bucket", (("le", "0.5"),)] == 1
    assert found["argenseg_inference_seconds_sum", ()] == 0.3


def test_a_request_that_waits_for_its_worker_is_a_gauge(client: FlaskClient, connection: Redis) -> None:
    send(client, recorded("predict_batch"))
    assert samples(client)["argenseg_predictions", (("status", "requested"),)] >= 1


@pytest.mark.parametrize("query", [*QUERIES, *ALERTS])
def test_what_the_dashboard_and_the_alerts_ask_for_exists(client: FlaskClient, query: str) -> None:
    names = set(re.findall(r"argenseg_[a-z_]+", query))
    assert names and names <= {name for name, _ in samples(client)}, query
