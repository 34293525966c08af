"""How predictions fare, as the page Quality shows it: over time, by version, by label and prompt, and by score.

Pure: outcomes in, figures with intervals out. What counts is as in `statistics`; regions of one task count together.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from labeling.corrections.blind_slice import is_blind
from labeling.corrections.intervals import Figure, median, median_ratio, share_of_counts, tasks_needed
from labeling.corrections.slips import is_slip
from labeling.corrections.statistics import CALIBRATION_BINS, TimeSaved
from labeling.store import AnnotationOutcome, RegionOutcome

SURE = 0.1  # a share is known well enough when its interval reaches no further to each side
GOOD = 0.75  # IoU: a calibrated score is the chance of at least this much
_WEEKS_FROM = timedelta(days=28)  # a span of time that is longer is told week by week, a shorter one day by day
_KINDS = ("accepted", "edited", "deleted", "added")
_ADDED = _KINDS.index("added")
_SEVERAL = "(several)"  # of a region that was added: nobody knows which prompt should have found it


@dataclass(frozen=True)
class Fate:
    """What became of the regions of one period, version or prompt; the figures are those of `statistics.Row`.

    `name` is the period's first day, the version or the label. `tasks_needed`: how many tasks of this kind it takes for
    shares to be known within `SURE` to each side, with as much confidence as the intervals have.
    """

    name: str
    prompt: str | None
    tasks: int
    regions: int
    accepted: Figure
    edited: Figure
    deleted: Figure
    added: Figure
    iou: Figure
    boundary_iou: Figure
    tasks_needed: int

    @property
    def is_sure(self) -> bool:
        """Whether there are enough tasks for the shares."""
        return self.tasks >= self.tasks_needed


@dataclass(frozen=True)
class Pace:
    """Median seconds for a task in one period: of those that had a prediction, and of the blind slice."""

    name: str
    assisted_s: Figure
    blind_s: Figure


@dataclass(frozen=True)
class ScoreBin:
    """Regions predicted with a score from `low` to `high`: the share that was `kept` (not deleted), and that was `good`
    (IoU with what was submitted at least `GOOD`, which is what a calibrated score promises).
    """

    low: float
    high: float
    mean_score: float
    mean_iou: float
    kept: Figure
    good: Figure


@dataclass(frozen=True)
class Quality:
    """All figures. `period` is "day" or "week"; periods and scores are in order, versions in that of their first task,
    labels by name. `overall` is of all chosen regions, None without any. `annotations` counts those that somebody
    opened, and `untouched` the others. `labels` and `version_names`: among which one can choose.
    """

    period: str
    overall: Fate | None
    periods: tuple[Fate, ...]
    versions: tuple[Fate, ...]
    prompts: tuple[Fate, ...]
    paces: tuple[Pace, ...]
    time_saved: TimeSaved
    calibration: tuple[ScoreBin, ...]
    annotations: int
    untouched: int
    labels: tuple[str, ...]
    version_names: tuple[str, ...]


@dataclass(frozen=True)
class Chosen:
    """Which regions are meant; None: any. `version` is that of the prediction."""

    label: str | None = None
    version: str | None = None
    since: datetime | None = None


def measure_quality(
    outcomes: Iterable[AnnotationOutcome], *, blind_share: float = 0.0, chosen: Chosen | None = None
) -> Quality:
    """The figures of these annotations, those of `chosen` regions only."""
    chosen = chosen or Chosen()
    meant = [each for each in outcomes if chosen.since is None or each.at >= chosen.since]
    opened = sorted((each for each in meant if not each.is_untouched), key=lambda each: each.at)
    period = "week" if opened and opened[-1].at - opened[0].at >= _WEEKS_FROM else "day"
    regions = _Regions.of(opened, period, chosen)
    return Quality(
        period=period,
        overall=next(iter(regions.fates(lambda key: ("all", None))), None),
        periods=regions.fates(lambda key: (key[0], None)),
        versions=regions.fates(lambda key: (key[1] or "–", None)),
        prompts=tuple(sorted(regions.fates(lambda key: (key[2] or "–", key[3])), key=lambda fate: fate.name)),
        paces=_paces(opened, period, blind_share),
        time_saved=_time_saved(opened, blind_share),
        calibration=regions.calibration(),
        annotations=len(opened),
        untouched=len(meant) - len(opened),
        labels=tuple(sorted(regions.labels)),
        version_names=tuple(regions.version_names),
    )


_Key = tuple[str, str | None, str | None, str]  # period, version, label, prompt


@dataclass
class _Regions:
    """One entry a region in each list; `keys` are those that occur, in order, and `key` says which is a region's."""

    keys: dict[_Key, int] = field(default_factory=dict)
    key: list[int] = field(default_factory=list)
    task: list[int] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    iou: list[float] = field(default_factory=list)
    boundary_iou: list[float] = field(default_factory=list)
    score: list[float] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    version_names: dict[str, None] = field(default_factory=dict)

    @classmethod
    def of(cls, annotations: Sequence[AnnotationOutcome], period: str, chosen: Chosen) -> "_Regions":
        """Of annotations that began from a prediction; the others say nothing about predictions."""
        regions = cls()
        tasks: dict[tuple[int, int], int] = {}
        for annotation in annotations:
            if annotation.prediction_id is None and all(each.prompt is None for each in annotation.regions):
                continue
            task = tasks.setdefault((annotation.project_id, annotation.task_id), len(tasks))
            name = first_day(annotation.at, period).isoformat()
            for region in annotation.regions:
                version, label, prompt = _origin(annotation, region)
                regions.labels.update([label] if label else [])
                regions.version_names.update({version: None} if version else {})
                if chosen.label in (None, label) and chosen.version in (None, version):
                    regions._add(task, (name, version, label, prompt), region)
        return regions

    def _add(self, task: int, key: _Key, region: RegionOutcome) -> None:
        self.key.append(self.keys.setdefault(key, len(self.keys)))
        self.task.append(task)
        self.kind.append(_KINDS.index("accepted" if _is_slip(region) else region.kind))
        self.iou.append(region.iou)
        self.boundary_iou.append(region.boundary_iou)
        self.score.append(np.nan if region.score is None or region.prompt is None else region.score)

    def fates(self, group_of: Callable[[_Key], tuple[str, str | None]]) -> tuple[Fate, ...]:
        """One for each group of keys (its name and prompt), in the order in which they occur."""
        groups: dict[tuple[str, str | None], list[int]] = {}
        for key, number in self.keys.items():
            groups.setdefault(group_of(key), []).append(number)
        of_key, task, kind = np.array(self.key, np.int64), np.array(self.task, np.int64), np.array(self.kind, np.int64)
        iou, boundary = np.array(self.iou), np.array(self.boundary_iou)
        found = []
        for (name, prompt), numbers in groups.items():
            mine = np.flatnonzero(np.isin(of_key, numbers))
            found.append(_fate(name, prompt, task[mine], kind[mine], iou[mine], boundary[mine]))
        return tuple(found)

    def calibration(self) -> tuple[ScoreBin, ...]:
        """The bins that have regions, the lowest score first."""
        score, iou = np.array(self.score, np.float64), np.array(self.iou)
        kept, task = np.array(self.kind, np.int64) != _KINDS.index("deleted"), np.array(self.task, np.int64)
        bins = np.minimum(np.nan_to_num(score) * CALIBRATION_BINS, CALIBRATION_BINS - 1).astype(np.int64)
        found = []
        for number in range(CALIBRATION_BINS):
            mine = np.flatnonzero((bins == number) & ~np.isnan(score))
            if len(mine):
                found.append(
                    ScoreBin(
                        low=number / CALIBRATION_BINS,
                        high=(number + 1) / CALIBRATION_BINS,
                        mean_score=float(score[mine].mean()),
                        mean_iou=float(iou[mine].mean()),
                        kept=_share(kept[mine], task[mine]),
                        good=_share(iou[mine] >= GOOD, task[mine]),
                    )
                )
        return tuple(found)


def first_day(at: datetime, period: str) -> date:
    """The day (UTC) that a "day" or "week" begins with; weeks begin on Mondays."""
    return at.date() - timedelta(days=at.weekday() if period == "week" else 0)


def _origin(annotation: AnnotationOutcome, region: RegionOutcome) -> tuple[str | None, str | None, str]:
    """The version, label and prompt that a region counts for."""
    if region.prompt is not None:
        return region.model_version, region.label_before, region.prompt
    asked = [each.prompt for each in annotation.asked if each.label == region.label]
    return annotation.model_version, region.label, asked[0] if len(asked) == 1 else _SEVERAL


def _is_slip(region: RegionOutcome) -> bool:
    """Whether it was edited, and nobody sees it."""
    return region.kind == "edited" and is_slip(
        iou=region.iou,
        changed_pixels=region.changed_pixels,
        label_before=region.label_before,
        label=region.label,
    )


def _fate(
    name: str,
    prompt: str | None,
    task: NDArray[np.int64],
    kind: NDArray[np.int64],
    iou: NDArray[np.float64],
    boundary: NDArray[np.float64],
) -> Fate:
    predicted, submitted, edited = kind != _ADDED, kind != _KINDS.index("deleted"), kind == _KINDS.index("edited")
    shares = {each: _share(kind[predicted] == _KINDS.index(each), task[predicted]) for each in _KINDS[:_ADDED]}
    shares["added"] = _share(kind[submitted] == _ADDED, task[submitted])
    tasks, clusters = len(np.unique(task)), task[edited].tolist()
    return Fate(
        name=name,
        prompt=prompt,
        tasks=tasks,
        regions=len(kind),
        **shares,
        iou=median(iou[edited].tolist(), clusters),
        boundary_iou=median(boundary[edited].tolist(), clusters),
        tasks_needed=max(tasks_needed(each, tasks, SURE) for each in shares.values()),
    )


def _share(hits: NDArray[np.bool_], task: NDArray[np.int64]) -> Figure:
    _, cluster = np.unique(task, return_inverse=True)
    return share_of_counts(np.bincount(cluster, weights=hits).astype(np.int64), np.bincount(cluster))


def _paces(annotations: Sequence[AnnotationOutcome], period: str, blind_share: float) -> tuple[Pace, ...]:
    of_period: dict[str, list[AnnotationOutcome]] = {}
    for annotation in annotations:
        of_period.setdefault(first_day(annotation.at, period).isoformat(), []).append(annotation)
    return tuple(
        Pace(name, median(assisted), median(blind))
        for name, some in of_period.items()
        for assisted, blind in [_lead_times(some, blind_share)]
    )


def _time_saved(annotations: Sequence[AnnotationOutcome], blind_share: float) -> TimeSaved:
    assisted, blind = _lead_times(annotations, blind_share)
    return TimeSaved(median(assisted), median(blind), median_ratio(assisted, blind))


def _lead_times(annotations: Sequence[AnnotationOutcome], blind_share: float) -> tuple[list[float], list[float]]:
    """In seconds: of annotations that began from a prediction, and of the blind slice."""
    assisted: list[float] = []
    blind: list[float] = []
    for annotation in annotations:
        if annotation.capped_lead_time_s is None:
            continue
        if annotation.prediction_id is not None:
            assisted.append(annotation.capped_lead_time_s)
        elif is_blind(annotation.project_id, annotation.task_id, blind_share) and not any(
            each.interactive for each in annotation.regions
        ):
            blind.append(annotation.capped_lead_time_s)
    return assisted, blind
