"""The commands, as a person types them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from backend.console.cli import main
from labeling.settings import Settings, environment_of
from labeling.store import FinetuneSchedule, Store
from tests.worker.conftest import LABEL_STUDIO_URL
from worker.finetune import promotion

Call = Callable[..., Result]


@pytest.fixture
def call(settings: Settings) -> Call:
    """`argenseg ...` under the test's settings."""
    environment = environment_of(settings) | {"COLUMNS": "200"}
    return lambda *arguments: CliRunner().invoke(main, list(arguments), env=environment)


def test_versions_are_listed_shown_promoted_rolled_back_and_deleted(call: Call, store: Store, tmp_path: Path) -> None:
    for name in ("starter-1.1", "starter-1.2"):
        (tmp_path / name).mkdir()
        store.models.add(name, str(tmp_path / name), "starter")
    store.models.judge("starter-1.1", "refused", {"gate": {"reasons": ["IoU was worse."], "checks": []}})
    assert "starter is active" in call("models", "list").output
    assert "IoU was worse." in call("models", "show", "starter-1.1").output
    doubted = call("models", "promote", "starter-1.1")
    assert (doubted.exit_code, store.models.active()) == (1, None)
    assert "The gate refused it. IoU was worse." in doubted.output and "no pin is moved" in doubted.output
    assert call("models", "promote", "starter-1.1", "--yes").exit_code == 0
    assert "has not judged it" in call("models", "promote", "starter-1.2").output
    store.models.judge("starter-1.2", "accepted")
    assert call("models", "promote", "starter-1.2").exit_code == 0
    assert "default" in call("models", "list").output
    refused = call("models", "delete", "starter-1.2", "--yes")
    assert (refused.exit_code, "is active" in refused.output, (tmp_path / "starter-1.2").exists()) == (1, True, True)
    assert "starter-1.1 is active by default again" in call("models", "rollback").output
    assert call("models", "delete", "starter-1.2", "--yes").exit_code == 0
    assert not (tmp_path / "starter-1.2").exists()
    assert call("models", "promote", "base").exit_code == 0
    assert store.models.active() is None
    assert "no model version 'nobody'" in call("models", "show", "nobody").output


def test_a_model_of_another_family_is_not_trained(settings: Settings, store: Store) -> None:
    store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    environment = environment_of(settings) | {"MODEL_LOADER": "their.package:load"}
    refused = CliRunner().invoke(main, ["finetune", "--project", "3", "--from-corrections"], env=environment)
    assert (refused.exit_code, "MODEL_LOADER (their.package:load)" in refused.output) == (1, True)
    assert store.finetunes.newest() == []


def test_a_projects_schedule(call: Call, store: Store) -> None:
    project = store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    assert call("finetune", "--project", "3", "--schedule", "0 3 * * *", "--every", "50").exit_code == 0
    assert store.finetunes.find_schedule(project) == FinetuneSchedule("0 3 * * *", 50)
    wrong = call("finetune", "--project", "3", "--schedule", "at night")
    assert (wrong.exit_code, "no cron expression" in wrong.output) == (3, True)
    assert "not known here" in call("finetune", "--project", "4", "--every", "5").output
    assert "--project" in call("finetune", "--every", "5").output


def test_what_is_not_given_of_a_schedule_stays(call: Call, store: Store) -> None:
    project = store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    call("finetune", "--project", "3", "--schedule", "0 3 * * *")
    assert (
        "at 0 3 * * * (UTC) and after 50 new corrections" in call("finetune", "--project", "3", "--every", "50").output
    )
    call("finetune", "--project", "3", "--schedule", "0 4 * * *")
    assert store.finetunes.find_schedule(project) == FinetuneSchedule("0 4 * * *", 50)
    call("finetune", "--project", "3", "--schedule", "")
    assert store.finetunes.find_schedule(project) == FinetuneSchedule(None, 50)
    assert "Schedule: project 3: after 50 new corrections; by default: never" in call("finetune").output
    assert "never" in call("finetune", "--project", "3", "--every", "0").output
    assert store.finetunes.find_schedule(project) == FinetuneSchedule(None, None)
    refused = call("finetune", "--project", "3", "--use-default", "--every", "5")
    assert (refused.exit_code, store.finetunes.find_schedule(project)) == (2, FinetuneSchedule(None, None))
    assert "Project 3: never, by default." in call("finetune", "--project", "3", "--use-default").output
    assert store.finetunes.find_schedule(project) is None


def test_the_first_own_schedule_of_a_project_starts_from_the_default(settings: Settings, store: Store) -> None:
    project = store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    environment = environment_of(settings.model_copy(update={"finetune_cron": "0 3 * * *"}))
    CliRunner().invoke(main, ["finetune", "--project", "3", "--every", "50"], env=environment)
    assert store.finetunes.find_schedule(project) == FinetuneSchedule("0 3 * * *", 50)


def test_a_promotion_that_annotators_do_not_see_says_so(
    call: Call, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store.models.add("starter-1.1", str(tmp_path), "starter")
    store.models.judge("starter-1.1", "accepted")
    unseen: list[str] = [
        "Project 3: 2 open tasks have masks, but none of it, so annotators go on seeing starter there."
    ]
    monkeypatch.setattr(promotion, "promote", lambda *_: unseen)
    reported = call("models", "promote", "starter-1.1")
    assert reported.exit_code == 1 and unseen[0] in reported.output
    assert "starter-1.1 is active by default, but what annotators see did not move everywhere" in reported.output
    monkeypatch.setattr(promotion, "roll_back", lambda *_: (None, unseen))
    reported = call("models", "rollback")
    assert reported.exit_code == 1 and unseen[0] in reported.output
    unseen.clear()
    reported = call("models", "promote", "starter-1.1")
    assert (reported.exit_code, reported.output.splitlines()[-1]) == (0, "starter-1.1 is active by default.")
    assert call("models", "rollback").exit_code == 0


def test_a_run_is_queued_listed_and_stopped(call: Call, store: Store) -> None:
    store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    assert call("finetune", "--project", "3", "--from-corrections", "--queue").exit_code == 0
    again = call("finetune", "--project", "3", "--from-corrections", "--queue")
    assert (again.exit_code, "open already" in again.output) == (1, True)
    assert "requested" in call("finetune").output
    assert "1 runs were asked" in call("finetune", "--stop").output
    assert store.finetunes.newest()[0].status == "stopped"


def test_an_interrupted_run_waits_and_the_same_command_goes_on_with_it(
    call: Call, store: Store, redis_server: object
) -> None:
    project = store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    store.finetunes.request("one", project)
    run = store.finetunes.claim("somebody", 30)
    assert run is not None
    assert "gathers its images" in call("finetune").output
    store.finetunes.release(run.id, "somebody")  # as Ctrl-C does
    reported = call("finetune", "--project", "3", "--from-corrections").output
    assert f"Run {run.id} is open already: going on with it." in reported
    assert [(each.id, each.status) for each in store.finetunes.newest()] == [
        (run.id, "failed")
    ]  # nothing to learn from


def test_without_corrections_a_run_says_what_is_missing(call: Call, store: Store, redis_server: object) -> None:
    store.projects.upsert(LABEL_STUDIO_URL, 3, "<View/>")
    result = call("finetune", "--project", "3", "--from-corrections")
    assert result.exit_code == 1
    assert "nothing to learn from yet" in store.finetunes.newest()[0].error
