"""What a run over a project wants, leaves alone, takes back and tries again."""

import pytest
from redis import Redis

from backend.operations.projects import predict
from backend.operations.projects.predict import (
    Progress,
    cancel,
    failures,
    look,
    missing,
    outlook,
    reasons,
    request_missing,
    retry_failed,
    run_to_resume,
)
from labeling.errors import LabelStudioError, SettingsError
from labeling.label_studio.messages import Task
from labeling.predictions import Prediction
from labeling.settings import Settings
from labeling.store import RunOptions, UnpredictedTask
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from tests.worker.conftest import bright_square
from worker.errors import WorkerError
from worker.projects.open_project import OpenProject, open_project
from worker.queue.queues import GPU, PREDICT, live_rows, open_queue


@pytest.fixture(autouse=True)
def stored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "_STORED_S", 0.0)


def run(project: OpenProject, options: RunOptions = RunOptions(), **extra: int) -> list[int]:  # noqa: B008
    begun = project.store.project_runs.find_open(project.project)
    begun = begun or project.store.project_runs.begin(project.project, project.version, options)
    return list(request_missing(project, begun, **extra))


def rows(project: OpenProject) -> dict[int, int]:
    """Row ids by task."""
    return {project.store.predictions.get(row).task_id: row for row in project.store.requests.stale(-1)}


def finish(project: OpenProject, label_studio: LabelStudioDouble, task: int) -> None:
    row = rows(project)[task]
    project.store.requests.begin(row)
    project.store.predictions.finish(row, Prediction([], None, project.version))
    project.store.predictions.mark_published(row, label_studio.add_prediction(task, project.version))


def test_all_tasks_are_wanted_and_queued(project: OpenProject, redis_connection: Redis) -> None:
    before = outlook(project, RunOptions(), None)
    assert (before.tasks, before.under_way, before.ahead, before.seconds, before.workers) == (5, 0, 0, None, 0)
    assert run(project) == [5]
    assert look(project) == Progress(requested=5, ready=0, failed=0)
    assert open_queue(redis_connection, GPU).count == 5


def test_a_run_that_was_broken_off_goes_on_with_what_is_missing(
    project: OpenProject, label_studio: LabelStudioDouble, redis_connection: Redis
) -> None:
    run(project)
    finish(project, label_studio, 1)
    project.store.predictions.fail(rows(project)[2], "no image")
    label_studio.add_tasks(bright_square())
    before = outlook(project, RunOptions(), None)
    assert (before.tasks, before.under_way) == (4, 3)  # of six: one is done, one has failed
    assert before.seconds is not None and before.pace is not None and before.pace.tasks == 1
    assert run(project) == [1]  # the new one
    assert open_queue(redis_connection, GPU).count == 6
    assert look(project) == Progress(requested=4, ready=0, failed=1)


def test_a_prediction_that_is_gone_from_label_studio_is_sent_again(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    run(project)
    finish(project, label_studio, 3)
    label_studio.predictions.clear()
    assert run(project) == [1]
    assert look(project) == Progress(requested=4, ready=1, failed=0)  # not computed again


def test_what_a_run_should_have_brought_and_did_not(project: OpenProject, label_studio: LabelStudioDouble) -> None:
    run(project, RunOptions(limit=3))
    for task in (1, 2):
        finish(project, label_studio, task)
    project.store.predictions.fail(rows(project)[3], "no image")
    assert missing(project, RunOptions(limit=3)) == 0
    label_studio.predictions.popitem()
    assert missing(project, RunOptions(limit=3)) == 1  # not those beyond its limit, nor the one that failed
    assert missing(project, RunOptions()) == 3
    label_studio.tasks[4]["total_annotations"] = 1
    assert missing(project, RunOptions(only_unlabeled=True)) == 2
    assert run(project, RunOptions(limit=3)) == []  # the open run had its three
    project.store.project_runs.end(project.project, "finished")
    assert run(project) == [3]
    assert missing(project, RunOptions()) == 0  # they are on their way


def test_only_unlabeled_and_limit(project: OpenProject, label_studio: LabelStudioDouble) -> None:
    label_studio.add_tasks(*[bright_square()] * 2, annotations=1)
    assert outlook(project, RunOptions(only_unlabeled=True), None).tasks == 5
    assert outlook(project, RunOptions(), 2).tasks == 2
    assert run(project, RunOptions(only_unlabeled=True, limit=3)) == [3]
    assert run(project, RunOptions()) == []  # the open run had its three
    begun = project.store.project_runs.find_open(project.project)
    assert begun is not None
    project.store.project_runs.add_tasks(begun.id, 1)  # by another command that went on with it at the same time
    assert run(project, RunOptions()) == []
    project.store.project_runs.end(project.project, "finished")
    assert run(project, RunOptions(only_unlabeled=True)) == [2]


def test_the_first_tasks_come_alone_to_be_measured(project: OpenProject) -> None:
    assert run(project, probed=2) == [2, 3]


def test_pages_are_never_all_in_memory(project: OpenProject, label_studio: LabelStudioDouble) -> None:
    label_studio.add_tasks(*["x.png"] * 245)
    assert run(project) == [100, 100, 50]
    assert label_studio.pages == 3


def test_cancel_takes_back_and_ends_a_run_that_is_listing(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    label_studio.add_tasks(*["x.png"] * 245)
    begun = project.store.project_runs.begin(project.project, project.version, RunOptions())
    wanting = request_missing(project, begun)
    assert next(wanting) == 100
    assert cancel(project) == 100
    assert list(wanting) == []
    assert look(project) == Progress(0, 0, 0, cancelled=100)
    assert run(project) == [100, 100, 50]  # and all can be wanted again


def test_what_was_cancelled_is_not_in_the_queue_any_more(project: OpenProject, redis_connection: Redis) -> None:
    run(project, RunOptions(limit=3))
    begun = rows(project)[1]
    project.store.requests.begin(begun)
    assert cancel(project) == 2
    assert live_rows(redis_connection, GPU, PREDICT) == {begun}
    assert outlook(project, RunOptions(), None).ahead == 0


def test_a_cancelled_run_is_resumed_with_what_it_did_counted(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    with pytest.raises(WorkerError, match="No run"):
        run_to_resume(project)
    options = RunOptions(limit=3, pin=True)
    run(project, options)
    assert run_to_resume(project).outcome is None
    finish(project, label_studio, 1)
    cancel(project)
    last = run_to_resume(project)
    assert (last.options, last.requested, last.outcome) == (options, 1, "cancelled")
    project.store.project_runs.begin(project.project, project.version, options)
    project.store.project_runs.end(project.project, "finished")
    with pytest.raises(WorkerError, match="finished"):
        run_to_resume(project)


def test_what_others_wanted_is_not_taken_from_a_runs_limit(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    """New tasks, as their webhook has them predicted, and what is taken back that an earlier run had wanted."""
    run(project, RunOptions(limit=3))
    finish(project, label_studio, 1)
    label_studio.add_tasks(bright_square(), bright_square())
    list(project.requests.request_all([Task.model_validate(label_studio.tasks[new]) for new in (6, 7)]))
    assert cancel(project) == 4
    begun = run_to_resume(project)
    assert begun.requested == 1
    list(project.requests.request_all([Task.model_validate(label_studio.tasks[2])]))  # somebody else wants one of them
    assert cancel(project) == 1
    begun = run_to_resume(project)
    assert begun.requested == 1
    begun = project.store.project_runs.resume(project.project, begun.id, project.version)
    assert list(request_missing(project, begun)) == [2]
    assert sorted(task for task, row in rows(project).items()) == [2, 3]


def test_what_is_taken_back_while_a_run_is_listing_is_not_counted(
    project: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the requests and their count, too; and what is postponed, when the run goes on and is cancelled again."""
    begun = project.store.project_runs.begin(project.project, project.version, RunOptions(limit=3))
    with monkeypatch.context() as patch:
        patch.setattr(predict, "enqueue_requests", lambda *_: cancel(project))
        assert list(request_missing(project, begun)) == [3]
    assert run_to_resume(project).requested == 0
    begun = project.store.project_runs.resume(project.project, begun.id, project.version)
    assert list(request_missing(project, begun)) == [3]
    put_off = rows(project)[2]
    project.store.requests.begin(put_off)
    assert cancel(project) == 2
    begun = project.store.project_runs.resume(project.project, begun.id, project.version)
    project.store.requests.note_delay(put_off, "no such host")
    assert cancel(project) == 1
    assert run_to_resume(project).requested == 0


def test_the_run_of_a_promotion_is_not_resumed(project: OpenProject) -> None:
    """Who did would end it, and the promotion would leave out what comes after."""
    project.store.project_runs.begin(project.project, "tuned · 1", RunOptions(only_unlabeled=True))
    with pytest.raises(WorkerError, match="being promoted"):
        run_to_resume(project)
    project.store.project_runs.begin(project.project, "tiny · other prompts", RunOptions())
    assert run_to_resume(project).options == RunOptions()


def test_failures_are_told_and_tried_again_with_the_task_of_now(
    project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    label_studio.tasks[4]["data"] = {"image": ""}
    run(project)
    assert [failed.task_id for failed in failures(project)] == [4]
    assert "no text under" in failures(project)[0].reason
    project.store.predictions.fail(rows(project)[5], "the server hung up")
    label_studio.tasks[4]["data"] = {"image": "mended.png"}
    del label_studio.tasks[5]
    assert retry_failed(project) == (1, 1)
    assert failures(project) == []
    assert project.store.predictions.get(rows(project)[4]).task_data == {"image": "mended.png"}


def test_reasons_are_counted() -> None:
    failed = [UnpredictedTask(number, number, reason) for number, reason in enumerate("abb")]
    assert reasons(failed) == [("b", [1, 2]), ("a", [0])]


def test_a_redis_that_is_down_is_said_before_anything_is_wanted(connected: Settings) -> None:
    with open_project(connected, 5) as project, pytest.raises(WorkerError, match="argenseg up"):
        outlook(project, RunOptions(), None)


def test_a_project_that_is_not_there(connected: Settings, settings: Settings) -> None:
    with pytest.raises(LabelStudioError, match="404"), open_project(connected, 6):
        pass
    with pytest.raises(SettingsError, match="LABEL_STUDIO_API_KEY"), open_project(settings, 5):
        pass
