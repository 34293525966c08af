import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from pydantic import SecretStr

from labeling.label_studio.client import LabelStudioClient
from labeling.predictions import PredictedMask, build_prediction
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.regions.cropped_mask import CroppedMask
from labeling.store import PredictionRequest, Store
from tests.serving import serving
from tests.worker.conftest import label_config
from worker.publishing import publisher
from worker.publishing.publisher import publish
from worker.queue.retries import RetryLater


class LabelStudio(ThreadingHTTPServer):
    """Label Studio's two endpoints for predictions, and the one that says who we are.

    `refusal` is a status that it answers instead and `refused` how often it did; `refusals` are for one task's POST,
    and tasks that are `gone` are 404.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.predictions: list[dict[str, Any]] = []
        self.refusal: int | None = None
        self.refused = 0
        self.takes_our_token = True
        self.refusals: dict[int, int] = {}
        self.gone: set[int] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: LabelStudio

    def do_GET(self) -> None:
        if self.path == "/api/current-user/whoami":
            self.send(200 if self.server.takes_our_token else 401, {"id": 1})
            return
        task = int(parse_qs(urlsplit(self.path).query)["task"][0])
        self.answer(200, [each for each in self.server.predictions if each["task"] == task])

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if body["task"] in self.server.gone:
            self.answer(404, {"detail": "Not found."})
        elif body["task"] in self.server.refusals:
            self.answer(self.server.refusals[body["task"]], {"detail": "refused"})
        elif self.server.refusal is None:
            self.server.predictions.append({"id": 100 + len(self.server.predictions), **body})
            self.answer(201, self.server.predictions[-1])
        else:
            self.answer(201, {})

    def answer(self, status: int, body: object) -> None:
        if self.server.refusal is not None:
            status, body = self.server.refusal, {"detail": "refused"}
            self.server.refused += 1
        assert urlsplit(self.path).path == "/api/predictions/"
        self.send(status, body)

    def send(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def label_studio() -> Iterator[LabelStudio]:
    with serving(LabelStudio()) as server:
        yield server


@pytest.fixture
def client(label_studio: LabelStudio) -> LabelStudioClient:
    return LabelStudioClient(label_studio.url, SecretStr("token").get_secret_value())


def make_ready(store: Store, url: str, task_id: int = 1, interactive: bool = False) -> PredictionRequest:
    config = label_config("cell")
    plan = plan_prompts(parse_label_config(config), {})
    project = store.projects.upsert(url, 5, config)
    wanted = store.requests.add(
        project, task_id, {"image": "/data/1.png"}, plan, "starter-1 · a1b2c3", delivery="push", interactive=interactive
    )
    item = plan.items[0]
    shape = CroppedMask.of(np.eye(8, dtype=bool))
    mask = PredictedMask("l0", "cell", item.from_name, item.to_name, item.region_type, shape, 0.9)
    store.predictions.finish(wanted.id, build_prediction([mask], wanted.model_version, 8, 8))
    return store.predictions.get(wanted.id)


def test_a_prediction_is_sent_once(store: Store, label_studio: LabelStudio, client: LabelStudioClient) -> None:
    ready = make_ready(store, label_studio.url)
    assert publish(store, client, ready.id) == "published"
    assert publish(store, client, ready.id) == "published"
    [sent] = label_studio.predictions
    assert (sent["task"], sent["model_version"], sent["result"]) == (1, ready.model_version, ready.result)
    assert store.predictions.get(ready.id).label_studio_prediction_id == 100


def test_a_death_between_sending_and_marking_sends_nothing_twice(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = make_ready(store, label_studio.url)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.predictions, "mark_published", die)
        with pytest.raises(KeyboardInterrupt):
            publish(store, client, ready.id)
    assert store.predictions.get(ready.id).status == "ready"
    assert publish(store, client, ready.id) == "published"
    assert len(label_studio.predictions) == 1
    assert store.predictions.get(ready.id).label_studio_prediction_id == 100


def test_a_task_that_is_opened_while_it_is_sent_is_not_sent(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio stores what it answered to the page."""
    ready = make_ready(store, label_studio.url)

    def open_task(_: int) -> list[dict[str, Any]]:
        store.requests.add(
            ready.project, ready.task_id, ready.task_data, ready.plan, ready.model_version, delivery="sync"
        )
        assert store.predictions.deliver_now(ready.id) is not None
        return []

    monkeypatch.setattr(client, "list_predictions", open_task)
    assert publish(store, client, ready.id) == "delivered"
    assert label_studio.predictions == []


def test_another_version_of_the_same_task_does_not_count(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient
) -> None:
    label_studio.predictions.append({"id": 7, "task": 1, "model_version": "starter-0 · ffffff", "result": []})
    label_studio.predictions.append({"id": 8, "task": 2, "model_version": "starter-1 · a1b2c3", "result": []})
    publish(store, client, make_ready(store, label_studio.url).id)
    assert len(label_studio.predictions) == 3


def test_a_deleted_task_fails_with_its_reason(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient
) -> None:
    ready = make_ready(store, label_studio.url)
    label_studio.refusal = 404
    assert publish(store, client, ready.id) == "failed"
    assert store.predictions.get(ready.id).error


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_of_what_is_no_label_studio_just_now_is_none(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, status: int
) -> None:
    ready = make_ready(store, label_studio.url)
    label_studio.refusal, label_studio.takes_our_token = status, False
    assert isinstance(publish(store, client, ready.id), RetryLater)
    assert "LABEL_STUDIO_API_KEY" in (store.predictions.get(ready.id).error or "")


@pytest.mark.parametrize("status", [401, 403, 503])
def test_a_label_studio_that_refuses_for_now_is_asked_again_later(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, status: int
) -> None:
    ready = make_ready(store, label_studio.url)
    label_studio.refusal = status
    answer = publish(store, client, ready.id)
    assert isinstance(answer, RetryLater)
    assert list(answer.after_s) == sorted(answer.after_s)
    waiting = store.predictions.get(ready.id)
    assert waiting.status == "ready"
    assert str(status) in (waiting.error or "")
    label_studio.refusal = None
    assert publish(store, client, ready.id) == "published"
    assert store.predictions.get(ready.id).error is None


@pytest.mark.parametrize(("status", "advice"), [(413, "use polygons"), (422, "label config")])
def test_what_would_be_refused_again_fails_with_advice(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, status: int, advice: str
) -> None:
    ready = make_ready(store, label_studio.url)
    label_studio.refusals[1] = status
    assert publish(store, client, ready.id) == "failed"
    reason = store.predictions.get(ready.id).error or ""
    assert str(status) in reason and advice in reason


def test_a_prediction_that_alone_breaks_label_studio_is_given_up(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, other = (make_ready(store, label_studio.url, task_id=number) for number in (1, 2))
    label_studio.refusals[1] = 500
    assert isinstance(publish(store, client, breaking.id), RetryLater)
    assert publish(store, client, other.id) == "published"
    assert isinstance(publish(store, client, breaking.id), RetryLater)  # it may be a moment's trouble
    monkeypatch.setattr(publisher, "_OVERTAKEN_S", 0.0)
    label_studio.refusal = 500  # nobody's alone
    assert isinstance(publish(store, client, breaking.id), RetryLater)
    label_studio.refusal = None
    for later in (429, 503):
        label_studio.refusals[1] = later
        assert isinstance(publish(store, client, breaking.id), RetryLater), "it says nothing of this one"
    label_studio.refusals[1] = 500
    assert publish(store, client, breaking.id) == "failed"
    assert "500" in (store.predictions.get(breaking.id).error or "")


def test_a_prediction_that_nobody_overtook_is_tried_again(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_OVERTAKEN_S", 0.0)
    label_studio.refusals[1] = 500
    ready = make_ready(store, label_studio.url)
    elsewhere = make_ready(store, "http://elsewhere.test", task_id=2)
    store.predictions.mark_published(elsewhere.id, 7)
    for _ in range(3):
        assert isinstance(publish(store, client, ready.id), RetryLater)


def test_without_label_studio_a_prediction_stays_ready(store: Store, unused_url: str) -> None:
    ready = make_ready(store, unused_url)
    assert publish(store, None, ready.id) == "ready"
    assert isinstance(publish(store, LabelStudioClient(unused_url, "token"), ready.id), RetryLater)
    assert store.predictions.get(ready.id).status == "ready"


def test_a_prediction_goes_to_no_other_label_studio(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient
) -> None:
    ready = make_ready(store, "http://elsewhere.test")
    assert publish(store, client, ready.id) == "failed"
    assert label_studio.predictions == []


def test_a_prediction_that_no_longer_fits_the_label_config_is_not_sent(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient
) -> None:
    ready = make_ready(store, label_studio.url)
    store.projects.upsert(label_studio.url, 5, label_config("cell").replace('value="l0"', 'value="other"'))
    assert publish(store, client, ready.id) == "failed"
    assert label_studio.predictions == []


def test_a_late_answer_to_a_typed_prompt_is_not_sent(
    store: Store, label_studio: LabelStudio, client: LabelStudioClient
) -> None:
    assert publish(store, client, make_ready(store, label_studio.url, interactive=True).id) == "failed"
    assert label_studio.predictions == []


@pytest.fixture
def unused_url() -> str:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        return f"http://127.0.0.1:{server.server_port}"
