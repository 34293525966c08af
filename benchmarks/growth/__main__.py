"""What grows with a project, and how fast: seconds and memory of everything that looks at many rows.

    PYTHONPATH=. python -m benchmarks.growth FOLDER [--sizes 1000:1000 10000:10000 100000:1000000] [--postgresql URL]

Sizes are TASKS:CORRECTIONS. FOLDER takes an installation for each (100,000 tasks with 1,000,000 corrections: 3 GB) and
is emptied again. `--postgresql` names a database that is EMPTIED. Redis and the store are real, Label Studio answers
from arithmetic; every step is a process of its own. `s` is its processor time, `x` how many times that of the size
before, `n log n` what that would be if it grew so.
"""

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text

from backend.console.supervisor.embedded_redis import find_redis_server, redis_command
from benchmarks.growth import seeding
from benchmarks.idleness import describe_idleness
from labeling.settings import Settings, environment_of
from labeling.store import Store
from worker.queue.connection import connect

ROOT = Path(__file__).parents[2]
LABEL_STUDIO = "benchmarks.growth.label_studio"
AFTER = ("reconcile", "keep_images", "stats", "doctor", "status_page", "metrics_page", "data_set", "backup")

Measured = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["1000:1000", "10000:10000", "100000:100000", "100000:1000000"])
    parser.add_argument("--postgresql", help="URL of a database that is EMPTIED; default: SQLite in FOLDER")
    parser.add_argument("--steps", nargs="+", help="only these of the later ones")
    arguments = parser.parse_args()
    print(describe_idleness(), flush=True)
    before: tuple[int, Measured] | None = None
    for size in arguments.sizes:
        tasks, corrections = map(int, size.split(":"))
        folder = arguments.folder / size.replace(":", "-")
        try:
            measured = measure(folder, tasks, corrections, arguments.postgresql, arguments.steps or AFTER)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        show(tasks, corrections, measured, before)
        before = (tasks + corrections, measured)
    print(describe_idleness())


def measure(folder: Path, tasks: int, corrections: int, postgresql: str | None, later: list[str]) -> Measured:
    """All steps on a new installation of this size."""
    folder.mkdir(parents=True)
    if postgresql:
        with create_engine(postgresql).begin() as connection:
            connection.execute(text("DROP SCHEMA public CASCADE"))
            connection.execute(text("CREATE SCHEMA public"))
    measured: Measured = {}
    with label_studio(tasks, tasks) as url, redis(folder):
        options = {"database_url": postgresql} if postgresql else {}
        settings = Settings(
            data_dir=folder, label_studio_url=url, label_studio_api_key="growth", log_level="ERROR", **options
        )
        with Store.open(settings.database_url, settings.blob_url) as store:
            project = store.projects.upsert(url, seeding.PROJECT, seeding.LABEL_CONFIG)
            measured["nothing"] = run(settings, "nothing")
            measured["enqueue_all"] = run(settings, "enqueue_all")
            measured["sweep (requested)"] = run(settings, "sweep")
            seeding.compute_all(store)
            measured["sweep (ready)"] = run(settings, "sweep")
            measured["publish"] = run(settings, "publish")
            connect(settings).flushall()
            began = time.perf_counter()
            seeding.publish_all(store)
            seeding.annotate(store, project, tasks, corrections)
            if postgresql:
                analyze(store)
            print(f"({corrections:,} corrections were seeded in {time.perf_counter() - began:.0f} s)", flush=True)
        for step in later:
            measured[step] = run(settings, step)
    return measured


def run(settings: Settings, step: str) -> dict[str, float]:
    """One step in its own process."""
    command = [sys.executable, "-m", "benchmarks.growth.steps", step]
    environment = {**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        print(f"{step} failed", flush=True)
        return dict.fromkeys(("done", "seconds", "own", "mib"), math.nan)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    times = f"{result['own']:9.2f} s ({result['seconds']:.2f} by the clock)"
    print(f"    {step:18} {result['done']:9,} {times} {result['mib']:7.0f} MiB", flush=True)
    return result


def show(tasks: int, corrections: int, measured: Measured, before: tuple[int, Measured] | None) -> None:
    """A row for each step: against the size before, and against n log n."""
    n, smaller = tasks + corrections, before[1] if before else {}
    expected = n * math.log(n) / (before[0] * math.log(before[0])) if before else math.nan
    print(f"\n| {tasks:,} tasks, {corrections:,} corrections", end="")
    print(" | did | s | x | n log n | by the clock | MiB | beside nothing |")
    print("|---|---|---|---|---|---|---|---|")
    for step, found in measured.items():
        factor = found["own"] / smaller[step]["own"] if step in smaller else math.nan
        more = found["mib"] - measured["nothing"]["mib"]
        cells = f"{found['done']:,} | {found['own']:.2f} | {factor:.1f} | {expected:.1f} | {found['seconds']:.2f} s"
        cells += f" | {found['mib']:.0f}"
        print(f"| {step} | {cells} | {more:+.0f} |", flush=True)
    print(flush=True)


@contextmanager
def label_studio(tasks: int, annotated: int) -> Iterator[str]:
    """Its URL."""
    command = [sys.executable, "-m", LABEL_STUDIO, str(tasks), str(annotated)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


@contextmanager
def redis(folder: Path) -> Iterator[None]:
    """The embedded one, on its socket in the folder."""
    settings = Settings(data_dir=folder)
    with subprocess.Popen(redis_command(settings, find_redis_server()), stdout=subprocess.DEVNULL) as process:
        connect(settings, retries=20).ping()
        try:
            yield
        finally:
            process.kill()


def analyze(store: Store) -> None:
    """As PostgreSQL does by itself minutes after so many rows."""
    with store.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


if __name__ == "__main__":
    main()
