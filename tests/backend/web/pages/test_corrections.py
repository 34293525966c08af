"""/corrections as a browser gets it: what was changed, left out and taken back, by whom."""

import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from flask.testing import FlaskClient
from PIL import Image

from backend.web.app import create_app
from labeling.overlays import GAINED, REMOVED
from labeling.settings import Settings
from labeling.store import Exclusion, Project, ShownCorrectionFilter, Store
from tests.backend.web.pages.seeded import seed

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def project(settings: Settings, store: Store) -> Project:
    """With two annotated tasks."""
    return seed(settings, store, tasks=8)


def token(page: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', page)
    assert found is not None
    return found[1]


def newest(store: Store) -> int:
    return store.gallery.corrections(ShownCorrectionFilter())[0].id


def test_without_corrections_the_page_says_how_to_get_some(client: FlaskClient) -> None:
    page = client.get("/corrections").text
    assert "No corrections yet" in page and "--connect" in page


def test_each_correction_is_told_with_its_outcome_and_by_whom(client: FlaskClient, project: Project) -> None:
    page = client.get("/corrections").text
    for outcome in ("accepted", "edited", "deleted", "added"):
        assert f">{outcome}</span>" in page
    assert "Annotator 1" in page and "Annotator 2" in page and "px changed" in page and "IoU 0." in page
    assert 'href="http://label-studio.test/projects/3/data?task=307"' in page


def test_corrections_are_chosen_by_label_annotator_and_outcome(client: FlaskClient, project: Project) -> None:
    def outcomes(query: str) -> set[str]:
        return set(re.findall(r'title="[^"]+"><span class="badge \w+">(\w+)</span>', client.get(query).text))

    assert outcomes("/corrections?outcome=edited") == {"edited"}
    assert outcomes("/corrections?label=Nucleus") == {"accepted", "edited", "deleted", "added"}
    assert "Annotator 2 ·" not in client.get("/corrections?annotator=1").text
    assert "No corrections fit" in client.get("/corrections?annotator=77").text


def test_the_picture_has_both_sides_and_the_changes_colours(
    client: FlaskClient, store: Store, project: Project
) -> None:
    for shown in store.gallery.corrections(ShownCorrectionFilter()):
        answer = client.get(f"/pictures/corrections/small/{shown.id}")
        assert answer.mimetype == "image/jpeg" and len(answer.data) < 60_000
        with Image.open(io.BytesIO(answer.data)) as picture:
            width, height = picture.size
            right = picture.crop((width // 2 + 3, 0, width, height)).convert("RGB")
        assert width == 2 * height + 6
        seen = [pixel for _, pixel in right.getcolors(right.width * right.height) or []]
        is_there = {
            name: any(sum(abs(a - b) for a, b in zip(pixel, colour, strict=True)) < 60 for pixel in seen)
            for name, colour in (("removed", REMOVED), ("gained", GAINED))
        }
        expected = {"accepted": (False, False), "deleted": (True, False), "added": (False, True)}
        if shown.region.kind in expected:
            assert tuple(is_there.values()) == expected[shown.region.kind], shown.region.kind


def test_a_correction_is_left_out_and_taken_back(client: FlaskClient, store: Store, project: Project) -> None:
    number, before = newest(store), store.corrections.count(project)
    page = client.get("/corrections?outcome=added").text
    answer = client.post(
        f"/corrections/{number}/leave-out?outcome=added",
        data={"csrf_token": token(page), "scope": "region", "reason": "<blurred>"},
    )
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"../../corrections?outcome=added#correction-{number}"
    assert store.corrections.count(project) == before - 1
    page = client.get("/corrections?outcome=added").text
    assert "this region is left out of training and statistics" in page and "&lt;blurred&gt;" in page
    assert f'action="corrections/{number}/take-back?outcome=added"' in page
    client.post(f"/corrections/{number}/take-back", data={"csrf_token": token(page)})
    assert store.corrections.count(project) == before and "counts again" in client.get("/corrections").text


@pytest.mark.parametrize(
    "name", ["endpoint", "number", "values", "self", "size", "_external", "_scheme", "_anchor", "_method"]
)
def test_names_in_the_address_that_are_not_ours_change_no_link(
    name: str, client: FlaskClient, store: Store, project: Project
) -> None:
    number, address = newest(store), f"?outcome=added&{name}=POST&_external=1"
    page = client.get(f"/corrections{address}")
    assert page.status_code == 200 and f'action="corrections/{number}/leave-out?outcome=added"' in page.text
    masks = client.get(f"/masks{address.replace('outcome=added', 'before=9')}")
    assert masks.status_code == 200 and 'rel="prev" href="masks"' in masks.text
    form = {"csrf_token": token(page.text), "scope": "region"}
    answer = client.post(f"/corrections/{number}/leave-out{address}", data=form)
    assert answer.headers["Location"] == f"../../corrections?outcome=added#correction-{number}"


def test_a_page_from_before_takes_back_nothing_that_it_did_not_show(
    client: FlaskClient, store: Store, project: Project
) -> None:
    number = newest(store)
    shown = store.gallery.correction(number)
    assert shown is not None
    ours = token(client.get("/corrections").text)
    client.post(f"/corrections/{number}/leave-out", data={"csrf_token": ours, "scope": "region"})
    assert '<input type="hidden" name="scope" value="region">' in client.get("/corrections").text
    store.exclusions.add(project, Exclusion("annotator", str(shown.annotator_id), "of a colleague"))
    client.post(f"/corrections/{number}/take-back", data={"csrf_token": ours, "scope": "region"})
    assert "Something else is left out here by now" in client.get("/corrections").text
    assert {each.scope for each in store.exclusions.of_project(project)} == {"region", "annotator"}
    client.post(f"/corrections/{number}/take-back", data={"csrf_token": ours, "scope": "annotator"})
    assert {each.scope for each in store.exclusions.of_project(project)} == {"region"}


@pytest.mark.parametrize("scope", ["region", "annotation", "task", "annotator"])
def test_more_than_a_region_can_be_left_out(scope: str, client: FlaskClient, store: Store, project: Project) -> None:
    number = newest(store)
    client.post(
        f"/corrections/{number}/leave-out", data={"csrf_token": token(client.get("/corrections").text), "scope": scope}
    )
    (exclusion,) = store.exclusions.of_project(project)
    shown = store.gallery.corrections(ShownCorrectionFilter())
    left_out = [each for each in shown if each.excluded]
    assert exclusion.scope == scope and len(left_out) == (1 if scope == "region" else 4)


def test_a_name_too_long_for_the_store_is_cut(client: FlaskClient, store: Store, project: Project) -> None:
    form = {"csrf_token": token(client.get("/corrections").text), "scope": "region"}
    client.post(f"/corrections/{newest(store)}/leave-out", data=form, auth=("a" * 300, "x"))
    assert [each.who for each in store.exclusions.of_project(project)] == ["a" * 200]


def test_who_left_it_out_is_known_where_there_is_a_password(
    settings: Settings, store: Store, connection: object, project: Project
) -> None:
    guarded = settings.model_copy(update={"basic_auth_user": "ada", "basic_auth_pass": "secret"})
    guarded = Settings(**{**guarded.model_dump(), "basic_auth_pass": "secret"})
    app = create_app(guarded, store, connection)  # type: ignore[arg-type]
    client, number = app.test_client(), newest(store)
    assert client.get("/corrections").status_code == 401
    assert client.post(f"/corrections/{number}/leave-out", data={"scope": "region"}).status_code == 401
    page = client.get("/corrections", auth=("ada", "secret")).text
    client.post(
        f"/corrections/{number}/leave-out",
        data={"csrf_token": token(page), "scope": "task"},
        auth=("ada", "secret"),
    )
    assert [each.who for each in store.exclusions.of_project(project)] == ["ada"]
    assert "by ada:" in client.get("/corrections", auth=("ada", "secret")).text
    app.extensions["argenseg"].background.close()


@pytest.mark.parametrize("path", ["/corrections/{}/leave-out", "/corrections/{}/take-back", "/status/retry"])
def test_nobody_writes_without_a_token_or_from_another_site(
    path: str, client: FlaskClient, store: Store, project: Project
) -> None:
    path, ours = path.format(newest(store)), token(client.get("/corrections").text)
    form = {"scope": "region", "project": str(project.id)}
    assert client.post(path, data=form).status_code == 403
    assert client.post(path, data=form | {"csrf_token": "guessed"}).status_code == 403
    assert client.post(path, json=form | {"csrf_token": ours}).status_code == 415
    foreign = {"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"}
    assert client.post(path, data=form | {"csrf_token": ours}, headers=foreign).status_code == 403
    assert client.get(path).status_code == 405
    assert store.exclusions.of_project(project) == []


@pytest.mark.parametrize(
    ("form", "status"),
    [({"scope": "project"}, 400), ({"scope": ""}, 400), ({"scope": "region", "number": "999999"}, 404)],
)
def test_what_makes_no_sense_is_refused(
    form: dict[str, str], status: int, client: FlaskClient, store: Store, project: Project
) -> None:
    ours = token(client.get("/corrections").text)
    number = form.pop("number", str(newest(store)))
    answer = client.post(f"/corrections/{number}/leave-out", data=form | {"csrf_token": ours})
    assert answer.status_code == status and answer.json["error"]


def test_what_was_erased_or_deleted_cannot_be_taken_back(client: FlaskClient, store: Store, project: Project) -> None:
    number = newest(store)
    shown = store.gallery.correction(number)
    assert shown is not None
    store.exclusions.add(project, Exclusion("task", str(shown.task_id), "on request", erased=True))
    page = client.get("/corrections").text
    assert f"corrections/{number}/take-back" not in page and "on request" in page
    client.post(f"/corrections/{number}/take-back", data={"csrf_token": token(page)})
    assert "Nothing was left out here" in client.get("/corrections").text


@pytest.fixture
def users() -> Iterator[str]:
    """A Label Studio that knows two users and nothing else."""

    class Users(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = [
                {"id": 1, "first_name": "<b>Ada</b>", "last_name": "O'Neill", "email": "a@x.test"},
                {"id": 2, "first_name": "", "last_name": "", "email": "b@x.test"},
            ]
            self.send_response(200 if self.path.startswith("/api/users") else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Users) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_annotators_have_the_names_of_label_studio_escaped(
    users: str, settings: Settings, store: Store, connection: object
) -> None:
    ours = Settings(**{**settings.model_dump(), "label_studio_url": users, "label_studio_api_key": "key"})
    seed(ours, store, tasks=8)
    app = create_app(ours, store, connection)  # type: ignore[arg-type]
    app.test_client().get("/corrections")
    for _ in range(50):
        page = app.test_client().get("/corrections").text
        if "O&#39;Neill" in page:
            break
    assert "&lt;b&gt;Ada&lt;/b&gt; O&#39;Neill" in page and "b@x.test" in page and "<b>Ada" not in page
    app.extensions["argenseg"].background.close()
