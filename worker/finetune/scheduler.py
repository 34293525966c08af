"""The schedule of fine-tuning. Any number of copies may run: a slot is requested once, and one run at a time is driven.

A project's turn comes at the times of its cron expression (UTC), where something was corrected since a run last learnt,
and whenever so many corrections came since its newest run, however that ended. A time that was missed is made up for
within the hour. A run that ended early, on a holdout that would be large enough by now, counts as if it had not been.
"""

import logging
import socket
import threading
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from croniter import CroniterError, croniter

from labeling.errors import LabelingError, SettingsError
from labeling.settings import Settings
from labeling.store import FinetuneRun, FinetuneSchedule, Project, Store
from worker.context import JobContext
from worker.finetune.run import LEASE_S, drive
from worker.queue.heartbeats import SCHEDULER, beat

logger = logging.getLogger(__name__)

TICK_S = 5.0
LOOK_S = 20.0
CATCH_UP = timedelta(hours=1)
FAILURES = 3  # in a row, after which a turn passes unless something was corrected since the last of them


def check_cron(expression: str) -> str:
    """The expression, if it is one of five fields; SettingsError says what is wrong with it."""
    try:
        croniter(expression, datetime.now(UTC)).get_prev()  # which fails where it never comes, as on February 31
    except (CroniterError, ValueError) as error:
        raise SettingsError(
            f"{expression!r} is no cron expression ({error}). Every night at three: '0 3 * * *'."
        ) from error
    if len(expression.split()) != 5:
        raise SettingsError(f"{expression!r} is no cron expression of five fields. Every night at three: '0 3 * * *'.")
    return expression


def request_due(settings: Settings, store: Store, now: datetime) -> list[FinetuneRun]:
    """Request the runs whose turn it is; returns those that nobody had requested before.

    Only projects of our Label Studio have a turn; where none is set, all have. One that fails is logged, and keeps no
    other one waiting. StoreError if none can be looked at.
    """
    default = FinetuneSchedule(settings.finetune_cron, settings.finetune_corrections)
    requested = []
    url = settings.label_studio_url
    for project in store.projects.all() if url is None else store.projects.of_address(url):
        try:
            run = _request_if_due(store, project, default, settings.gate_min_images, now)
        except (LabelingError, CroniterError) as error:
            logger.warning("project %d: its schedule is looked at later: %s", project.project_id, error)
        except Exception:  # a bug, or a row that nobody foresaw
            logger.exception("project %d: its schedule is looked at later", project.project_id)
        else:
            requested += [] if run is None else [run]
    return requested


def _request_if_due(
    store: Store, project: Project, default: FinetuneSchedule, min_images: int, now: datetime
) -> FinetuneRun | None:
    schedule = store.finetunes.find_schedule(project) or default
    slot = _due_slot(store, project, schedule, min_images, now)
    if slot is None:
        return None
    corrections = store.corrections.count(project)
    run = store.finetunes.request(f"finetune-{slot}", project, corrections=corrections)
    if run is not None:
        logger.info("project %d is to be fine-tuned (%s)", project.project_id, run.slot)
    return run


def new_holder() -> str:
    """A name for a process that drives runs."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def run(context: JobContext, stop: threading.Event) -> None:
    """Request what is due and drive it, one run at a time, until `stop` is set; then a run is left for later.

    Call it from the main thread: the kernel ends a training process with the thread that started it.
    """
    if context.settings.finetune_cron is not None:
        check_cron(context.settings.finetune_cron)
    clock = threading.Thread(target=_keep_looking, args=(context, stop), name="schedule", daemon=True)
    clock.start()
    holder = new_holder()
    while not stop.is_set():
        try:
            claimed = context.store.finetunes.claim(holder, LEASE_S)
            if claimed is not None:
                drive(context, claimed, holder, stop.is_set)
                continue
        except LabelingError as error:
            logger.warning("fine-tuning is postponed: %s", error)
        stop.wait(TICK_S)
    clock.join()


def _keep_looking(context: JobContext, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            request_due(context.settings, context.store, datetime.now(UTC))
            beat(context.connection, SCHEDULER)
        except LabelingError as error:
            logger.warning("the schedule is looked at later: %s", error)
        except Exception:  # it must not end unseen
            logger.exception("the schedule is looked at later")
        stop.wait(LOOK_S)


def _due_slot(store: Store, project: Project, schedule: FinetuneSchedule, min_images: int, now: datetime) -> str | None:
    """The name of the turn that has come, the same in every copy of the scheduler; None if there is none."""
    if schedule.corrections is None and schedule.cron is None:
        return None
    runs = store.finetunes.newest(project=project)
    if runs and runs[0].ended_at is None:
        return None
    counted = [run for run in runs if not _would_be_decided(run, min_images)]
    # also after one that was stopped: else it would be requested again at once, by the corrections that it was for
    if _are_enough(store, project, schedule, runs):
        return f"p{project.id}-after-run-{runs[0].id if runs else 0}"
    if schedule.cron is not None and store.corrections.count(project, since=_learnt_at(counted)):
        turn: datetime = croniter(schedule.cron, now + timedelta(microseconds=1)).get_prev(datetime)
        if now - turn < CATCH_UP:
            return f"p{project.id}-{turn:%Y-%m-%dT%H:%M}"
    if counted != runs and _are_enough(store, project, schedule, counted):  # once, as the slot's name is the same again
        return f"p{project.id}-after-run-{counted[0].id if counted else 0}-with-{min_images}-images"
    return None


def _are_enough(store: Store, project: Project, schedule: FinetuneSchedule, runs: Sequence[FinetuneRun]) -> bool:
    """Whether so many corrections came since the newest of these runs."""
    if schedule.corrections is None:
        return False
    return store.corrections.count(project, since=runs[0].created_at if runs else None) >= schedule.corrections


def _would_be_decided(run: FinetuneRun, min_images: int) -> bool:
    """Whether the run ended before it learnt, because of a limit that was higher than it is now."""
    images = (run.report or {}).get("gate", {}).get("holdout_images")
    return run.status == "refused" and images is not None and images >= min_images


def _learnt_at(runs: Sequence[FinetuneRun]) -> datetime | None:
    """From when on corrections are news to the clock: what stopped and failed runs were for, is still to be learnt."""
    ended = [run for run in runs if run.status != "stopped"]
    failed = list(takewhile(lambda run: run.status == "failed", ended))
    last = ended if len(failed) >= FAILURES else ended[len(failed) :]
    return last[0].created_at if last else None
