"""What Label Studio tells nobody, or reported nobody who listened: the next sync has it predicted."""

from typing import Any

import pytest

from backend.console.demo.sample_project import label_config
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo, wait_for
from tests.e2e.test_bulk import argenseg

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGES = ["culture_01", "culture_02"]
CONFIG = label_config().replace('prompt="all nuclei"', 'prompt="each nucleus"')


def predicted(api: LabelStudioApi, task: int) -> dict[str, Any]:
    (prediction,) = wait_for(f"the masks of task {task}", lambda: api.predictions(task))
    return dict(prediction)


def test_tasks_that_came_while_the_backend_was_down(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("Missed", CONFIG)
    (older,) = api.import_images(project, IMAGES[:1])
    api.connect(project, demo.backend_url)
    (hook,) = api.call("GET", "/api/webhooks/", params={"project": project})
    nobody = {"url": "http://127.0.0.1:1/webhook", "actions": hook["actions"]}
    api.call("PATCH", f"/api/webhooks/{hook['id']}/", json=nobody)
    (missed,) = api.import_images(project, IMAGES[1:])
    wait_for("the sync", lambda: "looked at" in argenseg(demo, "corrections", "sync", "--project", str(project)))
    assert predicted(api, missed)["result"]
    assert api.predictions(older) == [], "nobody asked for those from before the connection"


def test_a_changed_prompt_and_a_changed_image_get_new_masks(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("Changed", CONFIG)
    api.connect(project, demo.backend_url)
    asked, shown, begun = (api.import_images(project, [image])[0] for image in (*IMAGES, IMAGES[0]))
    before = {task: predicted(api, task) for task in (asked, shown, begun)}
    wait_for("the rows", lambda: demo.store.progress.counts(project).get("published") == 3)
    draft = api.call("POST", f"/api/tasks/{begun}/drafts", json={"result": [], "lead_time": 1.0})
    data = {task: api.call("GET", f"/api/tasks/{task}")["data"] for task in before}
    api.call("PATCH", f"/api/tasks/{asked}/", json={"data": data[asked] | {"prompt": "every dark cell"}})
    api.call("PATCH", f"/api/tasks/{begun}/", json={"data": data[begun] | {"prompt": "every dark cell"}})
    api.call("PATCH", f"/api/tasks/{shown}/", json={"data": data[shown] | {"image": data[asked]["image"]}})
    argenseg(demo, "corrections", "sync", "--project", str(project), "--all")
    wait_for(
        "what is done with them",
        lambda: demo.store.progress.counts(project) == {"published": 3, "pruned": 2, "postponed_for_draft": 1},
    )
    for task in (asked, shown):
        (held,) = api.predictions(task)
        assert held["id"] != before[task]["id"] and held["model_version"] == before[task]["model_version"]
    assert [held["id"] for held in api.predictions(begun)] == [before[begun]["id"]], "somebody works on it"
    api.call("DELETE", f"/api/drafts/{draft['id']}/")
    argenseg(demo, "corrections", "sync", "--project", str(project))
    wait_for("what was held back", lambda: demo.store.progress.counts(project) == {"published": 3, "pruned": 3})
    (held,) = api.predictions(begun)
    assert held["id"] != before[begun]["id"], "the draft was discarded"
