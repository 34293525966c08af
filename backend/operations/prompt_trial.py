"""Try wordings of a label's prompt on tasks that people have annotated, and measure which one finds the label.

Where a GPU worker lives, a trial is a row and a job of its; elsewhere the model is loaded and asked right here.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from argenseg_model.known_names import KnownNames
from labeling.answers import Answer
from labeling.errors import LabelConfigError, LabelingError
from labeling.prompts.label_config import parse_label_config
from labeling.prompts.wording import split_prompts
from labeling.settings import Settings
from labeling.store import Project, PromptTrial, Store, TrialTask
from labeling.trials.annotated_tasks import AnnotatedTask
from labeling.trials.measures import TaskMeasure, WordingResult, found_mask, measure, truth_masks
from labeling.trials.wordings import Wording, all_questions, find_label, make_wordings
from worker.errors import ModelLoadError, QueueFull, QueueUnreachable, WorkerError
from worker.projects.active_model import active_model
from worker.queue.connection import Connection
from worker.queue.queues import GPU, enqueue_trial, live_workers

logger = logging.getLogger(__name__)

MOST_WORDINGS, MOST_TASKS, LONGEST = 10, 200, 500  # of a trial; the last in characters of a wording
MOST_OPEN = 5  # of a project at a time


@dataclass(frozen=True)
class TriedTask:
    """One task went through. `problem` says why it counts for nothing; `seconds` is what the model took."""

    task_id: int
    seconds: float = 0.0
    problem: str | None = None


@dataclass(frozen=True)
class TrialReport:
    """How the wordings of a trial did so far, and the tasks that went through."""

    results: tuple[WordingResult, ...]
    tried: tuple[TriedTask, ...]


def has_worker(connection: "Connection") -> bool:
    """Whether a GPU worker lives that would take a trial."""
    try:
        return live_workers(connection, GPU) > 0
    except QueueUnreachable:
        return False


def request_trial(
    settings: Settings,
    store: Store,
    queue: Callable[[int], object],
    project: Project,
    label_name: str | None,
    texts: Sequence[str],
    *,
    limit: int,
    who: str,
) -> PromptTrial:
    """Ask the GPU worker to try the label's prompts of now and each of `texts`, with the project's active model.

    `queue` gets a new one's number, see `queue_trial`; one that is open for the same is that one. LabelConfigError if
    the label is none of the project's, there is nothing to try, or too much, or MOST_OPEN of the project are open.
    """
    config = parse_label_config(project.label_config)
    wordings = make_wordings(*find_label(config, label_name), texts)
    _check(wordings, texts, limit)
    model, asked = active_model(settings, store, project), [each.to_json() for each in wordings]
    is_open = store.trials.open_ones(project)
    for each in is_open:  # a button that was pressed twice
        if (each.label, list(each.wordings), each.model, each.task_limit) == (label_name, asked, model, limit):
            return each
    if len(is_open) >= MOST_OPEN:
        raise LabelConfigError(f"{len(is_open)} trials of this project are open already. Wait for one, or cancel it.")
    trial = store.trials.request(project, label_name, asked, model=model, limit=limit, who=who)
    queue(trial.id)
    return trial


def queue_trial(connection: "Connection", trial_id: int) -> None:
    """Make a trial a job; where that cannot be done just now, the sweeper does it later."""
    try:
        enqueue_trial(connection, trial_id)
    except (QueueFull, QueueUnreachable) as error:
        logger.warning("trial %d is queued later: %s", trial_id, error)


def _check(wordings: Sequence[Wording], texts: Sequence[str], limit: int) -> None:
    if not any(split_prompts(text) for text in texts) and not wordings:
        raise LabelConfigError('There is nothing to try. Give wordings, such as "every cell".')
    if len(wordings) > MOST_WORDINGS:
        raise LabelConfigError(f"{len(wordings)} wordings are too many for one trial: give at most {MOST_WORDINGS}.")
    if any(len(text) > LONGEST for text in texts):
        raise LabelConfigError(f"A wording is too long: give at most {LONGEST} characters.")
    if not 1 <= limit <= MOST_TASKS:
        raise LabelConfigError(f"A trial takes 1 to {MOST_TASKS} tasks, not {limit}.")


def report_trial(store: Store, trial: PromptTrial) -> TrialReport:
    """What a trial found so far."""
    return summarize(trial, store.trials.tasks(trial.id))


def summarize(trial: PromptTrial, tasks: Sequence[TrialTask]) -> TrialReport:
    """The same of its tasks."""
    results = tuple(WordingResult(Wording.from_json(each)) for each in trial.wordings)
    for task in tasks:
        for result, each in zip(results, task.measures, strict=False):  # none of a task that was not tried
            result.add(TaskMeasure(**each))
    tried = (TriedTask(each.task_id, each.seconds or 0.0, each.problem) for each in tasks if each.is_tried)
    return TrialReport(results, tuple(tried))


def seconds_per_question(tried: Sequence[TriedTask], results: Sequence[WordingResult]) -> float | None:
    """What the model took for a question about an image; None if no task could be used."""
    used = [task.seconds for task in tried if task.problem is None]
    asked = all_questions([result.wording for result in results])
    return sum(used) / (len(used) * len(asked)) if used else None


def unknown_words(result: WordingResult, names: KnownNames) -> list[str]:
    """A sentence about each prompt of a wording that a model of these names was not taught."""
    return [f'"{prompt}": {known}.' for prompt, known in result.wording.unknown(names).items()]


def to_json(trial_label: str | None, model: str, report: TrialReport, names: KnownNames) -> dict[str, Any]:
    """A trial's report, for programs. `names`: what the model was taught."""
    problems = [task for task in report.tried if task.problem is not None]
    return {
        "label": trial_label,
        "model": model,
        "tasks": len(report.tried) - len(problems),
        "left_out": [{"task": task.task_id, "problem": task.problem} for task in problems],
        "seconds_per_question": seconds_per_question(report.tried, report.results),
        "prompts": [result.to_json() | {"unknown": unknown_words(result, names)} for result in report.results],
    }


def try_wordings(
    tasks: Sequence[AnnotatedTask],
    results: Sequence[WordingResult],
    fetch: Callable[[AnnotatedTask], Path],
    segment: Callable[[Path, Sequence[str]], Sequence[Answer]],
) -> Iterator[TriedTask]:
    """Ask all wordings about each task here, and add to `results`; a task that cannot be used is reported and left out.

    `fetch` gives a task's image file, `segment` the model's answers to prompts. ModelLoadError: there is no model.
    """
    asked = all_questions([result.wording for result in results])
    for task in tasks:
        try:
            image = fetch(task)
            began = time.monotonic()
            answers = dict(zip(asked, segment(image, asked), strict=True))
            seconds = time.monotonic() - began
        except ModelLoadError:
            raise
        except (LabelingError, WorkerError) as error:
            yield TriedTask(task.task_id, problem=str(error))
            continue
        truth = truth_masks(task.regions)
        shape = next(iter(answers.values())).mask.shape
        if any(mask.shape != shape for mask in truth):
            yield TriedTask(task.task_id, problem="its annotation was drawn on an image of another size")
            continue
        for result in results:
            result.add(measure(result.wording, found_mask(result.wording, answers), truth))
        yield TriedTask(task.task_id, seconds)
