"""What the end-to-end tests ask of the running Label Studio, as an administrator's script would."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from backend.console.demo.sample_project import NUCLEI
from labeling.store import Store

Found = TypeVar("Found")


class LabelStudioApi:
    """Label Studio's HTTP API with the demo's token."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Token {token}"}, timeout=120.0, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, **request: Any) -> Any:
        answer = self._http.request(method, path, **request)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json() if answer.content else None

    def create_project(self, title: str, label_config: str) -> int:
        body = {"title": title, "label_config": label_config, "show_collab_predictions": True}
        return int(self.call("POST", "/api/projects/", json=body)["id"])

    def import_images(self, project: int, image_ids: list[str]) -> list[int]:
        """Upload pictures of the sample project; the ids of the tasks that came of it."""
        before, images = set(self.task_ids(project)), NUCLEI.images()
        contents = {f"{name}.png": images[name] for name in image_ids}
        files = [(name, (name, content, "image/png")) for name, content in contents.items()]
        self.call("POST", f"/api/projects/{project}/import", files=files)
        return sorted(set(self.task_ids(project)) - before)

    def image_size(self, image_id: str) -> tuple[int, int]:
        """(height, width) of a picture of the sample project."""
        height, width = NUCLEI.truth(image_id).shape
        return height, width

    def task_ids(self, project: int) -> list[int]:
        listed = self.call("GET", "/api/tasks", params={"project": project, "page_size": 100})["tasks"]
        return [int(task["id"]) for task in listed]

    def connect(self, project: int, backend_url: str) -> int:
        body = {"project": project, "url": backend_url, "title": "ARGenSeg", "is_interactive": True}
        return int(self.call("POST", "/api/ml", json=body)["id"])

    def retrieve_predictions(self, project: int) -> None:
        selection = {"ordering": [], "selectedItems": {"all": True, "excluded": []}}
        action = {"id": "retrieve_tasks_predictions", "project": project}
        self.call("POST", "/api/dm/actions", params=action, json=selection)

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """The predictions that the store of Label Studio holds; asking for them asks no backend."""
        listed: list[dict[str, Any]] = self.call("GET", "/api/predictions/", params={"task": task})
        return listed


@dataclass(frozen=True)
class RunningDemo:
    """A demo that is ready: its Label Studio, the backend's URL, the store to look into, and ARGENSEG_DATA_DIR."""

    label_studio: LabelStudioApi
    backend_url: str
    store: Store
    data_dir: Path


def wait_for(what: str, question: Callable[[], Found | None], timeout_s: float = 60.0) -> Found:
    """Ask until the answer is true, and return it; fails, naming `what`, when time runs out."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"waited {timeout_s:.0f} s for {what}")
