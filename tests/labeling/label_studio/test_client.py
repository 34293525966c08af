import itertools
import json
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from labeling.errors import LabelStudioError
from labeling.label_studio.client import LabelStudioClient
from labeling.predictions import Prediction
from labeling.settings import Settings

TOKEN = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def client(label_studio):
    client = LabelStudioClient(f"{label_studio.url}/", TOKEN, timeout_s=2)
    yield client
    client.close()


def as_json(answer, document: object):
    return answer(json.dumps(document).encode(), headers={"Content-Type": "application/json"})


def signed_token(kind: str, lives_s: float) -> str:
    return jwt.encode({"token_type": kind, "exp": time.time() + lives_s}, "k" * 32, "HS256")


def test_a_prediction_is_posted_as_it_is(client, label_studio, answer, recorded) -> None:
    label_studio.answers["POST", "/api/predictions/"] = as_json(answer, {"id": 77, "task": 5, "result": []})
    prediction = Prediction([recorded("regions")["brush255"]], 0.9, "starter-1 · a1b2c3")
    assert client.create_prediction(5, prediction) == 77
    (request,) = label_studio.requests
    assert request.headers["Authorization"] == f"Token {TOKEN}"
    assert json.loads(request.body) == {"task": 5, **prediction.to_json()}


def test_an_empty_prediction_is_posted_too(client, label_studio, answer) -> None:
    label_studio.answers["POST", "/api/predictions/"] = as_json(answer, {"id": 1, "task": 5, "result": []})
    client.create_prediction(5, Prediction([], None, "v1"))
    assert json.loads(label_studio.requests[0].body)["result"] == []


def test_an_answer_without_an_id_is_an_error(client, label_studio, answer) -> None:
    label_studio.answers["POST", "/api/predictions/"] = as_json(answer, {"detail": "strange"})
    with pytest.raises(LabelStudioError, match="not Label Studio's"):
        client.create_prediction(5, Prediction([], None, "v1"))


def test_an_answer_of_another_shape_is_an_error(client, label_studio, answer) -> None:
    for body in ({"detail": "strange"}, ["strange"], None):
        label_studio.answers["GET", "/api/predictions/"] = as_json(answer, body)
        with pytest.raises(LabelStudioError, match="not Label Studio's"):
            client.list_predictions(5)
    for path, read in (("/api/projects/1/", client.get_project), ("/api/webhooks/", client.list_webhooks)):
        label_studio.answers["GET", path] = as_json(answer, "strange")
        with pytest.raises(LabelStudioError, match="not Label Studio's"):
            read(1)


def test_lists_and_objects_are_plain_dicts(client, label_studio, answer) -> None:
    label_studio.answers["GET", "/api/predictions/"] = as_json(
        answer, [{"id": 7, "task": 5, "result": [], "model_version": "v1", "score": 0.5}]
    )
    label_studio.answers["GET", "/api/tasks/5/"] = as_json(answer, {"id": 5, "data": {"image": "/data/x.png"}})
    label_studio.answers["GET", "/api/projects/1/"] = as_json(answer, {"id": 1, "title": "t", "model_version": "v1"})
    label_studio.answers["GET", "/api/webhooks/"] = as_json(answer, [{"id": 3, "url": "http://x/webhook"}])
    (prediction,) = client.list_predictions(5)
    assert (prediction["id"], prediction["model_version"]) == (7, "v1")
    assert client.get_task(5)["data"] == {"image": "/data/x.png"}
    assert "resolve_uri=false" in label_studio.requests[-1].path, "an image is called what webhooks call it"
    assert client.get_project(1)["model_version"] == "v1"
    assert client.list_webhooks(1)[0]["url"] == "http://x/webhook"
    assert "task=5" in label_studio.requests[0].path


def test_tasks_come_page_by_page(client, label_studio, answer) -> None:
    """Each page begins behind the last one's tasks, whatever came or went meanwhile."""

    def page(request):
        query = parse_qs(urlsplit(request.path).query)
        (after, *_) = json.loads(query["query"][0])["filters"]["items"]
        left = [number for number in (1, 2, 5, 7, 8) if number > after["value"]]
        tasks = [{"id": number, "data": {}} for number in left[: int(query["page_size"][0])]]
        return as_json(answer, {"tasks": tasks, "total": len(left), "total_annotations": 0, "total_predictions": 0})

    label_studio.answers["GET", "/api/tasks/"] = page
    assert [task["id"] for task in client.list_tasks(1)] == [1, 2, 5, 7, 8]
    pages = [([task["id"] for task in page.tasks], page.remaining) for page in client.task_pages(1, page_size=2)]
    assert pages == [([1, 2], 5), ([5, 7], 3), ([8], 1)]
    assert [task["id"] for page in client.task_pages(1, after=5) for task in page.tasks] == [7, 8]
    assert list(client.task_pages(1, after=8)) == []


def test_a_password_in_the_url_is_in_no_error(label_studio, answer) -> None:
    address = label_studio.url.removeprefix("http://")
    client = LabelStudioClient(f"http://me:hunter2@{address}", TOKEN, timeout_s=2)
    label_studio.answers["GET", "/api/webhooks/"] = answer(b"<html>")
    label_studio.answers["GET", "/api/ml/"] = answer(b"no answer of http://we:backpass@backend:9090", 400)
    reported = []
    for ask in (client.list_webhooks, client.list_ml_backends):
        with pytest.raises(LabelStudioError) as error:
            ask(1)
        reported.append(str(error.value))
    assert f"http://me:***@{address}" in reported[0] and "http://we:***@backend:9090" in reported[1]
    with pytest.raises(LabelStudioError, match="malformed") as malformed:
        LabelStudioClient("http://me:hunt/er2@host", TOKEN)
    assert not [text for text in (*reported, str(malformed.value)) if "hunt" in text or "backpass" in text]


def test_its_clock(client, label_studio) -> None:
    assert abs(client.server_time() - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_personal_access_token_is_exchanged_and_renewed(label_studio, answer) -> None:
    personal = signed_token("refresh", 1000)
    issued = [signed_token("access", 0.2), signed_token("access", 300)]
    tokens = iter(issued)
    label_studio.answers["POST", "/api/token/refresh/"] = lambda _: as_json(answer, {"access": next(tokens)})
    label_studio.answers["GET", "/api/predictions/"] = as_json(answer, [])
    client = LabelStudioClient(label_studio.url, personal)
    client.list_predictions(5)
    assert json.loads(label_studio.requests[0].body) == {"refresh": personal}
    assert label_studio.requests[1].headers["Authorization"] == f"Bearer {issued[0]}"
    time.sleep(1.1)  # its end is reported in whole seconds
    assert client.authorization() == f"Bearer {issued[1]}"


def test_a_token_that_our_clock_calls_expired_is_tried_before_it_is_judged(label_studio, answer) -> None:
    label_studio.answers["POST", "/api/token/refresh/"] = as_json(answer, {"access": signed_token("access", 300)})
    label_studio.answers["GET", "/api/predictions/"] = as_json(answer, [])
    client = LabelStudioClient(label_studio.url, signed_token("refresh", -10))
    assert client.list_predictions(5) == []
    label_studio.answers["POST", "/api/token/refresh/"] = answer(b'{"detail": "Token is invalid or expired"}', 401)
    client = LabelStudioClient(label_studio.url, signed_token("refresh", -10))
    with pytest.raises(LabelStudioError, match="By this machine's clock it has expired") as error:
        client.list_predictions(5)
    assert not error.value.is_refusal


@pytest.mark.parametrize(
    ("status", "advice", "is_transient"),
    [
        (401, "personal access token", False),
        (403, "right", False),
        (404, "does not exist", False),
        (429, "429", True),
        (500, "log", True),
        (503, "503", True),
    ],
)
def test_refusals_say_what_to_do(client, label_studio, answer, status: int, advice: str, is_transient: bool) -> None:
    body = json.dumps({"detail": f"no, {TOKEN} " + "x" * 5000}).encode()
    label_studio.answers["GET", "/api/predictions/"] = answer(body, status, {"Content-Type": "application/json"})
    with pytest.raises(LabelStudioError, match=advice) as refusal:
        client.list_predictions(5)
    assert (refusal.value.status, refusal.value.is_transient) == (status, is_transient)
    assert TOKEN not in str(refusal.value)
    assert len(str(refusal.value)) < 700
    assert len(label_studio.requests) == 1  # the publisher retries, not the client


PAGE = b"<!DOCTYPE html><html><head><title>Back &amp; soon</title></head><body>" + b"<p>x</p>" * 5000
WHAT_CAME = {
    "wrong project": (b'{"detail": "No Project matches the given query.", "version": "1.23"}', 404, {}),
    "wrong token": (b'{"status_code": 401, "detail": "Invalid token.", "exc_info": null}', 401, {}),
    "a page": (PAGE, 200, {"Content-Type": "text/html"}),
    "a page of another server": (PAGE, 404, {}),
    "a proxy's words": (b"404 page not found\n", 404, {}),
    "a login": (b"", 302, {"Location": "/user/login/?next=/api"}),
    "a refused field": (b'{"detail": "Validation error", "validation_errors": {"task": ["Gone."]}}', 400, {}),
}
IN_ONE_LINE = {
    "wrong project": "Label Studio answered 404 (No Project matches the given query.). It does not exist",
    "wrong token": "Label Studio answered 401 (Invalid token.). It refuses the token: check LABEL_STUDIO_API_KEY",
    "a page": "answers 200 with a web page (Back & soon) instead of JSON. Check LABEL_STUDIO_URL",
    "a page of another server": "answers 404 with a web page (Back & soon) instead of JSON",
    "a proxy's words": "answers 404 with a text (404 page not found) instead of JSON",
    "a login": "redirects to /user/login/?next=/api",
    "a refused field": "Label Studio answered 400 (Validation error: task: Gone.)",
}


@pytest.mark.parametrize("what", WHAT_CAME)
def test_what_came_instead_of_an_answer_is_told_in_one_line(client, label_studio, answer, what: str) -> None:
    label_studio.answers["GET", "/api/projects/3/"] = answer(*WHAT_CAME[what])
    with pytest.raises(LabelStudioError) as error:
        client.get_project(3)
    text = str(error.value)
    assert text.startswith("Project 3 could not be read: ") and IN_ONE_LINE[what] in text
    assert not [mark for mark in ("<", "{", "['", "\n", "None") if mark in text]
    assert error.value.is_refusal == (what in ("wrong project", "a refused field")), "else it is an outage"


def drip(body: bytes):
    for byte in body:
        time.sleep(0.05)
        yield bytes([byte])


@pytest.mark.parametrize("status", [200, 401, 502])
def test_a_byte_a_second_ends_at_the_calls_limit(label_studio, answer, status: int) -> None:
    client = LabelStudioClient(label_studio.url, TOKEN, timeout_s=0.3, limit_s=0.6)
    label_studio.answers["GET", "/api/projects/4/"] = as_json(answer, {"id": 4})
    assert client.get_project(4) == {"id": 4}  # the connection is kept, and used again
    label_studio.answers["GET", "/api/projects/3/"] = lambda _: answer(status=status, chunks=drip(b" " * 200))
    began = time.monotonic()
    with pytest.raises(LabelStudioError, match="it takes too long"):
        client.get_project(3)
    assert time.monotonic() - began < 5
    assert client.get_project(4) == {"id": 4}


def large(chunks: list[int]):
    for _ in range(200):
        chunks.append(1)
        yield bytes(1_000_000)


@pytest.mark.parametrize(("status", "kind"), [(502, "text/html"), (401, "application/json"), (200, "text/html")])
def test_a_large_refusal_is_not_read(client, label_studio, answer, status: int, kind: str) -> None:
    sent: list[int] = []
    label_studio.answers["GET", "/api/projects/3/"] = answer(
        status=status, headers={"Content-Type": kind}, chunks=large(sent)
    )
    with pytest.raises(LabelStudioError):
        client.get_project(3)
    assert len(sent) < 50, "200 MB were to come"


def test_a_large_answer_is_read_up_to_a_limit(client, label_studio, answer, monkeypatch) -> None:
    monkeypatch.setattr("labeling.label_studio.client.MAX_ANSWER_BYTES", 2_000_000)
    label_studio.answers["GET", "/api/projects/3/"] = answer(chunks=large([]))
    with pytest.raises(LabelStudioError, match="more than 2 MB"):
        client.get_project(3)


def test_the_judge_tells_a_fault_for_some_seconds(label_studio, answer) -> None:
    who_am_i = "GET", "/api/current-user/whoami"
    for bad, words in ((answer(b"{}", 404), "is no Label Studio"), (answer(PAGE), "web page")):
        fresh = LabelStudioClient(label_studio.url, TOKEN, timeout_s=2)
        label_studio.answers[who_am_i] = bad
        label_studio.requests.clear()
        assert words in str(fresh.fault()) and words in str(fresh.fault())
        assert [request.path for request in label_studio.requests] == [who_am_i[1]]


def test_that_all_was_well_a_moment_ago_excuses_no_outage_that_began_since(client, label_studio, answer) -> None:
    assert client.fault() is None
    label_studio.answers["GET", "/api/current-user/whoami"] = answer(PAGE, 502)
    label_studio.answers["GET", "/api/annotations/7/"] = answer(b"{}", 404)  # of whatever answers in its place
    with pytest.raises(LabelStudioError):
        client.find_annotation(7)


def test_json_that_is_nested_without_end_is_no_answer(client, label_studio, answer) -> None:
    label_studio.answers["GET", "/api/projects/3/"] = answer(b"[" * 1_000_000)
    with pytest.raises(LabelStudioError, match="not Label Studio's"):
        client.get_project(3)


def test_what_comes_fast_and_without_end_ends_at_the_calls_limit_too(label_studio, answer) -> None:
    client = LabelStudioClient(label_studio.url, TOKEN, timeout_s=0.1, limit_s=0.1)
    label_studio.answers["GET", "/api/projects/3/"] = answer(chunks=itertools.repeat(bytes(1_000_000), 1000))
    with pytest.raises(LabelStudioError, match="it takes too long"):
        client.get_project(3)


def test_a_server_that_is_down_shows_at_the_first_call(label_studio) -> None:
    client = LabelStudioClient(label_studio.url, TOKEN, timeout_s=1)
    label_studio.close()
    with pytest.raises(LabelStudioError, match="LABEL_STUDIO_URL") as error:
        client.list_predictions(5)
    assert error.value.is_transient
    assert error.value.status is None


def test_a_server_that_hangs_is_given_up(label_studio, answer) -> None:
    label_studio.answers["GET", "/api/predictions/"] = lambda _: time.sleep(1.5) or answer(b"[]")
    client = LabelStudioClient(label_studio.url, TOKEN, timeout_s=0.2)
    with pytest.raises(LabelStudioError, match="does not answer"):
        client.list_predictions(5)


def test_from_settings_needs_url_and_key(tmp_path, monkeypatch) -> None:
    for name in ("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST", "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_ACCESS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    assert LabelStudioClient.from_settings(Settings(data_dir=tmp_path)) is None
    assert LabelStudioClient.from_settings(Settings(data_dir=tmp_path, label_studio_url="http://x")) is None
    settings = Settings(data_dir=tmp_path, label_studio_url="http://x/", label_studio_api_key=TOKEN)
    client = LabelStudioClient.from_settings(settings)
    assert client is not None
    assert client.url == "http://x"


def test_an_annotation_that_was_deleted_is_not_found(client, label_studio, answer) -> None:
    skipped = {"id": 7, "task": 5, "was_cancelled": True, "result": []}
    label_studio.answers["GET", "/api/annotations/7/"] = as_json(answer, skipped)
    label_studio.answers["GET", "/api/annotations/8/"] = answer(b"{}", 404, {"Content-Type": "application/json"})
    label_studio.answers["GET", "/api/annotations/9/"] = answer(b"{}", 502, {"Content-Type": "application/json"})
    assert client.find_annotation(7) == skipped
    assert client.find_annotation(8) is None
    with pytest.raises(LabelStudioError, match="Annotation 9"):
        client.find_annotation(9)
