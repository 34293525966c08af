"""Each link, well and broken; what is broken comes with the way to mend it."""

import json
import os
import time
from collections.abc import Callable, Iterable

import httpx
import pytest
from click.testing import CliRunner
from redis import Redis

from backend.console.cli import main
from backend.operations.doctor import (
    backend,
    model,
    queues,
    storage,
)
from backend.operations.doctor import (
    label_studio as label_studio_checks,
)
from backend.operations.doctor import (
    project as project_checks,
)
from backend.operations.doctor.checks import all_checks
from backend.operations.doctor.findings import Finding, run_checks
from backend.operations.projects.connection import connect_backend
from labeling.label_studio.messages import Task
from labeling.settings import Settings, environment_of
from labeling.store import Store
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from tests.worker.conftest import RedisServer, Want, bright_square
from worker.events.spool import spool_folder, write_event
from worker.projects.open_project import OpenProject, require_client
from worker.queue.connection import connect
from worker.queue.heartbeats import SCHEDULER, SWEEPER, beat


def states(findings: Iterable[Finding]) -> list[str]:
    return [finding.state for finding in findings]


def only(findings: Iterable[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_storage_that_works(settings: Settings, store: Store) -> None:
    for check in (storage.data_folder, storage.database, storage.blobs, storage.spool):
        assert states(check(settings)) == ["ok"], check


def test_what_is_postponed_is_told_once_for_a_reason(project: OpenProject, connected: Settings) -> None:
    tasks = [Task(id=number, data={"image": "/data/upload/1/a.png"}) for number in range(1, 4)]
    for row in project.requests.request_all(tasks):
        project.store.requests.postpone(row.id, "Label Studio answered 401. Check LABEL_STUDIO_API_KEY.")
    opened, found = storage.database(connected)
    assert (opened.state, found.state) == ("ok", "warning")
    assert found.text == ("3 tasks of project 5 are postponed: Label Studio answered 401. Check LABEL_STUDIO_API_KEY.")


def test_a_project_that_does_not_exist_is_told_once(connected: Settings) -> None:
    checks = [each for each in all_checks(connected, 999, False) if each.link in PROJECT_LINKS]
    found = run_checks(checks, connected)
    assert [each.state for each in found] == ["failure"] + ["skipped"] * (len(PROJECT_LINKS) - 1)
    assert "Project 999 could not be read: Label Studio answered 404" in found[0].text


PROJECT_LINKS = ("label config", "connection", "webhook", "image", "version")


def test_a_data_folder_that_cannot_be_written(settings: Settings) -> None:
    (settings.data_dir / "file").touch()
    broken = settings.model_copy(update={"data_dir": settings.data_dir / "file"})
    found = only(storage.data_folder(broken))
    assert found.state == "failure" and "ARGENSEG_DATA_DIR" in found.mend


def test_events_that_nobody_took_up(settings: Settings) -> None:
    old = write_event(spool_folder(settings), "ANNOTATION_CREATED", {})
    os.utime(old, (time.time() - 1000, time.time() - 1000))
    (spool_folder(settings) / "x.unreadable").touch()
    assert states(storage.spool(settings)) == ["warning", "warning"]


def test_redis_and_its_workers(settings: Settings, redis_server: RedisServer) -> None:
    assert states(queues.redis(settings)) == ["ok"]
    found = list(queues.workers(settings))
    assert states(found) == ["failure", "failure", "failure", "warning"] and "argenseg worker" in found[0].mend
    assert "No sweeper" in found[2].text and "argenseg sweeper" in found[2].mend
    for process in (SWEEPER, SCHEDULER):
        beat(connect(settings), process)
    assert states(queues.workers(settings)) == ["failure", "failure", "ok", "ok"]
    redis_server.kill()
    assert "argenseg up" in only(queues.redis(settings)).mend


def test_a_redis_that_is_down_is_not_the_databases_fault(
    settings: Settings, redis_server: RedisServer, store: Store, want: Want, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_LONG_S", -1.0)
    want()
    store.events.record("ANNOTATION_CREATED", {})
    reported = [finding.text for finding in storage.database(settings)]
    assert len(reported) == 3 and "1 requested predictions have no job" in reported[1] and "1 events" in reported[2]
    redis_server.kill()
    assert [finding.text for finding in storage.database(settings)] == [reported[0], reported[2]]


def test_weights(connected: Settings, project: OpenProject) -> None:
    assert "tiny, weights" in only(model.weights(connected)).text
    (connected.data_dir / "tuned").mkdir()
    project.store.models.add("tuned", str(connected.data_dir / "tuned"), "tiny")
    project.store.models.set_active("tuned", project.project)
    assert states(model.weights(connected)) == ["ok"]
    assert "tuned holds no weights" in only(model.weights(connected, 5)).text
    empty = connected.data_dir / "empty"
    empty.mkdir()
    assert states(model.weights(connected.model_copy(update={"model": str(empty)}))) == ["failure"]
    assert states(model.weights(connected.model_copy(update={"model": "some/hub-id"}))) == ["warning"]
    assert states(model.segmentation(connected, is_wanted=False)) == ["skipped"]
    broken = only(model.segmentation(connected, is_wanted=True))  # these weights are seven bytes
    assert broken.state == "failure" and "ARGENSEG_MODEL" in broken.mend
    other = connected.model_copy(update={"model_loader": "tests.worker.segmenters:threshold"})
    assert states(model.segmentation(other, is_wanted=True)) == ["ok"]  # their weights are nobody's business


def test_a_version_that_is_not_on_this_host(connected: Settings, project: OpenProject) -> None:
    folder = connected.data_dir / "elsewhere"
    project.store.models.add("tuned", str(folder), "tiny")
    assert states(model.weights(connected)) == ["ok"]
    project.store.models.set_active("tuned", project.project)
    elsewhere, _ = model.weights(connected)
    assert (
        elsewhere.state == "warning" and f"is active for project 5, is not on this host: no {folder}" in elsewhere.text
    )
    assert states(model.weights(connected, 5)) == ["warning", "failure"]


def test_a_backend_that_is_down(connected: Settings) -> None:
    assert states(backend.backend(connected.model_copy(update={"port": 1}))) == ["failure"]


def test_a_backend_with_another_blind_share(connected: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = {"status": "UP", "blind_share": 0.1}
    monkeypatch.setattr(httpx, "get", lambda *_, **__: httpx.Response(200, json=reported))
    found = list(backend.backend(connected))
    assert [each.state for each in found] == ["ok", "warning"] and "10% of the tasks blind" in found[1].text
    assert states(backend.backend(connected.model_copy(update={"blind_share": 0.1}))) == ["ok"]
    reported.pop("blind_share")
    assert states(backend.backend(connected)) == ["ok"]


def test_label_studio_that_is_well(connected: Settings) -> None:
    for check in (label_studio_checks.server, label_studio_checks.token, label_studio_checks.clock):
        assert states(check(connected)) == ["ok"], check
    assert states(label_studio_checks.private_addresses(connected)) == ["ok", "ok"]


@pytest.mark.parametrize(
    ("blocked", "name"), [("blocks_backends", "ML_BLOCK_LOCAL_IP"), ("blocks_webhooks", "SSRF_PROTECTION_ENABLED")]
)
def test_each_of_the_two_defaults_is_named(
    connected: Settings, label_studio: LabelStudioDouble, blocked: str, name: str
) -> None:
    setattr(label_studio, blocked, True)
    failed = only(f for f in label_studio_checks.private_addresses(connected) if f.state == "failure")
    assert f"Set {name}=false in Label Studio's environment" in failed.mend
    assert not label_studio.backends and not label_studio.webhooks


def test_the_label_config(connected: Settings, label_studio: LabelStudioDouble) -> None:
    assert "l0: bright" in only(project_checks.label_config(connected, 5)).text
    assert states(project_checks.label_config(connected, None)) == ["skipped"]


def test_words_that_the_live_version_was_not_taught(connected: Settings, project: OpenProject) -> None:
    tuned = connected.data_dir / "tuned"
    tuned.mkdir()
    (tuned / "config.json").write_text('{"known_names": {"cells": ["cell", "cells"]}}')
    assert states(project_checks.label_config(connected, 5)) == ["ok"]
    project.store.models.add("tuned", str(tuned), "tiny")
    project.store.models.set_active("tuned", project.project)
    _, found = project_checks.label_config(connected, 5)
    assert found.state == "warning" and "'bright'; it knows, for example, cells" in found.text
    assert "argenseg prompts names" in found.mend and "not sent" in found.mend


def test_a_project_that_is_not_connected(connected: Settings) -> None:
    for check in (project_checks.connection, project_checks.webhook):
        found = only(check(connected, 5))
        assert found.state == "failure" and "argenseg up --project 5 --connect" in found.mend


def connect_project(settings: Settings) -> None:
    connect_backend(require_client(settings), 5, settings.public_backend_url, settings)


def test_a_connection_that_label_studio_lost(connected: Settings, label_studio: LabelStudioDouble) -> None:
    connect_project(connected)
    assert states(project_checks.connection(connected, 5)) == ["ok"]
    label_studio.backends[0]["state"] = "ER"
    assert states(project_checks.connection(connected, 5)) == ["failure"]
    moved = connected.model_copy(update={"port": 9999})
    assert "BACKEND_URL" in only(project_checks.connection(moved, 5)).mend


def test_an_event_must_really_arrive(
    connected: Settings, label_studio: LabelStudioDouble, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_project(connected)
    monkeypatch.setattr(project_checks, "_DELIVERY_S", 1.0)
    assert "SSRF_PROTECTION_ENABLED=false" in only(project_checks.webhook(connected, 5)).mend
    payload = {"project": {"id": 5}}
    label_studio.on_project_saved = lambda: store.events.record("PROJECT_UPDATED", payload) and None
    assert states(project_checks.webhook(connected, 5)) == ["ok"]
    assert label_studio.project["title"] == "Cells"
    label_studio.webhooks[0]["is_active"] = False
    assert states(project_checks.webhook(connected, 5)) == ["failure", "ok"]


def test_an_image(connected: Settings, label_studio: LabelStudioDouble) -> None:
    assert "40 x 30" in only(project_checks.image(connected, 5)).text
    label_studio.tasks[1]["data"] = {}
    assert states(project_checks.image(connected, 5)) == ["failure"]
    label_studio.tasks.clear()
    assert states(project_checks.image(connected, 5)) == ["skipped"]


def test_what_annotators_see(project: OpenProject, connected: Settings, label_studio: LabelStudioDouble) -> None:
    def reported() -> list[str]:
        return [f"{found.state}: {found.text}" for found in project_checks.version(connected, 5)]

    assert "all versions" in reported()[0] and "5 tasks have no prediction" in reported()[1]
    label_studio.project["model_version"] = "gone"
    assert reported()[0].startswith("failure: Annotators see gone, of which there is no prediction")
    label_studio.add_prediction(1, "gone")
    assert "weights are gone" in reported()[0] and reported()[1].startswith(
        "warning: 4 tasks have no prediction of gone"
    )
    for task in label_studio.tasks:
        label_studio.add_prediction(task, project.version)
    label_studio.project["model_version"] = project.version
    assert reported() == [f"ok: Annotators see {project.version} (5 predictions), pinned."]
    (connected.data_dir / "tuned").mkdir()
    (connected.data_dir / "tuned" / "config.json").write_text('{"model_name": "tuned"}')
    project.store.models.add("tuned", str(connected.data_dir / "tuned"), "tiny")
    project.store.models.set_active("tuned", project.project)
    assert "new tasks get it too; the active version is tuned" in reported()[0] and len(reported()) == 2


Doctor = Callable[..., tuple[int, str]]


@pytest.fixture
def doctor(connected: Settings) -> Doctor:
    def run(*options: str, **environment: str) -> tuple[int, str]:
        answer = CliRunner().invoke(main, ["doctor", *options], env={**environment_of(connected), **environment})
        return answer.exit_code, answer.output

    return run


def test_the_command(doctor: Doctor, redis_connection: Redis, label_studio: LabelStudioDouble) -> None:
    label_studio.add_tasks(bright_square())
    code, output = doctor("--project", "5")
    assert code == 1
    assert "✗ backend" in output and "→ Start argenseg up" in output and "secret-token" not in output
    code, output = doctor("--json")
    reported = json.loads(output)
    assert code == 1 and reported["ok"] is False
    assert {"link": "clock", "state": "ok", "text": told_of(reported, "clock"), "mend": ""} in reported["findings"]


def told_of(reported: dict[str, list[dict[str, str]]], link: str) -> str:
    return next(finding["text"] for finding in reported["findings"] if finding["link"] == link)


def test_settings_that_cannot_be_read_or_lack_something(doctor: Doctor) -> None:
    code, output = doctor(PORT="none")
    assert code == 1 and "PORT" in output and "Traceback" not in output
    code, output = doctor(LABEL_STUDIO_URL="", LABEL_STUDIO_API_KEY="")
    assert code == 1 and "LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY not set" in output
    assert output.count("LABEL_STUDIO_URL") == 1 and ".." not in output  # what follows from it is not reported again
