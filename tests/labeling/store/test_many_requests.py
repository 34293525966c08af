"""Many requests in one transaction are the same as each of them alone."""

from collections.abc import Callable

import pytest

from labeling.predictions import Prediction
from labeling.prompts.plan import PromptedLabel, PromptPlan
from labeling.store import Project, Store, TaskRequest
from labeling.store.predictions import requests


def test_new_requests_in_their_order(store: Store, project: Project, plan: PromptPlan) -> None:
    other = PromptPlan((PromptedLabel("red", "a", "brush", "image", "brushlabels"),))
    asked = [
        TaskRequest(7, {"image": "a"}, plan),
        TaskRequest(5, {"image": "b"}, plan),
        TaskRequest(7, {"image": "a"}, other),
    ]
    rows = store.requests.add_all(project, [*asked, asked[0]], "v1", delivery="push")
    assert rows[3] == rows[0]  # a task that is named twice is requested once
    assert rows == [store.predictions.get(row.id) for row in rows]
    assert [(row.task_id, row.plan, row.status, row.delivery) for row in rows[:3]] == [
        (each.task_id, each.plan, "requested", "push") for each in asked
    ]
    assert store.progress.counts() == {"requested": 3}
    assert store.requests.add_all(project, [], "v1", delivery="push") == []


def test_rows_that_are_there_are_requested_again(
    store: Store, project: Project, plan: PromptPlan, predict: Callable[..., Prediction]
) -> None:
    asked = [TaskRequest(task_id, {"image": "a", "text": "new"}, plan) for task_id in range(1, 6)]
    ids = [
        store.requests.add(project, each.task_id, {"image": "a"}, plan, "v1", delivery="push").id for each in asked[:4]
    ]
    typed = store.requests.add(project, 5, {}, plan, "v1", delivery="sync", interactive=True)
    store.predictions.fail(ids[1], "no image")
    for ready in ids[2:]:
        store.predictions.finish(ready, predict())
    store.predictions.mark_published(ids[3], 42)
    rows = store.requests.add_all(project, asked, "v1", delivery="push")
    assert [row.id for row in rows[:4]] == ids and rows[4].id != typed.id
    assert [row.status for row in rows] == ["requested", "requested", "ready", "ready", "requested"]
    assert {row.task_data["text"] for row in rows} == {"new"} and rows[1].error is None


def test_another_process_requests_the_same_meanwhile(
    store: Store, project: Project, plan: PromptPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL lets two writers in: the rows are then requested one by one."""
    store.requests.add(project, 1, {"image": "a"}, plan, "v1", delivery="push")
    same = requests._same_requests
    monkeypatch.setattr(
        requests, "_same_requests", lambda row_id, ids, version: same(row_id, ids if len(ids) == 1 else [], version)
    )
    rows = store.requests.add_all(
        project, [TaskRequest(n, {"image": "b"}, plan) for n in (1, 2)], "v1", delivery="push"
    )
    assert [(row.task_id, row.task_data["image"]) for row in rows] == [(1, "b"), (2, "b")]
    assert store.progress.counts() == {"requested": 2}


def test_versions_are_listed_newest_first(store: Store, project: Project, plan: PromptPlan) -> None:
    assert store.progress.versions() == []
    for task_id, version in enumerate(["a", "b", "c", "a"]):
        store.requests.add(project, task_id, {}, plan, version, delivery="push")
    assert store.progress.versions() == ["a", "c", "b"]
    assert store.progress.versions(limit=1) == ["a"]
