"""Wordings of a prompt, tried on annotated tasks and compared in a table."""

import json
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click
from rich.progress import track

from backend.console import command_line
from backend.operations import prompt_trial as trial
from labeling.errors import LabelingError
from labeling.label_studio.images import fetch_image
from labeling.prompts.label_config import parse_label_config
from labeling.settings import Settings
from labeling.versions import weights_name
from worker.errors import SegmentationRefused, WorkerError
from worker.gpu_worker.model_child import ARGENSEG, ModelOptions, Question
from worker.gpu_worker.model_process import ModelProcess, SegmentedPrompt
from worker.projects.active_model import active_model_of
from worker.projects.open_project import require_client

_SHOWN_PROBLEMS = 5


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
    """`argenseg prompts try` with read settings. `loader` makes the segmenter in the model process (ModelOptions)."""
    model = model or active_model_of(settings, number)
    with closing(require_client(settings)) as client:
        config = parse_label_config(str(client.get_project(number)["label_config"]))
        control, label = trial.find_label(config, label_name)
        results = [trial.WordingResult(each) for each in trial.make_wordings(control, label, texts)]
        if not results:
            raise WorkerError('There is nothing to try. Give wordings, such as --prompt "every cell".')
        tasks = trial.annotated_tasks(client, number, config, label, limit)
        if not tasks:
            raise WorkerError(f"Project {number} has no submitted annotation to compare with. Annotate some first.")

        def fetch(task: trial.AnnotatedTask) -> Path:
            reference = task.data.get(config.image_key)
            if not isinstance(reference, str) or not reference:
                raise LabelingError(f'its data has no text under "{config.image_key}"')
            return fetch_image(reference, client, settings, task_id=task.task_id)

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
    _report(results, tried, label.label, weights_name(model)[0], as_json)


def _report(
    results: list[trial.WordingResult], tried: list[trial.TriedTask], label: str | None, model: str, as_json: bool
) -> None:
    problems = [task for task in tried if task.problem is not None]
    used = len(tried) - len(problems)
    seconds = trial.seconds_per_question(tried, results)
    if as_json:
        left_out = [{"task": task.task_id, "problem": task.problem} for task in problems]
        wordings = [result.to_json() for result in results]
        report = {"label": label, "model": model, "tasks": used, "left_out": left_out, "seconds_per_question": seconds}
        click.echo(json.dumps(report | {"prompts": wordings}, ensure_ascii=False, indent=2))
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
    for task in problems[:_SHOWN_PROBLEMS]:
        click.echo(f"Task {task.task_id} is left out: {task.problem}")
    if len(problems) > _SHOWN_PROBLEMS:
        click.echo(f"So are {len(problems) - _SHOWN_PROBLEMS} more.")
