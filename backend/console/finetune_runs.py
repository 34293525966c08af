"""Runs of fine-tuning and their schedules, as a terminal shows and drives them."""

import threading
import uuid
from dataclasses import replace
from pathlib import Path

import click

from backend.console.command_line import print_table, stop_on_signal
from labeling.extras import require_extra
from labeling.settings import Settings
from labeling.store import FinetuneRun, FinetuneSchedule, Project, Store
from worker.context import JobContext
from worker.finetune import scheduler as scheduling
from worker.finetune.progress import tell_progress, tell_verdict
from worker.finetune.run import LEASE_S, drive

_ENDED = ("promoted", "refused", "failed", "stopped")


def show(settings: Settings, store: Store) -> None:
    """The runs so far, and the schedules."""
    _print_runs(settings, store.finetunes.newest())
    click.echo(_tell_schedules(settings, store))


def request(context: JobContext, project: Project | None, manifest: Path | None, queue: bool) -> None:
    """Ask for a run and drive it here, or leave it to the scheduler; exits 1 where it fails, or one is open already."""
    store, settings = context.store, context.settings
    corrections = 0 if project is None else store.corrections.count(project)
    path = None if manifest is None else str(manifest.absolute())
    run = store.finetunes.request(
        f"finetune-by-hand-{uuid.uuid4().hex}", project, corrections=corrections, manifest=path
    )
    if run is None and not queue and (run := _find_open_run(store, project, path)) is not None:
        click.echo(f"Run {run.id} is open already: going on with it.")
        if run.not_before is not None:
            click.echo(f"It {tell_progress(settings, run)}: {run.error}")
    if run is None:
        raise click.ClickException("A run for this is open already. See argenseg finetune, or stop it with --stop.")
    if not queue:
        require_extra("worker", "Training")
        with stop_on_signal() as stop:
            run = _drive_here(context, run, stop)
    _print_runs(settings, [run])
    if not queue and run.status == "requested":
        click.echo("It was interrupted. A scheduler goes on with it, or the same command again.")
    if run.status == "failed":
        raise click.exceptions.Exit(1)


def _find_open_run(store: Store, project: Project | None, manifest: str | None) -> FinetuneRun | None:
    same = (run for run in store.finetunes.newest() if run.project == project and run.manifest == manifest)
    return next((run for run in same if run.status not in _ENDED), None)


def _drive_here(context: JobContext, run: FinetuneRun, stop: threading.Event) -> FinetuneRun:
    """Drive what is wanted until our run has ended, here or in a scheduler that was faster."""
    holder = scheduling.new_holder()
    while run.status not in _ENDED and not stop.is_set():
        claimed = context.store.finetunes.claim(holder, LEASE_S)
        if claimed is not None:
            drive(context, claimed, holder, stop.is_set)
        else:
            stop.wait(scheduling.TICK_S)
        run = context.store.finetunes.get(run.id)
    return run


def set_schedule(
    settings: Settings, store: Store, project: Project | None, cron: str | None, every: int | None, use_default: bool
) -> None:
    """Change what is given, and leave the rest as it is in force: the project's own schedule, else the default."""
    if project is None:
        raise click.UsageError("A schedule is a project's: give --project N (for all: FINETUNE_CRON).")
    if use_default:
        if cron is not None or every is not None:
            raise click.UsageError("--use-default forgets the project's schedule: give no other one with it.")
        store.finetunes.set_schedule(project, None)
    else:
        schedule = store.finetunes.find_schedule(project) or _default_schedule(settings)
        if cron is not None:
            schedule = replace(schedule, cron=scheduling.check_cron(cron) if cron else None)
        if every is not None:
            schedule = replace(schedule, corrections=every or None)
        store.finetunes.set_schedule(project, schedule)
    own = store.finetunes.find_schedule(project)
    reported = _tell_schedule(own or _default_schedule(settings))
    click.echo(f"Project {project.project_id}: {reported}{'' if own else ', by default'}.")


def _default_schedule(settings: Settings) -> FinetuneSchedule:
    return FinetuneSchedule(settings.finetune_cron, settings.finetune_corrections)


def _tell_schedules(settings: Settings, store: Store) -> str:
    """One line: the default, and the projects that have a schedule of their own."""
    own = [(each.project_id, store.finetunes.find_schedule(each)) for each in store.projects.all()]
    reported = [f"project {number}: {_tell_schedule(schedule)}" for number, schedule in own if schedule is not None]
    return "Schedule: " + "; ".join([*reported, f"by default: {_tell_schedule(_default_schedule(settings))}"])


def _tell_schedule(schedule: FinetuneSchedule) -> str:
    times = [] if schedule.cron is None else [f"at {schedule.cron} (UTC)"]
    times += [] if schedule.corrections is None else [f"after {schedule.corrections} new corrections"]
    return " and ".join(times) or "never"


def _print_runs(settings: Settings, runs: list[FinetuneRun]) -> None:
    headers = ("run", "project", "status", "made", "from", "begun", "said")
    print_table(headers, (_run_row(settings, run) for run in runs))


def _run_row(settings: Settings, run: FinetuneRun) -> tuple[object, ...]:
    project = "–" if run.project is None else run.project.project_id
    said = tell_progress(settings, run) if run.status == "running" else " ".join(tell_verdict(run))
    begun = f"{run.created_at:%m-%d %H:%M}"
    return run.id, project, run.status, run.candidate or "–", run.base or "–", begun, said
