"""The page Models: the family of versions, the gate's word, promoting and rolling back."""

import pytest
from flask.testing import FlaskClient

from labeling.settings import Settings
from labeling.store import Project, Store
from tests.backend.web.pages.browsing import send_form
from tests.backend.web.pages.seeded import seed
from tests.backend.web.pages.seeded_training import train
from tests.backend.web.recorded import eventually


@pytest.fixture
def token(client: FlaskClient) -> str:
    return str(client.application.config["CSRF_TOKEN"])


@pytest.fixture
def project(settings: Settings, store: Store) -> Project:
    return seed(settings, store)


def test_without_versions_the_base_is_shown(client: FlaskClient) -> None:
    page = client.get("/models").text
    assert "tiny-1" in page and "active by default" in page and "No version was trained yet" in page


def test_versions_are_shown_below_what_they_learnt_from(
    client: FlaskClient, store: Store, settings: Settings, project: Project
) -> None:
    first = train(settings, store, project, "tiny-1", passed=True, gain=0.08)
    refused = train(settings, store, project, first, passed=False, gain=0.01)
    store.models.set_active(first, project)
    page = client.get("/models").text
    places = [page.index(f">{name}</h2>") for name in ("tiny-1", first, refused)]
    assert places == sorted(places)
    assert page.count('class="depth-0"') == page.count('class="depth-1"') == page.count('class="depth-2"') == 1
    assert "passed the gate" in page and "refused by the gate" in page and "active for project 3" in page
    assert "0.710 → 0.790" in page and "3 of 4 passed" in page
    assert 'href="finetune/1"' in page and "finetune/1/candidate/0-answer.jpg" in page
    picture = client.get("/finetune/1/candidate/0-answer.jpg")
    assert picture.status_code == 200 and picture.mimetype == "image/jpeg"
    assert picture.headers["Cross-Origin-Resource-Policy"] == "same-origin", "no page of another site shows it"
    policy = client.get("/finetune/1").headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy and "form-action 'none'" in policy and "script" not in policy


@pytest.mark.parametrize("name", ["9-answer.jpg", "0-secret.jpg", "..%2f..%2fjson"])
def test_only_pictures_of_a_run_are_served(
    client: FlaskClient, store: Store, settings: Settings, project: Project, name: str
) -> None:
    train(settings, store, project, "tiny-1", passed=True, gain=0.08)
    assert client.get(f"/finetune/1/live/{name}").status_code == 404
    assert client.get("/finetune/7/live/0-answer.jpg").status_code == 404


def test_a_promotion_is_said_first_done_beside_the_page_and_remembered(
    client: FlaskClient, store: Store, settings: Settings, project: Project, token: str
) -> None:
    name = train(settings, store, project, "tiny-1", passed=True, gain=0.08)
    plan = client.get(f"/models/promote?version={name}&project={project.id}").text
    assert f"Promote {name}" in plan and "LABEL_STUDIO_API_KEY" in plan and "consent" not in plan
    form = {"version": name, "project": project.id, "csrf_token": token}
    assert client.post("/models/promote", data=form, auth=("ada", "x")).status_code == 303
    eventually(lambda: store.actions.latest(1))
    active = store.models.active(project)
    assert active is not None and active.name == name
    [action] = store.actions.latest(5)
    assert (action.action, action.who) == ("promote", "ada") and name in action.subject
    eventually(lambda: f"{name} is active." in client.get("/models").text)
    assert "ada" in client.get("/models").text


def test_what_the_gate_refused_is_promoted_with_consent_only(
    client: FlaskClient, store: Store, settings: Settings, project: Project, token: str
) -> None:
    name = train(settings, store, project, "tiny-1", passed=False, gain=0.01)
    assert "The gate refused it" in client.get(f"/models/promote?version={name}").text
    form = {"version": name, "project": "", "csrf_token": token}
    assert "Nothing was promoted" in send_form(client, "/models/promote", form)
    assert store.models.active() is None
    client.post("/models/promote", data={**form, "consent": "yes"})
    eventually(lambda: store.models.active() is not None)


def test_a_roll_back_goes_to_what_was_active_before(
    client: FlaskClient, store: Store, settings: Settings, project: Project, token: str
) -> None:
    name = train(settings, store, project, "tiny-1", passed=True, gain=0.08)
    store.models.set_active(name, project)
    assert name in client.get(f"/models/roll-back?project={project.id}").text
    client.post("/models/roll-back", data={"project": project.id, "csrf_token": token})
    eventually(lambda: store.models.active(project) is None)
    eventually(lambda: store.actions.latest(1))
    assert store.actions.latest(1)[0].who == "not signed in"
    client.post("/models/roll-back", data={"project": project.id, "csrf_token": token})
    eventually(lambda: "nothing was promoted here" in client.get("/models").text)


def test_a_roll_back_that_is_sent_twice_goes_back_once(
    client: FlaskClient, store: Store, settings: Settings, project: Project, token: str
) -> None:
    names = [train(settings, store, project, "tiny-1", passed=True, gain=gain) for gain in (0.08, 0.09)]
    for name in names:
        store.models.set_active(name, project)
    assert f'name="active" value="{names[1]}"' in client.get(f"/models/roll-back?project={project.id}").text
    form = {"project": project.id, "active": names[1], "csrf_token": token}
    client.post("/models/roll-back", data=form)
    eventually(lambda: f"{names[0]} is active." in client.get("/models").text)
    assert "Nothing was rolled back" in send_form(client, "/models/roll-back", form)
    active = store.models.active(project)
    assert active is not None and active.name == names[0]


@pytest.mark.parametrize("number", ["abc", "-1", "99999999999", "1 or 1"])
def test_a_project_that_makes_no_sense_does_not_mean_all_projects(
    client: FlaskClient, store: Store, token: str, number: str
) -> None:
    for route in ("promote", "roll-back"):
        assert client.get(f"/models/{route}?version=base&project={number}").status_code == 404
        form = {"version": "base", "project": number, "consent": "yes", "csrf_token": token}
        assert client.post(f"/models/{route}", data=form).status_code == 404
    assert store.actions.latest(1) == []


def test_forms_need_a_token_and_known_names(client: FlaskClient, token: str) -> None:
    for route in ("promote", "roll-back"):
        assert client.post(f"/models/{route}", data={"version": "base"}).status_code == 403
        assert client.post(f"/models/{route}", json={"version": "base"}).status_code == 415
    for version, project in (("nothing", ""), ("base", "99")):
        form = {"version": version, "project": project, "csrf_token": token}
        assert client.post("/models/promote", data=form).status_code == 404
    assert client.get("/models/promote?version=nothing").status_code == 404


def test_names_are_shown_as_text(client: FlaskClient, store: Store) -> None:
    store.models.add("<b>x", "/models/x", "<i>parent")
    page = client.get("/models").text
    assert "<b>x" not in page and "&lt;b&gt;x" in page and "<i>parent" not in page
