"""The life of a waiting prediction, and the races in it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from labeling.errors import StoreError
from labeling.prompts.plan import PromptPlan
from labeling.store import PredictionRequest, Project, Store, TaskRequest

Ask = Callable[..., PredictionRequest]


@pytest.fixture
def ask(store: Store, project: Project, plan: PromptPlan) -> Ask:
    def build(task_id: int = 5, delivery="push", version: str = "v1", plan: PromptPlan = plan, interactive=False):
        data = {"image": "/data/a.png", "text": "ü"}
        return store.requests.add(project, task_id, data, plan, version, delivery=delivery, interactive=interactive)

    return build


def test_a_wish_is_a_row(store: Store, project: Project, plan: PromptPlan, ask: Ask) -> None:
    request = ask()
    assert request == store.predictions.get(request.id)
    assert (request.project, request.task_id, request.plan, request.model_version) == (project, 5, plan, "v1")
    assert request.task_data == {"image": "/data/a.png", "text": "ü"}
    assert (request.status, request.delivery, request.attempts, request.result, request.error) == (
        "requested",
        "push",
        0,
        None,
        None,
    )


def test_the_same_wish_is_the_same_row(store: Store, plan: PromptPlan, ask: Ask) -> None:
    request = ask()
    assert ask().id == request.id
    others = [ask(task_id=6), ask(version="v2"), ask(plan=PromptPlan(plan.items[:1]))]
    typed = [ask(interactive=True), ask(interactive=True)]
    assert len({row.id for row in [request, *others, *typed]}) == 6
    assert store.progress.counts(1) == store.progress.counts() == {"requested": 6}
    assert store.progress.counts(2) == {}


@pytest.mark.parametrize("together", [False, True])
def test_a_task_that_shows_another_image_now_is_another_request(
    store: Store, project: Project, plan: PromptPlan, predict, square, together: bool
) -> None:
    """Its old masks must not be sent again; corrections that were made of them still find them."""

    def ask(name: str, key: str = "image") -> PredictionRequest:
        request, options = TaskRequest(5, {key: name, "text": name}, plan), {"delivery": "push", "image_key": key}
        if together:
            return store.requests.add_all(project, [request, replace(request, task_id=6)], "v1", **options)[0]
        return store.requests.add(project, 5, request.task_data, plan, "v1", **options)

    old = ask("old.png")
    assert ask("other.png").id == old.id  # nobody looked at its image yet
    store.requests.begin(old.id)
    old = ask("old.png")
    store.predictions.finish(old.id, predict(square))
    store.predictions.mark_published(old.id, 77)
    new = ask("new.png")
    assert new.id != old.id and (new.status, new.result) == ("requested", None)
    assert ask("new.png").id == new.id
    assert store.predictions.get(old.id).status == "published" and store.predictions.regions(old.id)
    store.requests.begin(new.id)
    assert ask("newer.png").id not in (old.id, new.id)
    assert store.predictions.get(new.id).status == "cancelled"  # nobody computes it any more
    assert store.progress.counts()["requested"] == (2 if together else 1)


def test_other_data_of_a_task_may_change(store: Store, project: Project, plan: PromptPlan) -> None:
    rows = [
        store.requests.add(
            project, 5, {"photo": "a.png", "image": name}, plan, "v1", delivery="push", image_key="photo"
        )
        for name in ("1.png", "2.png")
    ]
    assert rows[0].id == rows[1].id


def test_there_is_no_such_row(store: Store, predict) -> None:
    for call in (
        lambda: store.predictions.get(99),
        lambda: store.predictions.deliver_now(99),
        lambda: store.predictions.finish(99, predict()),
    ):
        with pytest.raises(StoreError, match="no prediction 99"):
            call()
    assert store.requests.begin(99) is None


def test_begin_counts_and_stops_at_the_end(store: Store, ask: Ask, predict) -> None:
    request = ask()
    assert [store.requests.begin(request.id).attempts for _ in range(2)] == [1, 2]  # type: ignore[union-attr]
    store.predictions.finish(request.id, predict())
    assert store.requests.begin(request.id) is None
    assert store.predictions.get(request.id).attempts == 2


def test_pushed(store: Store, ask: Ask, predict, square) -> None:
    request, prediction = ask(), predict(square)
    assert store.predictions.finish(request.id, prediction) == "push"
    ready = store.predictions.get(request.id)
    assert (ready.status, ready.result, ready.score) == ("ready", prediction.result, prediction.score)
    store.predictions.mark_published(request.id, 77)
    published = store.predictions.get(request.id)
    assert (published.status, published.label_studio_prediction_id) == ("published", 77)


def test_delivered(store: Store, ask: Ask, predict, square) -> None:
    request, prediction = ask(delivery="sync"), predict(square)
    assert store.predictions.finish(request.id, prediction) == "sync"
    delivered = store.predictions.deliver_now(request.id)
    assert delivered is not None
    assert (delivered.prediction.status, delivered.prediction.result) == ("delivered", prediction.result)
    assert delivered.sent_s_ago is None
    again = store.predictions.deliver_now(request.id)  # asked again, answered again
    assert again is not None and again.prediction == delivered.prediction
    assert again.sent_s_ago is not None and 0 <= again.sent_s_ago < 60


def test_a_wait_that_ended_too_early_makes_it_a_push(store: Store, ask: Ask, predict) -> None:
    request = ask(delivery="sync")
    assert store.predictions.deliver_now(request.id) is None
    assert store.predictions.finish(request.id, predict()) == "push"
    assert store.predictions.deliver_now(request.id) is None  # the publisher has it
    assert store.predictions.get(request.id).status == "ready"


def test_an_empty_prediction_is_a_result(store: Store, ask: Ask, predict) -> None:
    request = ask(delivery="sync")
    store.predictions.finish(request.id, predict())
    delivered = store.predictions.deliver_now(request.id)
    assert delivered is not None
    assert delivered.prediction.result == []


def test_finishing_twice_keeps_the_first_result(store: Store, ask: Ask, predict, square) -> None:
    request, first = ask(), predict(square)
    store.predictions.finish(request.id, first)
    assert store.predictions.finish(request.id, predict(~square)) == "push"
    assert store.predictions.get(request.id).result == first.result
    assert [region.region_id for region in store.predictions.regions(request.id)] == [first.regions[0].region_id]


def test_failed_and_requested_again(store: Store, ask: Ask) -> None:
    request = ask()
    store.requests.begin(request.id)
    store.predictions.fail(request.id, "no image")
    failed = store.predictions.get(request.id)
    assert (failed.status, failed.error) == ("failed", "no image")
    assert store.predictions.deliver_now(request.id) is None
    again = ask(delivery="sync")
    assert (again.id, again.status, again.error, again.delivery) == (request.id, "requested", None, "sync")


def test_a_result_that_comes_after_the_failure_counts(store: Store, ask: Ask, predict, square) -> None:
    request = ask()
    store.predictions.fail(request.id, "took too long")
    store.predictions.finish(request.id, predict(square))
    assert store.predictions.get(request.id).status == "ready"
    assert store.predictions.get(request.id).error is None


def test_what_was_sent_does_not_fail(store: Store, ask: Ask, predict) -> None:
    request = ask()
    store.predictions.finish(request.id, predict())
    store.predictions.mark_published(request.id, 77)
    store.predictions.fail(request.id, "a second job")
    assert store.predictions.get(request.id).status == "published"


def test_someone_waits_for_what_is_queued(store: Store, ask: Ask, predict) -> None:
    request = ask(delivery="push")
    assert ask(delivery="sync").delivery == "sync"
    assert ask(delivery="push").delivery == "sync"  # a batch does not take it from who waits
    assert store.predictions.finish(request.id, predict()) == "sync"
    assert store.predictions.deliver_now(request.id) is not None


@pytest.mark.parametrize("sent", ["published", "delivered"])
def test_a_push_of_what_was_sent_sends_it_again(store: Store, ask: Ask, predict, square, sent: str) -> None:
    request = ask(delivery="push" if sent == "published" else "sync")
    store.predictions.finish(request.id, predict(square))
    store.predictions.mark_published(request.id, 77) if sent == "published" else store.predictions.deliver_now(
        request.id
    )
    assert ask(delivery="sync").status == sent
    again = ask(delivery="push")
    assert (again.status, again.delivery, again.label_studio_prediction_id) == ("ready", "push", None)
    assert again.result == store.predictions.get(request.id).result != []


def test_the_sweeper_finds_what_does_not_move(store: Store, ask: Ask, predict) -> None:
    waiting, ready, waited, sent = ask(1), ask(2), ask(3, delivery="sync"), ask(4)
    for request in (ready, waited, sent):
        store.predictions.finish(request.id, predict())
    store.predictions.mark_published(sent.id, 77)
    assert store.requests.stale(60) == store.predictions.unpublished(60) == []
    assert store.requests.stale(0) == [waiting.id]
    assert store.predictions.unpublished(0) == [ready.id, waited.id]
    time.sleep(0.3)
    store.requests.begin(waiting.id)  # it moved
    assert store.requests.stale(0.2) == []


def test_regions_are_found_with_their_masks(store: Store, project: Project, ask: Ask, predict, square) -> None:
    request, prediction = ask(), predict(square, ~square)
    store.predictions.finish(request.id, prediction)
    first, second = store.predictions.regions(request.id)
    assert np.array_equal(first.mask, square)
    assert np.array_equal(second.mask, ~square)
    found = store.predictions.find_region(project, 5, first.region_id)
    assert found is not None
    assert (found.label, found.prompt, found.score, found.model_version) == ("red", "red", 0.9, "v1")
    assert store.predictions.find_region(project, 6, first.region_id) is None
    assert store.predictions.find_region(project, 5, "unknown") is None
    other = store.projects.upsert("http://other", 1, "<View/>")
    assert store.predictions.find_region(other, 5, first.region_id) is None


def test_regions_of_a_result_that_was_replaced(store: Store, project: Project, ask: Ask, predict, square) -> None:
    request, first, second = ask(), predict(square), predict(square)
    store.predictions.finish(request.id, first)
    store.predictions.fail(request.id, "not published")
    ask()
    store.predictions.finish(request.id, second)
    assert [region.region_id for region in store.predictions.regions(request.id)] == [second.regions[0].region_id]
    assert store.predictions.find_region(project, 5, first.regions[0].region_id) is not None


def test_a_missing_mask_is_a_store_error(store: Store, tmp_path, ask: Ask, predict, square) -> None:
    request = ask()
    store.predictions.finish(request.id, predict(square))
    for file in (tmp_path / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(StoreError, match="missing"):
        store.predictions.regions(request.id)


def test_predictions_are_found_by_label_studios_id(store: Store, project: Project, ask: Ask, predict) -> None:
    pushed, answered, newer = (
        ask(version="v1"),
        ask(version="v2", delivery="sync"),
        ask(version="v3", delivery="sync"),
    )
    typed = ask(delivery="sync", interactive=True)
    for request in (pushed, answered, newer, typed):
        store.predictions.finish(request.id, predict())
    store.predictions.mark_published(pushed.id, 77)
    for request in (answered, typed):
        store.predictions.deliver_now(request.id)

    def find(label_studio_id: int, or_newest: bool = True, task_id: int = 5) -> int | None:
        return store.predictions.find_sent(project, task_id, label_studio_id, or_newest=or_newest)

    assert find(77) == pushed.id
    assert find(78) == answered.id  # the newest whose id Label Studio never gave; not the typed one, nor the unsent one
    assert find(78, or_newest=False) is None
    assert find(78, task_id=6) is None


def test_versions_newest_first(store: Store, ask: Ask) -> None:
    for number, version in enumerate(["v1", "v2", "v1", "v3"]):
        ask(task_id=number, version=version)
    assert store.progress.versions()[0] == "v3"
    assert set(store.progress.versions()) == {"v1", "v2", "v3"}


def race(*functions: Callable[[], object]) -> list[object]:
    barrier, results = threading.Barrier(len(functions)), [None] * len(functions)

    def run(number: int, function: Callable[[], object]) -> None:
        barrier.wait()
        results[number] = function()

    threads = [threading.Thread(target=run, args=item) for item in enumerate(functions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def test_finish_and_the_end_of_the_wait_agree(store: Store, ask: Ask, predict) -> None:
    """Either the waiter has the result, or the worker has to push it: never both, never neither."""
    outcomes = set()
    delays_s = [(0.0, 0.2), (0.2, 0.0), *[(0.0, number / 4000) for number in range(50)]]
    for number, (worker_s, waiter_s) in enumerate(delays_s):
        request = ask(task_id=number, delivery="sync")

        def finish(request: PredictionRequest = request, delay_s: float = worker_s) -> object:
            time.sleep(delay_s)
            return store.predictions.finish(request.id, predict())

        def end_wait(request: PredictionRequest = request, delay_s: float = waiter_s) -> object:
            time.sleep(delay_s)
            return store.predictions.deliver_now(request.id)

        delivery, taken = race(finish, end_wait)
        assert (delivery, taken is None) in {("sync", False), ("push", True)}
        assert store.predictions.get(request.id).status == ("delivered" if taken else "ready")
        outcomes.add(delivery)
    assert outcomes == {"sync", "push"}  # both orders were seen


def test_one_of_many_requests_makes_the_row(store: Store, ask: Ask) -> None:
    requests = race(*[lambda: ask(delivery="push")] * 8)
    assert len({request.id for request in requests}) == 1  # type: ignore[attr-defined]
    assert store.progress.counts() == {"requested": 1}


def test_one_of_many_waiters_is_answered_first_but_all_are_answered(store: Store, ask: Ask, predict) -> None:
    request = ask(delivery="sync")
    store.predictions.finish(request.id, predict())
    answers = race(*[lambda: store.predictions.deliver_now(request.id)] * 6)
    assert [answer.sent_s_ago is None for answer in answers].count(True) == 1  # type: ignore[attr-defined]
