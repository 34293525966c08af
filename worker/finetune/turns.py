"""Whose turn it is to be fine-tuned: at the times of a project's cron expression, and after so many corrections.

At those times (UTC) only where something was corrected since a run last learnt; one that was missed is made up for
within the hour. A run that ended early, on a holdout that would be large enough by now, counts as if it had not been.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from croniter import CroniterError, croniter

from labeling.errors import LabelingError, SettingsError
from labeling.settings import Settings
from labeling.store import FinetuneRun, FinetuneSchedule, Project, Store

logger = logging.getLogger(__name__)

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
