"""How a wording's answers compare with what people drew: on one task, and over all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from argenseg_model.instances import drop_small, label_instances
from argenseg_model.metrics import InstanceMatch, iou, match_instances
from labeling.answers import Answer, label_mask
from labeling.corrections.annotated_regions import AnnotatedRegion
from labeling.trials.wordings import Wording

_RESAMPLES = 2000


@dataclass(frozen=True)
class TaskMeasure:
    """One wording on one task. Where the task has the label: `iou` of the whole mask, and its objects at IoU >= 0.5.

    Where it lacks the label, `iou` is None and `is_found` says whether something was found all the same.
    """

    iou: float | None
    is_found: bool
    matched: int = 0
    predicted: int = 0
    actual: int = 0

    def to_json(self) -> dict[str, Any]:
        """A plain dict, for a database column; `TaskMeasure(**it)` is the same again."""
        return asdict(self)


@dataclass
class WordingResult:
    """How a wording did so far. `ious` are of the tasks that have the label, `matches` their objects at IoU >= 0.5.

    `false_alarms` says of each task that lacks the label whether something was found in it.
    """

    wording: Wording
    ious: list[float] = field(default_factory=list)
    matches: list[InstanceMatch] = field(default_factory=list)
    false_alarms: list[bool] = field(default_factory=list)

    def add(self, measure: TaskMeasure) -> None:
        """Count one more task."""
        if measure.iou is None:
            self.false_alarms.append(measure.is_found)
        else:
            self.ious.append(measure.iou)
            self.matches.append(InstanceMatch(measure.matched, measure.predicted, measure.actual))

    @property
    def iou(self) -> float | None:
        """The mean alone, in no time; None without tasks that have the label."""
        return float(np.mean(self.ious)) if self.ious else None

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


def found_mask(wording: Wording, answers: Mapping[str, Answer]) -> NDArray[np.bool_]:
    """What a wording marks, bool (height, width), made of the model's answers to its questions."""
    return drop_small(label_mask(wording.items, answers), wording.items[0].options.min_area)


def measure(wording: Wording, found: NDArray[np.bool_], truth: Sequence[NDArray[np.bool_]]) -> TaskMeasure:
    """What a wording marked, beside the masks that people drew of the label (none: the image lacks it)."""
    if not truth:
        return TaskMeasure(None, bool(found.any()))
    objects = label_instances(found, wording.items[0].options.min_area)
    matches = match_instances(objects, _objects(truth))
    return TaskMeasure(
        iou(found, np.logical_or.reduce(truth)), bool(found.any()), matches.matched, matches.predicted, matches.actual
    )


def truth_masks(regions: Sequence[AnnotatedRegion]) -> list[NDArray[np.bool_]]:
    """The masks of a task's regions, bool (height, width)."""
    return [mask for each in regions if (mask := each.mask) is not None]


def _objects(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.int32]:
    """Number the objects of an annotation's regions; one region may hold several objects."""
    objects = np.zeros(masks[0].shape, np.int32)
    for mask in masks:
        labels = label_instances(mask)
        objects[mask] = labels[mask] + objects.max()
    return objects
