"""Try wordings of a label's prompt on tasks that people have annotated, and measure which one finds the label."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from argenseg_model.instances import drop_small, label_instances
from argenseg_model.metrics import InstanceMatch, iou, match_instances
from labeling.answers import Answer, label_mask, questions
from labeling.corrections.annotated_regions import AnnotatedRegion, read_regions
from labeling.errors import LabelConfigError, LabelingError
from labeling.label_studio.client import LabelStudioClient
from labeling.prompts.label_config import Control, LabelConfig, LabelPrompt
from labeling.prompts.plan import PromptedLabel, PromptPlan
from labeling.prompts.wording import SEPARATOR, split_prompts
from worker.errors import ModelLoadError, WorkerError

_RESAMPLES = 2000


@dataclass(frozen=True)
class AnnotatedTask:
    """A task that somebody submitted. `regions` are those of the label; none: the label is absent from the image."""

    task_id: int
    data: dict[str, Any]
    regions: tuple[AnnotatedRegion, ...]


@dataclass(frozen=True)
class Wording:
    """A wording as it was given, and what it asks of the model: as if it stood in the label config, or as it does."""

    text: str
    items: tuple[PromptedLabel, ...]
    is_current: bool

    @property
    def questions(self) -> tuple[str, ...]:
        """What it asks of the model about each image, what is excluded too: each costs a pass."""
        return questions(PromptPlan(self.items))


@dataclass
class WordingResult:
    """How a wording did so far. `ious` are of the tasks that have the label, `matches` their objects at IoU >= 0.5.

    `false_alarms` says of each task that lacks the label whether something was found in it.
    """

    wording: Wording
    ious: list[float] = field(default_factory=list)
    matches: list[InstanceMatch] = field(default_factory=list)
    false_alarms: list[bool] = field(default_factory=list)

    def mean_iou(self) -> tuple[float, float, float] | None:
        """The mean, and a 95 % interval of it by resampling tasks; None without tasks that have the label."""
        if not self.ious:
            return None
        ious = np.array(self.ious)
        drawn = np.random.default_rng(0).integers(0, len(ious), (_RESAMPLES, len(ious)))
        low, high = np.quantile(ious[drawn].mean(axis=1), (0.025, 0.975))
        return float(ious.mean()), float(low), float(high)

    def object_f1(self) -> float | None:
        """F1 over the objects of all tasks that have the label."""
        if not self.matches:
            return None
        counts = [(each.matched, each.predicted, each.actual) for each in self.matches]
        return InstanceMatch(*map(sum, zip(*counts, strict=True))).f1

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, for programs."""
        mean = self.mean_iou()
        return {
            "prompt": self.wording.text,
            "is_current": self.wording.is_current,
            "questions": len(self.wording.questions),
            "iou": mean and mean[0],
            "iou_interval": mean and list(mean[1:]),
            "object_f1": self.object_f1(),
            "tasks_with_label": len(self.ious),
            "false_positives": sum(self.false_alarms),
            "tasks_without_label": len(self.false_alarms),
        }


@dataclass(frozen=True)
class TriedTask:
    """One task went through. `problem` says why it counts for nothing; `seconds` is what the model took."""

    task_id: int
    seconds: float = 0.0
    problem: str | None = None


def seconds_per_question(tried: Sequence[TriedTask], results: Sequence[WordingResult]) -> float | None:
    """What the model took for a question about an image; None if no task could be used."""
    used = [task.seconds for task in tried if task.problem is None]
    return sum(used) / (len(used) * len(_all_questions(results))) if used else None


def find_label(config: LabelConfig, name: str | None) -> tuple[Control, LabelPrompt]:
    """The label of this name, or the only one. LabelConfigError lists the labels if that does not name one."""
    labels = [(control, label) for control in config.controls for label in control.labels]
    if not labels:  # a plain tag, whose tasks bring their prompts
        labels = [(config.controls[0], LabelPrompt(None, (), (), config.controls[0].options))]
    found = [pair for pair in labels if name is None or pair[1].label == name]
    if len(found) != 1:
        names = ", ".join(repr(label.label) for _, label in labels if label.label is not None)
        raise LabelConfigError(f"Which label is meant? Give one of {names or 'none: the tag has no labels'}.")
    return found[0]


def make_wordings(control: Control, label: LabelPrompt, texts: Sequence[str]) -> list[Wording]:
    """The label's prompts of now, if it has some, and each of `texts`, which may be several prompts ("a; b")."""
    place = (control.name, control.to_name, control.type, label.exclude, label.options)
    asked = dict.fromkeys(prompts for prompts in (label.prompts, *map(split_prompts, texts)) if prompts)
    return [
        Wording(
            f"{SEPARATOR} ".join(prompts),
            tuple(PromptedLabel(label.label, prompt, *place) for prompt in prompts),
            is_current=prompts == label.prompts,
        )
        for prompts in asked
    ]


def annotated_tasks(
    client: LabelStudioClient, project_id: int, config: LabelConfig, label: LabelPrompt, limit: int
) -> list[AnnotatedTask]:
    """The first `limit` tasks with a submitted annotation: of several the ground truth, else the newest."""
    return list(islice(_annotated_tasks(client, project_id, config, label), limit))


def _annotated_tasks(
    client: LabelStudioClient, project_id: int, config: LabelConfig, label: LabelPrompt
) -> Iterator[AnnotatedTask]:
    for task in client.list_tasks(project_id):
        annotations = client.list_annotations(task["id"]) if task.get("total_annotations") else []
        submitted = [each for each in annotations if not each.get("was_cancelled")]
        if submitted:
            chosen = max(submitted, key=lambda each: (bool(each.get("ground_truth")), str(each.get("updated_at"))))
            found, unread = read_regions(chosen.get("result") or [], config.image.name, config.input_tags)
            regions = (region for region_id, region in found.items() if region_id not in unread)
            ours = tuple(each for each in regions if each.mask is not None and each.label == label.label)
            yield AnnotatedTask(int(task["id"]), dict(task["data"]), ours)


def try_wordings(
    tasks: Sequence[AnnotatedTask],
    results: Sequence[WordingResult],
    fetch: Callable[[AnnotatedTask], Path],
    segment: Callable[[Path, Sequence[str]], Sequence[Answer]],
) -> Iterator[TriedTask]:
    """Ask all wordings about each task and add to `results`; a task that cannot be used is reported and left out.

    `fetch` gives a task's image file, `segment` the model's answers to prompts. ModelLoadError: there is no model.
    """
    asked = _all_questions(results)
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
        truth = [region.mask for region in task.regions if region.mask is not None]
        shape = next(iter(answers.values())).mask.shape
        if any(mask.shape != shape for mask in truth):
            yield TriedTask(task.task_id, problem="its annotation was drawn on an image of another size")
            continue
        for result in results:
            options = result.wording.items[0].options
            found = drop_small(label_mask(result.wording.items, answers), options.min_area)
            if truth:
                result.ious.append(iou(found, np.logical_or.reduce(truth)))
                result.matches.append(match_instances(label_instances(found, options.min_area), _objects(truth)))
            else:
                result.false_alarms.append(bool(found.any()))
        yield TriedTask(task.task_id, seconds)


def _all_questions(results: Sequence[WordingResult]) -> tuple[str, ...]:
    """Of all wordings; what several of them ask is one question."""
    return questions(PromptPlan(tuple(item for result in results for item in result.wording.items)))


def _objects(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.int32]:
    """Number the objects of an annotation's regions; one region may hold several objects."""
    objects = np.zeros(masks[0].shape, np.int32)
    for mask in masks:
        labels = label_instances(mask)
        objects[mask] = labels[mask] + objects.max()
    return objects
