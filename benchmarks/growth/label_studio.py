"""A Label Studio with a project of so many tasks behind real HTTP, which holds no task in memory: its own growth must
not be measured. What a task holds is arithmetic on its number.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.growth.seeding import LABEL_CONFIG, PROJECT, SEEDED_AT

_AT = SEEDED_AT.isoformat()


class Answers(BaseHTTPRequestHandler):
    """`tasks` and `annotated` (those with one annotation, the first so many) are set on the class by `serve`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # of what is measured, no part may wait for an acknowledgement
    tasks = annotated = 0
    sent = 0
    lock = threading.Lock()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match url.path.strip("/").split("/")[1:]:
            case ["tasks"]:
                self._answer(self._page(query))
            case ["tasks", number]:
                self._answer(self._task(int(number)))
            case ["projects", _]:
                project = {"id": PROJECT, "title": "Growth", "label_config": LABEL_CONFIG, "model_version": ""}
                self._answer(project | {"task_number": self.tasks})
            case ["predictions"] | ["webhooks"] | ["ml"]:
                self._answer([])
            case ["projects", _, "model-versions"]:
                self._answer({})
            case _:
                self._answer({})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.lock:
            type(self).sent += 1
        self._answer({"id": self.sent})

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        conditions = json.loads(query["query"])["filters"]["items"]
        asked = {item["filter"].rpartition(":")[2]: item["value"] for item in conditions}
        if "updated_at" in asked:  # nothing changed since the last sync
            return {"tasks": [], "total": 0}
        first = int(asked["id"]) + 1
        last = min(first + int(query["page_size"]) - 1, self.tasks)
        return {"tasks": [self._task(number) for number in range(first, last + 1)], "total": self.tasks - first + 1}

    def _task(self, number: int) -> dict[str, Any]:
        counts = {"total_annotations": int(number <= self.annotated), "cancelled_annotations": 0}
        counts["total_predictions"] = 1
        return {"id": number, "data": {"image": f"/data/{number}.png"}, "created_at": _AT, "updated_at": _AT} | counts

    def _answer(self, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


def serve(tasks: int, annotated: int) -> None:
    """Print the port, and answer until somebody ends the process."""
    Answers.tasks, Answers.annotated = tasks, annotated
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
