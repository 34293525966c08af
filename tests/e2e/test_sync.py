"""No backend, no webhook: `argenseg corrections sync` learns from a real Label Studio what annotators did meanwhile."""

import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from labeling.settings import Settings
from labeling.store import Store
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo
from tests.e2e.test_operations import Installation
from tests.worker.label_studio_double import CONFIG, box
from worker.context import JobContext
from worker.reconcile import project_sync
from worker.reconcile.sync_outcome import SyncOutcome

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]  # mostly the demo's start

IMAGES = ["culture_01", "culture_02", "culture_03"]
CLOCK_S = 1.1  # Label Studio tells the time to the second


def known(store: Store) -> dict[int, tuple[Any, ...]]:
    """What the store says of each annotation."""
    return {
        annotation.annotation_id: (
            annotation.task_id,
            annotation.at,
            annotation.state,
            annotation.ground_truth,
            annotation.lead_time_s,
            sorted(item.region_id for item in annotation.corrections),
        )
        for annotation in store.annotations.find()
    }


def truth(api: LabelStudioApi, project: int) -> dict[int, tuple[Any, ...]]:
    """What Label Studio says of it."""
    annotations = [
        item for task in api.task_ids(project) for item in api.call("GET", f"/api/tasks/{task}/annotations/")
    ]
    return {
        item["id"]: (
            item["task"],
            datetime.fromisoformat(item["updated_at"]),
            "skipped" if item["was_cancelled"] else "submitted",
            item["ground_truth"],
            item["lead_time"],
            [] if item["was_cancelled"] else sorted(region["id"] for region in item["result"]),
        )
        for item in annotations
    }


def annotate(api: LabelStudioApi, task: int, region_id: str, **more: Any) -> int:
    body = {"result": [box(region_id, 0)], "lead_time": 2.0, **more}
    return int(api.call("POST", f"/api/tasks/{task}/annotations/", json=body)["id"])


def sync(api: LabelStudioApi, folder: Path, number: int) -> SyncOutcome | None:
    """One sync of a project in this process, by the store in `folder`."""
    settings = Settings(
        label_studio_url=api.url,
        label_studio_api_key=api.token,
        data_dir=folder,
        database_url=f"sqlite:///{folder}/argenseg.db",
        blob_url=str(folder / "blobs"),
    )
    with JobContext.open(settings) as context:
        project = context.store.projects.find(number, api.url)
        assert project is not None
        return project_sync.sync_project(context, project)


def test_whatever_annotators_did_while_no_webhook_came(
    demo: RunningDemo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, installation = demo.label_studio, Installation(demo.label_studio, tmp_path)
    Store.open(f"sqlite:///{tmp_path}/argenseg.db", str(tmp_path / "blobs")).close()  # as its `up` makes it
    project = api.create_project("Missed", CONFIG)
    redrawn, starred, thinned = api.import_images(project, IMAGES)
    untouched, cleared, doomed = api.import_images(project, IMAGES)
    first, second = annotate(api, redrawn, "r1"), annotate(api, starred, "r2")
    gone, _ = annotate(api, thinned, "r3"), annotate(api, thinned, "r4")
    annotate(api, untouched, "r5"), annotate(api, cleared, "r6"), annotate(api, doomed, "r7")
    time.sleep(CLOCK_S)
    reported = installation.run("corrections", "sync", "--project", str(project))
    assert "6 tasks looked at, 7 annotations were new or changed, 0 were deleted" in reported
    with Store.open(f"sqlite:///{tmp_path}/argenseg.db", str(tmp_path / "blobs")) as store:
        assert known(store) == truth(api, project)

        time.sleep(CLOCK_S)
        api.call(
            "PATCH", f"/api/annotations/{first}/", json={"result": [box("r1", 50), box("new", 0)], "lead_time": 9.0}
        )
        api.call("PATCH", f"/api/annotations/{second}/", json={"ground_truth": True})
        api.call("DELETE", f"/api/annotations/{gone}/")
        monkeypatch.setattr(project_sync, "OVERLAP", timedelta(0))  # else all six tasks changed lately
        assert sync(api, tmp_path, project) == SyncOutcome(tasks=3, changed=2, deleted=1)
        assert known(store) == truth(api, project)

        api.call("DELETE", f"/api/tasks/{doomed}/")
        selection = {"selectedItems": {"all": False, "included": [cleared]}}
        api.call(
            "POST", "/api/dm/actions", params={"id": "delete_tasks_annotations", "project": project}, json=selection
        )
        monkeypatch.setattr(project_sync, "FULL_EVERY", timedelta(0))  # a day is over
        outcome = sync(api, tmp_path, project)
        assert outcome is not None and (outcome.changed, outcome.deleted) == (0, 2)
        assert known(store) == truth(api, project)
    reported = installation.run("corrections", "sync", "--project", str(project), "--all")
    assert "0 annotations were new or changed, 0 were deleted" in reported


def test_a_skip_that_no_webhook_told_of(demo: RunningDemo, tmp_path: Path) -> None:
    api, installation = demo.label_studio, Installation(demo.label_studio, tmp_path)
    Store.open(f"sqlite:///{tmp_path}/argenseg.db", str(tmp_path / "blobs")).close()  # as its `up` makes it
    project = api.create_project("Missed skip", CONFIG)
    (task,) = api.import_images(project, IMAGES[:1])
    annotation = annotate(api, task, "r1", was_cancelled=True)
    installation.run("corrections", "sync", "--project", str(project))
    reported = installation.run("corrections", "sync", "--project", str(project), "--all")
    assert "0 annotations were new or changed, 0 were deleted" in reported
    with Store.open(f"sqlite:///{tmp_path}/argenseg.db", str(tmp_path / "blobs")) as store:
        assert [(each.annotation_id, each.state) for each in store.annotations.find()] == [(annotation, "skipped")]
