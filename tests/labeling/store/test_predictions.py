"""The life of a wanted prediction, and the races in it."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from labeling.errors import StoreError
from labeling.prompts.plan import PromptPlan
from labeling.store import PredictionRequest, Project, Store, TaskRequest

Want = Callable[..., PredictionRequest]


@pytest.fixture
def want(store: Store, project: Project, plan: PromptPlan) -> Want:
    def build(task_id: int = 5, delivery="push", version: str = "v1", plan: PromptPlan = plan, interactive=False):
        data = {"image": "/data/a.png", "text": "ü"}
        return store.requests.add(project, task_id, data, plan, version, delivery=delivery, interactive=interactive)

    return build


def test_a_wish_is_a_row(store: Store, project: Project, plan: PromptPlan, want: Want) -> None:
    wish = want()
    assert wish == store.predictions.get(wish.id)
    assert (wish.project, wish.task_id, wish.plan, wish.model_version) == (project, 5, plan, "v1")
    assert wish.task_data == {"image": "/data/a.png", "text": "ü"}
    assert (wish.status, wish.delivery, wish.attempts, wish.result, wish.error) == ("requested", "push", 0, None, None)


def test_the_same_wish_is_the_same_row(store: Store, plan: PromptPlan, want: Want) -> None:
    wish = want()
    assert want().id == wish.id
    others = [want(task_id=6), want(version="v2"), want(plan=PromptPlan(plan.items[:1]))]
    typed = [want(interactive=True), want(interactive=True)]
    assert len({row.id for row in [wish, *others, *typed]}) == 6
    assert store.progress.counts(1) == store.progress.counts() == {"requested": 6}
    assert store.progress.counts(2) == {}


@pytest.mark.parametrize("together", [False, True])
def test_a_task_that_shows_another_image_now_is_another_wish(
    store: Store, project: Project, plan: PromptPlan, predict, square, together: bool
) -> None:
    """Its old masks must not be sent again; corrections that were made of them still find them."""

    def want(name: str, key: str = "image") -> PredictionRequest:
        wish, options = TaskRequest(5, {key: name, "text": name}, plan), {"delivery": "push", "image_key": key}
        if together:
            return store.requests.add_all(project, [wish, replace(wish, task_id=6)], "v1", **options)[0]
        return store.requests.add(project, 5, wish.task_data, plan, "v1", **options)

    old = want("old.png")
    assert want("other.png").id == old.id  # nobody looked at its image yet
    store.requests.begin(old.id)
    old = want("old.png")
    store.predictions.finish(old.id, predict(square))
    store.predictions.mark_published(old.id, 77)
    new = want("new.png")
    assert new.id != old.id and (new.status, new.result) == ("requested", None)
    assert want("new.png").id == new.id
    assert store.predictions.get(old.id).status == "published" and store.predictions.regions(old.id)
    store.requests.begin(new.id)
    assert want("newer.png").id not in (old.id, new.id)
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


def test_begin_counts_and_stops_at_the_end(store: Store, want: Want, predict) -> None:
    wish = want()
    assert [store.requests.begin(wish.id).attempts for _ in range(2)] == [1, 2]  # type: ignore[union-attr]
    store.predictions.finish(wish.id, predict())
    assert store.requests.begin(wish.id) is None
    assert store.predictions.get(wish.id).attempts == 2


def test_pushed(store: Store, want: Want, predict, square) -> None:
    wish, prediction = want(), predict(square)
    assert store.predictions.finish(wish.id, prediction) == "push"
    ready = store.predictions.get(wish.id)
    assert (ready.status, ready.result, ready.score) == ("ready", prediction.result, prediction.score)
    store.predictions.mark_published(wish.id, 77)
    published = store.predictions.get(wish.id)
    assert (published.status, published.label_studio_prediction_id) == ("published", 77)


def test_delivered(store: Store, want: Want, predict, square) -> None:
    wish, prediction = want(delivery="sync"), predict(square)
    assert store.predictions.finish(wish.id, prediction) == "sync"
    delivered = store.predictions.deliver_now(wish.id)
    assert delivered is not None
    assert (delivered.prediction.status, delivered.prediction.result) == ("delivered", prediction.result)
    assert delivered.sent_s_ago is None
    again = store.predictions.deliver_now(wish.id)  # asked again, answered again
    assert again is not None and again.prediction == delivered.prediction
    assert again.sent_s_ago is not None and 0 <= again.sent_s_ago < 60


def test_a_wait_that_ended_too_early_makes_it_a_push(store: Store, want: Want, predict) -> None:
    wish = want(delivery="sync")
    assert store.predictions.deliver_now(wish.id) is None
    assert store.predictions.finish(wish.id, predict()) == "push"
    assert store.predictions.deliver_now(wish.id) is None  # the publisher has it
    assert store.predictions.get(wish.id).status == "ready"


def test_an_empty_prediction_is_a_result(store: Store, want: Want, predict) -> None:
    wish = want(delivery="sync")
    store.predictions.finish(wish.id, predict())
    delivered = store.predictions.deliver_now(wish.id)
    assert delivered is not None
    assert delivered.prediction.result == []


def test_finishing_twice_keeps_the_first_result(store: Store, want: Want, predict, square) -> None:
    wish, first = want(), predict(square)
    store.predictions.finish(wish.id, first)
    assert store.predictions.finish(wish.id, predict(~square)) == "push"
    assert store.predictions.get(wish.id).result == first.result
    assert [region.region_id for region in store.predictions.regions(wish.id)] == [first.regions[0].region_id]


def test_failed_and_wanted_again(store: Store, want: Want) -> None:
    wish = want()
    store.requests.begin(wish.id)
    store.predictions.fail(wish.id, "no image")
    failed = store.predictions.get(wish.id)
    assert (failed.status, failed.error) == ("failed", "no image")
    assert store.predictions.deliver_now(wish.id) is None
    again = want(delivery="sync")
    assert (again.id, again.status, again.error, again.delivery) == (wish.id, "requested", None, "sync")


def test_a_result_that_comes_after_the_failure_counts(store: Store, want: Want, predict, square) -> None:
    wish = want()
    store.predictions.fail(wish.id, "took too long")
    store.predictions.finish(wish.id, predict(square))
    assert store.predictions.get(wish.id).status == "ready"
    assert store.predictions.get(wish.id).error is None


def test_what_was_sent_does_not_fail(store: Store, want: Want, predict) -> None:
    wish = want()
    store.predictions.finish(wish.id, predict())
    store.predictions.mark_published(wish.id, 77)
    store.predictions.fail(wish.id, "a second job")
    assert store.predictions.get(wish.id).status == "published"


def test_someone_waits_for_what_is_queued(store: Store, want: Want, predict) -> None:
    wish = want(delivery="push")
    assert want(delivery="sync").delivery == "sync"
    assert want(delivery="push").delivery == "sync"  # a batch does not take it from who waits
    assert store.predictions.finish(wish.id, predict()) == "sync"
    assert store.predictions.deliver_now(wish.id) is not None


@pytest.mark.parametrize("sent", ["published", "delivered"])
def test_a_push_of_what_was_sent_sends_it_again(store: Store, want: Want, predict, square, sent: str) -> None:
    wish = want(delivery="push" if sent == "published" else "sync")
    store.predictions.finish(wish.id, predict(square))
    store.predictions.mark_published(wish.id, 77) if sent == "published" else store.predictions.deliver_now(wish.id)
    assert want(delivery="sync").status == sent
    again = want(delivery="push")
    assert (again.status, again.delivery, again.label_studio_prediction_id) == ("ready", "push", None)
    assert again.result == store.predictions.get(wish.id).result != []


def test_the_sweeper_finds_what_does_not_move(store: Store, want: Want, predict) -> None:
    wanted, ready, waited, sent = want(1), want(2), want(3, delivery="sync"), want(4)
    for wish in (ready, waited, sent):
        store.predictions.finish(wish.id, predict())
    store.predictions.mark_published(sent.id, 77)
    assert store.requests.stale(60) == store.predictions.unpublished(60) == []
    assert store.requests.stale(0) == [wanted.id]
    assert store.predictions.unpublished(0) == [ready.id, waited.id]
    time.sleep(0.3)
    store.requests.begin(wanted.id)  # it moved
    assert store.requests.stale(0.2) == []


def test_regions_are_found_with_their_masks(store: Store, project: Project, want: Want, predict, square) -> None:
    wish, prediction = want(), predict(square, ~square)
    store.predictions.finish(wish.id, prediction)
    first, second = store.predictions.regions(wish.id)
    assert np.array_equal(first.mask, square)
    assert np.array_equal(second.mask, ~square)
    found = store.predictions.find_region(project, 5, first.region_id)
    assert found is not None
    assert (found.label, found.prompt, found.score, found.model_version) == ("red", "red", 0.9, "v1")
    assert store.predictions.find_region(project, 6, first.region_id) is None
    assert store.predictions.find_region(project, 5, "unknown") is None
    other = store.projects.upsert("http://other", 1, "<View/>")
    assert store.predictions.find_region(other, 5, first.region_id) is None


def test_regions_of_a_result_that_was_replaced(store: Store, project: Project, want: Want, predict, square) -> None:
    wish, first, second = want(), predict(square), predict(square)
    store.predictions.finish(wish.id, first)
    store.predictions.fail(wish.id, "not published")
    want()
    store.predictions.finish(wish.id, second)
    assert [region.region_id for region in store.predictions.regions(wish.id)] == [second.regions[0].region_id]
    assert store.predictions.find_region(project, 5, first.regions[0].region_id) is not None


def test_a_missing_mask_is_a_store_error(store: Store, tmp_path, want: Want, predict, square) -> None:
    wish = want()
    store.predictions.finish(wish.id, predict(square))
    for file in (tmp_path / "blobs").rglob("*"):
        if file.is_file():
            file.unlink()
    with pytest.raises(StoreError, match="missing"):
        store.predictions.regions(wish.id)


def test_predictions_are_found_by_label_studios_id(store: Store, project: Project, want: Want, predict) -> None:
    pushed, answered, newer = (
        want(version="v1"),
        want(version="v2", delivery="sync"),
        want(version="v3", delivery="sync"),
    )
    typed = want(delivery="sync", interactive=True)
    for wish in (pushed, answered, newer, typed):
        store.predictions.finish(wish.id, predict())
    store.predictions.mark_published(pushed.id, 77)
    for wish in (answered, typed):
        store.predictions.deliver_now(wish.id)

    def find(label_studio_id: int, or_newest: bool = True, task_id: int = 5) -> int | None:
        return store.predictions.find_sent(project, task_id, label_studio_id, or_newest=or_newest)

    assert find(77) == pushed.id
    assert find(78) == answered.id  # the newest whose id Label Studio never told; not the typed one, nor the unsent one
    assert find(78, or_newest=False) is None
    assert find(78, task_id=6) is None


def test_versions_newest_first(store: Store, want: Want) -> None:
    for number, version in enumerate(["v1", "v2", "v1", "v3"]):
        want(task_id=number, version=version)
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


def test_finish_and_the_end_of_the_wait_agree(store: Store, want: Want, predict) -> None:
    """Either the waiter has the result, or the worker was told to push it: never both, never neither."""
    outcomes = set()
    delays_s = [(0.0, 0.2), (0.2, 0.0), *[(0.0, number / 4000) for number in range(50)]]
    for number, (worker_s, waiter_s) in enumerate(delays_s):
        wish = want(task_id=number, delivery="sync")

        def finish(wish: PredictionRequest = wish, delay_s: float = worker_s) -> object:
            time.sleep(delay_s)
            return store.predictions.finish(wish.id, predict())

        def end_wait(wish: PredictionRequest = wish, delay_s: float = waiter_s) -> object:
            time.sleep(delay_s)
            return store.predictions.deliver_now(wish.id)

        told, taken = race(finish, end_wait)
        assert (told, taken is None) in {("sync", False), ("push", True)}
        assert store.predictions.get(wish.id).status == ("delivered" if taken else "ready")
        outcomes.add(told)
    assert outcomes == {"sync", "push"}  # both orders were seen


def test_one_of_many_wishes_makes_the_row(store: Store, want: Want) -> None:
    wishes = race(*[lambda: want(delivery="push")] * 8)
    assert len({wish.id for wish in wishes}) == 1  # type: ignore[attr-defined]
    assert store.progress.counts() == {"requested": 1}


def test_one_of_many_waiters_is_answered_first_but_all_are_answered(store: Store, want: Want, predict) -> None:
    wish = want(delivery="sync")
    store.predictions.finish(wish.id, predict())
    answers = race(*[lambda: store.predictions.deliver_now(wish.id)] * 6)
    assert [answer.sent_s_ago is None for answer in answers].count(True) == 1  # type: ignore[attr-defined]
