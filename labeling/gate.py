"""The gate: whether a candidate model may take the live one's place. Numbers in, a verdict with reasons out.

Both models have answered the same frozen holdout snapshot. Images (with their near-duplicates: a group) are the unit,
because an image's items rise and fall together: every figure is the mean over groups of a group's own mean, and its
interval comes from drawing groups with replacement. The interval is the expanded percentile one of Hesterberg ("What
Teachers Should Know About the Bootstrap", 2015, section 4.2), because the plain one is too short for a dozen images.

A candidate is promoted when its IoU is better for certain (the interval of the change lies above 0), it looks at the
pictures for certain (better than marking everything, the best answer that does not: what learns from masks of other
images comes to mark what is likely, and would beat a model that draws little), and nothing else is worse by more than
a stated margin for certain (not the mean but the interval's end is held to it): boundary IoU, IoU on replay, false
positives on absent labels. So a small set does not pass by luck; with more items the same model passes more easily.
The last two are held beside the first model of the line too, where its rows are there: a loss that is small enough for
each of ten promotions would be a large one in the end.

Many items of one kind must not drown a loss on few of another: no label, kind of replay or kind of absent label may be
worse by more than that margin with an interval that lies on the worse side of 0.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from labeling.errors import LabelingError


class GateError(LabelingError):
    """The two models were not measured on the same snapshot."""


class Countable(Protocol):
    """What tells whether an item of the holdout counts as an image with an object to find, measured or not."""

    @property
    def image(self) -> str: ...
    @property
    def group(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def area(self) -> int: ...


class Measured(Countable, Protocol):
    """One item's answer, measured: `argenseg_model.evaluation.ItemResult`."""

    @property
    def prompt(self) -> str: ...
    @property
    def label(self) -> str | None: ...
    @property
    def drawn(self) -> int: ...
    @property
    def iou(self) -> float: ...
    @property
    def boundary_iou(self) -> float: ...
    @property
    def baselines(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class GateRules:
    """What a candidate must hold to.

    Attributes:
        min_images: groups of the holdout that have an object to find; with fewer, nothing is decided.
        confidence: of the intervals.
        boundary_margin, replay_margin: how much lower the truth may be, with this confidence (IoU, 0..1).
        absent_margin: the same of the share of absent labels on which something is drawn: how much higher it may be.
        part_min_images: a label or kind of replay with fewer groups is not judged by itself: that a handful of
            changes have the same sign happens by chance.
        draws: of the bootstrap.
    """

    min_images: int = 12
    confidence: float = 0.95
    boundary_margin: float = 0.01
    replay_margin: float = 0.04
    absent_margin: float = 0.08
    part_min_images: int = 5
    draws: int = 4000


RULES: Final = GateRules()


@dataclass(frozen=True)
class HeldOut:
    """A `Countable` that no model has answered yet; `area` is pixels of the truth."""

    image: str
    group: str
    source: str
    area: int


@dataclass(frozen=True)
class GateCheck:
    """One figure of both models. `change` is candidate minus live; `low` and `high` are its interval's ends, None
    where there is but one image. `reason` is for people.
    """

    name: str
    passed: bool
    images: int
    live: float
    candidate: float
    change: float
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True)
class GateReport:
    """The verdict. `snapshot` names the holdout; `decided` is False where it is too small to tell anything: then
    `holdout_images` says how many groups have an object to find.
    """

    passed: bool
    decided: bool
    snapshot: str
    checks: tuple[GateCheck, ...]
    reasons: tuple[str, ...]
    holdout_images: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and lists, for a file or a database column."""
        return asdict(self)


def decide(
    live: Sequence[Measured],
    candidate: Sequence[Measured],
    snapshot: str,
    rules: GateRules = RULES,
    seed: int = 0,
    *,
    first: Sequence[Measured] = (),
) -> GateReport:
    """Compare two models' rows of the holdout `snapshot`. The same rows and seed give the same report.

    `first`: rows of the model that the line began with, of that part of the holdout which it was measured on: base
    data. GateError if the rows are not of the same items.
    """
    pairs = _pair(live, candidate)
    if (undecided := find_too_few([one for one, _ in pairs], snapshot, rules)) is not None:
        return undecided
    present = [pair for pair in pairs if _has_object(pair[0])]
    replay = [pair for pair in pairs if pair[0].area and _is_replay(pair[0])]
    absent = [pair for pair in pairs if not pair[0].area]
    checks = [
        _better("IoU", present, lambda row: row.iou, rules, seed),
        _looks(present, rules, seed),
        _not_worse("boundary IoU", present, lambda row: row.boundary_iou, rules.boundary_margin, rules, seed),
    ]
    checks += _worse_parts("IoU", present, lambda row: row.iou, rules.boundary_margin, rules, seed)
    if replay:
        checks.append(_not_worse("IoU on replay", replay, lambda row: row.iou, rules.replay_margin, rules, seed))
        checks += _worse_parts("IoU", replay, lambda row: row.iou, rules.replay_margin, rules, seed)
    if absent:
        name, margin = "drawn where the label is absent", rules.absent_margin
        checks.append(_not_more(name, absent, _is_drawn, margin, rules, seed))
        anywhere = replace(rules, part_min_images=2)  # equal models draw on the same images: two changes say much
        checks += _worse_parts(name, absent, _is_drawn, margin, anywhere, seed, more_is_worse=True)
    checks += _beside_first(first, candidate, rules, seed)
    reasons = [check.reason for check in checks]
    reasons += [] if replay else ["There is no replay in the holdout: whether the model forgot is not known."]
    reasons += [] if absent else ["The holdout has no absent labels: false positives are not known."]
    return GateReport(all(check.passed for check in checks), True, snapshot, tuple(checks), tuple(reasons))


def find_too_few(holdout: Sequence[Countable], snapshot: str, rules: GateRules = RULES) -> GateReport | None:
    """The verdict on a holdout with too few images to decide anything, which is known before anything is learnt; None
    where there are enough.
    """
    present = [item for item in holdout if _has_object(item)]
    images = len({item.group for item in present})
    if images >= rules.min_images:
        return None
    missing, pictures = rules.min_images - images, len({item.image for item in present})
    alike = f" ({pictures} images, but those that look alike count as one)" if pictures > images else ""
    reason = (
        f"Nothing is decided: the holdout has {images} images with an object to find{alike}, and at least "
        f"{rules.min_images} are needed. {missing} more {'is' if missing == 1 else 'are'} missing: "
        "correct more tasks."
    )
    return GateReport(False, False, snapshot, (), (reason,), images)


Pairs = Sequence[tuple[Measured, Measured]]
Figure = Callable[[Measured], float]


@dataclass(frozen=True)
class _Change:
    images: int
    live: float
    candidate: float
    low: float | None
    high: float | None

    @property
    def mean(self) -> float:
        return self.candidate - self.live

    def check(self, name: str, passed: bool, verdict: str) -> GateCheck:
        interval = "" if self.low is None else f", interval {self.low:+.3f} … {self.high:+.3f}"
        reason = (
            f"{name} on {self.images} image{'s' * (self.images != 1)}: {self.live:.3f} → {self.candidate:.3f} "
            f"({self.mean:+.3f}{interval}): {verdict}."
        )
        return GateCheck(name, passed, self.images, self.live, self.candidate, self.mean, self.low, self.high, reason)


def _better(name: str, pairs: Pairs, figure: Figure, rules: GateRules, seed: int) -> GateCheck:
    change = _change(pairs, figure, rules, seed)
    passed = change.low is not None and change.low > 0
    verdict = "better" if passed else "worse" if change.mean < 0 else "not better for certain"
    return change.check(name, passed, verdict)


def _looks(pairs: Pairs, rules: GateRules, seed: int) -> GateCheck:
    """The candidate beside an answer that marks all of every picture, in place of the live model."""
    change = _change(pairs, lambda row: row.iou, rules, seed, live=lambda row: row.baselines["everything"])
    passed = change.low is not None and change.low > 0
    return change.check("IoU beside marking everything", passed, "better" if passed else "not better for certain")


def _not_worse(name: str, pairs: Pairs, figure: Figure, margin: float, rules: GateRules, seed: int) -> GateCheck:
    change = _change(pairs, figure, rules, seed)
    passed = change.low is not None and change.low >= -margin
    verdict = _verdict("lower", passed, change.mean < -margin, margin)
    return change.check(name, passed, verdict)


def _not_more(name: str, pairs: Pairs, figure: Figure, margin: float, rules: GateRules, seed: int) -> GateCheck:
    change = _change(pairs, figure, rules, seed)
    passed = change.high is not None and change.high <= margin
    return change.check(name, passed, _verdict("more often", passed, change.mean > margin, margin))


def _beside_first(
    first: Sequence[Measured], candidate: Sequence[Measured], rules: GateRules, seed: int
) -> list[GateCheck]:
    """The candidate on base data beside the first model of its line, in place of the live one."""
    asked = {(row.image, row.prompt) for row in first}
    pairs = _pair(first, [row for row in candidate if (row.image, row.prompt) in asked])
    replay, absent = ([pair for pair in pairs if bool(pair[0].area) == there] for there in (True, False))
    checks = []
    if replay:
        name, margin = "IoU on base data, beside the first model", rules.replay_margin
        checks.append(_not_worse(name, replay, lambda row: row.iou, margin, rules, seed))
    if absent:
        name, margin = "drawn where the label is absent, beside the first model", rules.absent_margin
        checks.append(_not_more(name, absent, _is_drawn, margin, rules, seed))
    return checks


def _worse_parts(
    name: str,
    pairs: Pairs,
    figure: Figure,
    margin: float,
    rules: GateRules,
    seed: int,
    *,
    more_is_worse: bool = False,
) -> list[GateCheck]:
    """A check of each kind of rows on which `figure` is worse for certain; none where all are of one kind."""
    parts: dict[str, list[tuple[Measured, Measured]]] = {}
    for one, other in pairs:
        parts.setdefault(_part(one), []).append((one, other))
    checks = []
    for part, rows in sorted(parts.items()) if len(parts) > 1 else ():
        change = _change(rows, figure, rules, seed)
        if change.low is None or change.high is None or change.images < rules.part_min_images:
            continue
        if change.low > 0 and change.mean > margin if more_is_worse else change.high < 0 and change.mean < -margin:
            checks.append(change.check(f"{name}, {part}", False, "worse for certain"))
    return checks


def _part(row: Measured) -> str:
    """What a row is one of many of, in words."""
    kind, _, name = row.source.partition(":")
    if kind == "replay":
        return f"replay of {name}"
    if row.area:
        return f"label {row.label!r}"
    return "foreign things" if name == "foreign" else "the project's own labels"


def _is_drawn(row: Measured) -> float:
    return float(row.drawn > 0)


def _verdict(worse: str, passed: bool, is_worse: bool, margin: float) -> str:
    certainty = "not " if passed else "" if is_worse else "perhaps "
    return f"{certainty}{worse} by more than the {margin:g} that are allowed"


def _change(pairs: Pairs, figure: Figure, rules: GateRules, seed: int, live: Figure | None = None) -> _Change:
    """Means over groups, and the interval of their difference; `live` is the figure of the first of a pair."""
    groups: dict[str, list[tuple[float, float]]] = {}
    for one, other in pairs:
        groups.setdefault(one.group, []).append(((live or figure)(one), figure(other)))
    means = np.array([np.mean(groups[name], axis=0) for name in sorted(groups)])  # (groups, 2)
    low, high = _interval(means[:, 1] - means[:, 0], rules, seed)
    return _Change(len(means), float(means[:, 0].mean()), float(means[:, 1].mean()), low, high)


def _interval(changes: NDArray[np.float64], rules: GateRules, seed: int) -> tuple[float | None, float | None]:
    """Bootstrap interval of the mean of `changes` (one for each group)."""
    n = len(changes)
    if n < 2:
        return None, None
    from scipy.special import ndtr, stdtrit  # takes a tenth of the web process's start

    drawn = np.random.default_rng(seed).integers(0, n, (rules.draws, n))
    tail = ndtr(np.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - rules.confidence) / 2))
    low, high = np.quantile(changes[drawn].mean(axis=1), [tail, 1 - tail])
    return float(low), float(high)


def _pair(live: Sequence[Measured], candidate: Sequence[Measured]) -> Pairs:
    def by_item(rows: Sequence[Measured]) -> dict[tuple[str, str], Measured]:
        return {(row.image, row.prompt): row for row in rows}

    ours, theirs = by_item(live), by_item(candidate)
    if ours.keys() != theirs.keys() or any(ours[key].area != theirs[key].area for key in ours):
        raise GateError("The two models were measured on different holdouts. Measure both on the same snapshot.")
    return [(ours[key], theirs[key]) for key in sorted(ours)]


def _has_object(item: Countable) -> bool:
    """Whether it counts: an object of the project's own is to be found."""
    return bool(item.area) and not _is_replay(item)


def _is_replay(item: Countable) -> bool:
    return item.source.split(":")[0] == "replay"
