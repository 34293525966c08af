"""What a real Label Studio sent to an ML backend, sent to label-studio-ml 1.0.9 with our model in it."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store import Store
from labeling.versions import model_version, weights_name
from tests.backend.web.recorded import eventually, recorded
from tests.label_studio_ml_server import label_studio_ml_server
from worker.queue.queues import GPU, open_queue


@pytest.fixture
def url(settings: Settings, store: Store) -> Iterator[str]:
    environment = {
        "ARGENSEG_DATA_DIR": str(settings.data_dir),
        "ARGENSEG_MODEL": settings.model,
        "REDIS_URL": str(settings.redis_url),
        "LABEL_STUDIO_URL": str(settings.label_studio_url),
        "PREDICT_WAIT_S": "30",
    }
    with label_studio_ml_server(environment) as url:
        yield url


def post(url: str, recording: dict[str, Any], **fields: Any) -> Any:
    body = {**recording["json"], **fields}
    answer = httpx.post(f"{url}{recording['path']}", json=body, timeout=60.0, trust_env=False)
    assert answer.is_success, answer.text
    return answer.json()


def test_label_studio_ml_serves_our_predictions(url, settings, store, connection, gpu_worker) -> None:
    setup, single, batch = recorded("setup"), recorded("predict_single"), recorded("predict_batch")
    version = model_version(settings.model, parse_label_config(setup["json"]["schema"]))
    assert post(url, setup)["model_version"] == version

    (result,) = post(url, single)["results"]
    assert result["model_version"] == version
    assert result["result"] and result["result"][0]["score"] == 0.75
    assert len(gpu_worker) == 1

    tasks = [{**batch["json"]["tasks"][0], "id": number} for number in range(101, 106)]
    assert post(url, batch, tasks=tasks)["results"] == [[]] * 5
    eventually(lambda: len(gpu_worker) == 6)
    assert store.predictions.get(gpu_worker[-1]).delivery == "push"


def test_projects_are_not_mixed_up(url, settings, store, connection) -> None:
    """1.0.9 itself predicts by the label config of whatever project was set up last."""
    single, setup = recorded("predict_single"), recorded("setup")
    other = setup["json"]["schema"].replace('value="red"', 'value="green"')
    post(url, setup, project="2.1795339217", schema=other)
    batch = recorded("predict_batch")
    post(url, batch, tasks=[single["json"]["tasks"][0] | {"id": number} for number in (1, 2)])
    eventually(lambda: open_queue(connection, GPU).count == 2)
    assert {item.label for item in store.predictions.get(1).plan.items} == {"red", "blue"}


def test_webhooks_are_kept(url, store) -> None:
    event = recorded("webhook_annotation_created")
    assert post(url, {**event, "path": "/webhook"})["status"] == "ok"
    stored = store.events.get(1)
    assert (stored.action, stored.payload) == ("ANNOTATION_CREATED", event["json"])


def test_versions(url, settings) -> None:
    answer = httpx.post(f"{url}/versions", json={"project": "1.2"}, timeout=30.0, trust_env=False)
    assert answer.json()["versions"] == [weights_name(settings.model)[0]]
