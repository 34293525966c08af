"""The page Schedule: the next runs and those so far; starting, stopping, changing the schedule."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from labeling.settings import Settings
from labeling.store import FinetuneRun, FinetuneSchedule, Store
from tests.backend.web.pages.browsing import send_form
from tests.backend.web.pages.seeded import seed
from worker.finetune.learnt_from import LearntFrom
from worker.finetune.progress import run_folder

CONFIG = '<View><Image name="image" value="$image"/><Brush name="brush" toName="image"/></View>'


@pytest.fixture
def token(client: FlaskClient) -> str:
    return str(client.application.config["CSRF_TOKEN"])


def begun(store: Store, settings: Settings) -> FinetuneRun:
    """A run of project 3 that somebody drives, with its folder."""
    store.finetunes.request("now", store.projects.upsert("http://label-studio.test", 3, CONFIG))
    run = store.finetunes.claim("me", 60.0)
    assert run is not None
    run_folder(settings, run).mkdir(parents=True)
    return run


def test_without_projects_there_is_a_page(client: FlaskClient) -> None:
    page = client.get("/schedule").text
    assert "No project yet" in page and "No scheduler is running" in page


def test_the_old_address_leads_here(client: FlaskClient) -> None:
    answer = client.get("/finetune")
    assert answer.status_code == 301 and answer.headers["Location"].endswith("schedule")


def test_an_open_run_tells_how_far_it_is(client: FlaskClient, store: Store, settings: Settings) -> None:
    run = begun(store, settings)
    folder = run_folder(settings, run)
    assert "gathers its images" in client.get("/schedule").text
    (folder / "run.json").write_text(json.dumps({"options": {"steps": 300}}))
    assert "learning, step 0 of 300" in client.get("/schedule").text
    (folder / "log.jsonl").write_text('{"step": 0, "giou": 0.1}\n{"step": 40, "codes": 0.5}\n')
    page = client.get("/schedule").text
    assert "learning, step 40 of 300" in page and 'data-live="5"' in page
    answer = client.get(f"/finetune/{run.id}")
    assert answer.status_code == 404 and "learning, step 40 of 300" in answer.json["error"]
    (folder / "finished.json").write_text("{}")
    assert "measured on the holdout" in client.get("/schedule").text


def test_an_ended_run_shows_its_reasons_and_its_report(client: FlaskClient, store: Store, settings: Settings) -> None:
    run = begun(store, settings)
    (run_folder(settings, run) / "report.html").write_text("<h1>the report</h1>")
    learnt_from = LearntFrom(56, 60, 58, 2, 6, 14, "0a1b", 300, {"annotators disagree": 3})
    report = {"gate": {"reasons": ["IoU <worse> than before."]}, "learnt_from": learnt_from.to_json()}
    store.finetunes.end(run.id, "refused", report=report)
    page = client.get("/schedule").text
    assert "learnt from 56 images, 14 held out, 3 left out" in page and 'data-live="5"' not in page
    assert "IoU &lt;worse&gt; than before." in page and "stays active" in page
    assert f'href="finetune/{run.id}"' in page
    answer = client.get(f"/finetune/{run.id}")
    assert answer.text == "<h1>the report</h1>" and answer.mimetype == "text/html"
    assert "script" not in answer.headers["Content-Security-Policy"]
    assert client.get("/finetune/99").status_code == 404 and client.post("/finetune").status_code == 405


def test_corrections_so_far_of_those_needed_and_the_next_time(
    client: FlaskClient, store: Store, settings: Settings
) -> None:
    project = seed(settings, store)
    store.finetunes.set_schedule(project, FinetuneSchedule("0 3 * * *", 50))
    count = store.corrections.count(project)
    page = client.get("/schedule").text
    assert f'<b class="number">{count}</b> of <span class="number">50</span> corrections needed' in page
    assert "03:00 UTC" in page and "at 0 3 * * * (UTC) and after 50 new corrections" in page


def test_a_run_is_started_and_stopped_and_it_is_remembered_by_whom(
    client: FlaskClient, store: Store, settings: Settings, token: str
) -> None:
    project = seed(settings, store)
    form: dict[str, Any] = {"project": project.id, "csrf_token": token}
    assert client.post("/schedule/start", data=form, auth=("ada", "x")).status_code == 303
    [run] = store.finetunes.newest()
    assert run.project == project and "was requested" in client.get("/schedule").text
    assert "is open already" in send_form(client, "/schedule/start", form)
    send_form(client, "/schedule/stop", form)
    assert store.finetunes.get(run.id).status == "stopped"
    assert "Nothing is under way" in send_form(client, "/schedule/stop", form)
    stopped, started = store.actions.latest(5)
    assert (started.action, started.who, stopped.action, stopped.who) == ("start", "ada", "stop", "not signed in")


def test_the_schedule_is_changed_and_forgotten(
    client: FlaskClient, store: Store, settings: Settings, token: str
) -> None:
    project = seed(settings, store)
    form: dict[str, Any] = {"project": project.id, "csrf_token": token}
    client.post("/schedule/change", data={**form, "cron": "0 5 * * 1", "every": "20"})
    assert store.finetunes.find_schedule(project) == FinetuneSchedule("0 5 * * 1", 20)
    for wrong in ({"cron": "nonsense"}, {"every": "many"}):
        assert 'class="notice bad"' in send_form(client, "/schedule/change", {**form, **wrong})
    client.post("/schedule/change", data={**form, "default": "yes"})
    assert store.finetunes.find_schedule(project) is None


@pytest.mark.parametrize("route", ["start", "stop", "change"])
def test_forms_need_a_token_and_a_project(client: FlaskClient, token: str, route: str) -> None:
    assert client.post(f"/schedule/{route}", data={"project": 1}).status_code == 403
    assert client.post(f"/schedule/{route}", data={"project": 99, "csrf_token": token}).status_code == 404
    assert client.post(f"/schedule/{route}", json={"project": 1}).status_code == 415
