"""Many wishes in one transaction are the same as each of them alone."""

from collections.abc import Callable

import pytest

from labeling.predictions import Prediction
from labeling.prompts.plan import PromptedLabel, PromptPlan
from labeling.store import Project, Store, TaskWish, predictions


def test_new_wishes_in_their_order(store: Store, project: Project, plan: PromptPlan) -> None:
    other = PromptPlan((PromptedLabel("red", "a", "brush", "image", "brushlabels"),))
    wishes = [TaskWish(7, {"image": "a"}, plan), TaskWish(5, {"image": "b"}, plan), TaskWish(7, {"image": "a"}, other)]
    rows = store.want_predictions(project, [*wishes, wishes[0]], "v1", delivery="push")
    assert rows[3] == rows[0]  # a task that is named twice is wanted once
    assert rows == [store.get_prediction(row.id) for row in rows]
    assert [(row.task_id, row.plan, row.status, row.delivery) for row in rows[:3]] == [
        (wish.task_id, wish.plan, "wanted", "push") for wish in wishes
    ]
    assert store.counts() == {"wanted": 3}
    assert store.want_predictions(project, [], "v1", delivery="push") == []


def test_rows_that_are_there_are_wanted_again(
    store: Store, project: Project, plan: PromptPlan, predict: Callable[..., Prediction]
) -> None:
    wishes = [TaskWish(task_id, {"image": "a", "text": "new"}, plan) for task_id in range(1, 6)]
    ids = [
        store.want_prediction(project, wish.task_id, {"image": "a"}, plan, "v1", delivery="push").id
        for wish in wishes[:4]
    ]
    typed = store.want_prediction(project, 5, {}, plan, "v1", delivery="sync", interactive=True)
    store.fail_prediction(ids[1], "no image")
    for ready in ids[2:]:
        store.finish_prediction(ready, predict())
    store.mark_published(ids[3], 42)
    rows = store.want_predictions(project, wishes, "v1", delivery="push")
    assert [row.id for row in rows[:4]] == ids and rows[4].id != typed.id
    assert [row.status for row in rows] == ["wanted", "wanted", "ready", "ready", "wanted"]
    assert {row.task_data["text"] for row in rows} == {"new"} and rows[1].error is None


def test_another_process_wants_the_same_meanwhile(
    store: Store, project: Project, plan: PromptPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL lets two writers in: the rows are then wanted one by one."""
    store.want_prediction(project, 1, {"image": "a"}, plan, "v1", delivery="push")
    same = predictions._same_wishes
    monkeypatch.setattr(
        predictions, "_same_wishes", lambda row_id, ids, version: same(row_id, ids if len(ids) == 1 else [], version)
    )
    rows = store.want_predictions(project, [TaskWish(n, {"image": "b"}, plan) for n in (1, 2)], "v1", delivery="push")
    assert [(row.task_id, row.task_data["image"]) for row in rows] == [(1, "b"), (2, "b")]
    assert store.counts() == {"wanted": 2}


def test_versions_are_listed_newest_first(store: Store, project: Project, plan: PromptPlan) -> None:
    assert store.model_versions() == []
    for task_id, version in enumerate(["a", "b", "c", "a"]):
        store.want_prediction(project, task_id, {}, plan, version, delivery="push")
    assert store.model_versions() == ["a", "c", "b"]
    assert store.model_versions(limit=1) == ["a"]
