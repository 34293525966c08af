"""A burst of webhooks while everything behind the backend is killed, and then the backend too.

    PYTHONPATH=. python benchmarks/webhook_burst.py [--webhooks 10000] [--connections 8] [--pause 2.0]

`argenseg up` with the starter, SQLite and its own Redis. Each webhook comes on a connection of its own, as Label
Studio's do. While they come, every PAUSE seconds a process is killed (SIGKILL) and started again by its supervisor:
publisher, sweeper, worker, scheduler, Redis; in the second half the backend first. Told are the times to the answer,
how many were refused, and how many were cut off (the backend that had taken them was killed: the reconciler finds those
later). It fails unless every answered event is stored once, and none is refused.
"""

import argparse
import http.client
import json
import os
import queue
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from backend.console.demo.label_studio import free_ports
from backend.console.supervisor.up import is_ready
from benchmarks.idleness import describe_idleness
from labeling.settings import Settings, environment_of
from labeling.store import Store
from labeling.store.events import EventRow

ROOT = Path(__file__).parents[1]
BEHIND = ("publisher", "sweeper", "worker", "scheduler", "redis")
LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">'
    '<Label value="nucleus" prompt="all nuclei"/></BrushLabels></View>'
)
PATIENCE_S = 300.0


@dataclass
class Outcome:
    """Numbers of the webhooks by what became of them, and seconds to the answers."""

    answered: set[int] = field(default_factory=set)
    cut: set[int] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--webhooks", type=int, default=10_000, help="in each half (%(default)s)")
    parser.add_argument("--connections", type=int, default=8, help="at a time (%(default)s)")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between two kills (%(default)s)")
    arguments = parser.parse_args()
    print(describe_idleness(), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), port=free_ports(1)[0], device="cpu", log_level="ERROR")
        environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "backend.console.cli", "up"]
        up = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_until_ready(up, settings)
            number = 1
            for killed in (BEHIND, ("backend", *BEHIND)):
                some = range(number, number + arguments.webhooks)
                outcome, kills = burst(settings, up.pid, some, killed, arguments.connections, arguments.pause)
                number = some.stop
                report(settings, some, outcome, kills)
        finally:
            os.killpg(up.pid, signal.SIGTERM)
            up.wait(60)
    print(describe_idleness())


def wait_until_ready(up: "subprocess.Popen[bytes]", settings: Settings) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_ready(settings):
        assert up.poll() is None and time.monotonic() < deadline, "argenseg up did not become ready"
        time.sleep(0.2)


def burst(
    settings: Settings, up: int, numbers: range, killed: tuple[str, ...], connections: int, pause_s: float
) -> tuple[Outcome, Counter[str]]:
    """Send all of them while the processes are killed in turn."""
    outcome, waiting, lock = Outcome(), queue.SimpleQueue[int](), threading.Lock()
    for number in numbers:
        waiting.put(number)
    senders = [
        threading.Thread(target=send_all, args=(settings.port, waiting, outcome, lock)) for _ in range(connections)
    ]
    kills: Counter[str] = Counter()
    for sender in senders:
        sender.start()
    turn = 0
    while any(sender.is_alive() for sender in senders):
        time.sleep(pause_s)
        name = killed[turn % len(killed)]
        turn += 1
        if (process := child(up, name)) is not None:
            os.kill(process, signal.SIGKILL)
            kills[name] += 1
    for sender in senders:
        sender.join()
    return outcome, kills


def send_all(port: int, waiting: "queue.SimpleQueue[int]", outcome: Outcome, lock: threading.Lock) -> None:
    while True:
        try:
            number = waiting.get_nowait()
        except queue.Empty:
            return
        began = time.perf_counter()
        try:
            status = send(port, number)
        except ConnectionRefusedError as error:
            with lock:
                outcome.refused.append(str(error))
        except (OSError, http.client.HTTPException):
            with lock:
                outcome.cut.add(number)
        else:
            with lock:
                if 200 <= status < 300:
                    outcome.answered.add(number)
                    outcome.seconds.append(time.perf_counter() - began)
                else:
                    outcome.refused.append(str(status))


def send(port: int, number: int) -> int:
    """A webhook on a connection of its own; its answer's status."""
    annotation = {"id": number, "task": number, "result": [], "updated_at": "2026-01-01T00:00:00Z"}
    project = {"id": 5, "label_config": LABEL_CONFIG}
    event = {"action": "ANNOTATION_CREATED", "annotation": annotation, "project": project, "task": {"id": number}}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/webhook", json.dumps(event), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def child(up: int, name: str) -> int | None:
    """The process of this name that `argenseg up` has started, if it runs just now."""
    for pid in Path(f"/proc/{up}/task/{up}/children").read_text().split():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if words[-2:-1] == [name] or (name == "redis" and "redis" in words[0]):
            return int(pid)
    return None


def report(settings: Settings, numbers: range, outcome: Outcome, kills: Counter[str]) -> None:
    """Print what became of them; AssertionError if one was lost or stored twice."""
    cuts = statistics.quantiles(outcome.seconds, n=100, method="inclusive")
    killed = ", ".join(f"{name} {count}x" for name, count in kills.items())
    print(f"{len(numbers):,} webhooks, killed: {killed}")
    print(
        f"    answered {len(outcome.answered):,}: p50 {1000 * cuts[49]:.0f}, p99 {1000 * cuts[98]:.0f}, longest"
        f" {1000 * max(outcome.seconds):.0f} ms; refused {len(outcome.refused)}, cut off {len(outcome.cut)}",
        flush=True,
    )
    assert not outcome.refused, outcome.refused[:5]
    deadline = time.monotonic() + PATIENCE_S
    while True:
        stored = count_stored(settings, numbers)
        lost = outcome.answered - stored.keys()
        if not lost or time.monotonic() > deadline:
            break
        time.sleep(1)  # from the spool they come with the sweeper
    twice = [number for number, count in stored.items() if count > 1]
    assert not lost and not twice, f"{len(lost)} lost, {len(twice)} stored more than once"
    print(f"    every answered one is stored once; of those cut off {len(outcome.cut & stored.keys())} are too")


def count_stored(settings: Settings, numbers: range) -> Counter[int]:
    with Store.open(settings.database_url, settings.blob_url) as store, store.database.reading() as session:
        payloads = session.scalars(select(EventRow.payload).where(EventRow.action == "ANNOTATION_CREATED"))
        found = Counter(int(payload["annotation"]["id"]) for payload in payloads)
    return Counter({number: count for number, count in found.items() if number in numbers})


if __name__ == "__main__":
    main()
