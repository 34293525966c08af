"""Runs of fine-tuning and their schedules: ask for a run, drive it, change when the next one comes."""

import threading
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from labeling.errors import StoreError
from labeling.settings import Settings
from labeling.store import FinetuneRun, FinetuneSchedule, Project, Store
from worker.context import JobContext
from worker.finetune.progress import check_trainable
from worker.finetune.turns import check_cron

_ENDED = ("promoted", "refused", "failed", "stopped")


@dataclass(frozen=True)
class RequestedRun:
    """A run that was asked for; `was_open`: an earlier one for the same is not done, and is this one."""

    run: FinetuneRun
    was_open: bool


def request_run(
    settings: Settings, store: Store, project: Project | None, manifest: Path | None = None
) -> RequestedRun:
    """Ask for a run on the corrections of a project (None: of all), or on a manifest; a scheduler takes it.

    One open run for the same is enough. StoreError where one on another manifest is open, WorkerError where the active
    model is none that can be trained here.
    """
    check_trainable(settings)
    corrections = 0 if project is None else store.corrections.count(project)
    path = None if manifest is None else str(manifest.absolute())
    key = f"finetune-by-hand-{uuid.uuid4().hex}"
    made = store.finetunes.request(key, project, corrections=corrections, manifest=path)
    if made is not None:
        return RequestedRun(made, was_open=False)
    same = (run for run in store.finetunes.newest() if run.project == project and run.manifest == path)
    found = next((run for run in same if run.status not in _ENDED), None)
    if found is None:
        raise StoreError("A run for this is open already. See argenseg finetune, or stop it with --stop.")
    return RequestedRun(found, was_open=True)


def drive_here(context: JobContext, run: FinetuneRun, stop: threading.Event) -> FinetuneRun:
    """Work on what is requested until `run` has ended, here or in a scheduler that was faster, or `stop` is set."""
    from worker.finetune.run import LEASE_S, drive  # a page asks for runs, and drives none
    from worker.finetune.scheduler import TICK_S, new_holder

    holder = new_holder()
    while run.status not in _ENDED and not stop.is_set():
        claimed = context.store.finetunes.claim(holder, LEASE_S)
        if claimed is not None:
            drive(context, claimed, holder, stop.is_set)
        else:
            stop.wait(TICK_S)
        run = context.store.finetunes.get(run.id)
    return run


def default_schedule(settings: Settings) -> FinetuneSchedule:
    """FINETUNE_CRON and FINETUNE_CORRECTIONS."""
    return FinetuneSchedule(settings.finetune_cron, settings.finetune_corrections)


def schedule_in_force(settings: Settings, store: Store, project: Project) -> FinetuneSchedule:
    """The project's own schedule, else the default."""
    return store.finetunes.find_schedule(project) or default_schedule(settings)


def change_schedule(
    settings: Settings, store: Store, project: Project, *, cron: str | None = None, every: int | None = None
) -> FinetuneSchedule:
    """Change what is given of the schedule in force ("" and 0: never), leave the rest; it is the project's own then.

    SettingsError for a `cron` that is none.
    """
    schedule = schedule_in_force(settings, store, project)
    if cron is not None:
        schedule = replace(schedule, cron=check_cron(cron) if cron else None)
    if every is not None:
        schedule = replace(schedule, corrections=every or None)
    store.finetunes.set_schedule(project, schedule)
    return schedule


def tell_schedule(schedule: FinetuneSchedule) -> str:
    """In words: "at 0 3 * * * (UTC) and after 50 new corrections", "never"."""
    times = [] if schedule.cron is None else [f"at {schedule.cron} (UTC)"]
    times += [] if schedule.corrections is None else [f"after {schedule.corrections} new corrections"]
    return " and ".join(times) or "never"
