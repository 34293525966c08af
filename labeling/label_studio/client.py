"""Label Studio's API, as far as we call it. Answers are plain dicts; failures are LabelStudioErrors without secrets."""

import json
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
from labeling.label_studio.connections import certificate_advice, make_transport
from labeling.label_studio.tokens import LabelStudioAuth
from labeling.predictions import Prediction
from labeling.settings import Settings

_MAX_REASON_CHARACTERS = 300
_NOT_FOUND = 404

Shape = TypeVar("Shape", dict[str, Any], list[Any])


@dataclass(frozen=True)
class TaskPage:
    """Some tasks, and how many there were from the first of them on."""

    tasks: list[dict[str, Any]]
    remaining: int


class LabelStudioClient:
    """One Label Studio. Made without a connection: a server that is down or a wrong token shows at the first call.

    `api_key` is a legacy token, or a personal access token, which is exchanged for short-lived ones as needed. `auth`
    puts it on requests: for this Label Studio only.
    """

    def __init__(self, url: str, api_key: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        try:
            proxy = environment_proxy(httpx.URL(self.url))
        except httpx.InvalidURL as error:
            reason = "" if "@" in self.url else f" ({error})"  # which may quote a part of the password
            raise LabelStudioError(f"LABEL_STUDIO_URL is malformed{reason}. Check it.") from None
        self.auth = LabelStudioAuth(self.url, api_key)
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
            if error.status != _NOT_FOUND:
                raise
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
        with self._errors(what):
            answer = self._http.request(method, f"{self.url}{path}", **request)
            if answer.is_success:
                return answer.json() if answer.content else None
        raise self._refusal(what, answer.status_code, answer.text)

    def server_time(self) -> datetime | None:
        """What time it is for Label Studio, to the second; None if it does not say."""
        with self._errors("Label Studio's clock could not be read"):
            date: str | None = self._http.get(f"{self.url}/health").headers.get("Date")
            return None if date is None else parsedate_to_datetime(date)

    def authorization(self) -> str:
        """The Authorization header's value for files behind Label Studio's login. Never send it to another origin."""
        with self._errors("Label Studio gave no access token"):
            return self.auth.header(self._http)

    def _read(self, kind: type[Shape], path: str, *, what: str, **options: Any) -> Shape:
        """A GET whose answer is an object (`dict`) or a list; LabelStudioError for one of another shape."""
        answer = self.call("GET", path, what=what, **options)
        with self._errors(what):
            if not isinstance(answer, kind):
                raise TypeError(f"it is no {kind.__name__}")
            return answer

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            reason = self._safe(str(error) or type(error).__name__)
            raise LabelStudioError(
                f"{what}: {hide_passwords(self.url)} does not answer ({reason}). "
                f"Is Label Studio running, and is LABEL_STUDIO_URL right?{certificate_advice(error)}",
                is_transient=True,
            ) from None
        except (ValueError, TypeError, KeyError) as error:  # such as a page that is no JSON
            raise LabelStudioError(
                f"{what}: the answer of {hide_passwords(self.url)} is not Label Studio's ({self._safe(str(error))}). "
                "Check LABEL_STUDIO_URL, and what is between it and us."
            ) from None

    def _refusal(self, what: str, status: int, reason: str) -> LabelStudioError:
        advice = {
            301: "It moved: set LABEL_STUDIO_URL to where it redirects to.",
            302: "It moved: set LABEL_STUDIO_URL to where it redirects to.",
            308: "It moved: set LABEL_STUDIO_URL to where it redirects to.",
            401: "Check LABEL_STUDIO_API_KEY: legacy tokens are off by default, a personal access token always works.",
            403: "The token's user lacks the right: use one of a user who may edit the project.",
            404: "It does not exist, or the token's user does not see it.",
        }.get(status, "Its log may tell more.")
        message = f"{what}: Label Studio answered {status} ({self._safe(reason)}). {advice}"
        return LabelStudioError(message, status=status, is_transient=status == 429 or status >= 500)

    def _safe(self, text: str) -> str:
        return self.auth.without_tokens(text)[:_MAX_REASON_CHARACTERS]


def _condition(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    """A filter of the Data Manager."""
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
