"""Fine-tune runs: one at a time on all hosts, once for each slot, taken up again after a kill."""

import threading
import time

import pytest

from labeling.store import FinetuneSchedule, Project, Store


def test_a_slot_is_requested_once_and_a_project_has_one_open_run(store: Store, project: Project) -> None:
    first = store.finetunes.request("p1-monday", project, corrections=20)
    assert first is not None and (first.status, first.corrections) == ("requested", 20)
    assert store.finetunes.request("p1-monday", project) is None
    assert store.finetunes.request("p1-tuesday", project) is None
    store.finetunes.end(first.id, "refused", report={"reasons": []})
    assert store.finetunes.request("p1-monday", project) is None
    assert store.finetunes.request("p1-tuesday", project) is not None
    store.finetunes.request("of all", None)
    assert [run.slot for run in store.finetunes.newest(project=project)] == ["p1-tuesday", "p1-monday"]


def test_many_schedulers_request_one_run(store: Store, project: Project) -> None:
    waiting, start = [], threading.Barrier(8)

    def ask() -> None:
        start.wait()
        waiting.append(store.finetunes.request("p1-now", project))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(run is not None for run in waiting) == 1


def test_one_run_at_a_time_on_all_hosts(store: Store, project: Project) -> None:
    store.finetunes.request("one", project)
    store.finetunes.request("two", None)
    mine = store.finetunes.claim("host-a", 30)
    assert mine is not None and (mine.slot, mine.status) == ("one", "running")
    assert store.finetunes.claim("host-b", 30) is None
    assert store.finetunes.renew(mine.id, "host-b", 30) is None
    assert store.finetunes.renew(mine.id, "host-a", 30) == mine
    store.finetunes.end(mine.id, "promoted")
    assert store.finetunes.renew(mine.id, "host-a", 30) is None
    assert store.finetunes.claim("host-b", 30).slot == "two"


def test_a_dead_holders_run_is_taken_up_with_what_was_fixed(store: Store, project: Project) -> None:
    store.finetunes.request("one", project)
    run = store.finetunes.claim("host-a", 0.05)
    assert store.finetunes.begin(run.id, "starter-1.1", "starter").candidate == "starter-1.1"
    time.sleep(0.1)
    again = store.finetunes.claim("host-b", 30)
    assert (again.id, again.candidate) == (run.id, "starter-1.1")
    assert store.finetunes.renew(run.id, "host-a", 30) is None
    assert store.finetunes.begin(run.id, "starter-1.2", "starter-1").candidate == "starter-1.1"
    store.finetunes.release(run.id, "host-b")
    assert store.finetunes.get(run.id).status == "requested"
    assert store.finetunes.claim("host-c", 30).id == run.id


def test_stopping(store: Store, project: Project) -> None:
    store.finetunes.request("one", project)
    running = store.finetunes.claim("host-a", 30)
    waiting = store.finetunes.request("two", None)
    assert store.finetunes.stop() == 2
    assert store.finetunes.get(waiting.id).status == "stopped"
    assert store.finetunes.renew(running.id, "host-a", 30).stop_requested
    store.finetunes.end(running.id, "stopped")
    assert [run.slot for run in store.finetunes.newest()] == ["two", "one"]


def test_a_run_that_was_let_go_can_be_stopped_and_is_not_brought_back_by_its_old_holder(
    store: Store, project: Project
) -> None:
    store.finetunes.request("one", project)
    run = store.finetunes.claim("host-a", 30)
    store.finetunes.release(run.id, "host-a")
    store.finetunes.stop(project)
    store.finetunes.release(run.id, "host-a")
    assert store.finetunes.get(run.id).status == "stopped" and store.finetunes.claim("host-b", 30) is None


def test_a_dead_holders_run_ends_when_it_is_stopped(store: Store, project: Project) -> None:
    store.finetunes.request("one", project)
    run = store.finetunes.claim("host-a", 0.05)
    time.sleep(0.1)
    assert store.finetunes.stop(project) == 1
    assert store.finetunes.get(run.id).status == "stopped"
    assert store.finetunes.renew(run.id, "host-a", 30) is None
    assert store.finetunes.request("two", project) is not None


def test_a_run_that_was_to_stop_does_not_keep_the_next_away_when_its_holder_died(
    store: Store, project: Project
) -> None:
    store.finetunes.request("one", project)
    run = store.finetunes.claim("host-a", 0.3)
    store.finetunes.stop(project)
    assert store.finetunes.get(run.id).status == "running"  # its holder has a moment to end it
    assert store.finetunes.request("two", project) is None
    time.sleep(0.4)
    assert store.finetunes.request("two", project) is not None
    assert store.finetunes.get(run.id).status == "stopped"


def test_only_its_holder_ends_a_run(store: Store, project: Project) -> None:
    store.finetunes.request("one", project)
    run = store.finetunes.claim("host-a", 0.05)
    time.sleep(0.1)
    store.finetunes.claim("host-b", 30)
    assert not store.finetunes.end(run.id, "failed", holder="host-a", error="its process was gone")
    assert store.finetunes.get(run.id).status == "running"
    assert store.finetunes.end(run.id, "refused", holder="host-b")


def test_a_run_that_is_put_off_waits_its_time_and_others_go_on(store: Store, project: Project) -> None:
    store.finetunes.request("one", project)
    run = store.finetunes.claim("host-a", 30)
    other = store.finetunes.request("two", None)
    store.finetunes.postpone(run.id, "host-b", 30, "not mine")
    assert store.finetunes.get(run.id).status == "running"
    store.finetunes.postpone(run.id, "host-a", 0.3, "Label Studio answered 502.")
    postponed = store.finetunes.get(run.id)
    assert (postponed.status, postponed.attempts, postponed.error) == ("requested", 1, "Label Studio answered 502.")
    assert store.finetunes.claim("host-b", 30).id == other.id
    store.finetunes.end(other.id, "refused")
    assert store.finetunes.claim("host-b", 30) is None
    time.sleep(0.4)
    again = store.finetunes.claim("host-b", 30)
    assert (again.id, again.attempts, again.error, again.not_before) == (run.id, 1, None, None)


def test_who_asks_again_is_remembered(store: Store, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = store.finetunes.request("finetune-event-1", project)
    store.finetunes.request("finetune-event-1", project)  # the same event, processed twice
    assert not store.finetunes.get(run.id).asked_again
    assert store.finetunes.request("finetune-event-2", project) is None
    assert store.finetunes.get(run.id).asked_again
    assert "finetune-event-2" in caplog.text


def test_a_projects_own_schedule(store: Store, project: Project) -> None:
    assert store.finetunes.find_schedule(project) is None
    store.finetunes.set_schedule(project, FinetuneSchedule("0 3 * * *", None))
    store.finetunes.set_schedule(project, FinetuneSchedule(None, 20))
    assert store.finetunes.find_schedule(project) == FinetuneSchedule(None, 20)
    store.finetunes.set_schedule(project, None)
    assert store.finetunes.find_schedule(project) is None
