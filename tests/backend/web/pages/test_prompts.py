"""The page Prompts: trials asked for, shown with pictures, cancelled."""

import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from backend.operations.prompt_trial import MOST_OPEN
from backend.web.app import create_app
from labeling.settings import Settings
from labeling.store import Project, Store
from tests.backend.web.pages.browsing import send_form
from tests.backend.web.pages.seeded import seed
from tests.backend.web.pages.seeded_training import try_prompts
from worker.queue.queues import GPU, TRY_PROMPTS, live_rows


@pytest.fixture
def token(client: FlaskClient) -> str:
    return str(client.application.config["CSRF_TOKEN"])


@pytest.fixture
def project(settings: Settings, store: Store) -> Project:
    return seed(settings, store, tasks=3)


def test_a_trial_is_asked_for_and_queued(
    client: FlaskClient, store: Store, project: Project, token: str, connection: Redis
) -> None:
    page = client.get("/prompts").text
    assert "No GPU worker is running" in page and "“all nuclei” now" in page and "None yet" in page
    form: dict[str, Any] = {"label": f"{project.id}-0", "wordings": "dark nuclei\n\n nuclei; spots ", "tasks": "7"}
    answer = client.post("/prompts", data={**form, "csrf_token": token}, auth=("ada", "x"))
    [trial] = store.trials.newest()
    assert answer.status_code == 303 and answer.headers["Location"].endswith(f"prompts/{trial.id}")
    assert (trial.label, trial.task_limit, trial.who, trial.status) == ("Nucleus", 7, "ada", "requested")
    assert [each["text"] for each in trial.wordings] == ["all nuclei", "dark nuclei", "nuclei; spots"]
    assert live_rows(connection, GPU, TRY_PROMPTS) == {trial.id}
    page = client.get(f"/prompts/{trial.id}").text
    assert "Waits for a GPU worker" in page and 'data-live="2"' in page


def test_a_redis_that_hangs_holds_no_thread_for_long(
    settings: Settings, store: Store, project: Project, silent_redis: Redis
) -> None:
    app = create_app(settings, store, silent_redis)
    form = {"label": f"{project.id}-0", "wordings": "a", "tasks": "5", "csrf_token": app.config["CSRF_TOKEN"]}
    began = time.monotonic()
    assert app.test_client().post("/prompts", data=form).status_code == 303
    assert time.monotonic() - began < 5 and len(store.trials.newest()) == 1
    app.extensions["argenseg"].background.close()


def test_a_trial_that_is_open_is_not_asked_for_twice_and_only_some_are_open_at_a_time(
    client: FlaskClient, store: Store, project: Project, token: str
) -> None:
    form = {"label": f"{project.id}-0", "tasks": "5", "csrf_token": token}
    addresses = {client.post("/prompts", data=form | {"wordings": "a"}).headers["Location"] for _ in range(3)}
    assert len(addresses) == len(store.trials.newest()) == 1
    for number in range(MOST_OPEN):
        said = send_form(client, "/prompts", form | {"wordings": f"b{number}"})
    assert f"{MOST_OPEN} trials of this project are open already" in said
    assert len(store.trials.newest()) == MOST_OPEN
    store.trials.cancel(store.trials.newest()[0].id)
    assert "open already" not in send_form(client, "/prompts", form | {"wordings": "c"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"tasks": "0"}, "1 to 200 tasks"), ({"tasks": "x"}, "1 to 200 tasks"),
     ({"wordings": "\n".join(map(str, range(12)))}, "too many"), ({"wordings": "x" * 501}, "too long")],
)  # fmt: skip
def test_what_cannot_be_tried_is_said(
    client: FlaskClient, store: Store, project: Project, token: str, changes: dict[str, str], said: str
) -> None:
    form = {"label": f"{project.id}-0", "wordings": "a", "tasks": "5", "csrf_token": token} | changes
    assert said in send_form(client, "/prompts", form)
    assert store.trials.newest() == []


def test_a_trial_shows_the_best_wording_first_and_a_picture_of_each(
    client: FlaskClient, store: Store, project: Project
) -> None:
    trial = try_prompts(store, project, "<b>dark", "spots", tasks=4)
    page = client.get(f"/prompts/{trial.id}").text
    assert "Too few to tell wordings apart: 3 tasks" in page and "1 of 1" in page and 'data-live="2"' not in page
    assert "<b>dark" not in page and "&lt;b&gt;dark" in page
    assert page.index("spots</b>") < page.index("all nuclei</b>")  # the seeded wordings get better
    first = client.get(f"/pictures/trials/small/{trial.id}/40/0")
    assert first.status_code == 200 and first.mimetype == "image/jpeg"
    for wrong in (f"{trial.id}/40/9", f"{trial.id}/99/0", "99/40/0", f"{trial.id}/{10**30}/0", f"{10**30}/40/0"):
        assert client.get(f"/pictures/trials/small/{wrong}").status_code == 404
    listed = client.get("/prompts").text
    assert "done" in listed and "IoU 0." in listed
    store.erasure.erase(project, "task", 40, "on request")
    assert client.get(f"/pictures/trials/small/{trial.id}/40/0").status_code == 404


def test_the_list_of_trials_resamples_no_intervals_that_it_does_not_show(
    client: FlaskClient, store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_prompts(store, project, "spots", tasks=4)
    monkeypatch.setattr("labeling.trials.measures.WordingResult.mean_iou", None)
    page = client.get("/prompts")
    assert page.status_code == 200 and "IoU 0." in page.text


def test_a_trial_under_way_is_cancelled(client: FlaskClient, store: Store, project: Project, token: str) -> None:
    trial = try_prompts(store, project, "spots", tasks=4, done=1)
    assert "1 of 4 tasks tried" in client.get(f"/prompts/{trial.id}").text
    answer = send_form(client, f"/prompts/{trial.id}/cancel", {"csrf_token": token})
    assert "was cancelled" in answer and store.trials.get(trial.id).status == "cancelled"
    assert store.actions.latest(1)[0].action == "cancel"
    again = send_form(client, f"/prompts/{trial.id}/cancel", {"csrf_token": token})
    assert "had ended" in again


def test_forms_need_a_token_and_known_names(client: FlaskClient, project: Project, token: str) -> None:
    assert client.post("/prompts", data={"label": f"{project.id}-0"}).status_code == 403
    assert client.post("/prompts", data={"label": "9-9", "csrf_token": token}).status_code == 404
    assert client.post("/prompts/9/cancel", data={"csrf_token": token}).status_code == 404
    assert client.get("/prompts/9").status_code == 404
