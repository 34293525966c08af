"""The requests that a real Label Studio 1.23.2 sent to an ML backend, and how to send them again."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

REQUESTS = Path(__file__).parents[2] / "fixtures" / "label_studio" / "requests"


def recorded(name: str) -> dict[str, Any]:
    """A recording: `method, path, headers, json`, and the status `responded`; the last one of several."""
    return recordings(REQUESTS / f"{name}.json")[-1]


def recordings(file: Path) -> list[dict[str, Any]]:
    """All recordings of a file, in order."""
    content = json.loads(file.read_text())
    return content if isinstance(content, list) else [content]


def send(client: FlaskClient, recording: dict[str, Any]) -> TestResponse:
    """Send a recording with the headers that matter."""
    kept = ("Authorization", "Content-Type", "User-Agent")
    headers = {name: value for name, value in recording["headers"].items() if name in kept}
    return client.open(recording["path"], method=recording["method"], headers=headers, json=recording["json"])


def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for what happens after an answer."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "It did not happen in time."
        time.sleep(0.02)
