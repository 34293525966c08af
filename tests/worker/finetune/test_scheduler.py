"""Whose turn it is: cron times, new corrections, any number of schedulers."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from threading import Event
from typing import Any

import pytest

from labeling.errors import SettingsError, StoreError
from labeling.gate import GateRules, HeldOut, find_too_few
from labeling.settings import Settings
from labeling.store import Annotation, Correction, CorrectionKind, Exclusion, FinetuneSchedule, Project, Store
from worker.context import JobContext
from worker.finetune import scheduler
from worker.finetune.turns import FAILURES, check_cron, request_due

NIGHT = datetime(2026, 11, 23, 3, 0, 30, tzinfo=UTC)
NIGHTLY = FinetuneSchedule("0 3 * * *", None)

Correct = Callable[[int], None]


@pytest.fixture
def project(store: Store) -> Project:
    return store.projects.upsert("http://127.0.0.1:8080", 1, "<View/>")


@pytest.fixture
def correct(store: Store, project: Project) -> Callable[[int], None]:
    """`correct(5)`: so many more annotations come, with an edited and an accepted region each."""
    numbers = count(1)

    def correct(annotations: int) -> None:
        for annotation_id in islice(numbers, annotations):
            event_id = store.events.record("ANNOTATION_CREATED", {})
            regions = (correction(kind="edited"), correction(kind="accepted"))
            store.annotations.save(event_id, project, [Annotation(annotation_id, 1, "submitted", regions, at=NIGHT)])
            store.events.mark_processed(event_id)

    return correct


def correction(kind: CorrectionKind) -> Correction:
    return Correction(kind, "brushlabels", "red", kind, 0.5, 0.5, 1)


def test_nothing_is_due_by_default(settings: Settings, store: Store, project: Project, correct: Correct) -> None:
    correct(5)
    assert request_due(settings, store, NIGHT) == []


def test_a_cron_turn_comes_once_on_all_hosts(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    store.finetunes.set_schedule(project, NIGHTLY)
    correct(5)
    assert request_due(settings, store, NIGHT - timedelta(minutes=2)) == []
    (run,) = request_due(settings, store, NIGHT)
    assert (run.slot, run.corrections) == ("finetune-p1-2026-11-23T03:00", 5)
    store.finetunes.end(run.id, "refused")
    correct(1)
    assert request_due(settings, store, NIGHT) == []
    assert request_due(settings, store, NIGHT + timedelta(days=1)) != []


def test_a_turn_that_was_missed_is_made_up_for_within_the_hour(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    store.finetunes.set_schedule(project, NIGHTLY)
    correct(5)
    assert request_due(settings, store, NIGHT + timedelta(hours=5)) == []
    assert len(request_due(settings, store, NIGHT + timedelta(minutes=40))) == 1


def test_without_new_corrections_there_is_nothing_to_learn(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    store.finetunes.set_schedule(project, NIGHTLY)
    correct(5)
    (run,) = request_due(settings, store, NIGHT)
    store.finetunes.end(run.id, "refused")
    assert request_due(settings, store, NIGHT + timedelta(days=1)) == []


def test_so_many_new_corrections_start_a_run_by_the_default_of_all(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    everyone = settings.model_copy(update={"finetune_corrections": 10})
    correct(9)
    assert request_due(everyone, store, NIGHT) == []
    correct(1)
    (run,) = request_due(everyone, store, NIGHT)
    assert request_due(everyone, store, NIGHT) == []  # it is open
    store.finetunes.end(run.id, "promoted")
    correct(9)
    assert request_due(everyone, store, NIGHT) == []
    correct(1)
    assert len(request_due(everyone, store, NIGHT)) == 1


def test_a_run_that_was_stopped_does_not_end_the_count(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    """Nor is it wanted again at once, by the corrections that it was for: those are in the next set anyway."""
    everyone = settings.model_copy(update={"finetune_corrections": 5})
    correct(5)
    for _ in range(3):
        (run,) = request_due(everyone, store, NIGHT)
        store.finetunes.stop(project)
        assert store.finetunes.get(run.id).status == "stopped"
        assert request_due(everyone, store, NIGHT) == []
        correct(5)


def test_the_clock_comes_back_to_what_stopped_and_failed_runs_were_for(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    store.finetunes.set_schedule(project, NIGHTLY)
    correct(3)
    for night, end in enumerate(["failed", "stopped", "failed", "refused"]):
        (run,) = request_due(settings, store, NIGHT + timedelta(days=night))
        store.finetunes.end(run.id, end)
        assert request_due(settings, store, NIGHT + timedelta(days=night)) == []
    assert request_due(settings, store, NIGHT + timedelta(days=9)) == []


def test_what_fails_again_and_again_waits_for_something_new(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    store.finetunes.set_schedule(project, NIGHTLY)
    correct(3)
    nights = (NIGHT + timedelta(days=night) for night in range(99))
    for _ in range(FAILURES):
        (run,) = request_due(settings, store, next(nights))
        store.finetunes.end(run.id, "failed")
    assert request_due(settings, store, next(nights)) == []
    correct(1)
    (run,) = request_due(settings, store, next(nights))
    store.finetunes.end(run.id, "failed")
    assert request_due(settings, store, next(nights)) == []


def too_few(images: int) -> dict[str, Any]:
    """The report of a run that ended before it learnt, because so many held-out images decide nothing."""
    holdout = [HeldOut(f"{number}.png", str(number), "", 1) for number in range(images)]
    verdict = find_too_few(holdout, "snapshot", GateRules(min_images=images + 1))
    assert verdict is not None
    return {"gate": verdict.to_json()}


@pytest.mark.parametrize("schedule", [NIGHTLY, FinetuneSchedule(None, 5)])
def test_a_holdout_that_was_too_small_and_is_not_now_is_tried_again_once(
    settings: Settings, store: Store, project: Project, correct: Correct, schedule: FinetuneSchedule
) -> None:
    """Where GATE_MIN_IMAGES was lowered; on a clock, at its next time."""
    nights = (NIGHT + timedelta(days=night) for night in range(99))
    lowered = settings.model_copy(update={"gate_min_images": 8})
    store.finetunes.set_schedule(project, schedule)
    correct(5)
    (run,) = request_due(settings, store, next(nights))
    store.finetunes.end(run.id, "refused", report=too_few(8))
    assert request_due(settings, store, next(nights)) == []
    assert request_due(lowered.model_copy(update={"gate_min_images": 9}), store, next(nights)) == []
    (run,) = request_due(lowered, store, next(nights))
    store.finetunes.end(run.id, "refused", report={"gate": {"decided": True, "reasons": ["It is worse."]}})
    assert request_due(lowered, store, next(nights)) == []


def test_hosts_that_disagree_about_the_holdout_start_no_run_after_the_other(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    """One wants what the other one, which drives it, refuses at once: until more is corrected it is wanted once."""
    store.finetunes.set_schedule(project, FinetuneSchedule(None, 5))
    lowered = settings.model_copy(update={"gate_min_images": 8})
    correct(5)
    for _ in range(2):
        (run,) = request_due(lowered, store, NIGHT)
        store.finetunes.end(run.id, "refused", report=too_few(8))
    assert request_due(lowered, store, NIGHT) == []
    correct(4)
    assert request_due(lowered, store, NIGHT) == []
    correct(1)
    assert len(request_due(lowered, store, NIGHT)) == 1


def test_an_open_run_is_not_asked_for_again(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    everyone = settings.model_copy(update={"finetune_corrections": 5})
    correct(5)
    (run,) = request_due(everyone, store, NIGHT)
    correct(5)
    assert request_due(everyone, store, NIGHT) == []
    assert not store.finetunes.get(run.id).asked_again


def test_what_is_excluded_after_a_run_does_not_keep_the_next_one_away(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    everyone = settings.model_copy(update={"finetune_corrections": 5})
    correct(5)
    (run,) = request_due(everyone, store, NIGHT)
    store.finetunes.end(run.id, "promoted")
    for annotation_id in range(1, 6):
        store.exclusions.add(project, Exclusion("annotation", str(annotation_id), "wrong"))
    correct(4)
    store.exclusions.add(project, Exclusion("region", "6/edited", "wrong"))
    correct(1)
    assert request_due(everyone, store, NIGHT) == []
    correct(1)
    (run,) = request_due(everyone, store, NIGHT)
    assert run.corrections == 5


def test_a_projects_own_schedule_comes_before_the_default(
    settings: Settings, store: Store, project: Project, correct: Correct
) -> None:
    correct(5)
    everyone = settings.model_copy(update={"finetune_corrections": 1})
    store.finetunes.set_schedule(project, replace(NIGHTLY, cron=None))
    assert request_due(everyone, store, NIGHT) == []


@pytest.mark.parametrize(
    "expression", ["", "at night", "0 3 * *", "61 3 * * *", "0 3 * * * *", "@reboot", "0 0 31 2 *"]
)
def test_what_is_no_cron_expression_is_said(expression: str) -> None:
    with pytest.raises(SettingsError, match="no cron expression"):
        check_cron(expression)
    assert check_cron("*/5 8-17 * * mon-fri") and check_cron("0 0 29 2 *")


@pytest.mark.parametrize("trouble", [None, StoreError("locked", is_transient=True), KeyError("a bug")])
def test_a_project_that_fails_keeps_no_other_one_waiting(
    settings: Settings, store: Store, project: Project, correct: Correct, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, trouble: Exception | None,
) -> None:  # fmt: skip
    """Without other trouble: an expression that never comes, kept before that was checked."""
    other = store.projects.upsert("http://127.0.0.1:8080", 0, "<View/>")
    for each in (other, project):
        store.finetunes.set_schedule(each, NIGHTLY)
    store.finetunes.set_schedule(other, replace(NIGHTLY, cron="0 0 31 2 *"))
    correct(1)
    count_of_store = store.corrections.count

    def count_corrections(each: Project, **since: datetime | None) -> int:
        if trouble is not None and each == other:
            raise trouble
        return count_of_store(project, **since)

    monkeypatch.setattr(store.corrections, "count", count_corrections)
    assert [run.project for run in request_due(settings, store, NIGHT)] == [project]
    assert "project 0: its schedule is looked at later" in caplog.text


def test_only_projects_of_our_label_studio_have_a_turn(settings: Settings, store: Store, correct: Correct) -> None:
    moved = settings.model_copy(update={"label_studio_url": "http://another", "finetune_corrections": 1})
    correct(1)
    assert request_due(moved, store, NIGHT) == []
    assert len(request_due(moved.model_copy(update={"label_studio_url": None}), store, NIGHT)) == 1


def test_nothing_ends_the_schedules_thread(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop, looks = Event(), count(1)

    def fail(*_: object) -> None:
        if next(looks) == 3:
            stop.set()
        raise KeyError("a bug")

    monkeypatch.setattr(scheduler, "request_due", fail)
    monkeypatch.setattr(scheduler, "LOOK_S", 0.0)
    scheduler._keep_looking(JobContext(settings, store, None, None), stop)  # type: ignore[arg-type]
    assert next(looks) == 4 and "the schedule is looked at later" in caplog.text
