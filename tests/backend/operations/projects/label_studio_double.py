"""A Label Studio in memory behind real HTTP: projects, tasks by filter and page, predictions, ML backends, webhooks."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

FORBIDDEN = (403, {"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"})


class LabelStudioDouble:
    """Answers as Label Studio 1.23 does (the requests are those that it was seen to take in tests/e2e)."""

    def __init__(self, label_config: str) -> None:
        self.project: dict[str, Any] = {"id": 5, "title": "Cells", "label_config": label_config, "model_version": ""}
        self.tasks: dict[int, dict[str, Any]] = {}
        self.predictions: dict[int, dict[str, Any]] = {}
        self.backends: list[dict[str, Any]] = []
        self.webhooks: list[dict[str, Any]] = []
        self.blocks_backends = self.blocks_webhooks = False
        self.on_project_saved: Callable[[], None] = lambda: None
        self.pages = 0
        double = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                url = urlsplit(self.path)
                query = {name: values[-1] for name, values in parse_qs(url.query).items()}
                status, answer = double._route(self.command, url.path, query, json.loads(body or b"{}"))
                content = b"" if answer is None else json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add_tasks(self, *images: str, annotations: int = 0) -> None:
        for image in images:
            number = max(self.tasks, default=0) + 1
            self.tasks[number] = {"id": number, "data": {"image": image}, "total_annotations": annotations}

    def add_prediction(self, task: int, version: str, *region_ids: str) -> int:
        number = max(self.predictions, default=100) + 1
        fields = {"id": number, "task": task, "model_version": version, "score": None, "project": 5}
        fields["result"] = [{"id": region_id} for region_id in region_ids]
        self.predictions[number] = {
            **fields,
            "created_at": "2026-01-01T00:00:00Z",
            "updated_at": "2026-01-01T00:00:00Z",
        }
        return number

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        if path.startswith("/api/ml/") and path != "/api/ml/" and path.endswith("/"):
            return 404, {"detail": "Label Studio has no slash at the end here"}
        parts = path.strip("/").split("/")
        match (method, *parts[1:]):
            case ("GET", "version"):
                return 200, {"release": "1.23.2"}
            case ("GET", "current-user", "whoami"):
                return 200, {"email": "someone@example.com"}
            case ("GET", "projects", "5"):
                return 200, {**self.project, "task_number": len(self.tasks)}
            case ("PATCH", "projects", "5"):
                self.project.update(body)
                self.on_project_saved()
                return 200, self.project
            case ("GET", "projects", "5", "model-versions"):
                versions = [prediction["model_version"] for prediction in self.predictions.values()]
                return 200, {version: versions.count(version) for version in versions}
            case ("GET", "tasks"):
                return self._page(query)
            case ("GET", "tasks", number):
                task = self.tasks.get(int(number))
                return (
                    (200, {**task, "predictions": [], "annotations": []}) if task else (404, {"detail": "No such task"})
                )
            case ("GET", "predictions"):
                if int(query["task"]) not in self.tasks:
                    return 400, {"validation_errors": {"task": ["Select a valid choice."]}}
                return 200, [held for held in self.predictions.values() if held["task"] == int(query["task"])]
            case ("GET" | "DELETE", "predictions", number):
                if int(number) not in self.predictions:
                    return 404, {"detail": "No such prediction"}
                return (
                    (204, self.predictions.pop(int(number)) and None)
                    if method == "DELETE"
                    else (
                        200,
                        self.predictions[int(number)],
                    )
                )
            case ("GET", "ml"):
                return 200, self.backends
            case ("GET", "webhooks"):
                return 200, self.webhooks
            case ("POST", "ml"):
                return self._connect(body)
            case ("POST", "webhooks"):
                return self._add_webhook(body)
            case ("PATCH", "ml", number):
                self._named(self.backends, number).update(_kept(body))
                return 200, None
            case ("PATCH", "webhooks", number):
                self._named(self.webhooks, number).update(body)
                return 200, None
        return 404, {"detail": f"{method} {path} is not known"}

    def _page(self, query: dict[str, str]) -> tuple[int, Any]:
        self.pages += 1
        asked = {
            item["filter"].rpartition(":")[2]: item["value"] for item in json.loads(query["query"])["filters"]["items"]
        }
        lacked = asked.get("predictions_model_versions", [None])[0]
        having = {held["task"] for held in self.predictions.values() if held["model_version"] == lacked}
        predictions = Counter(held["task"] for held in self.predictions.values())
        found = [
            task
            for number, task in sorted(self.tasks.items())
            if number > asked["id"]
            and number not in having
            and task["total_annotations"] <= asked.get("total_annotations", 1000)
            and predictions[number] >= asked.get("total_predictions", 0)
        ]
        return 200, {"tasks": found[: int(query["page_size"])], "total": len(found)}

    def _connect(self, body: dict[str, Any]) -> tuple[int, Any]:
        if self.blocks_backends:
            return FORBIDDEN
        if body.get("auth_method") == "BASIC_AUTH" and "basic_auth_pass" not in body:
            return 400, {"non_field_errors": ["Authentication username and password is required"]}
        self.backends.append({"id": len(self.backends) + 1, "state": "CO", "model_version": "live", **_kept(body)})
        self._add_webhook({"url": f"{body['url']}/webhook", "headers": {}})
        self.project["model_version"] = self.project["model_version"] or body["title"]
        return 201, self.backends[-1]

    def _add_webhook(self, body: dict[str, Any]) -> tuple[int, Any]:
        if self.blocks_webhooks:
            return FORBIDDEN
        if not isinstance(body["headers"], dict):
            return 400, {"headers": ["not an object"]}
        usual = {"is_active": True, "send_payload": True, "send_for_all_actions": True, "actions": []}
        self.webhooks.append({"id": len(self.webhooks) + 1, **usual, **body})
        return 201, self.webhooks[-1]

    @staticmethod
    def _named(rows: list[dict[str, Any]], number: str) -> dict[str, Any]:
        return next(row for row in rows if row["id"] == int(number))


def _kept(body: dict[str, Any]) -> dict[str, Any]:
    """Label Studio never tells the password."""
    reported = {name: value for name, value in body.items() if name != "basic_auth_pass"}
    return {**reported, "basic_auth_pass_is_set": bool(body.get("basic_auth_pass"))}
