"""Label Studio's API, as far as we call it. Answers are plain dicts; failures are LabelStudioErrors without secrets."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any, Self

import httpx
from label_studio_sdk import LabelStudio
from label_studio_sdk.core.api_error import ApiError

from labeling.errors import LabelStudioError
from labeling.predictions import Prediction
from labeling.settings import Settings

_MAX_REASON_CHARACTERS = 300
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@cache
def tls_context() -> ssl.SSLContext:
    """The certificates that we trust (SSL_CERT_FILE and SSL_CERT_DIR count). Reading them takes 0.1 s: done once."""
    return httpx.create_ssl_context()


class LabelStudioClient:
    """One Label Studio. Made without a connection: a server that is down or a wrong token shows at the first call.

    `api_key` is a legacy token, or a personal access token, which is exchanged for short-lived ones as needed.
    """

    def __init__(self, url: str, api_key: str, timeout_s: float = 30.0) -> None:
        self.url = url.rstrip("/")
        self._api_key = api_key
        # environment proxies count, but never for the machine itself
        direct: dict[str, httpx.BaseTransport | None] = {f"all://{host}": None for host in _LOOPBACK}
        self._http = httpx.Client(timeout=timeout_s, mounts=direct, verify=tls_context())

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
        with self._errors(f"A prediction for task {task_id} was not stored"):
            return int(self._sdk.predictions.create(task=task_id, **prediction.to_json()).id)

    def list_predictions(self, task_id: int) -> list[dict[str, Any]]:
        """A task's predictions: `id`, `model_version`, `score`, `result`, ..."""
        with self._errors(f"The predictions of task {task_id} could not be read"):
            return [item.model_dump() for item in self._sdk.predictions.list(task=task_id)]

    def get_task(self, task_id: int) -> dict[str, Any]:
        """A task: `id`, `data`, `project`, `predictions`, ..."""
        with self._errors(f"Task {task_id} could not be read"):
            return self._sdk.tasks.get(str(task_id)).model_dump()

    def list_tasks(self, project_id: int) -> Iterator[dict[str, Any]]:
        """A project's tasks, page by page."""
        with self._errors(f"The tasks of project {project_id} could not be read"):
            task: Any
            for task in self._sdk.tasks.list(project=project_id):
                yield task.model_dump()

    def get_project(self, project_id: int) -> dict[str, Any]:
        """A project: `id`, `title`, `label_config`, `model_version`, ..."""
        with self._errors(f"Project {project_id} could not be read"):
            return self._sdk.projects.get(project_id).model_dump()

    def list_webhooks(self, project_id: int) -> list[dict[str, Any]]:
        """A project's webhooks: `id`, `url`, `is_active`, `actions`, ..."""
        with self._errors(f"The webhooks of project {project_id} could not be read"):
            return [item.model_dump() for item in self._sdk.webhooks.list(project=str(project_id))]

    def authorization(self) -> str:
        """The Authorization header's value for files behind Label Studio's login. Never send it to another origin."""
        with self._errors("Label Studio gave no access token"):
            return self._sdk._client_wrapper.get_headers()["Authorization"]

    @cached_property
    def _sdk(self) -> LabelStudio:
        return LabelStudio(  # type: ignore[no-untyped-call]
            base_url=f"{self.url}/", api_key=self._api_key, httpx_client=self._http, max_retries=0
        )

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except ApiError as error:
            raise self._refusal(what, error.status_code, str(error.body)) from None
        except httpx.HTTPError as error:
            raise LabelStudioError(
                f"{what}: {self.url} does not answer ({self._safe(str(error) or type(error).__name__)}). "
                "Is Label Studio running, and is LABEL_STUDIO_URL right?",
                is_transient=True,
            ) from None
        except (ValueError, TypeError) as error:  # such as a page that is no JSON
            raise LabelStudioError(
                f"{what}: the answer of {self.url} is not Label Studio's ({self._safe(str(error))}). "
                "Check LABEL_STUDIO_URL, and what is between it and us."
            ) from None

    def _refusal(self, what: str, status: int | None, reason: str) -> LabelStudioError:
        advice = {
            301: "It moved: set LABEL_STUDIO_URL to where it redirects to.",
            302: "It moved: set LABEL_STUDIO_URL to where it redirects to.",
            308: "It moved: set LABEL_STUDIO_URL to where it redirects to.",
            401: "Check LABEL_STUDIO_API_KEY: legacy tokens are off by default, a personal access token always works.",
            403: "The token's user lacks the right: use one of a user who may edit the project.",
            404: "It does not exist, or the token's user does not see it.",
        }.get(status or 0, "Its log may tell more.")
        message = f"{what}: Label Studio answered {status} ({self._safe(reason)}). {advice}"
        return LabelStudioError(message, status=status, is_transient=status is None or status == 429 or status >= 500)

    def _safe(self, text: str) -> str:
        return text.replace(self._api_key, "***")[:_MAX_REASON_CHARACTERS]
