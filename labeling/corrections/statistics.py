"""What annotators did to predictions, by label, prompt, version and week, with intervals instead of bare percentages.

Pure: reviews in, figures out. All shares are of regions, except false positives (of annotations) and lead times.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from labeling.corrections.blind_slice import is_blind
from labeling.corrections.intervals import Figure, median, median_ratio, share
from labeling.store.correction_records import CorrectionRecord, ReviewRecord

CALIBRATION_BINS = 10


@dataclass(frozen=True)
class Row:
    """One label, prompt, version and ISO week ("2026-W47").

    Of the regions that were predicted: `accepted` unedited, `edited`, `deleted`. Of the regions that were submitted:
    `added`. `iou` and `boundary_iou` are medians over edited regions. `false_positives`: of the annotations in which
    the label is not, those where it was predicted. `lead_time_s`: median per annotation that the label was asked in.
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


def compute_statistics(reviews: Iterable[ReviewRecord], *, blind_share: float = 0.0) -> Statistics:
    """Figures of annotations in their current state, without what is excluded."""
    everything = list(reviews)
    submitted = [review for review in everything if review.state == "submitted"]
    opened = [review for review in submitted if not review.is_untouched]
    tallies: dict[tuple[str | None, str, str | None, str], _Tally] = defaultdict(_Tally)
    for review in opened:
        _count(tallies, review)
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
    """What one row is made of; ids of annotations stand for the clusters that regions come in."""

    predicted: list[CorrectionRecord] = field(default_factory=list)
    added: int = 0
    absent: int = 0
    absent_but_predicted: int = 0
    lead_times_s: dict[int, float | None] = field(default_factory=dict)

    def row(self, label: str | None, prompt: str, model_version: str | None, week: str) -> Row:
        kinds = [item.kind for item in self.predicted]
        edited = [item for item in self.predicted if item.kind == "edited"]
        clusters = [item.annotation_id for item in edited]
        total, final = len(kinds), len(kinds) - kinds.count("deleted") + self.added
        return Row(
            label=label,
            prompt=prompt,
            model_version=model_version,
            week=week,
            annotations=len(self.lead_times_s),
            accepted=share(kinds.count("accepted"), total),
            edited=share(len(edited), total),
            deleted=share(kinds.count("deleted"), total),
            added=share(self.added, final),
            iou=median([item.iou for item in edited], clusters),
            boundary_iou=median([item.boundary_iou for item in edited], clusters),
            false_positives=share(self.absent_but_predicted, self.absent),
            lead_time_s=median([seconds for seconds in self.lead_times_s.values() if seconds is not None]),
        )


def _count(tallies: dict[tuple[str | None, str, str | None, str], _Tally], review: ReviewRecord) -> None:
    """Add an annotation that began from a prediction; the others say nothing about predictions."""
    if review.prediction_id is None and not any(item.prompt is not None for item in review.corrections):
        return
    year, week_number, _ = review.at.isocalendar()
    week = f"{year}-W{week_number:02d}"
    prompts: dict[str | None, list[str]] = defaultdict(list)
    for asked in review.asked:
        prompts[asked.label].append(asked.prompt)
    present = {item.label for item in review.corrections if item.kind != "deleted"}
    predicted = {(item.label_before, item.prompt) for item in review.corrections if item.prompt is not None}
    for label, of_label in prompts.items():
        for prompt in of_label:
            tally = tallies[label, prompt, review.model_version, week]
            tally.lead_times_s[review.id] = review.capped_lead_time_s
            if label not in present:
                tally.absent += 1
                tally.absent_but_predicted += (label, prompt) in predicted
    for item in review.corrections:
        of_label = prompts.get(item.label, [])
        if item.prompt is not None:
            key = item.label_before, item.prompt, item.model_version, week
        else:
            key = item.label, of_label[0] if len(of_label) == 1 else "(several)", review.model_version, week
        tally = tallies[key]
        tally.lead_times_s.setdefault(review.id, review.capped_lead_time_s)
        if item.prompt is None:
            tally.added += 1
        else:
            tally.predicted.append(item)


def _calibration(reviews: Sequence[ReviewRecord]) -> tuple[CalibrationBin, ...]:
    bins: dict[int, list[CorrectionRecord]] = defaultdict(list)
    for item in (item for review in reviews for item in review.corrections):
        if item.score is not None and item.prompt is not None:
            bins[min(int(item.score * CALIBRATION_BINS), CALIBRATION_BINS - 1)].append(item)
    return tuple(
        CalibrationBin(
            low=number / CALIBRATION_BINS,
            high=(number + 1) / CALIBRATION_BINS,
            mean_score=sum(item.score or 0.0 for item in items) / len(items),
            mean_iou=sum(item.iou for item in items) / len(items),
            kept=share(sum(item.kind != "deleted" for item in items), len(items)),
        )
        for number, items in sorted(bins.items())
    )


def _time_saved(reviews: Sequence[ReviewRecord], blind_share: float) -> TimeSaved:
    assisted: list[float] = []
    blind: list[float] = []
    for review in reviews:
        if review.capped_lead_time_s is None or review.task_id is None:
            continue
        if review.prediction_id is not None:
            assisted.append(review.capped_lead_time_s)
        elif is_blind(review.project.project_id, review.task_id, blind_share) and not any(
            item.interactive for item in review.corrections
        ):
            blind.append(review.capped_lead_time_s)
    return TimeSaved(median(assisted), median(blind), median_ratio(assisted, blind))
