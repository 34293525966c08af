"""Fine-tune runs: one at a time on all hosts, once for each slot, taken up again after a kill."""

import threading
import time

import pytest

from labeling.store import Project, Store
from labeling.store.model_records import FinetuneSchedule


def test_a_slot_is_wanted_once_and_a_project_has_one_open_run(store: Store, project: Project) -> None:
    first = store.want_finetune("p1-monday", project, corrections=20)
    assert first is not None and (first.status, first.corrections) == ("wanted", 20)
    assert store.want_finetune("p1-monday", project) is None
    assert store.want_finetune("p1-tuesday", project) is None
    store.end_finetune(first.id, "refused", report={"reasons": []})
    assert store.want_finetune("p1-monday", project) is None
    assert store.want_finetune("p1-tuesday", project) is not None
    store.want_finetune("of all", None)
    assert [run.slot for run in store.list_finetunes(project=project)] == ["p1-tuesday", "p1-monday"]


def test_many_schedulers_want_one_run(store: Store, project: Project) -> None:
    wanted, start = [], threading.Barrier(8)

    def want() -> None:
        start.wait()
        wanted.append(store.want_finetune("p1-now", project))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(run is not None for run in wanted) == 1


def test_one_run_at_a_time_on_all_hosts(store: Store, project: Project) -> None:
    store.want_finetune("one", project)
    store.want_finetune("two", None)
    mine = store.claim_finetune("host-a", 30)
    assert mine is not None and (mine.slot, mine.status) == ("one", "running")
    assert store.claim_finetune("host-b", 30) is None
    assert store.renew_finetune(mine.id, "host-b", 30) is None
    assert store.renew_finetune(mine.id, "host-a", 30) == mine
    store.end_finetune(mine.id, "promoted")
    assert store.renew_finetune(mine.id, "host-a", 30) is None
    assert store.claim_finetune("host-b", 30).slot == "two"


def test_a_dead_holders_run_is_taken_up_with_what_was_fixed(store: Store, project: Project) -> None:
    store.want_finetune("one", project)
    run = store.claim_finetune("host-a", 0.05)
    assert store.begin_finetune(run.id, "starter-1.1", "starter").candidate == "starter-1.1"
    time.sleep(0.1)
    again = store.claim_finetune("host-b", 30)
    assert (again.id, again.candidate) == (run.id, "starter-1.1")
    assert store.renew_finetune(run.id, "host-a", 30) is None
    assert store.begin_finetune(run.id, "starter-1.2", "starter-1").candidate == "starter-1.1"
    store.release_finetune(run.id, "host-b")
    assert store.get_finetune(run.id).status == "wanted"
    assert store.claim_finetune("host-c", 30).id == run.id


def test_stopping(store: Store, project: Project) -> None:
    store.want_finetune("one", project)
    running = store.claim_finetune("host-a", 30)
    waiting = store.want_finetune("two", None)
    assert store.stop_finetunes() == 2
    assert store.get_finetune(waiting.id).status == "stopped"
    assert store.renew_finetune(running.id, "host-a", 30).stop_requested
    store.end_finetune(running.id, "stopped")
    assert [run.slot for run in store.list_finetunes()] == ["two", "one"]


def test_a_run_that_was_let_go_can_be_stopped_and_is_not_brought_back_by_its_old_holder(
    store: Store, project: Project
) -> None:
    store.want_finetune("one", project)
    run = store.claim_finetune("host-a", 30)
    store.release_finetune(run.id, "host-a")
    store.stop_finetunes(project)
    store.release_finetune(run.id, "host-a")
    assert store.get_finetune(run.id).status == "stopped" and store.claim_finetune("host-b", 30) is None


def test_a_dead_holders_run_ends_when_it_is_stopped(store: Store, project: Project) -> None:
    store.want_finetune("one", project)
    run = store.claim_finetune("host-a", 0.05)
    time.sleep(0.1)
    assert store.stop_finetunes(project) == 1
    assert store.get_finetune(run.id).status == "stopped"
    assert store.renew_finetune(run.id, "host-a", 30) is None
    assert store.want_finetune("two", project) is not None


def test_a_run_that_was_to_stop_does_not_keep_the_next_away_when_its_holder_died(
    store: Store, project: Project
) -> None:
    store.want_finetune("one", project)
    run = store.claim_finetune("host-a", 0.3)
    store.stop_finetunes(project)
    assert store.get_finetune(run.id).status == "running"  # its holder has a moment to end it
    assert store.want_finetune("two", project) is None
    time.sleep(0.4)
    assert store.want_finetune("two", project) is not None
    assert store.get_finetune(run.id).status == "stopped"


def test_only_its_holder_ends_a_run(store: Store, project: Project) -> None:
    store.want_finetune("one", project)
    run = store.claim_finetune("host-a", 0.05)
    time.sleep(0.1)
    store.claim_finetune("host-b", 30)
    assert not store.end_finetune(run.id, "failed", holder="host-a", error="its process was gone")
    assert store.get_finetune(run.id).status == "running"
    assert store.end_finetune(run.id, "refused", holder="host-b")


def test_a_run_that_is_put_off_waits_its_time_and_others_go_on(store: Store, project: Project) -> None:
    store.want_finetune("one", project)
    run = store.claim_finetune("host-a", 30)
    other = store.want_finetune("two", None)
    store.put_off_finetune(run.id, "host-b", 30, "not mine")
    assert store.get_finetune(run.id).status == "running"
    store.put_off_finetune(run.id, "host-a", 0.3, "Label Studio answered 502.")
    put_off = store.get_finetune(run.id)
    assert (put_off.status, put_off.attempts, put_off.error) == ("wanted", 1, "Label Studio answered 502.")
    assert store.claim_finetune("host-b", 30).id == other.id
    store.end_finetune(other.id, "refused")
    assert store.claim_finetune("host-b", 30) is None
    time.sleep(0.4)
    again = store.claim_finetune("host-b", 30)
    assert (again.id, again.attempts, again.error, again.not_before) == (run.id, 1, None, None)


def test_who_asks_again_is_remembered(store: Store, project: Project, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    run = store.want_finetune("finetune-event-1", project)
    store.want_finetune("finetune-event-1", project)  # the same event, processed twice
    assert not store.get_finetune(run.id).asked_again
    assert store.want_finetune("finetune-event-2", project) is None
    assert store.get_finetune(run.id).asked_again
    assert "finetune-event-2" in caplog.text


def test_a_projects_own_schedule(store: Store, project: Project) -> None:
    assert store.find_finetune_schedule(project) is None
    store.set_finetune_schedule(project, FinetuneSchedule("0 3 * * *", None))
    store.set_finetune_schedule(project, FinetuneSchedule(None, 20))
    assert store.find_finetune_schedule(project) == FinetuneSchedule(None, 20)
    store.set_finetune_schedule(project, None)
    assert store.find_finetune_schedule(project) is None
