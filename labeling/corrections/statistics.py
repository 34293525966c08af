"""What annotators did to predictions, by label, prompt, version and week, with intervals instead of bare percentages.

Pure: annotations in, figures out. All shares are of regions, except false positives (of annotations) and lead times.
Intervals take the regions of one task together. Of a region no more is kept than some bytes: there may be millions.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from labeling.corrections.blind_slice import is_blind
from labeling.corrections.intervals import Figure, median, median_ratio, share
from labeling.corrections.slips import is_slip
from labeling.store import AnnotationRecord, CorrectionKind, CorrectionRecord

CALIBRATION_BINS = 10

_KINDS: tuple[CorrectionKind, ...] = ("accepted", "edited", "deleted", "added")


@dataclass(frozen=True)
class Row:
    """One label, prompt, version and ISO week ("2026-W47").

    Of the regions that were predicted: `accepted` as they were, `edited`, `deleted`; a change that nobody sees
    (`is_slip`) counts as accepted, and `unchanged` is the raw share, to the pixel. Of the regions that were submitted:
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
    unchanged: Figure
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
    """Figures of annotations in their current state, without what is excluded; each is looked at once."""
    tallies: dict[tuple[str | None, str, str | None, str], _Tally] = defaultdict(_Tally)
    bins: dict[int, _Bin] = defaultdict(_Bin)
    times = _LeadTimes(blind_share)
    opened = untouched = skipped = 0
    for annotation in annotations:
        if annotation.state != "submitted":
            skipped += 1
        elif annotation.is_untouched:
            untouched += 1
        else:
            opened += 1
            _count(tallies, annotation)
            _count_scores(bins, annotation)
            times.add(annotation)
    order = sorted(tallies, key=lambda key: (str(key[0] or ""), key[1], str(key[2] or ""), key[3]))
    return Statistics(
        rows=tuple(tallies[key].row(*key) for key in order),
        calibration=tuple(each.figures(number) for number, each in sorted(bins.items())),
        time_saved=times.figures(),
        annotations=opened,
        untouched=untouched,
        skipped=skipped,
    )


def _longs() -> "array[int]":
    return array("q")


def _doubles() -> "array[float]":
    return array("d")


@dataclass
class _Outcomes:
    """Whether something holds, and of which tasks."""

    outcomes: bytearray = field(default_factory=bytearray)
    tasks: "array[int]" = field(default_factory=_longs)

    def add(self, outcome: bool, task: int) -> None:
        self.outcomes.append(outcome)
        self.tasks.append(task)

    def share(self) -> Figure:
        return share([bool(outcome) for outcome in self.outcomes], self.tasks)


@dataclass
class _Regions:
    """Kinds of regions (an index into _KINDS) and their tasks, and of edited ones how far they were moved; a slip is
    accepted, and not unchanged.
    """

    kinds: bytearray = field(default_factory=bytearray)
    tasks: "array[int]" = field(default_factory=_longs)
    ious: "array[float]" = field(default_factory=_doubles)
    boundary_ious: "array[float]" = field(default_factory=_doubles)
    unchanged: _Outcomes = field(default_factory=_Outcomes)

    def add(self, item: CorrectionRecord, task: int) -> None:
        kind = "accepted" if item.kind == "edited" and _is_slip(item) else item.kind
        self.kinds.append(_KINDS.index(kind))
        self.tasks.append(task)
        if item.kind != "added":
            self.unchanged.add(item.kind == "accepted", task)
        if kind == "edited":
            self.ious.append(item.iou)
            self.boundary_ious.append(item.boundary_iou)

    def share(self, kind: CorrectionKind, among: frozenset[CorrectionKind]) -> Figure:
        """Of this kind, among the regions of some."""
        number, chosen = _KINDS.index(kind), {_KINDS.index(each) for each in among}
        outcomes = [each == number for each in self.kinds if each in chosen]
        tasks = [task for each, task in zip(self.kinds, self.tasks, strict=True) if each in chosen]
        return share(outcomes, tasks)

    def edited_tasks(self) -> list[int]:
        edited = _KINDS.index("edited")
        return [task for each, task in zip(self.kinds, self.tasks, strict=True) if each == edited]


_PREDICTED: frozenset[CorrectionKind] = frozenset(("accepted", "edited", "deleted"))
_FINAL: frozenset[CorrectionKind] = frozenset(("accepted", "edited", "added"))


@dataclass
class _Tally:
    """What one row is made of. `absent`: the tasks in which the label is not, and whether it was predicted."""

    regions: _Regions = field(default_factory=_Regions)
    absent: _Outcomes = field(default_factory=_Outcomes)
    annotations: int = 0
    lead_times_s: "array[float]" = field(default_factory=_doubles)

    def begin(self, annotation: AnnotationRecord) -> None:
        """Once for each annotation that the row is about."""
        self.annotations += 1
        if annotation.capped_lead_time_s is not None:
            self.lead_times_s.append(annotation.capped_lead_time_s)

    def row(self, label: str | None, prompt: str, model_version: str | None, week: str) -> Row:
        edited = self.regions.edited_tasks()
        return Row(
            label=label,
            prompt=prompt,
            model_version=model_version,
            week=week,
            annotations=self.annotations,
            accepted=self.regions.share("accepted", _PREDICTED),
            unchanged=self.regions.unchanged.share(),
            edited=self.regions.share("edited", _PREDICTED),
            deleted=self.regions.share("deleted", _PREDICTED),
            added=self.regions.share("added", _FINAL),
            iou=median(self.regions.ious, edited),
            boundary_iou=median(self.regions.boundary_ious, edited),
            false_positives=self.absent.share(),
            lead_time_s=median(self.lead_times_s),
        )


def _is_slip(item: CorrectionRecord) -> bool:
    return is_slip(iou=item.iou, changed_pixels=item.changed_pixels, label_before=item.label_before, label=item.label)


def _task(project_id: int, task_id: int | None) -> int:
    """What regions come in, as one number: Label Studio's are of 32 bits."""
    return project_id << 32 | (task_id or 0)


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
    number = annotation.project.project_id
    begun: set[tuple[str | None, str, str | None, str]] = set()

    def tally_of(key: tuple[str | None, str, str | None, str]) -> _Tally:
        if key not in begun:
            begun.add(key)
            tallies[key].begin(annotation)
        return tallies[key]

    for label, of_label in prompts.items():
        for prompt in of_label:
            tally = tally_of((label, prompt, annotation.model_version, week))
            if label not in present and label not in annotation.excluded_labels and not annotation.unread:
                tally.absent.add((label, prompt) in predicted, _task(number, annotation.task_id))
    for item in annotation.corrections:
        of_label = prompts.get(item.label, [])
        if item.prompt is not None:
            tally_of((item.label_before, item.prompt, item.model_version, week)).regions.add(
                item, _task(number, item.task_id)
            )
        else:
            prompt = of_label[0] if len(of_label) == 1 else "(several)"
            tally_of((item.label, prompt, annotation.model_version, week)).regions.add(
                item, _task(number, item.task_id)
            )


@dataclass
class _Bin:
    """Regions whose scores are alike."""

    kept: _Outcomes = field(default_factory=_Outcomes)
    scores: float = 0.0
    ious: float = 0.0

    def figures(self, number: int) -> CalibrationBin:
        count = len(self.kept.tasks)
        low, high = number / CALIBRATION_BINS, (number + 1) / CALIBRATION_BINS
        return CalibrationBin(low, high, self.scores / count, self.ious / count, self.kept.share())


def _count_scores(bins: dict[int, _Bin], annotation: AnnotationRecord) -> None:
    for item in annotation.corrections:
        if item.score is not None and item.prompt is not None:
            its_bin = bins[min(int(item.score * CALIBRATION_BINS), CALIBRATION_BINS - 1)]
            its_bin.kept.add(item.kind != "deleted", _task(annotation.project.project_id, item.task_id))
            its_bin.scores += item.score
            its_bin.ious += item.iou


@dataclass
class _LeadTimes:
    """Seconds of annotations with a prediction, and of the blind slice."""

    blind_share: float
    assisted: "array[float]" = field(default_factory=_doubles)
    blind: "array[float]" = field(default_factory=_doubles)

    def add(self, annotation: AnnotationRecord) -> None:
        if annotation.capped_lead_time_s is None or annotation.task_id is None:
            return
        if annotation.prediction_id is not None:
            self.assisted.append(annotation.capped_lead_time_s)
        elif is_blind(annotation.project.project_id, annotation.task_id, self.blind_share) and not any(
            item.interactive for item in annotation.corrections
        ):
            self.blind.append(annotation.capped_lead_time_s)

    def figures(self) -> TimeSaved:
        return TimeSaved(median(self.assisted), median(self.blind), median_ratio(self.assisted, self.blind))
