"""What a browser gets at /status, on a real store and a real Redis."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis

from backend.web.app import create_app
from labeling.label_studio.messages import Task
from labeling.prompts.interaction import Interaction
from labeling.settings import Settings
from labeling.store import PredictionRequest, Store
from tests.backend.web.recorded import eventually
from worker.projects.requests import ProjectRequests

CONFIG = '<View><Image name="image" value="$image"/><Brush name="brush" toName="image" prompt="every cell"/></View>'
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def want(settings: Settings, store: Store, tasks: int) -> list[PredictionRequest]:
    """Requests for tasks 1, 2, … of project 3."""
    requests = ProjectRequests(settings, store, 3, CONFIG)
    return list(requests.request_all([Task(id=number, data={"image": "a.png"}) for number in range(1, tasks + 1)]))


def test_without_projects_it_says_what_to_do(client: FlaskClient, connection: object) -> None:
    page = client.get("/status")
    assert page.status_code == 200 and page.mimetype == "text/html"
    assert "No project is known yet" in page.text and "No worker is running" in page.text
    assert "script-src 'self'; style-src 'self'" in page.headers["Content-Security-Policy"]


def test_the_front_page_is_this_one_for_browsers_only(client: FlaskClient) -> None:
    assert client.get("/", headers=BROWSER).headers["Location"] == "status"
    assert client.get("/").json["status"] == "UP"
    assert client.get("/", headers={"Accept": "*/*"}).json["status"] == "UP"


def test_a_running_worker_means_no_warning(client: FlaskClient, gpu_worker: object) -> None:
    eventually(lambda: "1 worker, 0 jobs" in " ".join(client.get("/status").text.split()))


def test_it_counts_what_is_under_way_and_what_failed_and_why(
    client: FlaskClient, settings: Settings, store: Store, connection: object
) -> None:
    rows = want(settings, store, 13)
    store.predictions.fail(rows[0].id, "The image is <b>broken</b>.")
    page = " ".join(client.get("/status").text.split())
    assert "12 tasks under way" in page and 'data-live="5"' in page
    assert "<li>The image is &lt;b&gt;broken&lt;/b&gt;. Task <a" in page and "--project 3 --retry-failed" in page
    assert 'href="http://label-studio.test/projects/3/data?task=1">1</a>.' in page
    assert 'href="http://label-studio.test/projects/3/data"' in page
    for row in rows[1:]:
        store.predictions.fail(row.id, "Label Studio is down.")
    page = " ".join(client.get("/status").text.split())
    assert "under way" not in page and "data-live=" in page
    assert ">11</a> and 2 more." in page and ">12</a>" not in page


def test_what_an_outage_holds_up_is_told_with_its_reason(
    client: FlaskClient, settings: Settings, store: Store, connection: object
) -> None:
    rows = want(settings, store, 3)
    for row in rows[:2]:
        store.requests.note_delay(row.id, "Label Studio is <b>down</b>.")
    page = " ".join(client.get("/status").text.split())
    assert "3 tasks under way" in page and "Postponed by an outage" in page
    assert "<li>Label Studio is &lt;b&gt;down&lt;/b&gt;. Tasks <a" in page
    for row in rows:
        store.predictions.fail(row.id, "The task is gone.")
    assert "Postponed by an outage" not in client.get("/status").text


def test_what_the_page_was_not_answered_is_told_with_its_reason(
    client: FlaskClient, settings: Settings, store: Store, connection: object
) -> None:
    requests, task = ProjectRequests(settings, store, 3, CONFIG), Task(id=7, data={"image": "a.png"})
    for _ in range(2):
        asked = requests.request(task, delivery="sync", asked=Interaction("every nucleus"))
        assert "not answered" not in client.get("/status").text
    store.predictions.fail(asked.id, "The image is <b>broken</b>.")
    page = " ".join(client.get("/status").text.split())
    assert "in the last day, and not answered</h3><ul> <li>The image is &lt;b&gt;broken&lt;/b&gt;. Task <a" in page


def test_a_link_holds_no_credentials(client: FlaskClient, settings: Settings, store: Store, connection: object) -> None:
    store.projects.upsert("http://me:hunter2@label-studio.test", 4, CONFIG)
    page = client.get("/status").text
    assert 'href="http://label-studio.test/projects/4/data"' in page and "hunter2" not in page


def test_a_label_config_that_cannot_work_is_named_until_it_is_mended(
    client: FlaskClient, settings: Settings, store: Store, connection: object
) -> None:
    want(settings, store, 1)
    reported = {"project": "3.1700000000", "schema": '<View><Text name="t" value="$t"/></View>', "hostname": "h"}
    assert client.post("/setup", json=reported).status_code == 200
    eventually(lambda: "The label config has no image." in client.get("/status").text)
    assert "This project is not predicted." in client.get("/status").text
    client.post("/setup", json=reported | {"schema": CONFIG})
    eventually(lambda: "This project is not predicted." not in client.get("/status").text)


def test_what_a_label_config_leaves_out_is_told(client: FlaskClient, store: Store, connection: object) -> None:
    second = '<Image name="other" value="$other"/><Polygon name="p" toName="other" prompt="every dog"/>'
    store.projects.upsert("http://label-studio.test", 3, CONFIG.replace("</View>", second + "</View>"))
    assert "Only the image &#34;image&#34; is predicted" in client.get("/status").text


def test_words_that_the_model_was_not_taught_are_told(
    client: FlaskClient, store: Store, settings: Settings, model_folder: Path, connection: object
) -> None:
    store.projects.upsert(settings.installation_url, 3, CONFIG.replace("every cell", "alle Hunde"))
    assert "was not taught" not in client.get("/status").text  # it keeps no list
    (model_folder / "config.json").write_text('{"known_names": {"cells": ["cells"]}}')
    assert "&#39;hunde&#39;; it knows, for example, cells." in client.get("/status").text


def test_without_redis_it_says_so(app: Flask, dead_redis: object) -> None:
    services = app.extensions["argenseg"]
    app.register_blueprint(_status_of(services, dead_redis), url_prefix="/dead")
    assert "Redis does not answer" in app.test_client().get("/dead/status").text


def _status_of(services: object, connection: object) -> object:
    from backend.web.pages.status import make_blueprint

    blueprint = make_blueprint(replace(services, connection=connection))  # type: ignore[type-var]
    blueprint.name = "dead"
    return blueprint


def token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


@pytest.fixture
def label_studio() -> Iterator[str]:
    """A Label Studio with project 3, of which task 1 is left."""

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = {
                "/api/projects/3/": {"id": 3, "title": "<b>Cells</b>", "task_number": 40, "label_config": CONFIG},
                "/api/tasks/1/": {"id": 1, "data": {"image": "a.png"}, "project": 3},
            }
            found = known.get(self.path.partition("?")[0])
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found or {"detail": "Not found."}).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Api) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_failed_tasks_are_asked_for_again_and_titles_are_label_studios(
    label_studio: str, settings: Settings, store: Store, connection: "Redis"
) -> None:
    ours = Settings(**{**settings.model_dump(), "label_studio_url": label_studio, "label_studio_api_key": "key"})
    rows = want(ours, store, 2)
    for row in rows:
        store.predictions.fail(row.id, "The image is broken.")
    app = create_app(ours, store, connection)
    client = app.test_client()
    eventually(lambda: "&lt;b&gt;Cells&lt;/b&gt;" in client.get("/status").text)
    page = client.get("/status").text
    assert 'of <span class="number">40</span> tasks have masks' in page and "<b>Cells" not in page
    form = {"csrf_token": token(page), "project": str(rows[0].project.id)}
    assert client.post("/status/retry", data=form).headers["Location"] == "../status"
    assert "1 task asked for again. 1 is gone from Label Studio." in client.get("/status").text
    assert [store.predictions.get(row.id).status for row in rows] == ["requested", "cancelled"]
    app.extensions["argenseg"].background.close()


def test_a_retry_that_cannot_be_says_why(
    client: FlaskClient, settings: Settings, store: Store, connection: object
) -> None:
    (row,) = want(settings, store, 1)
    store.predictions.fail(row.id, "The image is broken.")
    ours = token(client.get("/status").text)
    client.post("/status/retry", data={"csrf_token": ours, "project": str(row.project.id)})
    assert "were not asked for again. It is not known which Label Studio" in client.get("/status").text
    for nobody in ("", "99", "x", "9" * 30):
        assert client.post("/status/retry", data={"csrf_token": ours, "project": nobody}).status_code == 404
    elsewhere = store.projects.upsert("http://another.test", 3, CONFIG)
    answer = client.post("/status/retry", data={"csrf_token": ours, "project": str(elsewhere.id)})
    assert answer.status_code == 400 and "another Label Studio" in answer.json["error"]
