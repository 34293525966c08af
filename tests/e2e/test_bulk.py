"""Many tasks by Retrieve Predictions, and two pages that open one task: each task holds its prediction once."""

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from backend.console.demo.sample_project import NUCLEI, label_config
from labeling.settings import Settings, environment_of
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

TASKS = 200
SIDE = 64
RUN_S = 900.0
CONFIG = label_config().replace('prompt="all nuclei"', 'prompt="the nuclei"')


def argenseg(demo: RunningDemo, *words: str) -> str:
    """What a command prints beside the running demo."""
    settings = Settings(
        label_studio_url=demo.label_studio.url,
        label_studio_api_key=demo.label_studio.token,
        data_dir=demo.data_dir,
        redis_url=None,
        database_url=f"sqlite:///{demo.data_dir}/argenseg.db",
        blob_url=str(demo.data_dir / "blobs"),
    )
    command, environment = (
        [sys.executable, "-m", "backend.console.cli", *words],
        {**os.environ, **environment_of(settings)},
    )
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True).stdout


def import_crops(api: LabelStudioApi, project: int, count: int) -> list[int]:
    """Tasks with crops of the sample project's pictures, each another one; the ids of the tasks."""
    sources = [content for name, content in NUCLEI.images().items() if name.startswith("culture_")]
    files = []
    for number in range(count):
        with Image.open(io.BytesIO(sources[number % len(sources)])) as source:
            left, top = 3 * number % (source.width - SIDE), 5 * number % (source.height - SIDE)
            buffer = io.BytesIO()
            source.crop((left, top, left + SIDE, top + SIDE)).save(buffer, "PNG")
        files.append((f"{number}.png", (f"{number}.png", buffer.getvalue(), "image/png")))
    for start in range(0, count, 50):
        api.call("POST", f"/api/projects/{project}/import", files=files[start : start + 50])
    listed = api.call("GET", "/api/tasks", params={"project": project, "page_size": count})["tasks"]
    return sorted(int(task["id"]) for task in listed)


def both(api: LabelStudioApi, path: str) -> list[list[dict[str, Any]]]:
    """The predictions that two pages show which ask for `path` at once."""
    with ThreadPoolExecutor(2) as pool:
        pages = [pool.submit(api.call, "GET", path) for _ in range(2)]
        return [page.result()["predictions"] for page in pages]


def test_retrieve_predictions_on_200_tasks(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("Two hundred", CONFIG)
    tasks = import_crops(api, project, TASKS)  # before the backend is connected: no webhook tells of them
    assert len(tasks) == TASKS
    backend = api.connect(project, demo.backend_url)
    api.retrieve_predictions(project)
    versions: dict[str, int] = wait_for("progress", lambda: held(api, project))
    reported = argenseg(demo, "predict", "--project", str(project), "--dry-run")
    assert f"of its {TASKS} tasks lack masks of it (" in reported and "queued already" in reported, "progress is seen"
    assert sum(versions.values()) < TASKS

    wait_for("all predictions", lambda: sum(held(api, project).values()) >= TASKS, RUN_S)
    ((version, count),) = held(api, project).items()
    assert count == TASKS and version == api.call("GET", f"/api/ml/{backend}")["model_version"]
    assert {len(api.predictions(task)) for task in tasks} == {1}
    api.retrieve_predictions(project)
    assert "None of its 200 tasks lacks masks" in argenseg(demo, "predict", "--project", str(project), "--dry-run")
    assert demo.store.progress.counts(project) == {"published": TASKS} and held(api, project) == {version: TASKS}


def test_two_pages_that_open_a_task_at_once(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("Opened twice", CONFIG)
    first, pinned, live = api.import_images(project, ["culture_01", "culture_02", "culture_03"])
    api.connect(project, demo.backend_url)
    (prediction,) = api.call("GET", f"/api/tasks/{first}", params={"project": project})["predictions"]

    api.call("PATCH", f"/api/projects/{project}", json={"model_version": prediction["model_version"]})
    one, other = both(api, f"/api/tasks/{pinned}?project={project}")
    assert [each["id"] for each in one] == [each["id"] for each in other] and len(api.predictions(pinned)) == 1

    api.call("PATCH", f"/api/projects/{project}", json={"model_version": "ARGenSeg"})
    for task in (first, pinned):
        api.call("POST", f"/api/tasks/{task}/annotations/", json={"result": []})
    one, other = both(api, f"/api/projects/{project}/next/")  # the label stream: what it is answered is all it shows
    assert one[0]["task"] == other[0]["task"] == live and one[0]["result"] == other[0]["result"] != []
    assert len(api.predictions(live)) == 2
    assert "1 second copies were deleted" in argenseg(demo, "versions", "prune", "--project", str(project), "--yes")
    assert len(api.predictions(live)) == 1


def held(api: LabelStudioApi, project: int) -> dict[str, int]:
    """Label Studio's own count of predictions by version."""
    versions: dict[str, int] = api.call("GET", f"/api/projects/{project}/model-versions/")
    return {version: count for version, count in versions.items() if count}
