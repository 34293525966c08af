"""The demo is stopped and started again on the same data."""

import time
from pathlib import Path
from typing import Any

import pytest

from backend.console.demo.label_studio import free_ports
from backend.console.demo.sample_project import NUCLEI
from tests.e2e.conftest import running_demo
from tests.e2e.label_studio_api import RunningDemo, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3000)]  # starts two demos, one after the other


def projects(demo: RunningDemo) -> dict[str, dict[str, Any]]:
    """Label Studio's projects by title."""
    return {each["title"]: each for each in demo.label_studio.call("GET", "/api/projects/")["results"]}


def kept(demo: RunningDemo) -> dict[str, Any]:
    """What a person finds again: of each project the version that is shown, and the ids of masks and annotations."""
    api = demo.label_studio
    found = {}
    for title, project in projects(demo).items():
        annotations, predictions = {}, {}
        for task in api.task_ids(project["id"]):
            annotations[task] = {each["id"] for each in api.call("GET", f"/api/tasks/{task}/annotations/")}
            predictions[task] = {each["id"] for each in api.predictions(task)}
        found[title] = (project["id"], project["model_version"], annotations, predictions)
    return found


def corrections(demo: RunningDemo, project: int) -> list[tuple[int, str, str]]:
    return [(each.annotation_id, each.region_id, each.kind) for each in demo.store.corrections.of_project(project)]


def test_a_second_start_takes_seconds_and_keeps_the_data(tmp_path: Path) -> None:
    ports = free_ports(2)
    started = time.monotonic()
    with running_demo(tmp_path, *ports) as demo:
        first_s = time.monotonic() - started
        api, project = demo.label_studio, projects(demo)[NUCLEI.title]["id"]
        task = api.task_ids(project)[0]
        annotation = {"result": api.predictions(task)[0]["result"], "lead_time": 2.0}
        api.call("POST", f"/api/tasks/{task}/annotations/", json=annotation)
        wait_for("the correction", lambda: corrections(demo, project))
        before, corrected = kept(demo), corrections(demo, project)
    started = time.monotonic()
    with running_demo(tmp_path, *ports) as demo:
        second_s = time.monotonic() - started
        assert kept(demo) == before
        assert corrections(demo, project) == corrected
    # no half: the first one copies the prepared database, and only draws more
    assert second_s < first_s, f"the first start took {first_s:.0f} s, the second {second_s:.0f} s"
