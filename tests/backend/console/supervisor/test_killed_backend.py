"""A real `argenseg up` whose backend is killed: who comes meanwhile waits, and nobody is refused."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import pytest

from backend.console.supervisor.up import is_ready
from labeling.settings import Settings, environment_of
from labeling.store import Store
from tests.worker.conftest import wait_until
from tests.worker.test_faults import free_port

ROOT = Path(__file__).parents[4]
KILLS, CALLERS, CALLS = 3, 4, 15


def child_of(parent: int, word: str) -> int | None:
    """The process that a supervisor started by this word; None while there is none."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            is_child = int((process / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if is_child and word.encode() in (process / "cmdline").read_bytes().split(b"\0"):
                return int(process.name)
    return None


def post(url: str, event: dict[str, object]) -> int:
    request = urllib.request.Request(url, json.dumps(event).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as response:
        return int(response.status)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_nobody_is_refused_and_no_event_lost_while_a_killed_backend_starts_again(settings: Settings) -> None:
    ours = settings.model_copy(update={"port": free_port(), "model": "starter"})
    environment = {**os.environ, **environment_of(ours), "PYTHONPATH": str(ROOT)}
    supervisor = subprocess.Popen([sys.executable, "-m", "backend.console.cli", "up"], env=environment)
    answered: list[int] = []
    refused: list[OSError] = []

    def call(caller: int) -> None:
        for number in range(CALLS):
            event = {"action": "PROJECT_UPDATED", "project": {"id": 7}, "number": caller * CALLS + number}
            while not refused:
                try:
                    answered.append(post(f"http://127.0.0.1:{ours.port}/webhook", event))
                    break
                except OSError as error:  # of a connection that was in the killed process: its caller asks again
                    if isinstance(getattr(error, "reason", error), ConnectionRefusedError):
                        refused.append(error)
            time.sleep(0.5)

    try:
        wait_until(lambda: is_ready(ours), 400)
        callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        for _ in range(KILLS):
            killed = child_of(supervisor.pid, "backend.web")
            assert killed is not None
            os.kill(killed, signal.SIGKILL)
            wait_until(lambda killed=killed: child_of(supervisor.pid, "backend.web") not in (killed, None), 120)  # type: ignore[misc]
            time.sleep(2)
        for caller in callers:
            caller.join(200)
        assert not refused
        assert answered == [201] * (CALLERS * CALLS)
        with Store.open(ours.database_url, ours.blob_url) as store:
            wait_until(lambda: _events(store) >= set(range(CALLERS * CALLS)), 60)
    finally:
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(120)


def _events(store: Store) -> set[int]:
    return {store.events.get(number).payload["number"] for number in range(1, store.events.newest() + 1)}
