"""What is measured, each in a process of its own: `python -m benchmarks.growth.steps NAME`, with the settings in the
environment. Prints what it did as JSON: how often, seconds by the clock, `own` of processor time (which a busy machine
does not lengthen much; not Redis's or PostgreSQL's), and the most memory that was resident (VmHWM, MiB).
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.growth.seeding import PROJECT
from labeling.settings import Settings

PUBLISHED = 300  # of the waiting ones: each costs the same


def nothing(settings: Settings) -> int:
    """The modules and the open store alone, to compare memory with."""
    from labeling.store import Store

    with Store.open(settings.database_url, settings.blob_url):
        return 1


def enqueue_all(settings: Settings) -> int:
    """`argenseg predict` until every task is requested."""
    from backend.operations.projects.predict import request_missing
    from labeling.store import RunOptions
    from worker.projects.open_project import open_project

    with open_project(settings, PROJECT) as project:
        run = project.store.project_runs.begin(project.project, project.version, RunOptions())
        return sum(request_missing(project, run))


def sweep(settings: Settings) -> int:
    """A round of the sweeper that finds everything lost."""
    from worker.context import JobContext
    from worker.sweeper import sweep as sweep_once

    with JobContext.open(settings) as context:
        return sweep_once(context, 0.0)


def publish(settings: Settings) -> int:
    """Some of the ready predictions."""
    from labeling.store import CorrectionFilter  # noqa: F401 - as a publisher's process, which follows events too
    from worker.context import JobContext
    from worker.publishing.publisher import publish as send

    with JobContext.open(settings) as context:
        waiting = [row for row, _ in zip(context.store.predictions.unpublished(0.0), range(PUBLISHED), strict=False)]
        assert {send(context.store, context.client, row) for row in waiting} == {"published"}
        return len(waiting)


def reconcile(settings: Settings) -> int:
    """The daily look at all tasks, where nothing is missing."""
    from worker.context import JobContext
    from worker.reconcile.project_sync import sync_all

    with JobContext.open(settings) as context:
        outcome = sync_all(context)
        assert not outcome.changed and not outcome.deleted, outcome
        return 1


def keep_images(settings: Settings) -> int:
    """The round after it that looks for images to keep, where all are kept."""
    import threading

    from worker.context import JobContext
    from worker.reconcile import kept_images

    with JobContext.open(settings) as context:
        kept_images.keep_images(context, threading.Event())
        return 1


def stats(settings: Settings) -> int:
    """`argenseg stats`."""
    return _command(settings, "stats", "--json")


def doctor(settings: Settings) -> int:
    """The doctor's checks of this machine, without the model's loading."""
    from backend.operations.doctor.checks import all_checks
    from backend.operations.doctor.findings import run_checks

    here = settings.model_copy(update={"label_studio_url": None})
    late = [found.text for found in run_checks(all_checks(here, None, False), here) if "no answer within" in found.text]
    assert not late, late
    return 1


def status_page(settings: Settings) -> int:
    """GET /status."""
    return _page(settings, "/status")


def metrics_page(settings: Settings) -> int:
    """GET /metrics."""
    return _page(settings, "/metrics")


def data_set(settings: Settings) -> int:
    """A data set's manifest, of all corrections."""
    from labeling.datasets.build import DataSetOptions, build_data_set
    from labeling.datasets.images import ImageKeeper
    from labeling.store import Store

    with Store.open(settings.database_url, settings.blob_url) as store, tempfile.TemporaryDirectory() as folder:
        keeper = ImageKeeper(store, None, settings)
        made = build_data_set(store, keeper, Path(folder), DataSetOptions(project_id=PROJECT))
        return int(made.lineage["items"])


def backup(settings: Settings) -> int:
    """All of it into an archive."""
    from backend.operations.backup import write_backup

    with tempfile.TemporaryFile(dir=settings.data_dir) as archive:
        return write_backup(settings, archive).rows


def _page(settings: Settings, path: str) -> int:
    from backend.web.app import create_app
    from labeling.store import Store
    from worker.queue.connection import connect

    with Store.open(settings.database_url, settings.blob_url) as store:
        answer = create_app(settings, store, connect(settings)).test_client().get(path)
        assert answer.status_code == 200, answer.text
        return 1


def _command(settings: Settings, *arguments: str) -> int:
    from click.testing import CliRunner

    from backend.console.cli import main

    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return 1


STEPS: dict[str, Callable[[Settings], int]] = {
    step.__name__: step
    for step in (
        nothing, enqueue_all, sweep, publish, reconcile, keep_images, stats, doctor, status_page, metrics_page,
        data_set, backup,
    )
}  # fmt: skip


def main() -> None:
    settings = Settings()
    began, own = time.perf_counter(), time.process_time()
    done = STEPS[sys.argv[1]](settings)
    seconds, own = time.perf_counter() - began, time.process_time() - own
    most = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(json.dumps({"done": done, "seconds": seconds, "own": own, "mib": int(most) / 1024}))


if __name__ == "__main__":
    main()
