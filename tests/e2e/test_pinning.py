"""A pinned version stays in front of annotators, least certain task first, while the backend is gone."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from backend.console.demo.sample_project import label_config
from tests.e2e.label_studio_api import RunningDemo, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGES = ["culture_01", "culture_02", "culture_03", "culture_04"]


@contextmanager
def second_address(backend_url: str) -> Iterator[str]:
    """Another address of the backend, which is gone after the block as that of a stopped backend is."""

    class Handler(BaseHTTPRequestHandler):
        def _forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
            answer = httpx.request(
                self.command, f"{backend_url}{self.path}", content=body, headers=headers, timeout=90.0, trust_env=False
            )
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        do_GET = do_POST = _forward

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_pinned_masks_stay_and_the_least_certain_task_comes_first(demo: RunningDemo) -> None:
    api = demo.label_studio
    project = api.create_project("pinned", label_config())
    with second_address(demo.backend_url) as url:
        api.connect(project, url)
        tasks = api.import_images(project, IMAGES)
        pushed = {
            task: wait_for(f"the masks of task {task}", lambda task=task: api.predictions(task), 120)[0]
            for task in tasks
        }
        (version,) = {prediction["model_version"] for prediction in pushed.values()}
        api.call("PATCH", f"/api/projects/{project}/", json={"model_version": version})
        api.call("PATCH", f"/api/projects/{project}/", json={"sampling": "Uncertainty sampling"})
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health", trust_env=False)

    scores = {task: prediction["score"] for task, prediction in pushed.items()}
    assert len(set(scores.values())) == len(tasks) and tasks != sorted(tasks, key=scores.__getitem__)
    shown = []
    for _ in tasks:
        task = api.call("GET", f"/api/projects/{project}/next/")
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == version and prediction["result"], "what the annotator sees"
        api.call("POST", f"/api/tasks/{task['id']}/annotations/", json={"result": prediction["result"]})
        shown.append(task["id"])
    assert shown == sorted(tasks, key=scores.__getitem__), scores
