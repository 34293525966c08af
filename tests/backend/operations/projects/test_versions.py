"""Versions: which there are, which one is seen, and what may be deleted."""

import numpy as np
import pytest

from backend.operations.projects.versions import list_versions, prunable, prune, prune_copies, second_copies
from labeling.predictions import PredictedRegion, Prediction
from labeling.prompts.plan import plan_prompts
from labeling.regions.cropped_mask import CroppedMask
from labeling.settings import Settings
from labeling.store import SentPrediction, TaskRequest
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from worker.errors import WorkerError
from worker.projects.open_project import OpenProject, open_project
from worker.projects.pinning import pin

OLD = "tiny · 000000"


def send(project: OpenProject, label_studio: LabelStudioDouble, task: int, version: str) -> int:
    """A prediction that we sent; its id in Label Studio."""
    request = TaskRequest(task, {}, plan_prompts(project.requests.config, {}))
    (row,) = project.store.requests.add_all(project.project, [request], version, delivery="push")
    project.store.predictions.finish(row.id, Prediction([], None, version))
    held = label_studio.add_prediction(task, version)
    project.store.predictions.mark_published(row.id, held)
    return held


def answer(project: OpenProject, task: int, version: str, *region_ids: str) -> None:
    """A prediction that answered an opened page: nobody gave us Label Studio's number of it."""
    request = TaskRequest(task, {}, plan_prompts(project.requests.config, {}))
    (row,) = project.store.requests.add_all(project.project, [request], version, delivery="sync")
    shape = CroppedMask.of(np.ones((4, 4), bool))
    regions = tuple(PredictedRegion(name, "l0", "x", 0.5, shape) for name in region_ids)
    project.store.predictions.finish(row.id, Prediction([{"id": name} for name in region_ids], 0.5, version, regions))
    assert project.store.predictions.deliver_now(row.id) is not None


def test_versions_of_all(project: OpenProject, label_studio: LabelStudioDouble, connected: Settings) -> None:
    send(project, label_studio, 1, OLD)
    send(project, label_studio, 1, project.version)
    label_studio.add_prediction(2, "somebody's")
    label_studio.project["model_version"] = OLD
    with open_project(connected, 5) as again:
        reported = {
            version.name: (version.held, version.ours, version.is_current, version.is_shown)
            for version in list_versions(again)
        }
    assert reported == {
        project.version: (1, 1, True, False),
        OLD: (1, 1, False, True),
        "somebody's": (1, 0, False, False),
    }


def test_the_pin_moves_only_to_what_is_there(project: OpenProject, label_studio: LabelStudioDouble) -> None:
    with pytest.raises(WorkerError, match="argenseg predict"):
        pin(project, project.version)
    assert label_studio.project["model_version"] == ""
    send(project, label_studio, 1, project.version)
    pin(project, project.version)
    assert label_studio.project["model_version"] == project.version
    known = project.store.projects.find(5)
    assert known is not None and known.shown_version == project.version


def test_what_label_studio_stored_twice(project: OpenProject, label_studio: LabelStudioDouble) -> None:
    request = TaskRequest(1, {}, plan_prompts(project.requests.config, {}))
    (row,) = project.store.requests.add_all(project.project, [request], project.version, delivery="sync")
    regions = tuple(PredictedRegion(name, "l0", "x", 0.5, CroppedMask.of(np.ones((4, 4), bool))) for name in "ab")
    project.store.predictions.finish(row.id, Prediction([{"id": "a"}, {"id": "b"}], 0.5, project.version, regions))
    first, second = (label_studio.add_prediction(1, project.version, "a", "b") for _ in range(2))
    label_studio.add_prediction(1, OLD, "a", "b")
    label_studio.add_prediction(1, project.version, "a")
    for _ in range(2):
        label_studio.add_prediction(2, project.version, "somebody's")
        label_studio.add_prediction(3, project.version)
    assert second_copies(project) == [second] and first < second


def test_a_second_copy_that_is_gone_already_stops_nothing(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    gone, there = (label_studio.add_prediction(1, project.version) for _ in range(2))
    del label_studio.predictions[gone]
    assert list(prune_copies(project, [gone, there])) == [False, True]
    assert not label_studio.predictions


def test_only_our_replaced_predictions_are_deleted(project: OpenProject, label_studio: LabelStudioDouble) -> None:
    replaced, alone = send(project, label_studio, 1, OLD), send(project, label_studio, 2, OLD)
    current = send(project, label_studio, 1, project.version)
    others = label_studio.add_prediction(1, OLD)
    found = prunable(project)
    assert [each.label_studio_id for each in found] == [replaced]
    assert list(prune(project, found)) == [True]
    assert set(label_studio.predictions) == {alone, current, others}
    assert prunable(project) == []


def test_what_answered_an_opened_page_is_known_by_its_regions(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    answer(project, 1, OLD, "a", "b")
    held = label_studio.add_prediction(1, OLD, "a", "b")
    others = label_studio.add_prediction(1, OLD, "somebody's"), label_studio.add_prediction(1, "theirs", "a")
    answer(project, 2, OLD, "c")
    alone = label_studio.add_prediction(2, OLD, "c")
    assert prunable(project) == []
    for task in (1, 2):
        answer(project, task, project.version, f"new {task}")
    current = label_studio.add_prediction(1, project.version, "new 1")  # the page of task 2 was left too soon
    del label_studio.tasks[3]  # in Label Studio, after it was answered twice
    for version in (OLD, project.version):
        answer(project, 3, version, f"{version} 3")
    found = prunable(project)
    assert [each.label_studio_id for each in found] == [held]
    assert list(prune(project, found)) == [True]
    assert set(label_studio.predictions) == {*others, alone, current}
    assert prunable(project) == []


def test_what_annotators_see_is_never_deleted(
    project: OpenProject, label_studio: LabelStudioDouble, connected: Settings
) -> None:
    send(project, label_studio, 1, OLD)
    send(project, label_studio, 1, project.version)
    label_studio.project["model_version"] = OLD
    with open_project(connected, 5) as pinned_to_the_old:
        assert prunable(pinned_to_the_old) == []


@pytest.mark.parametrize("changed", [{"task": 9}, {"model_version": "somebody's"}, None])
def test_an_id_that_is_somebody_elses_now_is_left_alone(
    project: OpenProject, label_studio: LabelStudioDouble, changed: dict[str, object] | None
) -> None:
    """Label Studio's database was replaced, and its numbers began again."""
    held = send(project, label_studio, 1, OLD)
    send(project, label_studio, 1, project.version)
    found = prunable(project)
    if changed is None:
        del label_studio.predictions[held]
    else:
        label_studio.predictions[held].update(changed)
    assert list(prune(project, found)) == [False]
    assert (held in label_studio.predictions) == (changed is not None)
    assert prunable(project) == []
    assert isinstance(found[0], SentPrediction)
