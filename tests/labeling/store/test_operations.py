"""Runs over a project, their failures and pace, and what a newer version replaced."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from labeling.predictions import Prediction
from labeling.prompts.plan import PromptPlan
from labeling.store import Delay, PostponedPrediction, Project, RunOptions, Store, TaskRequest
from labeling.store.predictions.tables import PredictionRow

Ask = Callable[..., int]


@pytest.fixture
def ask(store: Store, project: Project, plan: PromptPlan) -> Ask:
    def ask(task_id: int, version: str = "m · 1", *, interactive: bool = False, of: Project = project) -> int:
        delivery = "sync" if interactive else "push"
        return store.requests.add(of, task_id, {}, plan, version, delivery=delivery, interactive=interactive).id

    return ask


def test_a_run_is_open_until_it_ends(store: Store, project: Project) -> None:
    assert store.project_runs.find_open(project) is None
    first = store.project_runs.begin(project, "m · 1", RunOptions(only_unlabeled=True, limit=7, pin=True))
    store.project_runs.add_tasks(first.id, 3)
    store.project_runs.add_tasks(first.id, 2)
    found = store.project_runs.find_open(project)
    assert found is not None
    assert (found.id, found.requested, found.options) == (first.id, 5, RunOptions(True, 7, True))
    second = store.project_runs.begin(project, "m · 1", RunOptions())
    assert store.project_runs.find_open(project) == second
    other = store.projects.upsert("http://elsewhere", 1, "<View/>")
    store.project_runs.end(other, "cancelled")
    assert store.project_runs.find_open(project) == second
    store.project_runs.end(project, "finished")
    assert store.project_runs.find_open(project) is None
    last = store.project_runs.find_last(project)
    assert last is not None and (last.id, last.outcome) == (second.id, "finished")
    store.project_runs.add_tasks(second.id, 3)
    store.project_runs.end(project, "cancelled")
    third = store.project_runs.begin(project, "m · 2", RunOptions())
    resumed = store.project_runs.resume(project, second.id, "m · 3")
    assert (resumed.id, resumed.requested, resumed.model_version) == (second.id, 3, "m · 3")
    assert store.project_runs.find_open(project) == resumed
    last = store.project_runs.find_last(project)
    assert last is not None and (last.id, last.outcome) == (third.id, "finished")


def test_statuses_are_those_of_the_version(store: Store, project: Project, plan: PromptPlan, ask: Ask) -> None:
    ask(1), store.predictions.fail(ask(2), "no image"), ask(3, "m · 2"), ask(4, interactive=True)
    digest = plan.digest()
    assert store.progress.statuses(project, "m · 1", [1, 2, 3, 4]) == {(1, digest): "requested", (2, digest): "failed"}
    assert store.progress.version_counts(project) == {"m · 2": {"requested": 1}, "m · 1": {"requested": 1, "failed": 1}}


def test_failures_that_something_better_came_after_are_not_listed(
    store: Store, project: Project, predict: Callable[..., Prediction], ask: Ask
) -> None:
    other_plan = PromptPlan(())
    for task in (5, 3):
        store.predictions.fail(ask(task), f"no image {task}")
    store.predictions.fail(ask(4, interactive=True), "nobody waited")
    better = store.requests.add(project, 5, {}, other_plan, "m · 1", delivery="push")
    assert [(failed.task_id, failed.reason) for failed in store.progress.failed_tasks(project, "m · 1")] == [
        (3, "no image 3")
    ]
    store.predictions.fail(better.id, "no such task")
    assert [(failed.task_id, failed.reason) for failed in store.progress.failed_tasks(project, "m · 1")] == [
        (3, "no image 3"),
        (5, "no such task"),
    ]
    assert store.progress.failed_tasks(project, "m · 2") == []


def test_cancelled_requests_stay_where_they_are_until_they_are_made_again(
    store: Store, project: Project, predict: Callable[..., Prediction], ask: Ask
) -> None:
    waiting, computed, typed = ask(1), ask(2), ask(3, interactive=True)
    elsewhere = ask(1, of=store.projects.upsert("http://elsewhere", 1, "<View/>"))
    store.predictions.finish(computed, predict())
    assert store.requests.cancel_all(project) == [waiting]
    statuses = [store.predictions.get(row).status for row in (waiting, computed, typed, elsewhere)]
    assert statuses == ["cancelled", "ready", "requested", "requested"]
    assert store.requests.begin(waiting) is None
    assert store.predictions.deliver_now(waiting) is None
    assert ask(1) == waiting
    assert store.requests.begin(waiting) is not None


def test_what_is_cancelled_is_not_counted_into_the_run_that_requested_it(
    store: Store, project: Project, plan: PromptPlan, ask: Ask
) -> None:
    run = store.project_runs.begin(project, "m · 1", RunOptions(limit=2))
    requests = [TaskRequest(task, {}, plan) for task in (1, 2)]

    def ask_for_run() -> None:
        store.requests.add_all(project, requests, "m · 1", delivery="push", run_id=run.id)
        store.project_runs.add_tasks(run.id, 2)

    def counted() -> int:
        found = store.project_runs.find_open(project)
        assert found is not None
        return found.requested

    ask_for_run(), ask(3)
    assert len(store.requests.cancel_all(project)) == 3 and counted() == 0
    ask(1)
    assert len(store.requests.cancel_all(project)) == 1 and counted() == 0, "it was not the run that waiting it again"
    ask_for_run()
    store.predictions.fail(ask(2), "no image")
    assert ask(2) and counted() == 2
    assert len(store.requests.cancel_all(project)) == 2 and counted() == 0, "the failed one is the run's still"


def test_what_a_worker_has_begun_is_not_taken_back_and_what_is_put_off_is(
    store: Store, project: Project, predict: Callable[..., Prediction], ask: Ask
) -> None:
    begun, postponed = ask(1), ask(2)
    for row in (begun, postponed):
        store.requests.begin(row)
    store.requests.note_delay(postponed, "no such host")
    assert store.requests.cancel_all(project) == [postponed]
    store.predictions.finish(begun, predict())
    assert store.predictions.get(begun).status == "ready"


def test_what_is_held_back_is_sent_later_or_let_go(
    store: Store, project: Project, plan: PromptPlan, predict: Callable[..., Prediction], ask: Ask
) -> None:
    def postpone(task: int, version: str = "m · 1") -> int:
        row = ask(task, version)
        store.predictions.finish(row, predict())
        store.predictions.postpone_for_draft(row, "somebody annotates it")
        return row

    waiting, postponed, another = ask(1), postpone(2), postpone(3)
    postpone(4, "m · 2")
    store.predictions.postpone_for_draft(waiting, "it is not computed")
    assert store.predictions.postponed_for_draft(project, "m · 1") == [
        PostponedPrediction(postponed, 2, plan.digest()),
        PostponedPrediction(another, 3, plan.digest()),
    ]
    assert store.progress.failed_tasks(project, "m · 1") == [] and store.progress.delays(project, "m · 1") == []
    assert ask(2) == postponed
    ready = store.predictions.get(postponed)
    assert (ready.status, ready.error, ready.result is not None) == ("ready", None, True)
    store.predictions.cancel_postponed(postponed), store.predictions.cancel_postponed(another)
    assert [store.predictions.get(row).status for row in (postponed, another)] == ["ready", "cancelled"]


def test_what_is_held_back_while_a_page_waits_for_it(
    store: Store, project: Project, plan: PromptPlan, predict: Callable[..., Prediction]
) -> None:
    row = store.requests.add(project, 1, {"image": "a.png"}, plan, "m · 1", delivery="sync")
    store.predictions.finish(row.id, predict())
    store.predictions.postpone_for_draft(row.id, "somebody annotates it")
    assert store.predictions.deliver_now(row.id) is None
    newer = store.requests.add(project, 1, {"image": "b.png"}, plan, "m · 1", delivery="push")
    assert newer.id != row.id and store.predictions.get(row.id).status == "cancelled"


def test_delays_are_counted_by_reason(store: Store, project: Project, ask: Ask) -> None:
    for task, reason in enumerate(("away", "no such host", "no such host"), start=1):
        store.requests.note_delay(ask(task), reason)
    ask(4), store.requests.note_delay(ask(5, "m · 2"), "away")
    assert store.progress.delays(project, "m · 1") == [
        Delay("requested", "no such host", 2),
        Delay("requested", "away", 1),
    ]


def test_the_pace_counts_only_busy_time(store: Store, project: Project, ask: Ask) -> None:
    assert store.progress.pace(weights="m") is None
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    spans = [(0, 4), (0, 4), (0, 4), (0, 4), (3600, 3601), (3600, 3603)]  # a batch of four, an hour's rest, two workers
    for task, (begun, end) in enumerate(spans):
        moment = {"begun_at": noon + timedelta(seconds=begun), "computed_at": noon + timedelta(seconds=end)}
        with store.database.writing() as session:
            session.execute(update(PredictionRow).where(PredictionRow.id == ask(task)).values(moment))
    pace = store.progress.pace(weights="m")
    assert pace is not None
    assert (pace.seconds_per_task, pace.tasks) == (pytest.approx(7 / 6), 6)
    later = store.progress.pace(weights="m", project=project, since=noon + timedelta(hours=1))
    assert later is not None
    assert (later.seconds_per_task, later.tasks) == (pytest.approx(1.5), 2)
    assert store.progress.pace(weights="another") is None
    assert store.progress.pace(weights="m", project=store.projects.upsert("http://elsewhere", 1, "<View/>")) is None


def test_computing_is_timed(store: Store, predict: Callable[..., Prediction], ask: Ask) -> None:
    row = ask(1)
    store.requests.begin(row)
    store.predictions.finish(row, predict())
    pace = store.progress.pace(weights="m")
    assert pace is not None
    assert pace.tasks == 1 and 0 <= pace.seconds_per_task < 5


def test_only_what_we_sent_and_replaced_is_superseded(
    store: Store, project: Project, predict: Callable[..., Prediction], ask: Ask
) -> None:
    def sent(task: int, version: str, label_studio_id: int | None) -> int:
        row = ask(task, version)
        store.predictions.finish(row, predict())
        store.predictions.mark_published(row, label_studio_id)
        return row

    old = sent(1, "m · 1", 11)
    sent(1, "m · 2", 12)
    sent(2, "m · 1", 21)  # nothing newer: it stays
    answered = sent(3, "m · 1", None)  # its number in Label Studio is not known
    sent(3, "m · 2", 32)
    sent(4, "m · 1", 41)
    ask(4, "m · 2")  # not there yet
    superseded = store.predictions.superseded(project, ["m · 2"])
    assert [(found.id, found.task_id, found.model_version, found.label_studio_id) for found in superseded] == [
        (old, 1, "m · 1", 11)
    ]
    assert [found.id for found in store.predictions.superseded_answers(project, ["m · 2"])] == [answered]
    assert store.predictions.superseded(project, ["m · 1", "m · 2"]) == []
    store.predictions.mark_pruned(old)
    assert store.predictions.superseded(project, ["m · 2"]) == []
    assert store.predictions.get(old).status == "pruned"
    assert ask(1, "m · 1") == old  # the old prompt is back: what is known is sent again
    assert store.predictions.get(old).status == "ready"


def test_what_annotators_asked_for_in_vain(
    store: Store, project: Project, predict: Callable[..., Prediction], ask: Ask
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    other = store.projects.upsert("http://elsewhere", 1, "<View/>")
    store.predictions.fail(ask(1), "nobody asked on the page")
    store.predictions.fail(ask(2, interactive=True, of=other), "of another project")
    old = ask(3, interactive=True)
    store.predictions.fail(old, "long ago")
    with store.database.writing() as session:
        session.execute(update(PredictionRow).where(PredictionRow.id == old).values(updated_at=yesterday))
    answered, waiting = ask(4, interactive=True), ask(5, interactive=True)
    store.predictions.finish(answered, predict())
    assert store.predictions.deliver_now(answered) is not None
    for task in (6, 6, 7):
        store.predictions.fail(ask(task, interactive=True), "no memory")
    late, never = ask(8, interactive=True), ask(9, interactive=True)
    assert (
        store.predictions.deliver_now(late) is None and store.predictions.deliver_now(never) is None
    )  # the page gave up
    store.predictions.finish(late, predict())
    gave_up = "The page stopped waiting before the answer came."
    found = store.progress.failed_answers(project, yesterday + timedelta(hours=1))
    assert [(each.task_id, each.reason) for each in found] == [
        (9, gave_up),
        (8, gave_up),
        (7, "no memory"),
        (6, "no memory"),
    ]
    assert waiting not in [each.prediction_id for each in found]
    assert len(store.progress.failed_answers(project, yesterday + timedelta(hours=1), limit=1)) == 1


def test_a_task_was_requested_whatever_became_of_it(store: Store, project: Project, ask: Ask) -> None:
    store.predictions.fail(ask(1, "m · 1"), "no image")
    ask(2, "m · 2")
    assert store.requests.requested_tasks(project, [1, 2, 3]) == {1, 2}
