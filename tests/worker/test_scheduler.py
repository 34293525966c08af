"""Whose turn it is: cron times, new corrections, any number of schedulers."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from labeling.errors import SettingsError
from labeling.settings import Settings
from labeling.store import Project, Store
from labeling.store.model_records import FinetuneSchedule
from worker.scheduler import check_cron, want_due

NIGHT = datetime(2026, 11, 23, 3, 0, 30, tzinfo=UTC)
NIGHTLY = FinetuneSchedule("0 3 * * *", None)


@pytest.fixture
def project(store: Store) -> Project:
    return store.upsert_project("http://127.0.0.1:8080", 1, "<View/>")


@pytest.fixture
def corrected(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many corrections every project has."""
    count = [5]
    monkeypatch.setattr(Store, "count_corrections", lambda self, project: count[0])
    return count


def test_nothing_is_due_by_default(settings: Settings, store: Store, project: Project, corrected: list[int]) -> None:
    assert want_due(settings, store, NIGHT) == []


def test_a_cron_turn_comes_once_on_all_hosts(
    settings: Settings, store: Store, project: Project, corrected: list[int]
) -> None:
    store.set_finetune_schedule(project, NIGHTLY)
    assert want_due(settings, store, NIGHT - timedelta(minutes=2)) == []
    (run,) = want_due(settings, store, NIGHT)
    assert (run.slot, run.corrections) == ("finetune-p1-2026-11-23T03:00", 5)
    store.end_finetune(run.id, "refused")
    corrected[0] = 6
    assert want_due(settings, store, NIGHT) == []
    assert want_due(settings, store, NIGHT + timedelta(days=1)) != []


def test_a_turn_that_was_missed_is_made_up_for_within_the_hour(
    settings: Settings, store: Store, project: Project, corrected: list[int]
) -> None:
    store.set_finetune_schedule(project, NIGHTLY)
    assert want_due(settings, store, NIGHT + timedelta(hours=5)) == []
    assert len(want_due(settings, store, NIGHT + timedelta(minutes=40))) == 1


def test_without_new_corrections_there_is_nothing_to_learn(
    settings: Settings, store: Store, project: Project, corrected: list[int]
) -> None:
    store.set_finetune_schedule(project, NIGHTLY)
    (run,) = want_due(settings, store, NIGHT)
    store.end_finetune(run.id, "refused")
    assert want_due(settings, store, NIGHT + timedelta(days=1)) == []


def test_so_many_new_corrections_start_a_run_by_the_default_of_all(
    settings: Settings, store: Store, project: Project, corrected: list[int]
) -> None:
    everyone = settings.model_copy(update={"finetune_corrections": 10})
    assert want_due(everyone, store, NIGHT) == []
    corrected[0] = 10
    (run,) = want_due(everyone, store, NIGHT)
    assert want_due(everyone, store, NIGHT) == []  # it is open
    store.end_finetune(run.id, "promoted")
    corrected[0] = 19
    assert want_due(everyone, store, NIGHT) == []
    corrected[0] = 20
    assert len(want_due(everyone, store, NIGHT)) == 1


def test_a_projects_own_schedule_comes_before_the_default(
    settings: Settings, store: Store, project: Project, corrected: list[int]
) -> None:
    everyone = settings.model_copy(update={"finetune_corrections": 1})
    store.set_finetune_schedule(project, replace(NIGHTLY, cron=None))
    assert want_due(everyone, store, NIGHT) == []


@pytest.mark.parametrize("expression", ["", "at night", "0 3 * *", "61 3 * * *", "0 3 * * * *", "@reboot"])
def test_what_is_no_cron_expression_is_said(expression: str) -> None:
    with pytest.raises(SettingsError, match="no cron expression"):
        check_cron(expression)
    assert check_cron("*/5 8-17 * * mon-fri")
