"""Label Studio's API, as far as we call it. Answers are plain dicts; failures are LabelStudioErrors without secrets."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self, TypeVar

import httpx

from labeling.credentials import hide_passwords
from labeling.errors import LabelStudioError
from labeling.label_studio.addresses import environment_proxy
from labeling.label_studio.connections import REFUSAL_BYTES, certificate_advice, make_transport, time_limit
from labeling.label_studio.refusals import is_json, is_page, told
from labeling.label_studio.tokens import LabelStudioAuth
from labeling.predictions import Prediction
from labeling.settings import Settings

MAX_ANSWER_BYTES = 256_000_000  # a hundred tasks with images of 2 MB in their data
_MAX_REASON_CHARACTERS = 300
_NOT_FOUND, _SERVER_FAULT = 404, 500
_OF_SERVERS = (413, 429)  # which the web server before Label Studio says for it
_CALL_LIMIT_S = 60.0  # of one call with its exchange of tokens, however busy it keeps us
_JUDGE_LIMIT_S = 10.0
_JUDGED_FOR_S = 5.0
_OTHER_SERVER = "Check LABEL_STUDIO_URL, and what is between it and us: a login, a proxy, a repair."
_ADVICE = {
    401: "It refuses the token: check LABEL_STUDIO_API_KEY. Legacy tokens are off by default, a personal access token "
    "always works.",
    403: "The token's user lacks the right: use one of a user who may edit the project.",
    404: "It does not exist, or the token's user does not see it.",
}

Shape = TypeVar("Shape", dict[str, Any], list[Any])


@dataclass(frozen=True)
class TaskPage:
    """Some tasks, and how many there were from the first of them on."""

    tasks: list[dict[str, Any]]
    remaining: int


class LabelStudioClient:
    """One Label Studio. Made without a connection: a server that is down or a wrong token shows at the first call.

    `api_key` is a legacy token, or a personal access token, which is exchanged for short-lived ones as needed. `auth`
    puts it on requests: for this Label Studio only. A call may wait `timeout_s` for each part of its answer, `limit_s`
    for the whole.
    """

    def __init__(self, url: str, api_key: str, timeout_s: float = 30.0, limit_s: float = _CALL_LIMIT_S) -> None:
        self.url = url.rstrip("/")
        try:
            proxy = environment_proxy(httpx.URL(self.url))
        except httpx.InvalidURL as error:
            reason = "" if "@" in self.url else f" ({error})"  # which may quote a part of the password
            raise LabelStudioError(f"LABEL_STUDIO_URL is malformed{reason}. Check it.") from None
        self.auth = LabelStudioAuth(self.url, api_key)
        self._limit_s = max(limit_s, timeout_s)
        self._judging, self._judged_until = threading.Lock(), 0.0  # of time.monotonic(), as the next
        self._well_at = 0.0
        self._fault: LabelStudioError | None = None
        self._http = httpx.Client(timeout=timeout_s, auth=self.auth, transport=make_transport(proxy), trust_env=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """None where the URL or the key is not set."""
        if settings.label_studio_url is None or settings.label_studio_api_key is None:
            return None
        return cls(settings.label_studio_url, settings.label_studio_api_key.get_secret_value())

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def create_prediction(self, task_id: int, prediction: Prediction) -> int:
        """Add a prediction to a task and return its id. Label Studio checks nothing: validate it before."""
        what = f"A prediction for task {task_id} was not stored"
        answer = self.call("POST", "/api/predictions/", what=what, json={"task": task_id, **prediction.to_json()})
        with self._errors(what):
            return int(answer["id"])

    def list_predictions(self, task_id: int) -> list[dict[str, Any]]:
        """A task's predictions: `id`, `model_version`, `score`, `result`, ..."""
        what = f"The predictions of task {task_id} could not be read"
        answer = self.call("GET", "/api/predictions/", what=what, params={"task": task_id})
        with self._errors(what):
            return [dict(item) for item in answer]

    def get_prediction(self, prediction_id: int) -> dict[str, Any]:
        """A prediction: `id`, `task`, `model_version`, ... LabelStudioError with status 404 if it is gone."""
        what = f"Prediction {prediction_id} could not be read"
        return self._read(dict, f"/api/predictions/{prediction_id}/", what=what)

    def delete_prediction(self, prediction_id: int) -> None:
        """Delete a prediction for good. Annotations that were made from it stay."""
        self.call(
            "DELETE", f"/api/predictions/{prediction_id}/", what=f"Prediction {prediction_id} could not be deleted"
        )

    def get_task(self, task_id: int) -> dict[str, Any]:
        """A task: `id`, `data` as webhooks and /predict carry it, `project`, `predictions`, ..."""
        unresolved = {"resolve_uri": False}  # else an image in cloud storage is a link of Label Studio's here only
        return dict(
            self.call("GET", f"/api/tasks/{task_id}/", what=f"Task {task_id} could not be read", params=unresolved)
        )

    def list_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        """A project's tasks, page by page: `id`, `data`, `total_annotations`, ...; no annotations, no predictions."""
        for page in self.task_pages(project_id):
            yield from page.tasks

    def task_pages(
        self,
        project_id: int,
        *,
        lacking_version: str | None = None,
        holding_version: str | None = None,
        only_unlabeled: bool = False,
        without_drafts: bool = False,
        only_open: bool = False,
        changed_since: datetime | None = None,
        after: int = 0,
        min_predictions: int = 0,
        page_size: int = 100,
    ) -> Iterator[TaskPage]:
        """Pages of a project's tasks by ascending id; tasks that come, go or are predicted meanwhile make no gap.

        `lacking_version`: only tasks that hold no prediction of it. `holding_version`: only those that hold one of it.
        `only_unlabeled`: only those without annotations. `without_drafts`: only those that nobody began to annotate.
        `only_open`: only what Label Studio counts as not completed, with annotations of fewer people than its overlap
        asks for.
        `changed_since`: only those that changed then or later; that their annotations did is such a change.
        `after`: only those whose id is larger.
        `min_predictions`: only those that hold at least so many, of all versions.
        """
        wanted = [_condition("total_annotations", "equal", "Number", 0)] if only_unlabeled else []
        if lacking_version is not None:
            wanted.append(_condition("predictions_model_versions", "not_contains", "List", [lacking_version]))
        if holding_version is not None:
            wanted.append(_condition("predictions_model_versions", "contains", "List", [holding_version]))
        if without_drafts:
            wanted.append(_condition("draft_exists", "equal", "Boolean", "false"))
        if only_open:
            wanted.append(_condition("completed_at", "empty", "Datetime", "true"))
        if min_predictions > 0:
            wanted.append(_condition("total_predictions", "greater_or_equal", "Number", min_predictions))
        if changed_since is not None:
            moment = changed_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            wanted.append(_condition("updated_at", "greater_or_equal", "Datetime", moment))
        last = after
        while True:
            items = [_condition("id", "greater", "Number", last), *wanted]
            query = {"filters": {"conjunction": "and", "items": items}, "ordering": ["tasks:id"]}
            params = {"project": project_id, "page": 1, "page_size": page_size, "query": json.dumps(query)}
            what = f"The tasks of project {project_id} could not be read"
            answer = self.call(
                "GET", "/api/tasks/", what=what, params={**params, "fields": "task_only", "resolve_uri": False}
            )
            with self._errors(what):
                page = TaskPage(list(answer["tasks"]), int(answer["total"]))
                last = max((int(task["id"]) for task in page.tasks), default=last)
            if page.tasks:
                yield page
            if len(page.tasks) >= page.remaining or not page.tasks:
                return

    def list_annotations(self, task_id: int) -> list[dict[str, Any]]:
        """A task's annotations, without skips, as webhooks carry them: `id`, `result`, `updated_at`, ..."""
        what = f"The annotations of task {task_id} could not be read"
        return self._read(list, f"/api/tasks/{task_id}/annotations/", what=what)

    def list_skips(self, project_id: int, task_id: int) -> list[dict[str, Any]]:
        """The annotations by which people skipped a task. Label Studio's list of a task's annotations leaves them out;
        its list of tasks does not.
        """
        query = {"filters": {"conjunction": "and", "items": [_condition("id", "equal", "Number", task_id)]}}
        params = {"project": project_id, "query": json.dumps(query), "fields": "all", "resolve_uri": False}
        what = f"The annotations of task {task_id} could not be read"
        tasks = self.call("GET", "/api/tasks/", what=what, params=params)["tasks"]
        return [each for task in tasks for each in task["annotations"] if each["was_cancelled"]]

    def find_annotation(self, annotation_id: int) -> dict[str, Any] | None:
        """An annotation, also a skip, as webhooks carry it; None if it was deleted."""
        what = f"Annotation {annotation_id} could not be read"
        try:
            return self._read(dict, f"/api/annotations/{annotation_id}/", what=what)
        except LabelStudioError as error:
            if error.status != _NOT_FOUND or self.fault() is not None:
                raise  # a deletion is final: somebody else's 404 is none
            return None

    def get_project(self, project_id: int) -> dict[str, Any]:
        """A project: `id`, `title`, `label_config`, `model_version`, ..."""
        return self._read(dict, f"/api/projects/{project_id}/", what=f"Project {project_id} could not be read")

    def change_project(self, project_id: int, **fields: Any) -> None:
        """Set fields of a project, such as `model_version`: which predictions annotators see."""
        self.call(
            "PATCH", f"/api/projects/{project_id}/", what=f"Project {project_id} could not be changed", json=fields
        )

    def prediction_counts(self, project_id: int) -> dict[str, int]:
        """How many predictions of each model version a project holds."""
        what = f"The model versions of project {project_id} could not be read"
        return {
            str(version): int(count)
            for version, count in self.call("GET", f"/api/projects/{project_id}/model-versions/", what=what).items()
        }

    def list_ml_backends(self, project_id: int) -> list[dict[str, Any]]:
        """A project's ML backends: `id`, `url`, `title`, `state` ("CO" connected), `model_version`, ...

        Label Studio asks each one's /health and /setup for this.
        """
        what = f"The ML backends of project {project_id} could not be read"
        return self._read(list, "/api/ml/", what=what, params={"project": project_id})

    def list_webhooks(self, project_id: int) -> list[dict[str, Any]]:
        """A project's webhooks: `id`, `url`, `is_active`, `headers`, `actions`, ..."""
        what = f"The webhooks of project {project_id} could not be read"
        return self._read(list, "/api/webhooks/", what=what, params={"project": project_id})

    def call(self, method: str, path: str, *, what: str, **request: Any) -> Any:
        """One call of the API, for what has no method here; the answer's JSON, None if it is empty.

        `what` begins the error's message ("Project 3 could not be read"), `request` is httpx's (params, json, files).
        """
        with (
            self._errors(what),
            time_limit(self._limit_s),
            self._http.stream(method, f"{self.url}{path}", **request) as answer,
        ):
            body = self._body(answer)
            if answer.is_success and not is_page(body):
                return json.loads(body) if body else None
        raise self._refusal(what, answer, body)

    def fault(self) -> LabelStudioError | None:
        """What keeps Label Studio from answering us at all; None where its API takes our token just now.

        The judge where another answer is doubtful. A fault is told for some seconds to all threads; that all is well
        only to who asked before Label Studio was: an outage may have begun a moment ago, with the doubtful answer.
        """
        asked_at = time.monotonic()
        with self._judging:
            began = time.monotonic()
            if began >= self._judged_until and self._well_at < asked_at:
                self._fault = self._ask_for_fault()
                if self._fault is None:
                    self._well_at = began
                else:
                    self._judged_until = time.monotonic() + _JUDGED_FOR_S
            return self._fault

    def server_time(self) -> datetime | None:
        """What time it is for Label Studio, to the second; None if it does not say."""
        with self._errors("Label Studio's clock could not be read"):
            with time_limit(self._limit_s), self._http.stream("GET", f"{self.url}/health") as answer:
                date: str | None = answer.headers.get("Date")
            return None if date is None else parsedate_to_datetime(date)

    def authorization(self) -> str:
        """The Authorization header's value for files behind Label Studio's login. Never send it to another origin."""
        with self._errors("Label Studio gave no access token"), time_limit(self._limit_s):
            return self.auth.header(self._http)

    def _read(self, kind: type[Shape], path: str, *, what: str, **options: Any) -> Shape:
        """A GET whose answer is an object (`dict`) or a list; LabelStudioError for one of another shape."""
        answer = self.call("GET", path, what=what, **options)
        with self._errors(what):
            if not isinstance(answer, kind):
                raise TypeError(f"it is no {kind.__name__}")
            return answer

    def _ask_for_fault(self) -> LabelStudioError | None:
        try:
            with time_limit(_JUDGE_LIMIT_S):
                self._read(dict, "/api/current-user/whoami", what="Label Studio could not be asked who we are")
        except LabelStudioError as error:
            if error.status != _NOT_FOUND:
                return error
            text = f"{hide_passwords(self.url)} is no Label Studio: it answers 404 for its API. {_OTHER_SERVER}"
            return LabelStudioError(text, status=_NOT_FOUND)
        return None

    def _body(self, answer: httpx.Response) -> bytes:
        """Whole if it is JSON, else its first bytes. ValueError if it is larger than any that is honest."""
        is_document = answer.is_success and "html" not in answer.headers.get("Content-Type", "")
        size, chunks = 0, []
        for chunk in answer.iter_bytes():
            size += len(chunk)
            chunks.append(chunk)
            if size > (MAX_ANSWER_BYTES if is_document else REFUSAL_BYTES):
                break
        body = b"".join(chunks)
        if is_document and size > MAX_ANSWER_BYTES and not is_page(body):
            raise ValueError(f"it has more than {MAX_ANSWER_BYTES // 1_000_000} MB")
        return body

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            is_late = isinstance(error, httpx.TimeoutException)
            told = "it takes too long" if is_late else self._safe(str(error) or type(error).__name__)
            raise LabelStudioError(
                f"{hide_passwords(self.url)} does not answer ({told}). "
                f"Is Label Studio running, and is LABEL_STUDIO_URL right?{certificate_advice(error)}",
                what=what,
                is_transient=True,
            ) from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise LabelStudioError(
                f"The answer of {hide_passwords(self.url)} is not Label Studio's ({self._safe(str(error))}). "
                f"{_OTHER_SERVER}",
                what=what,
            ) from None

    def _refusal(self, what: str, answer: httpx.Response, body: bytes) -> LabelStudioError:
        """Who answers, and what to do: a web page is nothing that Label Studio's API says of itself."""
        status, reason = answer.status_code, self._safe(told(body))
        us, is_label_studios = (
            hide_passwords(self.url),
            status >= _SERVER_FAULT or status in _OF_SERVERS or is_json(body),
        )
        if answer.has_redirect_location:
            where = self._safe(str(answer.headers["Location"]))
            text = (
                f"{us} redirects to {where}. If that is a login, it keeps programs out; else set LABEL_STUDIO_URL to "
            )
            text += "where it moved."
        elif not is_label_studios or answer.is_success:
            what_came = f"{'a web page' if is_page(body) else 'a text'}{f' ({reason})' if reason else ''}"
            text = f"{us} answers {status} with {what_came} instead of JSON. {_OTHER_SERVER}"
        else:
            text = f"Label Studio answered {status}{f' ({reason})' if reason else ''}. "
            text += _ADVICE.get(status, "Its log may tell more.")
        is_transient = status == 429 or status >= _SERVER_FAULT
        told_status = status if is_label_studios and not answer.is_success else None
        return LabelStudioError(text, what=what, status=told_status, is_transient=is_transient)

    def _safe(self, text: str) -> str:
        return self.auth.without_tokens(text)[:_MAX_REASON_CHARACTERS]


def _condition(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """A filter of the Data Manager."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
