"""Runs of fine-tuning and their schedules, as a terminal shows and drives them."""

from pathlib import Path

import click

from backend.console.command_line import note_action, print_table, stop_on_signal
from backend.operations.training import (
    change_schedule,
    default_schedule,
    drive_here,
    request_run,
    schedule_in_force,
    tell_schedule,
)
from labeling.extras import require_extra
from labeling.settings import Settings
from labeling.store import FinetuneRun, Project, Store
from worker.context import JobContext
from worker.finetune.progress import tell_progress, tell_verdict


def show(settings: Settings, store: Store) -> None:
    """The runs so far, and the schedules."""
    _print_runs(settings, store.finetunes.newest())
    click.echo(_tell_schedules(settings, store))


def request(context: JobContext, project: Project | None, manifest: Path | None, queue: bool) -> None:
    """Ask for a run and drive it here, or leave it to the scheduler; exits 1 where it fails, or one is open already."""
    store, settings = context.store, context.settings
    requested = request_run(settings, store, project, manifest)
    run = requested.run
    if not requested.was_open:
        whose = "all projects" if project is None else f"project {project.project_id}"
        note_action(store, "start", f"run {run.id} of {whose}")
    if requested.was_open and queue:
        raise click.ClickException("A run for this is open already. See argenseg finetune, or stop it with --stop.")
    if requested.was_open:
        click.echo(f"Run {run.id} is open already: going on with it.")
        if run.not_before is not None:
            click.echo(f"It {tell_progress(settings, run)}: {run.error}")
    if not queue:
        require_extra("worker", "Training")
        with stop_on_signal() as stop:
            run = drive_here(context, run, stop)
    _print_runs(settings, [run])
    if not queue and run.status == "requested":
        click.echo("It was interrupted. A scheduler goes on with it, or the same command again.")
    if run.status == "failed":
        raise click.exceptions.Exit(1)


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
        change_schedule(settings, store, project, cron=cron, every=every)
    reported = tell_schedule(schedule_in_force(settings, store, project))
    by_default = "" if store.finetunes.find_schedule(project) else ", by default"
    note_action(store, "schedule", f"project {project.project_id}: {reported}{by_default}")
    click.echo(f"Project {project.project_id}: {reported}{by_default}.")


def _tell_schedules(settings: Settings, store: Store) -> str:
    """One line: the default, and the projects that have a schedule of their own."""
    own = [(each.project_id, store.finetunes.find_schedule(each)) for each in store.projects.all()]
    reported = [f"project {number}: {tell_schedule(schedule)}" for number, schedule in own if schedule is not None]
    return "Schedule: " + "; ".join([*reported, f"by default: {tell_schedule(default_schedule(settings))}"])


def _print_runs(settings: Settings, runs: list[FinetuneRun]) -> None:
    headers = ("run", "project", "status", "made", "from", "begun", "said")
    empty = "No run was asked for yet: argenseg finetune --project N --from-corrections"
    print_table(headers, (_run_row(settings, run) for run in runs), if_empty=empty)


def _run_row(settings: Settings, run: FinetuneRun) -> tuple[object, ...]:
    project = "–" if run.project is None else run.project.project_id
    said = tell_progress(settings, run) if run.status == "running" else " ".join(tell_verdict(run))
    begun = f"{run.created_at:%m-%d %H:%M}"
    return run.id, project, run.status, run.candidate or "–", run.base or "–", begun, said
