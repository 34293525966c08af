"""/predict and /setup when things are many, missing, slow or down."""

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from backend.web.app import create_app
from labeling.errors import StoreError
from labeling.predictions import Prediction
from labeling.settings import Settings
from labeling.store import Store
from labeling.store import store as store_module
from labeling.store.database import Database
from tests.backend.web.recorded import eventually, recorded, send
from worker.queue.queues import GPU, PREDICT, PUBLISH, PUBLISH_PREDICTION, live_rows, open_queue

SINGLE, BATCH = recorded("predict_single"), recorded("predict_batch")


def with_tasks(recording: dict[str, Any], tasks: list[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    return {**recording, "json": {**recording["json"], "tasks": tasks, **fields}}


def opened(task_id: int) -> dict[str, Any]:
    return with_tasks(SINGLE, [{**SINGLE["json"]["tasks"][0], "id": task_id}])


@contextmanager
def locked(store: Store, settings: Settings) -> Iterator[None]:
    """Somebody else writes, and does not come to an end."""
    writer = sqlite3.connect(settings.database_url.removeprefix("sqlite:///"), isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        writer.execute("ROLLBACK")
        writer.close()


def test_retrieve_predictions_on_many_tasks(settings: Settings, store: Store, connection: "Redis") -> None:
    client = create_app(settings.model_copy(update={"predict_wait_s": 0}), store, connection).test_client()
    many = [{**BATCH["json"]["tasks"][0], "id": number} for number in range(1, 1501)]
    assert send(client, with_tasks(BATCH, many)).json == {"results": [[]] * 1500}
    assert store.progress.counts() == {"requested": 1500}
    eventually(lambda: open_queue(connection, GPU).count == 1500, 30)
    assert send(client, opened(7)).status_code == 200  # somebody opens one of them: its job goes to the front
    assert open_queue(connection, GPU).job_ids[0].startswith(f"predict-{7}-")


def test_an_opened_task_that_takes_too_long_is_pushed(settings: Settings, store: Store, connection: "Redis") -> None:
    client = create_app(settings.model_copy(update={"predict_wait_s": 0.2}), store, connection).test_client()
    assert send(client, SINGLE).json == {"results": [[]]}
    assert (store.predictions.get(1).status, store.predictions.get(1).delivery) == ("requested", "push")


def test_a_result_that_came_too_late_is_given_when_the_task_is_opened_again(
    client: FlaskClient, store: Store, gpu_worker: list[int]
) -> None:
    first = send(client, SINGLE).json
    assert send(client, SINGLE).json == first and first["results"][0]["result"]
    assert gpu_worker == [1]  # it was not computed twice


def test_label_studio_lost_what_was_pushed(client: FlaskClient, store: Store, connection: "Redis") -> None:
    """Somebody deleted the predictions and pressed Retrieve Predictions: they are pushed again, not computed again."""
    send(client, BATCH)
    store.predictions.finish(1, Prediction([], None, "v"))
    store.predictions.mark_published(1, 42)
    assert send(client, BATCH).json == {"results": [[]] * 10}
    assert store.predictions.get(1).status == "ready"
    eventually(lambda: live_rows(connection, PUBLISH, PUBLISH_PREDICTION) == {1})


def test_a_mask_that_is_empty_is_an_answer(client: FlaskClient, store: Store) -> None:
    """Nothing was found: that is a result, and Label Studio need not ask again."""
    send(client, BATCH)
    task = BATCH["json"]["tasks"][0]
    version = store.predictions.get(1).model_version
    store.predictions.finish(1, Prediction([], None, version))
    send(client, with_tasks(BATCH, [task]))
    assert send(client, with_tasks(BATCH, [task])).json == {
        "results": [{"result": [], "score": None, "model_version": version}]
    }


def test_a_task_without_an_image_fails_alone(client: FlaskClient, store: Store, connection: "Redis") -> None:
    tasks = [{"id": 1, "data": {"image": "/a.png"}}, {"id": 2, "data": {"text": "a"}}, {"id": 3, "data": {"image": 3}}]
    assert send(client, with_tasks(BATCH, tasks)).json == {"results": [[], [], []]}
    assert [store.predictions.get(number).status for number in (1, 2, 3)] == ["requested", "failed", "failed"]
    assert 'no text under "image"' in (store.predictions.get(2).error or "")
    eventually(lambda: live_rows(connection, GPU, PREDICT) == {1})
    assert send(client, with_tasks(BATCH, tasks[1:2])).json == {"results": [[]]}  # and it is not waited for


def test_no_tasks(client: FlaskClient) -> None:
    assert send(client, with_tasks(BATCH, [])).json == {"results": []}


@pytest.mark.parametrize("config", ["", "<View></View>", "no xml", '<View><Image name="i" value="$image"/></View>'])
def test_a_bad_label_config_is_answered_and_explained(
    config: str, client: FlaskClient, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    setup = recorded("setup")
    setup["json"]["schema"] = config
    assert send(client, setup).json == {"model_version": "tiny-1"}
    assert send(client, with_tasks(BATCH, BATCH["json"]["tasks"], label_config=config)).json == {"results": [[]] * 10}
    assert len(caplog.messages) == 2 and all("Project 1" in message for message in caplog.messages)


def test_a_label_config_that_broke_hides_no_masks(client: FlaskClient, store: Store) -> None:
    """Label Studio shows the predictions of the version that /setup names: those that were sent, not newer requests."""
    good, broken = recorded("setup"), recorded("setup")
    broken["json"]["schema"] = good["json"]["schema"].replace("<Label ", '<Label min_area="many" ')
    send(client, SINGLE)
    sent = store.predictions.get(1).model_version
    store.predictions.finish(1, Prediction([], 0.5, sent))
    store.predictions.mark_published(1, 42)
    send(client, with_tasks(SINGLE, SINGLE["json"]["tasks"], label_config=renamed(SINGLE["json"]["label_config"])))
    assert store.predictions.get(2).model_version != sent
    assert send(client, broken).json == {"model_version": sent}


def test_setup_logs_once_which_words_the_model_was_not_taught(
    client: FlaskClient, model_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (model_folder / "config.json").write_text('{"model_name": "tiny-1", "known_names": {"nuclei": ["nuclei"]}}')
    for _ in range(2):
        send(client, recorded("setup"))
    red, blue = [message for message in caplog.messages if "was not taught" in message]
    assert red.startswith('Project 1: Label "red"') and "'blue'; it knows, for example, nuclei" in blue


def renamed(config: str) -> str:
    return config.replace('value="red"', 'value="red" prompt="a red ball"')


def test_a_typed_prompt_is_waited_for_longer(settings: Settings, store: Store, connection: "Redis") -> None:
    settings = settings.model_copy(update={"predict_wait_s": 0, "interactive_wait_s": 0.6})
    client = create_app(settings, store, connection).test_client()
    began = time.monotonic()
    (answer,) = send(client, recorded("predict_interactive_text")).json["results"]
    assert answer["result"][0]["value"]["text"] == ["blue box: no answer in time, press Add again"]
    assert 0.6 <= time.monotonic() - began < 3


def test_a_box_of_an_unknown_label_fails_with_its_reason(client: FlaskClient, store: Store) -> None:
    recording = recorded("predict_interactive_rectangle")
    recording["json"]["params"]["context"]["result"][0]["value"]["rectanglelabels"] = ["green"]
    (answer,) = send(client, recording).json["results"]
    assert answer["result"] == [] and "the label of this box" in answer["error"]
    assert store.predictions.get(1).error == answer["error"]


def test_a_typed_word_that_the_model_was_not_taught_is_answered_with_the_reason(
    settings: Settings, store: Store, connection: "Redis"
) -> None:
    def work() -> None:  # as a worker that found nothing
        eventually(lambda: live_rows(connection, GPU, PREDICT) == {1})
        store.predictions.fail(1, "The model was not taught 'hunde'.")

    client = create_app(settings.model_copy(update={"interactive_wait_s": 2}), store, connection).test_client()
    worker = threading.Thread(target=work)
    worker.start()
    (answer,) = send(client, recorded("predict_interactive_text")).json["results"]
    worker.join()
    assert answer["error"] == "The model was not taught 'hunde'."
    assert answer["result"][0]["value"]["text"] == ["blue box: The model was not taught 'hunde'."]


def test_the_version_changes_with_the_prompts(client: FlaskClient) -> None:
    setup = recorded("setup")
    before = send(client, setup).json
    assert send(client, setup).json == before
    setup["json"]["schema"] = setup["json"]["schema"].replace('value="red"', 'value="red" prompt="a red ball"')
    assert send(client, setup).json != before


@pytest.mark.parametrize("extra", [None, {}, {"foo": "bar"}, '{"foo": "bar"}', "", [1]])
def test_setup_takes_any_extra_params(extra: Any, client: FlaskClient) -> None:
    setup = recorded("setup")
    setup["json"]["extra_params"] = extra
    assert send(client, setup).json["model_version"].startswith("tiny-1 · ")


def test_health_needs_neither_store_nor_redis(
    settings: Settings, store: Store, dead_redis: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    client, identity = create_app(settings, store, dead_redis).test_client(), store.identity()
    monkeypatch.setattr(Database, "reading", lambda _: pytest.fail("it was asked"))
    monkeypatch.setattr(Database, "writing", lambda _: pytest.fail("it was asked"))
    assert client.get("/health").json == {"status": "UP", "model_class": "ARGenSeg", "store": identity}


def test_setup_does_not_wait_for_a_locked_store(client: FlaskClient, store: Store, settings: Settings) -> None:
    with locked(store, settings):
        began = time.monotonic()
        assert send(client, recorded("setup")).json["model_version"].startswith("tiny-1 · ")
        assert time.monotonic() - began < 2  # Label Studio waits for 3 s
    eventually(lambda: store.projects.find(1) is not None)  # it was stored afterwards


def test_setup_tells_the_live_version_whatever_goes_on(
    app: Flask, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio would hide its masks, if another version were reported."""
    (tmp_path / "tuned").mkdir()
    store.models.add("tuned", str(tmp_path / "tuned"), "tiny-1")
    store.models.set_active("tuned")
    background, go_on = app.extensions["argenseg"].background, threading.Event()
    for _ in range(8):
        background.submit(go_on.wait)  # as when thousands of jobs are being queued
    began = time.monotonic()
    reported = send(app.test_client(), recorded("setup")).json["model_version"]
    assert reported.startswith("tuned · ") and time.monotonic() - began < 1
    go_on.set()

    def fail(*_: object) -> None:
        raise StoreError("The database is gone.")

    monkeypatch.setattr(store.models, "active", fail)
    assert send(app.test_client(), recorded("setup")).json["model_version"] == reported


@pytest.mark.parametrize(
    "recording", [SINGLE, BATCH, recorded("predict_interactive_text")], ids=["one", "many", "text"]
)
def test_predict_with_a_locked_store_opens_the_page_empty(
    recording: dict[str, Any], settings: Settings, connection: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_BUSY_TIMEOUT_S", 0.2)
    with Store.open(settings.database_url, settings.blob_url) as store, locked(store, settings):
        response = send(create_app(settings, store, connection).test_client(), recording)
    assert response.json == {"results": [[] for _ in recording["json"]["tasks"]]}


@pytest.mark.parametrize("redis", ["dead_redis", "silent_redis"])
def test_redis_is_down(redis: str, settings: Settings, store: Store, request: pytest.FixtureRequest) -> None:
    client = create_app(settings, store, request.getfixturevalue(redis)).test_client()
    began = time.monotonic()
    assert send(client, SINGLE).json == {"results": [[]]}
    assert send(client, BATCH).json == {"results": [[]] * 10}
    assert time.monotonic() - began < 4
    assert store.progress.counts() == {"requested": 11}  # the sweeper finds them
    assert {store.predictions.get(number).delivery for number in range(1, 12)} == {"push"}


def test_waiters_leave_threads_free(settings: Settings, store: Store, connection: "Redis") -> None:
    """4 threads: two may wait. The third opened task is answered at once, and pushed when it is ready."""
    app = create_app(settings.model_copy(update={"threads": 4, "predict_wait_s": 1.5}), store, connection)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as waiters:
        waiting = [waiters.submit(send, app.test_client(), opened(task_id)) for task_id in (1, 2)]
        eventually(lambda: open_queue(connection, GPU).count == 2)
        assert send(app.test_client(), opened(3)).json == {"results": [[]]}
        assert time.monotonic() - began < 1.2
        assert store.predictions.get(3).delivery == "push"
        assert store.predictions.get(1).delivery == "sync"
        assert [future.result().json for future in waiting] == [{"results": [[]]}] * 2
    assert time.monotonic() - began >= 1.5
    assert send(app.test_client(), opened(4)).status_code == 200  # the places are free again


def test_a_worker_that_finishes_while_the_request_waits(app: Flask, store: Store, connection: "Redis") -> None:
    """Without any job's result in Redis: the row alone decides, also when it becomes ready at the last moment."""
    app = create_app(app.extensions["argenseg"].settings.model_copy(update={"predict_wait_s": 1.0}), store, connection)

    def finish() -> None:
        eventually(lambda: open_queue(connection, GPU).count == 1)
        store.predictions.finish(1, Prediction([], 0.5, store.predictions.get(1).model_version))

    worker = threading.Thread(target=finish)
    worker.start()
    (result,) = send(app.test_client(), SINGLE).json["results"]
    worker.join()
    assert (result["result"], result["score"]) == ([], 0.5)
    assert store.predictions.get(1).status == "delivered"


def test_nothing_is_recorded_of_a_task_that_was_erased(client: FlaskClient, store: Store, settings: Settings) -> None:
    project = store.projects.upsert(settings.label_studio_url or "", 1, SINGLE["json"]["label_config"])
    store.erasure.erase(project, "task", 7, "asked for")
    typed = recorded("predict_interactive_text")
    for request in (opened(7), with_tasks(typed, opened(7)["json"]["tasks"], project="1.1795339217")):
        assert send(client, request).json == {"results": [[]]}
    task = SINGLE["json"]["tasks"][0]
    assert send(client, with_tasks(SINGLE, [{**task, "id": 7}, {**task, "id": 8}])).json == {"results": [[], []]}
    assert store.progress.counts() == {"requested": 1}
