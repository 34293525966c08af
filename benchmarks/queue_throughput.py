"""What the queue adds to the model, and what batches and a second worker bring: ratios of one run on one machine.

    python benchmarks/queue_throughput.py            all parts; name some of them to run only those:
    python benchmarks/queue_throughput.py latency interactive batching workers predict memory recovery

Redis, workers, backend and store are real; "paced" is a model that takes 50 ms for each task, in place of a GPU, and
"threshold" one that takes next to nothing. A busy machine spoils times more than ratios; how idle it was is printed.
"""

import base64
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from idleness import describe_idleness
from PIL import Image

from backend.console.demo.label_studio import free_ports
from backend.console.supervisor.embedded_redis import find_redis_server, redis_command
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.plan import plan_prompts
from labeling.settings import Settings, environment_of
from labeling.store import PredictionRequest, Store, TaskRequest
from worker.queue.connection import connect
from worker.queue.queues import GPU, enqueue_prediction, open_queue, wait_for_job

ROOT = Path(__file__).parents[1]
PORT = free_ports(1)[0]
LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">'
    '<Label value="nucleus" prompt="every nucleus"/></BrushLabels></View>'
)
WORKER = (
    "import sys; from labeling.settings import Settings; from worker.gpu_worker.worker import run; "
    "sys.exit(run(Settings(), sys.argv[1]))"
)
SWEEPER = "from backend.console.sweeper import sweeper; sweeper()"
BACKEND = "from backend.web.server import serve; from labeling.settings import Settings; serve(Settings())"
STARTER = "worker.gpu_worker.model_child:load_argenseg"
INSTANT = "tests.worker.segmenters:threshold"
PACE = "tests.worker.segmenters:paced"


class Bench:
    """An installation in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data_dir=folder, port=PORT, device="cpu", log_level="ERROR")
        command = redis_command(self.settings, find_redis_server())
        self._processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL)]
        self.connection = connect(self.settings, retries=20)
        self.connection.ping()
        self.store = Store.open(self.settings.database_url, self.settings.blob_url)
        self._next_task = 1

    def close(self) -> None:
        self.store.close()
        for process in reversed(self._processes):
            process.kill()
            process.wait()

    def start(self, code: str, *arguments: str, **settings: object) -> "subprocess.Popen[bytes]":
        environment = environment_of(self.settings.model_copy(update=settings))
        environment = {"OMP_NUM_THREADS": "1", **os.environ, **environment, "PYTHONPATH": str(ROOT)}
        self._processes.append(subprocess.Popen([sys.executable, "-c", code, *arguments], env=environment))
        return self._processes[-1]

    @contextmanager
    def workers(self, loader: str, count: int = 1, **settings: object) -> Iterator["list[subprocess.Popen[bytes]]"]:
        """Workers whose model is warm and has answered a few tasks."""
        workers = [self.start(WORKER, loader, **settings) for _ in range(count)]
        self.finish(self.want(4 * count))
        yield workers
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)

    def want(self, tasks: int, side: int = 64) -> list[PredictionRequest]:
        """Requests for new tasks with small pictures, each another one."""
        project = self.store.projects.upsert("http://localhost:8080", 5, LABEL_CONFIG)
        config = parse_label_config(LABEL_CONFIG)
        requests = []
        for task in range(self._next_task, self._next_task + tasks):
            data = {"image": picture(task, side)}
            requests.append(TaskRequest(task, data, plan_prompts(config, data)))
        self._next_task += tasks
        return self.store.requests.add_all(project, requests, "bench · 1", delivery="push")

    def answer(self, request: PredictionRequest) -> float:
        """Queue it at the front, as for an open page, and wait; returns the milliseconds that took."""
        began = time.perf_counter()
        assert wait_for_job(enqueue_prediction(self.connection, request.id, front=True), 30)
        return (time.perf_counter() - began) * 1000

    def finish(self, requests: list[PredictionRequest]) -> float:
        """Queue them and wait until all are computed; returns the seconds that took."""
        began = time.perf_counter()
        for request in requests:
            enqueue_prediction(self.connection, request.id)
        last = {request.id for request in requests}
        while last:
            last = {row for row in last if self.store.predictions.get(row).status == "requested"}
            time.sleep(0.05)
        return time.perf_counter() - began


def picture(seed: int, side: int) -> str:
    """Smooth blobs, as a data: URL."""
    buffer = io.BytesIO()
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8), np.uint8))
    coarse.resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def latency(bench: Bench) -> None:
    """Wish in the store -> waiter awake with the masks, beyond the model's own time."""
    with bench.workers(INSTANT):
        times = [bench.answer(request) for request in bench.want(100, side=256)]
        print(f"latency: enqueue to result, beyond the model: {percentiles(times)}")


def interactive(bench: Bench) -> None:
    """A task that somebody opens, alone and while many are predicted: the starter on 64 x 64 px, one prompt."""
    with bench.workers(STARTER):
        bench.finish(bench.want(24))  # the worker learns its batches' size
        alone = [bench.answer(request) for request in bench.want(30)]
        for request in bench.want(1000):
            enqueue_prediction(bench.connection, request.id)
        meanwhile = [bench.answer(request) for request in bench.want(30)]
        assert open_queue(bench.connection, GPU).count, "the many were done too early"
        ratio = statistics.median(meanwhile) / statistics.median(alone)
        print(f"interactive: alone {percentiles(alone)}\n    while 1,000 tasks are queued {percentiles(meanwhile)}")
        print(f"    {ratio:.2f}x at the median")
        open_queue(bench.connection, GPU).empty()


def batching(bench: Bench) -> None:
    """The starter on 64 x 64 px, one prompt: micro-batching of up to 16 tasks against none, in turn."""
    rates: dict[int, list[float]] = {1: [], 16: []}
    for _ in range(2):
        for size, measured in rates.items():
            with bench.workers(STARTER, max_batch_tasks=size):
                bench.finish(bench.want(24))  # the worker learns its batches' size
                measured.append(48 / bench.finish(bench.want(48)))
    single, batched = (statistics.median(measured) for measured in rates.values())
    print(f"batching: {single:.1f} tasks/s one by one, {batched:.1f} in batches: {batched / single:.2f}x")


def workers(bench: Bench) -> None:
    """Two workers against one, with a model that waits for its GPU 50 ms a task."""
    rates = {}
    for count in (1, 2):
        with bench.workers(PACE, count):
            bench.finish(bench.want(40))
            rates[count] = 120 / bench.finish(bench.want(120))
    print(f"workers: {rates[1]:.1f} tasks/s with one, {rates[2]:.1f} with two: {rates[2] / rates[1]:.2f}x")


def predict(bench: Bench) -> None:
    """/predict with 1,500 tasks at once, and what the other routes take meanwhile."""
    backend = bench.start(BACKEND)
    body = {
        "tasks": [{"id": 10**6 + task, "data": {"image": "/data/upload/1.png"}} for task in range(1500)],
        "project": "5.1700000000",
        "label_config": LABEL_CONFIG,
        "params": {"context": None},
    }
    setup = {"project": "5.1700000000", "schema": LABEL_CONFIG, "hostname": "http://localhost:8080"}
    event = {"action": "ANNOTATIONS_DELETED", "annotations": [], "project": {"id": 5}}
    routes: dict[str, object] = {"/health": None, "/setup": setup, "/webhook": event}
    wait_for(lambda: call("/health", None))
    for path, message in routes.items():
        call(path, message)
    times: dict[str, list[float]] = {path: [] for path in routes}
    done = threading.Event()

    def ask_all() -> None:
        while not done.is_set():
            for path, message in routes.items():
                times[path].append(call(path, message))

    asking = threading.Thread(target=ask_all)
    asking.start()
    took = [call("/predict", body) for _ in range(10)]
    done.set()
    asking.join()
    wait_for(lambda: open_queue(bench.connection, GPU).count >= 1500)
    backend.terminate()
    backend.wait(60)
    first, again = took[0] / 1000, max(took[1:]) / 1000
    print(f"predict: 1,500 tasks are answered in {first:.2f} s (asked again: {again:.2f} s at most); meanwhile")
    for path, measured in times.items():
        print(f"    {path:9} {percentiles(measured)}")
    open_queue(bench.connection, GPU).empty()


def memory(bench: Bench) -> None:
    """Resident memory of a worker and its model process, with the starter, over 5,000 tasks; it must be flat."""
    with bench.workers(STARTER) as [worker]:
        sizes = []
        for _ in range(10):
            bench.finish(bench.want(500))
            sizes.append(round(sum(resident_mb(pid) for pid in (worker.pid, *children(worker.pid)))))
        print(f"memory after 500, 1,000, ... 5,000 tasks, worker and model process: {sizes} MB")
        assert sizes[-1] < 1.05 * sizes[1], "memory grows"


def recovery(bench: Bench) -> None:
    """A worker is killed in the middle; another and the sweeper are there."""
    bench.start(SWEEPER)
    with bench.workers(PACE, 2) as pair:
        requests = bench.want(100)
        for request in requests:
            enqueue_prediction(bench.connection, request.id)
        wait_for(lambda: bench.store.predictions.get(requests[20].id).status == "ready")
        pair[0].kill()
        began = time.perf_counter()
        wait_for(lambda: all(bench.store.predictions.get(request.id).status == "ready" for request in requests))
        print(
            f"recovery: all of a killed worker's tasks are computed {time.perf_counter() - began:.1f} s after its end"
        )


def call(path: str, message: object) -> float:
    """Milliseconds."""
    data = None if message is None else json.dumps(message).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"Content-Type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=100) as response:
        response.read()
    return (time.perf_counter() - began) * 1000


def wait_for(condition: Callable[[], object], timeout_s: float = 180) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if condition():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError("a part of the benchmark did not come to its end")
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def percentiles(times: list[float]) -> str:
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return f"p50 {cuts[49]:.1f}, p95 {cuts[94]:.1f}, p99 {cuts[98]:.1f} ms ({len(times)} times)"


PARTS = {part.__name__: part for part in (latency, interactive, batching, workers, predict, memory, recovery)}


def main() -> None:
    print(f"{len(os.sched_getaffinity(0))} cores are ours; {describe_idleness()}")
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(Path(folder))
            try:
                PARTS[name](bench)
            finally:
                bench.close()


if __name__ == "__main__":
    main()
