"""The commands finetune, models and scheduler."""

import shutil
import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from backend.console.command_line import print_table, start
from labeling.errors import LabelingError
from labeling.settings import Settings
from labeling.store.model_records import FinetuneRun, FinetuneSchedule, ModelVersion
from labeling.store.records import Project
from labeling.store.store import Store
from worker.finetune import scheduler as scheduling
from worker.finetune.progress import tell_progress, tell_verdict
from worker.finetune.promotion import promote as promote_version
from worker.finetune.promotion import roll_back, served_projects
from worker.finetune.run import LEASE_S, drive
from worker.queue.jobs import JobContext
from worker.wishes import label_studio_url

_ENDED = ("promoted", "refused", "failed", "stopped")
_project_option = click.option("--project", type=int, metavar="N", help="Label Studio's number of the project.")


@click.command()
@_project_option
@click.option("--from-corrections", is_flag=True, help="Learn from the corrections of the project, or of all.")
@click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Learn from this set.")
@click.option("--queue", is_flag=True, help="Leave the run to the scheduler instead of doing it here.")
@click.option("--stop", is_flag=True, help="Stop the open runs (of the project); their checkpoints stay.")
@click.option("--schedule", metavar="CRON", help="Times for this project, such as '0 3 * * *' (UTC); '' for never.")
@click.option("--every", type=click.IntRange(0), metavar="N", help="Also after N new corrections; 0 for never.")
@click.option("--use-default", is_flag=True, help="Forget this project's own schedule: FINETUNE_CRON and "
              "FINETUNE_CORRECTIONS hold again.")  # fmt: skip
def finetune(
    project: int | None, from_corrections: bool, manifest: Path | None, queue: bool, stop: bool, schedule: str | None,
    every: int | None, use_default: bool,
) -> None:  # fmt: skip
    """Teach the live model what was corrected; a gate decides whether the new version serves.

    Without options: the runs so far, and the schedules. --schedule and --every change one thing each, and leave the
    other as it is. Ctrl-C leaves a run to a scheduler, or to the same command given again, which go
    on from its checkpoint.

    \b
    Examples:
      argenseg finetune --project 3 --from-corrections
      argenseg finetune --project 3 --schedule "0 3 * * *" --every 50
      argenseg finetune --manifest set/manifest.jsonl
      argenseg finetune --stop
    """
    settings = start(log_level=None)
    with JobContext.open(settings) as context:
        found = None if project is None else _find_project(settings, context.store, project)
        if stop:
            click.echo(f"{context.store.stop_finetunes(found)} runs were asked to stop.")
        elif use_default or schedule is not None or every is not None:
            _set_schedule(settings, context.store, found, schedule, every, use_default)
        elif from_corrections or manifest is not None:
            _want(context, found, manifest, queue)
        else:
            _print_runs(settings, context.store.list_finetunes())
            click.echo(_tell_schedules(settings, context.store))


@click.command()
def scheduler() -> None:
    """Fine-tune when it is time (FINETUNE_CRON, FINETUNE_CORRECTIONS) or asked for. Any number of copies may run.

    Example: FINETUNE_CRON="0 3 * * *" argenseg scheduler
    """
    with JobContext.open(start()) as context, _stop_on_signal() as stop:
        scheduling.run(context, stop)


@click.group()
def models() -> None:
    """The fine-tuned model versions: look at them, choose which one serves, go back.

    Example: argenseg models list
    """


@models.command("list")
def list_models() -> None:
    """All versions, the newest first. Example: argenseg models list"""
    settings = start(log_level="WARNING")
    with _store(settings) as store:
        headers = ("version", "learnt from", "state", "serves", "IoU before → after", "made")
        print_table(headers, [_model_row(store, version) for version in store.list_models()])
        if store.live_model() is None:
            click.echo(f"By default {settings.model} serves (ARGENSEG_MODEL).")


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """A version's report. Example: argenseg models show starter-1.1"""
    with _store(start(log_level="WARNING")) as store:
        version = store.get_model(name)
        click.echo(f"{version.name}: {version.state}, learnt from {version.parent}, in {version.folder}")
        report = version.report or {}
        for reason in report.get("gate", {}).get("reasons", ["It was not judged."]):
            click.echo(f"  {reason}")
        if Path(report.get("html", "")).is_file():  # it goes with what is deleted on request
            click.echo(f"Pictures and plots: {report['html']}")


@models.command()
@click.argument("name")
@_project_option
@click.option("--yes", is_flag=True, help="Do not ask, also for a version that the gate did not accept.")
def promote(name: str, project: int | None, yes: bool) -> None:
    """Let NAME serve a project, or all that have no version of their own; `base` is the model of the settings.

    Open tasks are predicted first, then annotators see the new masks. Exit code 1: it serves new work, but in some
    project annotators go on seeing what they saw, because they would lose masks; it is said why.

    Example: argenseg models promote starter-1.1
    """
    settings = start()
    with _store(settings) as store:
        found = None if project is None else _find_project(settings, store, project)
        asks = _say_promotion(settings, store, None if name == "base" else store.get_model(name), found)
        if asks and not yes:
            click.confirm("Go on?", abort=True)
        unseen = promote_version(settings, store, None if name == "base" else name, found)
    _say_what_serves(f"{name} serves {_where(project)}", unseen)


@models.command()
@_project_option
def rollback(project: int | None) -> None:
    """Go back to the version that served before. Open tasks that came since are predicted with it first.

    Exit code 1 as of promote: it serves new work, but in some project annotators go on seeing what they saw.

    Example: argenseg models rollback --project 3
    """
    settings = start()
    with _store(settings) as store:
        found = None if project is None else _find_project(settings, store, project)
        version, unseen = roll_back(settings, store, found)
        serves = settings.model if version is None else version.name
    _say_what_serves(f"{serves} serves {_where(project)} again", unseen)


@models.command()
@click.argument("name")
@click.confirmation_option(prompt="Its weights are deleted; its report stays. Go on?")
def delete(name: str) -> None:
    """Delete the weights of a version that serves nothing. Example: argenseg models delete starter-1.1 --yes"""
    with _store(start(log_level="WARNING")) as store:
        version = store.delete_model(name)
        shutil.rmtree(version.folder, ignore_errors=True)
    click.echo(f"The weights of {name} are gone.")


def _where(project: int | None) -> str:
    return "by default" if project is None else f"project {project}"


def _say_what_serves(what: str, unseen: list[str]) -> None:
    """Exits 1 where annotators go on seeing something else, which `unseen` says."""
    if unseen:
        click.echo(f"{what}, but what annotators see did not move everywhere:")
        for sentence in unseen:
            click.echo(f"  {sentence}")
        raise click.exceptions.Exit(1)
    click.echo(f"{what}.")


def _say_promotion(settings: Settings, store: Store, version: ModelVersion | None, project: Project | None) -> bool:
    """Say what a promotion will do and what speaks against it; whether a person should think twice."""
    is_doubtful = version is not None and version.state != "accepted"
    if version is not None and is_doubtful:
        reasons = ((version.report or {}).get("gate") or {}).get("reasons", [])
        word = "refused it" if version.state == "refused" else "has not judged it"
        click.echo(f"The gate {word}. {' '.join(reasons)}".rstrip())
    served = served_projects(settings, store, project)
    if served:
        numbers = ", ".join(str(each.project_id) for each in served)
        click.echo(f"The open tasks of project {numbers} are predicted with it, then annotators see it there.")
    elif settings.label_studio_url is None or settings.label_studio_api_key is None:
        click.echo("LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY are not both set: no task is predicted, no pin is moved.")
    else:
        click.echo("No project here is without a version of its own: it serves those to come.")
    return is_doubtful or (project is None and bool(served))


def _want(context: JobContext, project: Project | None, manifest: Path | None, queue: bool) -> None:
    store, settings = context.store, context.settings
    corrections = 0 if project is None else store.count_corrections(project)
    path = None if manifest is None else str(manifest.absolute())
    run = store.want_finetune(f"finetune-by-hand-{uuid.uuid4().hex}", project, corrections=corrections, manifest=path)
    if run is None and not queue and (run := _find_open_run(store, project, path)) is not None:
        click.echo(f"Run {run.id} is open already: going on with it.")
        if run.not_before is not None:
            click.echo(f"It {tell_progress(settings, run)}: {run.error}")
    if run is None:
        raise click.ClickException("A run for this is open already. See argenseg finetune, or stop it with --stop.")
    if not queue:
        with _stop_on_signal() as stop:
            run = _drive_here(context, run, stop)
    _print_runs(settings, [run])
    if not queue and run.status == "wanted":
        click.echo("It was interrupted. A scheduler goes on with it, or the same command again.")
    if run.status == "failed":
        raise click.exceptions.Exit(1)


def _find_open_run(store: Store, project: Project | None, manifest: str | None) -> FinetuneRun | None:
    same = (run for run in store.list_finetunes() if run.project == project and run.manifest == manifest)
    return next((run for run in same if run.status not in _ENDED), None)


def _drive_here(context: JobContext, run: FinetuneRun, stop: threading.Event) -> FinetuneRun:
    """Drive what is wanted until our run has ended, here or in a scheduler that was faster."""
    holder = scheduling.new_holder()
    while run.status not in _ENDED and not stop.is_set():
        claimed = context.store.claim_finetune(holder, LEASE_S)
        if claimed is not None:
            drive(context, claimed, holder, stop.is_set)
        else:
            stop.wait(scheduling.TICK_S)
        run = context.store.get_finetune(run.id)
    return run


def _set_schedule(
    settings: Settings, store: Store, project: Project | None, cron: str | None, every: int | None, use_default: bool
) -> None:
    """Change what is given, and leave the rest as it is in force: the project's own schedule, else the default."""
    if project is None:
        raise click.UsageError("A schedule is a project's: give --project N (for all: FINETUNE_CRON).")
    if use_default:
        if cron is not None or every is not None:
            raise click.UsageError("--use-default forgets the project's schedule: give no other one with it.")
        store.set_finetune_schedule(project, None)
    else:
        schedule = store.find_finetune_schedule(project) or _default_schedule(settings)
        if cron is not None:
            schedule = replace(schedule, cron=scheduling.check_cron(cron) if cron else None)
        if every is not None:
            schedule = replace(schedule, corrections=every or None)
        store.set_finetune_schedule(project, schedule)
    own = store.find_finetune_schedule(project)
    told = _tell_schedule(own or _default_schedule(settings))
    click.echo(f"Project {project.project_id}: {told}{'' if own else ', by default'}.")


def _default_schedule(settings: Settings) -> FinetuneSchedule:
    return FinetuneSchedule(settings.finetune_cron, settings.finetune_corrections)


def _tell_schedules(settings: Settings, store: Store) -> str:
    """One line: the default, and the projects that have a schedule of their own."""
    own = [(each.project_id, store.find_finetune_schedule(each)) for each in store.list_projects()]
    told = [f"project {number}: {_tell_schedule(schedule)}" for number, schedule in own if schedule is not None]
    return "Schedule: " + "; ".join([*told, f"by default: {_tell_schedule(_default_schedule(settings))}"])


def _tell_schedule(schedule: FinetuneSchedule) -> str:
    times = [] if schedule.cron is None else [f"at {schedule.cron} (UTC)"]
    times += [] if schedule.corrections is None else [f"after {schedule.corrections} new corrections"]
    return " and ".join(times) or "never"


def _print_runs(settings: Settings, runs: list[FinetuneRun]) -> None:
    headers = ("run", "project", "status", "made", "from", "begun", "said")
    print_table(headers, (_run_row(settings, run) for run in runs))


def _model_row(store: Store, version: ModelVersion) -> tuple[object, ...]:
    checks = ((version.report or {}).get("gate") or {}).get("checks") or []
    iou = f"{checks[0]['live']:.3f} → {checks[0]['candidate']:.3f}" if checks else "–"
    serves = ", ".join(store.live_projects(version.name))
    return version.name, version.parent, version.state, serves, iou, f"{version.created_at:%Y-%m-%d %H:%M}"


def _run_row(settings: Settings, run: FinetuneRun) -> tuple[object, ...]:
    project = "–" if run.project is None else run.project.project_id
    said = tell_progress(settings, run) if run.status == "running" else " ".join(tell_verdict(run))
    begun = f"{run.created_at:%m-%d %H:%M}"
    return run.id, project, run.status, run.candidate or "–", run.base or "–", begun, said


def _find_project(settings: Settings, store: Store, number: int) -> Project:
    found = store.find_project(number, label_studio_url(settings))
    if found is None:
        raise LabelingError(f"Project {number} is not known here. Connect it to the backend, or open one of its tasks.")
    return found


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings.database_url, settings.blob_url) as store:
        yield store


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    stop = threading.Event()
    previous = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
