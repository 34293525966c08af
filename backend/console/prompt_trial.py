"""Wordings of a prompt, tried on annotated tasks and compared in a table."""

import getpass
import json
import time
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import click
from rich.progress import Progress, track

from argenseg_model.known_names import KnownNames
from backend.console import command_line
from backend.operations import prompt_trial as trial
from labeling.label_studio.images import fetch_image
from labeling.prompts.known import known_names
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.store import PromptTrial, Store
from labeling.trials.annotated_tasks import AnnotatedTask, annotated_tasks
from labeling.trials.measures import WordingResult
from labeling.trials.wordings import find_label, make_wordings
from labeling.versions import weights_name
from worker.errors import SegmentationRefused, WorkerError
from worker.gpu_worker.model_child import ARGENSEG, ModelOptions, Question
from worker.gpu_worker.model_process import ModelProcess, SegmentedPrompt
from worker.projects.active_model import active_model_of
from worker.projects.open_project import require_client
from worker.queue.connection import connect

_SHOWN_PROBLEMS = 5
_LOOK_S = 0.5
_REDIS_S = 2.0


def try_by_worker(
    settings: Settings, number: int, label_name: str | None, texts: tuple[str, ...], limit: int, *, as_json: bool
) -> bool:
    """`argenseg prompts try` as a job of the GPU worker; False, and nothing is done, where none lives here or the
    project is not known to it yet. Ctrl-C cancels the trial.
    """
    connection = connect(settings, timeout_s=_REDIS_S)
    if not trial.has_worker(connection):
        return False
    with Store.open(settings.database_url, settings.blob_url) as store:
        project = store.projects.find(number, settings.installation_url)
        if project is None:
            return False
        asked = trial.request_trial(
            settings,
            store,
            partial(trial.queue_trial, connection),
            project,
            label_name,
            texts,
            limit=limit,
            who=getpass.getuser(),
        )
        ended = _wait(store, asked)
        if ended.status != "done":
            raise WorkerError(f"Trial {ended.id} {ended.status}. {ended.error or ''}".rstrip())
        report = trial.report_trial(store, ended)
    _report(report, ended.label, weights_name(ended.model)[0], known_names(settings, ended.model), as_json)
    return True


def _wait(store: Store, asked: PromptTrial) -> PromptTrial:
    console = command_line.plain_console(stderr=True)
    try:
        with Progress(console=console, transient=True) as progress:
            bar = progress.add_task("The worker tries", total=None)
            while (now := store.trials.get(asked.id)).is_open:
                progress.update(
                    bar, total=now.tasks or None, completed=now.done, description=now.error or "The worker tries"
                )
                time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        store.trials.cancel(asked.id)
        raise
    return now


def try_in_project(
    settings: Settings,
    number: int,
    label_name: str | None,
    texts: tuple[str, ...],
    limit: int,
    *,
    model: str | None = None,
    as_json: bool,
    loader: str | None = None,
) -> None:
    """`argenseg prompts try` with a model of its own. `loader` makes the segmenter in its process (ModelOptions)."""
    model = model or active_model_of(settings, number)
    with closing(require_client(settings)) as client:
        config = parse_label_config(str(client.get_project(number)["label_config"]))
        control, label = find_label(config, label_name)
        results = [WordingResult(each) for each in make_wordings(control, label, texts)]
        if not results:
            raise WorkerError('There is nothing to try. Give wordings, such as --prompt "every cell".')
        tasks = annotated_tasks(client, number, config, label.label, limit)
        if not tasks:
            raise WorkerError(f"Project {number} has no submitted annotation to compare with. Annotate some first.")

        def fetch(task: AnnotatedTask) -> Path:
            return fetch_image(task.image_reference(config), client, settings, task_id=task.task_id)

        def segment(image: Path, asked: Sequence[str]) -> list[SegmentedPrompt]:
            [answer] = process.segment([Question(image, tuple(asked))], settings.segment_timeout_s)
            if isinstance(answer, SegmentationRefused):
                raise answer
            return answer

        loader = loader or settings.model_loader or ARGENSEG
        options = ModelOptions(model, settings.device, settings.max_image_pixels, "WARNING", loader)
        with closing(ModelProcess(options)) as process:
            process.prepare()  # loading is not the questions' time
            trials = trial.try_wordings(tasks, results, fetch, segment)
            progress = command_line.plain_console(stderr=True)
            tried = list(track(trials, "Trying", len(tasks), console=progress, transient=True))
    report = trial.TrialReport(tuple(results), tuple(tried))
    _report(report, label.label, weights_name(model)[0], known_names(settings, model), as_json)


def _report(report: trial.TrialReport, label: str | None, model: str, names: KnownNames, as_json: bool) -> None:
    results, tried = report.results, report.tried
    problems = [task for task in tried if task.problem is not None]
    used = len(tried) - len(problems)
    seconds = trial.seconds_per_question(tried, results)
    if as_json:
        click.echo(json.dumps(trial.to_json(label, model, report, names), ensure_ascii=False, indent=2))
        return
    pace = "" if seconds is None else f", {seconds:.2f} s a question"
    click.echo(f"{model}: {used} annotated tasks{pace}" + (f", label {label}" if label else ""))
    rows = []
    for result in sorted(results, key=lambda result: -(result.mean_iou() or (0.0,))[0]):
        mean, f1, alarms = result.mean_iou(), result.object_f1(), result.false_alarms
        measured = "–" if mean is None else f"{mean[0]:.3f} ({mean[1]:.2f}–{mean[2]:.2f})"
        found = f"{sum(alarms)} of {len(alarms)}" if alarms else "–"
        wording = result.wording.text + (" (now)" if result.wording.is_current else "")
        cost = "–" if seconds is None else f"{seconds * len(result.wording.questions):.2f} s"
        rows.append((wording, measured, "–" if f1 is None else f"{f1:.3f}", found, cost))
    command_line.print_table(("prompt", "IoU (95 %)", "object F1", "false positives", "an image takes"), rows)
    for said in dict.fromkeys(said for result in results for said in trial.unknown_words(result, names)):
        click.echo(said)
    for task in problems[:_SHOWN_PROBLEMS]:
        click.echo(f"Task {task.task_id} is left out: {task.problem}")
    if len(problems) > _SHOWN_PROBLEMS:
        click.echo(f"So are {len(problems) - _SHOWN_PROBLEMS} more.")
