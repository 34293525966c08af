"""Every recorded request, as it came: status, shape, and what it changed."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from backend.web.app import create_app
from labeling.corrections.events import record_corrections
from labeling.predictions import PredictedRegion, Prediction
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.regions.brush_rle import encode
from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import region_mask
from labeling.settings import Settings
from labeling.store import PredictionRequest, Store
from labeling.versions import model_version
from tests.backend.web.recorded import REQUESTS, eventually, recorded, recordings, send
from worker.context import JobContext
from worker.events.process import process_event
from worker.queue.queues import GPU, PREDICT, PROCESS_EVENT, PUBLISH, live_rows, open_queue

BASIC_AUTH = {"basic_auth_user": "user", "basic_auth_pass": "password"}


def version_of(settings: Settings, recording: dict[str, Any]) -> str:
    body = recording["json"]
    return model_version(settings.model, parse_label_config(body.get("label_config") or body["schema"]))


def requested(store: Store) -> list[PredictionRequest]:
    """All rows; their ids count from 1."""
    return [store.predictions.get(number) for number in range(1, sum(store.progress.counts().values()) + 1)]


@pytest.mark.parametrize("file", sorted(REQUESTS.glob("*.json")), ids=lambda file: file.stem)
def test_answers_as_label_studio_expects(
    file: Path, settings: Settings, store: Store, connection: "Redis", request: pytest.FixtureRequest
) -> None:
    if file.stem == "predict_single" or file.stem.startswith("predict_interactive_"):  # somebody waits for these
        request.getfixturevalue("gpu_worker")
    if "basic_auth" in file.stem:
        settings = settings.model_validate({**settings.model_dump(), **BASIC_AUTH})
    client = create_app(settings, store, connection).test_client()
    for recording in recordings(file):
        response = send(client, recording)
        assert response.status_code == recording["responded"]
        assert response.is_json
        if response.status_code == 401:
            assert response.json.keys() == {"error"} and response.headers["WWW-Authenticate"].startswith("Basic")
        elif recording["path"] == "/health":
            assert {**response.json, "store": ""} == {"status": "UP", "model_class": "ARGenSeg", "store": ""}
            assert len(response.json["store"]) == 32
        elif recording["path"] == "/setup":
            assert response.json == {"model_version": version_of(settings, recording)}
        elif recording["path"] == "/versions":
            assert response.json == {"versions": ["tiny-1"]}
        elif recording["path"] == "/webhook":
            assert response.json == {"status": "ok"}
        else:
            results = response.json["results"]
            assert len(results) == len(recording["json"]["tasks"])
            for result in results:
                assert result == [] or (result.keys() == {"result", "score", "model_version"} and result["result"])


def test_setup_remembers_the_project(client: FlaskClient, store: Store, settings: Settings) -> None:
    send(client, recorded("setup"))
    eventually(lambda: store.projects.find(1) is not None)
    project = store.projects.find(1, settings.label_studio_url)
    assert project is not None and project.label_config == recorded("setup")["json"]["schema"]


def test_setup_with_credentials(settings: Settings, store: Store, connection: "Redis") -> None:
    settings = settings.model_validate({**settings.model_dump(), **BASIC_AUTH})
    assert send(create_app(settings, store, connection).test_client(), recorded("setup_basic_auth")).status_code == 200
    eventually(lambda: store.projects.find(1) is not None)


def test_a_task_that_is_opened_gets_its_masks(
    client: FlaskClient, store: Store, settings: Settings, gpu_worker: list[int]
) -> None:
    recording = recorded("predict_single")
    (result,) = send(client, recording).json["results"]
    (row,) = requested(store)
    assert [(item.label, item.prompt, item.from_name) for item in row.plan.items] == [
        ("red", "red", "brush"),
        ("blue", "blue", "brush"),
    ]
    assert (row.task_id, row.status, row.interactive) == (2, "delivered", False)
    assert result == {"result": row.result, "score": 0.75, "model_version": version_of(settings, recording)}
    assert [region["value"]["brushlabels"] for region in result["result"]] == [["red"], ["blue"]]
    assert send(client, recorded("versions")).json == {"versions": [version_of(settings, recording)]}


def test_a_batch_is_queued_and_answered_at_once(client: FlaskClient, store: Store, connection: "Redis") -> None:
    recording = recorded("predict_batch")
    assert send(client, recording).json == {"results": [[]] * 10}
    rows = requested(store)
    assert [row.task_id for row in rows] == [task["id"] for task in recording["json"]["tasks"]]
    assert {(row.status, row.delivery) for row in rows} == {("requested", "push")}
    assert [item.prompt for item in rows[0].plan.items] == ["red", "blue"]
    assert [item.prompt for item in rows[9].plan.items] == ["red ball", "blue"]  # the task carries its own prompt
    eventually(lambda: open_queue(connection, GPU).count == 10)
    queued = [int(job_id.split("-")[1]) for job_id in open_queue(connection, GPU).job_ids]
    assert queued == [row.id for row in rows]


def test_a_typed_prompt_is_answered_with_a_mask_of_its_own(
    client: FlaskClient, store: Store, gpu_worker: list[int]
) -> None:
    recording = recorded("predict_interactive_text")
    first, second = (send(client, recording).json["results"][0]["result"] for _ in range(2))
    assert [region["value"]["brushlabels"] for region in first] == [["blue"]]  # the label that "blue box" names
    assert first[0]["id"] != second[0]["id"]  # Label Studio overwrites a region whose id it has seen
    assert [(row.interactive, row.plan.items[0].prompt) for row in requested(store)] == [(True, "blue box")] * 2


@pytest.mark.parametrize("name", ["predict_interactive_keypoint", "predict_interactive_rectangle"])
def test_a_smart_tool_asks_for_its_label_where_it_points(
    name: str, client: FlaskClient, store: Store, gpu_worker: list[int]
) -> None:
    (result,) = send(client, recorded(name)).json["results"]
    assert [region["value"]["brushlabels"] for region in result["result"]] == [["red"]]
    (row,) = requested(store)
    (item,) = row.plan.items
    shape = recorded(name)["json"]["params"]["context"]["result"][0]["value"]
    assert item.focus is not None and (item.prompt, row.interactive) == ("red", True)
    (drawn,) = item.focus.points or item.focus.boxes
    assert (drawn.x, drawn.y) == (shape["x"], shape["y"])


def test_an_unknown_tool_gets_a_valid_empty_answer(client: FlaskClient, store: Store) -> None:
    recording = recorded("predict_interactive_rectangle")
    recording["json"]["params"]["context"]["result"][0]["type"] = "ellipselabels"
    assert send(client, recording).json == {"results": [[]]}
    assert store.progress.counts() == {}


def test_an_empty_context_leaves_the_page_alone(client: FlaskClient, store: Store, connection: "Redis") -> None:
    """It comes after Submit: regions with the ids of the prediction would overwrite what the annotator made of them."""
    recording = recorded("predict_interactive_empty_context")
    assert send(client, recording).json == {"results": [[]]}
    (row,) = requested(store)
    assert (row.task_id, row.delivery, row.interactive) == (4, "push", False)
    eventually(lambda: live_rows(connection, GPU, PREDICT) == {row.id})


WEBHOOKS = [file.stem for file in sorted(REQUESTS.glob("*.json")) if recordings(file)[-1]["responded"] == 201]


@pytest.mark.parametrize("name", [name for name in WEBHOOKS if "basic_auth" not in name])
def test_an_event_is_stored_before_it_is_answered(
    name: str, client: FlaskClient, store: Store, settings: Settings, connection: "Redis"
) -> None:
    for number, recording in enumerate(recordings(REQUESTS / f"{name}.json"), start=1):
        assert send(client, recording).status_code == 201
        event = store.events.get(number)
        assert (event.action, event.payload) == (recording["json"]["action"], recording["json"])
        assert event.label_studio_url == settings.label_studio_url
        eventually(lambda number=number: number in live_rows(connection, PUBLISH, PROCESS_EVENT))


def test_new_tasks_are_predicted_before_anyone_opens_them(
    client: FlaskClient, store: Store, settings: Settings, connection: "Redis"
) -> None:
    send(client, recorded("webhook_tasks_created"))
    for _ in range(2):  # an event may be processed twice
        process_event(JobContext(settings, store, None, connection), 1)
    (row,) = requested(store)
    assert (row.task_id, row.status, row.delivery) == (13, "requested", "push")
    assert [item.prompt for item in row.plan.items] == ["a", "blue"]
    assert live_rows(connection, GPU, PREDICT) == {row.id}


def test_an_updated_project_is_remembered(
    client: FlaskClient, store: Store, settings: Settings, connection: "Redis"
) -> None:
    recording = recorded("webhook_project_updated")
    send(client, recording)
    process_event(JobContext(settings, store, None, connection), 1)
    project = store.projects.find(1, settings.label_studio_url)
    assert project is not None and project.label_config == recording["json"]["project"]["label_config"]


def test_a_corrected_brush_becomes_a_correction(client: FlaskClient, store: Store, settings: Settings) -> None:
    """The annotator erased a part of the region br255, which was predicted for task 4."""
    event = recorded("webhook_annotation_created_corrected_brush")
    drawn = event["json"]["annotation"]["result"][0]
    corrected = region_mask(drawn)
    predicted = corrected.copy()
    predicted[:40] = True
    project = store.projects.upsert(settings.label_studio_url or "", 1, event["json"]["project"]["label_config"])
    config = parse_label_config(project.label_config)
    task = event["json"]["task"]
    row = store.requests.add(
        project, task["id"], task["data"], plan_prompts(config, task["data"]), "tiny-1 · 000000", delivery="push"
    )
    region = drawn | {"value": drawn["value"] | {"rle": encode(predicted)}}
    kept = PredictedRegion("br255", "red", "red", 0.9, CroppedMask.of(predicted))
    store.predictions.finish(row.id, Prediction([region], 0.9, row.model_version, (kept,)))
    store.predictions.mark_published(row.id, 619)

    send(client, event)
    assert record_corrections(store, 1).total() >= 1
    (correction,) = [row for row in store.corrections.of_project(1) if row.region_id == "br255"]
    assert (correction.kind, correction.annotation_id, correction.label) == ("edited", 7, "red")
    assert correction.mask_before is not None and correction.mask_after is not None
    assert (store.corrections.read_mask(correction.mask_before) == predicted).all()
    assert (store.corrections.read_mask(correction.mask_after) == corrected).all()
    assert correction.iou == pytest.approx((predicted & corrected).sum() / (predicted | corrected).sum())
