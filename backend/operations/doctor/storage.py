"""The data folder, the database, the blob folder, and events that wait to be stored."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

from backend.operations.doctor.findings import Finding, failure, ok, skipped, warning
from backend.operations.projects.predict import reasons
from backend.operations.running import where_a_store_is
from labeling.errors import StoreError, StoreMissing
from labeling.settings import MEGABYTE, Settings
from labeling.store import Store
from labeling.store.base import in_pages
from labeling.store.blobs import BlobStore
from labeling.store.database import require_database
from worker.errors import QueueUnreachable
from worker.events.spool import probe, spool_folder
from worker.queue.connection import connect
from worker.queue.queues import GPU, PREDICT, live_rows

_LEAST_FREE = 200 * MEGABYTE
_LITTLE_FREE = 2000 * MEGABYTE
_LONG_S = 120.0  # the sweeper looks every ten seconds
_LATELY = timedelta(days=7)
_SHOWN_REASONS = 3  # of a project
_PROBE = b"argenseg doctor was here"


def data_folder(settings: Settings) -> Iterator[Finding]:
    """Can it be written, and is there room?"""
    folder = settings.data_dir
    move = "Free some space, or set ARGENSEG_DATA_DIR to a folder on a larger disk."
    if not folder.exists():
        yield failure(f"There is no data folder {folder}.", where_a_store_is())
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_PROBE)
    except OSError as error:
        yield failure(
            f"{folder} cannot be written: {error.strerror}.", "Set ARGENSEG_DATA_DIR to a folder of your own."
        )
        return
    free = shutil.disk_usage(folder).free
    text = f"{folder} can be written; {free / 1e9:.1f} GB are free."
    yield failure(text, move) if free < _LEAST_FREE else warning(text, move) if free < _LITTLE_FREE else ok(text)


def database(settings: Settings) -> Iterator[Finding]:
    """Opened, migrated, and does anything lie about in it?"""
    try:
        require_database(settings.database_url)
    except StoreMissing as error:
        yield failure(str(error), where_a_store_is())
        return
    with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
        counts = store.progress.counts()
        revision = store.database.schema_revision()
        reported = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "none"
        yield ok(f"Opened, at migration {revision}. Predictions: {reported}.")
        with suppress(QueueUnreachable, OSError):  # Redis has a check of its own
            live = live_rows(connect(settings), GPU, PREDICT)
            pages = in_pages(partial(store.requests.stale, _LONG_S))
            if lost := sum(row_id not in live for some in pages for row_id in some):
                yield warning(f"{lost} requested predictions have no job.", "Start argenseg up, or argenseg sweeper.")
        for project in store.projects.all():
            for reason, tasks in reasons(store.progress.delayed_tasks(project))[:_SHOWN_REASONS]:
                yield warning(
                    f"{len(tasks)} tasks of project {project.project_id} are postponed: {reason}",
                    "They go on by themselves when that is mended.",
                )
        if failed := store.events.failures(_LATELY):
            yield warning(
                f"{len(failed)} events of the last week could not be processed, such as {failed[0].id} "
                f"({failed[0].action}): {failed[0].reason}",
                "They are kept. What annotators submitted is read again from Label Studio (RECONCILE_INTERVAL_S).",
            )
        if late := store.events.count_unprocessed(_LONG_S):
            yield warning(
                f"{late} events of Label Studio are stored and not processed.",
                "Start argenseg up, or argenseg publisher.",
            )


def blobs(settings: Settings) -> Iterator[Finding]:
    """Can a mask be written, and read again?"""
    with suppress(StoreMissing):
        require_database(settings.database_url)
        yield _try_blobs(BlobStore(settings.blob_url))
        return
    yield skipped("Not looked at while there is no store.")


def _try_blobs(store: BlobStore) -> Finding:
    read = store.get(store.put(_PROBE))
    is_same = read == _PROBE
    return ok("A blob was written and read.") if is_same else failure("A blob came back changed.", "Check BLOB_URL.")


def corrections(settings: Settings) -> Iterator[Finding]:
    """Can what annotators submit be kept just now? /health says UP all the same: Label Studio goes on asking."""
    try:
        with Store.open(settings.database_url, settings.blob_url, must_exist=True) as store:
            store.events.require_writable()
    except StoreMissing:
        yield skipped("Not looked at while there is no store.")
    except StoreError as error:
        if probe(spool_folder(settings)):
            yield warning(
                f"Corrections wait in {spool_folder(settings)}: {error}", "They are stored when it is mended."
            )
        else:
            yield failure(
                f"Corrections are being REFUSED, nothing takes them. {error}",
                "Free space, or give back the rights. What was submitted meanwhile is read again from Label Studio"
                " (RECONCILE_INTERVAL_S).",
            )
    else:
        yield ok("What annotators submit is kept.")


def spool(settings: Settings) -> Iterator[Finding]:
    """Events that the database could not take at once."""
    folder = spool_folder(settings)
    old = [file for file in folder.glob("*.json") if time.time() - file.stat().st_mtime > _LONG_S]
    unreadable = list(folder.glob("*.unreadable"))
    if old:
        yield warning(f"{len(old)} events wait in {folder}.", "Start argenseg up, or argenseg sweeper.")
    if unreadable:
        yield warning(
            f"{len(unreadable)} files in {folder} are no events, or the database refused them.",
            "The log says why. Look into them; to have one stored, name it .json again; else delete it.",
        )
    if not old and not unreadable:
        yield ok("No event waits outside the database.")
