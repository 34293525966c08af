"""A run over a project as a terminal shows it: what lies ahead, how it goes on, how it ended."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console

from backend.console.command_line import note_action
from backend.console.progress import follow
from backend.operations.projects import predict as predicting
from backend.operations.projects.predict import Outlook
from backend.operations.projects.progress import duration
from labeling.store import ProjectRun, RunOptions
from worker.errors import NothingToDo
from worker.projects import pinning
from worker.projects.open_project import OpenProject

_PROBED_TASKS = 3
_PROBE_S = 120.0
_SHOWN_TASKS = 10  # of those that failed for the same reason
_INTERRUPTED = 130  # a shell's exit code after Ctrl-C


def predict(
    project: OpenProject,
    console: Console,
    options: RunOptions,
    *,
    resume: bool,
    no_wait: bool,
    dry_run: bool,
    again: bool = False,
) -> None:
    """Begin a run, or go on with the last one and its own options, and show it to its end.

    `again`: what was drawn is deleted first. Exits 1 where tasks failed or lack their masks, or where the run was
    cancelled or another one took its place. NothingToDo where no task lacks masks.
    """
    begun = predicting.run_to_resume(project) if resume else None
    options = options if begun is None else begun.options
    earlier = 0 if begun is None else begun.requested
    limit = None if options.limit is None else max(options.limit - earlier, 0)  # two may have gone on with it at once
    if again:
        console.print(f"{predicting.redraw(project)} predictions of {project.version} are deleted, to be drawn again.")
    before = predicting.outlook(project, options, limit)
    if begun is None and not before.tasks and not options.pin and not dry_run:
        _say_nothing_to_do(project)
    console.print(f"Project {project.number} {project.title!r}, version {project.version}", soft_wrap=True)
    console.print(_outlook_text(project, before), soft_wrap=True)
    if dry_run:
        return
    with _interruptible(project, console):
        started = predicting.look(project)
        if begun is None:
            run = project.store.project_runs.begin(project.project, project.version, options)
            note_action(project.store, "start", f"predicting project {project.number}")
        elif begun.outcome is None:
            run = begun
        else:
            run = project.store.project_runs.resume(project.project, begun.id, project.version)
        total, is_estimated = before.under_way, before.seconds is not None or not before.workers
        for requested in predicting.request_missing(project, run, probed=0 if is_estimated else _PROBED_TASKS):
            total += requested
            if not is_estimated:
                _estimate(project, console, before)
                is_estimated = True
        if not no_wait:
            follow(project, console, started, total)
            _finish(project, console, run)
        else:
            console.print(
                f"{total} tasks are queued. See how they do: argenseg predict --project {project.number} --resume"
            )


def _say_nothing_to_do(project: OpenProject) -> NoReturn:
    """One line: all is drawn, or the rest failed before."""
    failed = len(predicting.failures(project))
    done = f"Project {project.number} {project.title!r}: no task lacks masks of {project.version}"
    if failed:
        raise NothingToDo(f"{done}, but for {failed} that failed: argenseg predict --project {project.number} --failed")
    raise NothingToDo(f"{done}. To draw them again: argenseg predict --project {project.number} --again")


def _outlook_text(project: OpenProject, before: Outlook) -> str:
    share = project.requests.blind_share
    blind = f", {share:.0%} of them left blind (BLIND_SHARE)," if share else ""
    if not before.tasks:
        return f"None of its {project.task_count} tasks{blind} lacks masks of it."
    texts = [f"{before.tasks} of its {project.task_count} tasks{blind} lack masks of it"]
    if before.under_way:
        texts[0] += f" ({before.under_way} of them are queued already)"
    if before.ahead:
        texts.append(f"{before.ahead} other jobs are ahead in the queue")
    if before.pace is not None and before.seconds is not None:
        pace = f"{before.pace.seconds_per_task:.2g} s a task, measured on {before.pace.tasks}"
        texts.append(f"about {duration(before.seconds)} ({pace})")
    if not before.workers:
        texts.append("no worker is running: start argenseg up, or argenseg worker")
    return "; ".join(texts) + "."


def _estimate(project: OpenProject, console: Console, before: Outlook) -> None:
    """Wait for the first few tasks, and tell from them how long all will take."""
    deadline = time.monotonic() + _PROBE_S
    while predicting.look(project).requested > before.under_way and time.monotonic() < deadline:
        time.sleep(0.2)
    if (pace := predicting.known_pace(project)) is not None:
        seconds = (before.tasks + before.ahead) * pace.seconds_per_task
        console.print(f"About {duration(seconds)}: {pace.seconds_per_task:.2g} s a task in the first {pace.tasks}.")


def retry_failed(project: OpenProject, console: Console, *, no_wait: bool) -> None:
    """Try the tasks that failed again; exits 1 where some fail once more."""
    tried, gone = predicting.retry_failed(project)
    if not tried and not gone:
        raise NothingToDo("No task failed.")
    console.print(f"{tried} tasks are tried again." + (f" {gone} are gone from Label Studio." if gone else ""))
    if tried and not no_wait:
        with _interruptible(project, console):
            started = predicting.look(project)
            follow(project, console, started, started.under_way)
            if say_failures(project, console, shown_tasks=_SHOWN_TASKS):
                sys.exit(1)


def _finish(project: OpenProject, console: Console, run: ProjectRun) -> None:
    """Compare what arrived with what was wanted, move the pin if that was asked for, and say what annotators see.

    Exits 1 where tasks failed, or lack their masks in Label Studio all the same; or where the run was cancelled, or
    another one took its place.
    """
    last = project.store.project_runs.find_last(project.project)
    if last is None or last.id != run.id:  # of somebody else, or of a promotion
        again = f"argenseg predict --project {project.number}{' --pin' if run.options.pin else ''}"
        console.print(f"Another run over the project took over from this one. When it has ended: {again}")
        sys.exit(1)
    if last.outcome == "cancelled":
        console.print(f"The run was cancelled. Go on with it: argenseg predict --project {project.number} --resume")
        sys.exit(1)
    held = project.client.prediction_counts(project.number).get(project.version, 0)
    console.print(f"Label Studio holds {held} predictions of {project.version}.", soft_wrap=True)
    failed = say_failures(project, console, shown_tasks=_SHOWN_TASKS)
    if lacking := predicting.missing(project, run.options):
        again = f"argenseg predict --project {project.number}"
        console.print(f"{lacking} tasks have none all the same: they are new, or were lost. Go on: {again}")
    pin = f"argenseg versions pin --project {project.number}"
    if run.options.pin and not failed and not lacking:
        pinning.pin(project, project.version)
        console.print("Annotators see them from now on, whatever becomes of the backend.")
    elif run.options.pin:
        why = "tasks failed. Retry those" if failed else "tasks lack them. Go on"
        console.print(f"They are not pinned, because {why}, or pin all the same: {pin}", soft_wrap=True)
    elif held:
        _say_what_is_seen(project, console, pin)
    project.store.project_runs.end(project.project, "finished")  # till now, new tasks got its version too
    if failed or lacking:
        sys.exit(1)


def _say_what_is_seen(project: OpenProject, console: Console, pin: str) -> None:
    shown = pinning.shown_version(project)
    if shown not in ("", project.version):
        console.print(f"Annotators still see {shown}: {pin}", soft_wrap=True)
    elif project.shown != shown:  # "live"
        console.print(
            "Annotators see them as long as the backend answers. Pinned, they always do, and uncertainty sampling"
            f" works: {pin}",
            soft_wrap=True,
        )


def say_failures(project: OpenProject, console: Console, *, shown_tasks: int | None) -> bool:
    """The failed tasks by their reasons; whether there are any."""
    failed = predicting.failures(project)
    _say(predicting.reasons(failed), "failed", console, shown_tasks=shown_tasks)
    if failed:
        console.print(f"Try them again: argenseg predict --project {project.number} --retry-failed")
    elif shown_tasks is None:
        console.print("No task failed.")
    return bool(failed)


def say_postponed(project: OpenProject, console: Console) -> None:
    """The postponed tasks by their reasons."""
    delayed = project.store.progress.delayed_tasks(project.project)
    _say(predicting.reasons(delayed), "postponed", console, shown_tasks=None)


def cancel(project: OpenProject, console: Console) -> None:
    """Take back what is not begun yet."""
    taken_back = predicting.cancel(project)
    if not taken_back:
        raise NothingToDo("No task waits that was not begun.")
    note_action(project.store, "cancel", f"predicting project {project.number}")
    console.print(f"{taken_back} tasks are taken back. What is begun is still computed and sent.")


def _say(reasons: list[tuple[str, list[int]]], what: str, console: Console, *, shown_tasks: int | None) -> None:
    for reason, tasks in reasons:
        numbers = ", ".join(map(str, tasks[:shown_tasks])) + (", …" if tasks[:shown_tasks] != tasks else "")
        console.print(f"{len(tasks)} {what}: {reason} (task {numbers})", soft_wrap=True)


@contextmanager
def _interruptible(project: OpenProject, console: Console) -> Iterator[None]:
    """Ctrl-C says that the work goes on, and how to come back to it."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(
            "\nThe queue goes on working. Look again: "
            f"argenseg predict --project {project.number} --resume\nStop it: "
            f"argenseg predict --project {project.number} --cancel",
            soft_wrap=True,
        )
        sys.exit(_INTERRUPTED)
