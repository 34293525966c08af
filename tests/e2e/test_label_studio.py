"""The line through a real Label Studio, seen from its API."""

import httpx
import pytest
from rich.console import Console

from argenseg_model.metrics import iou
from backend.console.demo.check import check_demo
from backend.console.demo.sample_project import NUCLEI, SampleProject, label_config
from labeling.regions.kinds import region_mask
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGES = ["culture_01", "culture_02", "culture_03"]
OTHER_CONFIG = label_config().replace('prompt="all nuclei"', 'prompt="every nucleus"')
MIN_IOU = 0.4  # of one easy image; the mean over all is checked by `check_demo`


def typed_prompt_of(text: str) -> dict[str, object]:
    """What Label Studio 1.23 sends when Add is pressed under a typed text (recorded)."""
    region = {"value": {"text": [text]}, "id": "vEZM8FFWUi", "from_name": "prompt", "to_name": "image"}
    return {"result": [{**region, "type": "textarea", "origin": "manual"}]}


def predict_request(api: LabelStudioApi, project: int, tasks: list[int]) -> dict[str, object]:
    return {
        "tasks": [api.call("GET", f"/api/tasks/{task}") | {"predictions": []} for task in tasks],
        "project": f"{project}.1795339217",
        "label_config": OTHER_CONFIG,
        "params": {"login": None, "password": None, "context": None},
    }


def test_the_demo_keeps_its_promise(demo: RunningDemo) -> None:
    project = SampleProject(demo.label_studio.url, demo.label_studio.token)
    assert project.task_count() == len(NUCLEI.ids)
    version = project.model_version()
    assert demo.label_studio.call("GET", f"/api/projects/{project.id}")["model_version"] == version
    check_demo(project, version, demo.store.corrections.of_project, Console())


def test_many_tasks_are_answered_empty_and_their_masks_are_pushed(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("pushed", OTHER_CONFIG)
    tasks = api.import_images(project, IMAGES)
    body = predict_request(api, project, tasks)
    answer = httpx.post(f"{demo.backend_url}/predict", json=body, trust_env=False, timeout=10.0)
    assert answer.json() == {"results": [[], [], []]}
    for task, image in zip(tasks, IMAGES, strict=True):
        (prediction,) = wait_for(f"the pushed masks of task {task}", lambda task=task: api.predictions(task))
        (region,) = prediction["result"]
        assert region["type"] == "brushlabels" and region["value"]["brushlabels"] == ["Nucleus"]
        assert iou(region_mask(region), NUCLEI.truth(image)) > MIN_IOU
    api.connect(project, demo.backend_url)
    api.retrieve_predictions(project)
    assert [len(api.predictions(task)) for task in tasks] == [1, 1, 1], "the same version is predicted once"


def test_a_task_that_is_opened_holds_its_mask_at_once(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("opened", OTHER_CONFIG)
    live, pinned = api.import_images(project, IMAGES[:2])  # before the backend is connected: no webhook tells of them
    api.connect(project, demo.backend_url)
    assert api.predictions(live) == api.predictions(pinned) == []
    (prediction,) = api.call("GET", f"/api/tasks/{live}", params={"project": project})["predictions"]
    assert iou(region_mask(prediction["result"][0]), NUCLEI.truth(IMAGES[0])) > MIN_IOU
    api.call("PATCH", f"/api/projects/{project}", json={"model_version": prediction["model_version"]})
    assert api.call("GET", f"/api/tasks/{pinned}", params={"project": project})["predictions"]
    assert demo.store.progress.counts(project) == {"delivered": 2}


def test_an_imported_image_is_predicted_before_anyone_opens_it(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("imported", OTHER_CONFIG)
    api.connect(project, demo.backend_url)
    (task,) = api.import_images(project, IMAGES[1:2])
    (prediction,) = wait_for("the masks of the new task", lambda: api.predictions(task))
    assert prediction["result"]


def test_a_typed_prompt_returns_its_mask(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("typed", OTHER_CONFIG)
    (task,) = api.import_images(project, IMAGES[:1])
    backend = api.connect(project, demo.backend_url)
    body = {"task": task, "context": typed_prompt_of("all nuclei")}
    answer = api.call("POST", f"/api/ml/{backend}/interactive-annotating", json=body)
    (region,) = answer["data"]["result"]
    assert region["type"] == "brushlabels" and region["from_name"] == "mask"
    assert iou(region_mask(region), NUCLEI.truth(IMAGES[0])) > MIN_IOU


def test_a_word_that_the_model_was_not_taught_is_no_empty_mask(demo: RunningDemo) -> None:
    """Neither typed nor as a label's prompt: the task stays without prediction, and says why."""
    api = demo.label_studio
    project = api.create_project("untaught", OTHER_CONFIG.replace("every nucleus", "alle Giraffen"))
    backend = api.connect(project, demo.backend_url)
    (task,) = api.import_images(project, IMAGES[1:2])
    wait_for("the task to fail", lambda: demo.store.progress.counts(project) == {"failed": 1})
    assert api.predictions(task) == []
    body = {"task": task, "context": typed_prompt_of("all giraffes")}
    answer = api.call("POST", f"/api/ml/{backend}/interactive-annotating", json=body)["data"]
    (field,) = answer["result"]
    assert field["value"]["text"][0].startswith("all giraffes: The model was not taught 'giraffes'; it knows, for")
    assert api.predictions(task) == []


def test_a_skipped_task_leaves_no_correction(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("skipped", OTHER_CONFIG)
    api.connect(project, demo.backend_url)
    (task,) = api.import_images(project, IMAGES[:1])
    wait_for("the masks of the new task", lambda: api.predictions(task))
    skipped = {"result": [], "was_cancelled": True, "lead_time": 1.0}
    kept = {"result": api.predictions(task)[0]["result"], "lead_time": 2.0}
    api.call("POST", f"/api/tasks/{task}/annotations/", json=skipped)
    annotation = api.call("POST", f"/api/tasks/{task}/annotations/", json=kept)["id"]
    (correction,) = wait_for("the correction", lambda: demo.store.corrections.of_project(project))
    assert (correction.annotation_id, correction.region_id) == (annotation, kept["result"][0]["id"])
    assert (correction.kind, correction.iou) == ("accepted", 1.0)
