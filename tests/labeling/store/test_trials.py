"""Trials of prompts as rows."""

import pytest

from labeling.errors import StoreError
from labeling.store import Project, PromptTrial, Store, TrialMasks

WORDINGS = [
    {"text": "every cell", "items": [], "is_current": True},
    {"text": "cells", "items": [], "is_current": False},
]
MASKS = TrialMasks("dHJ1dGg=", ("YQ==", "Yg=="))


def ask(store: Store, project: Project) -> PromptTrial:
    return store.trials.request(project, "cell", WORDINGS, model="starter", limit=5, who="ada")


def test_a_trial_goes_from_its_request_to_its_end_task_by_task(store: Store, project: Project) -> None:
    asked = ask(store, project)
    assert (asked.status, asked.tasks, asked.wordings, asked.who) == ("requested", 0, tuple(WORDINGS), "ada")
    begun = store.trials.begin(asked.id)
    assert begun is not None and (begun.status, begun.attempts) == ("running", 1)
    store.trials.set_tasks(asked.id, [(4, {"image": "a"}), (5, {"image": "b"})])
    store.trials.set_tasks(asked.id, [(9, {})])  # they are fixed
    first = store.trials.next_task(asked.id)
    assert first is not None and (first.task_id, first.data, first.is_tried) == (4, {"image": "a"}, False)
    store.trials.save_task(first, seconds=0.5, measures=[{"iou": 1.0}, {"iou": 0.5}], masks=MASKS)
    second = store.trials.next_task(asked.id)
    assert second is not None
    store.trials.save_task(second, problem="no image")
    assert store.trials.next_task(asked.id) is None
    now = store.trials.get(asked.id)
    assert (now.tasks, now.done, now.attempts) == (2, 2, 0)
    store.trials.end(asked.id, "done")
    assert store.trials.begin(asked.id) is None and not store.trials.cancel(asked.id)
    found = store.trials.masks(asked.id, 4)
    assert found is not None and found[1] == MASKS and found[0].measures == ({"iou": 1.0}, {"iou": 0.5})
    assert store.trials.masks(asked.id, 5) is None
    assert [each.id for each in store.trials.newest()] == [asked.id] and store.trials.stale(-1) == []


def test_a_trial_that_stands_still_is_found_and_one_that_was_cancelled_is_not_taken_up(
    store: Store, project: Project
) -> None:
    first, second = ask(store, project), ask(store, project)
    assert store.trials.stale(-1) == [first.id, second.id] and store.trials.stale(60) == []
    assert store.trials.cancel(first.id)
    assert store.trials.begin(first.id) is None and store.trials.stale(-1) == [second.id]
    store.trials.end(first.id, "done")
    assert store.trials.get(first.id).status == "cancelled"


def test_only_the_newest_ended_trials_are_kept(store: Store, project: Project) -> None:
    trials = [ask(store, project) for _ in range(3)]
    store.trials.set_tasks(trials[1].id, [(4, {})])
    for each in trials[1:]:
        store.trials.cancel(each.id)
    for _ in range(31):
        store.trials.cancel(ask(store, project).id)
    ask(store, project)
    with pytest.raises(StoreError, match="There is no trial"):
        store.trials.get(trials[1].id)
    assert store.trials.tasks(trials[1].id) == [] and store.trials.get(trials[0].id).is_open


def test_what_is_erased_is_in_no_trial(store: Store, project: Project) -> None:
    asked = ask(store, project)
    store.trials.set_tasks(asked.id, [(4, {"image": "a"}), (5, {"image": "b"})])
    first = store.trials.next_task(asked.id)
    store.erasure.erase(project, "task", 4, "on request")
    assert [each.task_id for each in store.trials.tasks(asked.id)] == [5]
    assert first is not None
    store.trials.save_task(first, seconds=1.0, masks=MASKS)  # what was under way when it was erased
    assert store.trials.masks(asked.id, 4) is None
