"""What annotators did to predictions, by label, prompt, version and week, with intervals instead of bare percentages.

Pure: annotations in, figures out. All shares are of regions, except false positives (of annotations) and lead times.
Intervals take the regions of one task together.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from labeling.corrections.blind_slice import is_blind
from labeling.corrections.intervals import Figure, median, median_ratio, share
from labeling.store import AnnotationRecord, CorrectionKind, CorrectionRecord

CALIBRATION_BINS = 10

_Task = tuple[int, int | None]  # the numbers of project and task: what regions come in


@dataclass(frozen=True)
class Row:
    """One label, prompt, version and ISO week ("2026-W47").

    Of the regions that were predicted: `accepted` unedited, `edited`, `deleted`. Of the regions that were submitted:
    `added`. `iou` and `boundary_iou` are medians over edited regions. `false_positives`: of the annotations in which
    the label is not for certain (all regions can be read, none of the label is excluded), those where it was predicted.
    `lead_time_s`: median per annotation that the label was asked in.
    The prompt of a label with several is "(several)" where a region was added: nobody knows which should have found it.
    """

    label: str | None
    prompt: str
    model_version: str | None
    week: str
    annotations: int
    accepted: Figure
    edited: Figure
    deleted: Figure
    added: Figure
    iou: Figure
    boundary_iou: Figure
    false_positives: Figure
    lead_time_s: Figure


@dataclass(frozen=True)
class CalibrationBin:
    """Regions predicted with a score from `low` to `high`: how good they turned out (a deleted one has IoU 0)."""

    low: float
    high: float
    mean_score: float
    mean_iou: float
    kept: Figure


@dataclass(frozen=True)
class TimeSaved:
    """Median lead times with predictions and without (the blind slice); `ratio` below 1: predictions save time."""

    assisted_s: Figure
    blind_s: Figure
    ratio: Figure


@dataclass(frozen=True)
class Statistics:
    """Everything for one project or all. `annotations` counts those that somebody opened; `untouched` ones
    (made of predictions in bulk, and never opened) and `skipped` ones appear in no figure.
    """

    rows: tuple[Row, ...]
    calibration: tuple[CalibrationBin, ...]
    time_saved: TimeSaved
    annotations: int
    untouched: int
    skipped: int


def compute_statistics(annotations: Iterable[AnnotationRecord], *, blind_share: float = 0.0) -> Statistics:
    """Figures of annotations in their current state, without what is excluded."""
    everything = list(annotations)
    submitted = [annotation for annotation in everything if annotation.state == "submitted"]
    opened = [annotation for annotation in submitted if not annotation.is_untouched]
    tallies: dict[tuple[str | None, str, str | None, str], _Tally] = defaultdict(_Tally)
    for annotation in opened:
        _count(tallies, annotation)
    order = sorted(tallies, key=lambda key: (str(key[0] or ""), key[1], str(key[2] or ""), key[3]))
    return Statistics(
        rows=tuple(tallies[key].row(*key) for key in order),
        calibration=_calibration(opened),
        time_saved=_time_saved(opened, blind_share),
        annotations=len(opened),
        untouched=len(submitted) - len(opened),
        skipped=len(everything) - len(submitted),
    )


@dataclass
class _Tally:
    """What one row is made of. `absent`: the tasks in which the label is not, and whether it was predicted."""

    predicted: list[CorrectionRecord] = field(default_factory=list)
    added: list[CorrectionRecord] = field(default_factory=list)
    absent: list[tuple[_Task, bool]] = field(default_factory=list)
    lead_times_s: dict[int, float | None] = field(default_factory=dict)

    def row(self, label: str | None, prompt: str, model_version: str | None, week: str) -> Row:
        edited = [item for item in self.predicted if item.kind == "edited"]
        final = [*(item for item in self.predicted if item.kind != "deleted"), *self.added]
        return Row(
            label=label,
            prompt=prompt,
            model_version=model_version,
            week=week,
            annotations=len(self.lead_times_s),
            accepted=_share_of("accepted", self.predicted),
            edited=_share_of("edited", self.predicted),
            deleted=_share_of("deleted", self.predicted),
            added=_share_of("added", final),
            iou=median([item.iou for item in edited], _tasks(edited)),
            boundary_iou=median([item.boundary_iou for item in edited], _tasks(edited)),
            false_positives=share([predicted for _, predicted in self.absent], [task for task, _ in self.absent]),
            lead_time_s=median([seconds for seconds in self.lead_times_s.values() if seconds is not None]),
        )


def _share_of(kind: CorrectionKind, items: Sequence[CorrectionRecord]) -> Figure:
    return share([item.kind == kind for item in items], _tasks(items))


def _tasks(items: Sequence[CorrectionRecord]) -> list[_Task]:
    return [(item.project_id, item.task_id) for item in items]


def _count(tallies: dict[tuple[str | None, str, str | None, str], _Tally], annotation: AnnotationRecord) -> None:
    """Add an annotation that began from a prediction; the others say nothing about predictions."""
    if annotation.prediction_id is None and not any(item.prompt is not None for item in annotation.corrections):
        return
    year, week_number, _ = annotation.at.isocalendar()
    week = f"{year}-W{week_number:02d}"
    prompts: dict[str | None, list[str]] = defaultdict(list)
    for asked in annotation.asked:
        prompts[asked.label].append(asked.prompt)
    present = {item.label for item in annotation.corrections if item.kind != "deleted"}
    predicted = {(item.label_before, item.prompt) for item in annotation.corrections if item.prompt is not None}
    for label, of_label in prompts.items():
        for prompt in of_label:
            tally = tallies[label, prompt, annotation.model_version, week]
            tally.lead_times_s[annotation.id] = annotation.capped_lead_time_s
            if label not in present and label not in annotation.excluded_labels and not annotation.unread:
                task = annotation.project.project_id, annotation.task_id
                tally.absent.append((task, (label, prompt) in predicted))
    for item in annotation.corrections:
        of_label = prompts.get(item.label, [])
        if item.prompt is not None:
            key = item.label_before, item.prompt, item.model_version, week
        else:
            key = item.label, of_label[0] if len(of_label) == 1 else "(several)", annotation.model_version, week
        tally = tallies[key]
        tally.lead_times_s.setdefault(annotation.id, annotation.capped_lead_time_s)
        if item.prompt is None:
            tally.added.append(item)
        else:
            tally.predicted.append(item)


def _calibration(annotations: Sequence[AnnotationRecord]) -> tuple[CalibrationBin, ...]:
    bins: dict[int, list[CorrectionRecord]] = defaultdict(list)
    for item in (item for annotation in annotations for item in annotation.corrections):
        if item.score is not None and item.prompt is not None:
            bins[min(int(item.score * CALIBRATION_BINS), CALIBRATION_BINS - 1)].append(item)
    return tuple(
        CalibrationBin(
            low=number / CALIBRATION_BINS,
            high=(number + 1) / CALIBRATION_BINS,
            mean_score=sum(item.score or 0.0 for item in items) / len(items),
            mean_iou=sum(item.iou for item in items) / len(items),
            kept=share([item.kind != "deleted" for item in items], _tasks(items)),
        )
        for number, items in sorted(bins.items())
    )


def _time_saved(annotations: Sequence[AnnotationRecord], blind_share: float) -> TimeSaved:
    assisted: list[float] = []
    blind: list[float] = []
    for annotation in annotations:
        if annotation.capped_lead_time_s is None or annotation.task_id is None:
            continue
        if annotation.prediction_id is not None:
            assisted.append(annotation.capped_lead_time_s)
        elif is_blind(annotation.project.project_id, annotation.task_id, blind_share) and not any(
            item.interactive for item in annotation.corrections
        ):
            blind.append(annotation.capped_lead_time_s)
    return TimeSaved(median(assisted), median(blind), median_ratio(assisted, blind))
