"""Figures that can be counted by hand."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.corrections.blind_slice import is_blind
from labeling.corrections.intervals import Figure, median, median_ratio, share
from labeling.corrections.statistics import Row, compute_statistics
from labeling.store import AnnotationRecord, AskedPrompt, CorrectionRecord, Project

PROJECT = Project(1, "http://label-studio", 1, "")
RED, CELL = AskedPrompt("red", "red ball"), AskedPrompt("cell", "every cell")
Build = Callable[..., Any]


def correction(kind: str, label: str = "red", iou: float = 1.0, **changes: Any) -> CorrectionRecord:
    prompts = {"red": "red ball", "cell": "every cell"}
    fields: dict[str, Any] = dict.fromkeys(CorrectionRecord.__dataclass_fields__) | {
        "kind": kind,
        "label": label,
        "label_before": None if kind == "added" else label,
        "prompt": None if kind == "added" else prompts[label],
        "model_version": None if kind == "added" else "v1",
        "score": None if kind == "added" else 0.85,
        "iou": iou if kind in ("accepted", "edited") else 0.0,
        "boundary_iou": iou / 2,
        "interactive": False,
        "changed_pixels": 100,
        "annotation_id": 1,
        "task_id": 1,
    }
    return CorrectionRecord(**fields | changes)


def annotation(number: int, *corrections: CorrectionRecord, **changes: Any) -> AnnotationRecord:
    fields: dict[str, Any] = dict.fromkeys(AnnotationRecord.__dataclass_fields__) | {
        "id": number,
        "annotation_id": number,
        "task_id": number,
        "project": PROJECT,
        "state": "submitted",
        "at": datetime(2026, 11, 22, tzinfo=UTC),
        "lead_time_s": 10.0 * number,
        "capped_lead_time_s": 10.0 * number,
        "prediction_id": 5,
        "model_version": "v1",
        "asked": (RED, CELL),
        "unread": 0,
        "excluded_labels": frozenset(),
        "corrections": corrections,
    }
    return AnnotationRecord(**fields | changes)


def rows(*annotations: AnnotationRecord) -> dict[tuple[str | None, str], Row]:
    return {(row.label, row.prompt): row for row in compute_statistics(annotations).rows}


def test_a_slip_counts_as_accepted_and_the_raw_share_stands_beside_it() -> None:
    dot, edge = correction("edited", iou=0.9, changed_pixels=4), correction("edited", iou=0.996, changed_pixels=900)
    renamed = correction("edited", "cell", iou=1.0, changed_pixels=0, label_before="red", prompt="red ball")
    real = correction("edited", iou=0.9, changed_pixels=5)
    red = rows(annotation(1, correction("accepted"), dot, edge, renamed, real))["red", "red ball"]
    assert [figure.value for figure in (red.accepted, red.unchanged, red.edited)] == [3 / 5, 1 / 5, 2 / 5]
    assert red.iou.count == 2


def test_shares_of_a_label() -> None:
    found = rows(
        annotation(1, correction("accepted"), correction("accepted"), correction("edited", iou=0.8)),
        annotation(2, correction("deleted"), correction("added")),
        annotation(3, correction("edited", iou=0.6, annotation_id=3), correction("accepted", "cell")),
    )
    red, cell = found["red", "red ball"], found["cell", "every cell"]
    assert (red.model_version, red.week, red.annotations) == ("v1", "2026-W47", 3)
    assert [figure.value for figure in (red.accepted, red.edited, red.deleted)] == [2 / 5, 2 / 5, 1 / 5]
    assert (red.added.value, red.added.count) == (1 / 5, 5)  # four of the predicted ones are left, and the added one
    assert (red.iou.value, red.boundary_iou.value, red.iou.count) == (0.7, 0.35, 2)
    assert red.lead_time_s.value == 20
    assert (cell.accepted.value, cell.accepted.count) == (1.0, 1)
    assert (cell.iou.value, cell.iou.count) == (None, 0)


def test_false_positives_on_absent_labels() -> None:
    found = rows(
        annotation(1),  # neither predicted nor there
        annotation(2, correction("deleted"), correction("deleted")),  # predicted, not there
        annotation(3, correction("accepted")),  # it is there
        annotation(4, correction("edited", "cell", label_before="red", prompt="red ball")),  # it was a cell
    )
    red = found["red", "red ball"]
    assert (red.false_positives.value, red.false_positives.count) == (2 / 3, 3)
    cell = found["cell", "every cell"]
    assert (cell.false_positives.value, cell.false_positives.count) == (0.0, 3)


def test_a_label_is_absent_only_where_that_is_certain() -> None:
    found = rows(
        annotation(1, correction("deleted"), unread=1),  # what cannot be read may be a red ball
        annotation(2, excluded_labels=frozenset({"red"})),  # one was there, and is left out
        annotation(3, correction("deleted")),
    )
    assert (found["red", "red ball"].false_positives.value, found["red", "red ball"].false_positives.count) == (1.0, 1)
    assert found["cell", "every cell"].false_positives.count == 2


def test_an_added_region_of_a_label_with_several_prompts() -> None:
    asked = (CELL, AskedPrompt("cell", "a blob"))
    found = rows(annotation(1, correction("added", "cell"), correction("accepted", "cell"), asked=asked))
    assert (found["cell", "(several)"].added.value, found["cell", "every cell"].added.value) == (1.0, 0.0)


def test_what_says_nothing_about_predictions() -> None:
    found = compute_statistics(
        [
            annotation(1, correction("added"), prediction_id=None, model_version=None),
            annotation(2, state="skipped"),
        ]
    )
    assert (found.rows, found.annotations, found.skipped) == ((), 1, 1)


def test_what_nobody_looked_at_is_no_success_of_the_model() -> None:
    """Label Studio's "create annotations from predictions": no lead time. A star says that somebody did."""
    bulk = [annotation(n, correction("accepted"), lead_time_s=None, capped_lead_time_s=None) for n in range(1, 101)]
    seen = [annotation(200 + n, correction("edited", iou=0.7)) for n in range(10)]
    found = compute_statistics(bulk + seen)
    (red, _) = sorted(found.rows, key=lambda row: row.label != "red")
    assert (red.accepted.value, red.accepted.count, red.annotations) == (0.0, 10, 10)
    assert [each.kept.count for each in found.calibration] == [10]
    assert (found.annotations, found.untouched, found.skipped) == (10, 100, 0)
    assert compute_statistics([replace(bulk[0], ground_truth=True)]).untouched == 0


def test_calibration() -> None:
    (low, high) = compute_statistics(
        [
            annotation(1, correction("deleted", score=0.31), correction("edited", score=0.39, iou=0.6)),
            annotation(2, correction("accepted", score=1.0), correction("added")),
        ]
    ).calibration
    assert (low.low, low.high, low.mean_score, low.mean_iou) == (0.3, 0.4, pytest.approx(0.35), 0.3)
    assert (low.kept.value, low.kept.count) == (0.5, 2)
    assert (high.low, high.high, high.mean_iou) == (0.9, 1.0, 1.0)


def test_time_saved_against_the_blind_slice() -> None:
    blind = [task for task in range(1, 400) if is_blind(1, task, 0.1)]
    seeing = [task for task in range(1, 400) if task not in blind]
    annotations = [annotation(task, capped_lead_time_s=10.0 + task % 3) for task in seeing]
    annotations += [annotation(task, capped_lead_time_s=40.0 + task % 3, prediction_id=None) for task in blind]
    annotations += [annotation(seeing[0], capped_lead_time_s=900.0, prediction_id=None)]  # missing, but not by lot
    typed = correction("accepted", interactive=True)
    annotations += [
        annotation(blind[0], typed, capped_lead_time_s=900.0, prediction_id=None)
    ]  # it was helped after all
    saved = compute_statistics(annotations, blind_share=0.1).time_saved
    assert (saved.assisted_s.value, saved.blind_s.value, saved.blind_s.count) == (11, 41, len(blind))
    assert saved.ratio.value == pytest.approx(11 / 41)
    assert saved.ratio.low is not None and saved.ratio.high is not None
    assert 0.2 < saved.ratio.low <= saved.ratio.high < 0.3
    assert compute_statistics(annotations).time_saved.ratio.value is None


@given(st.integers(1, 1000), st.floats(0, 1), st.floats(0, 1))
def test_the_blind_slice_only_grows(task: int, first: float, second: float) -> None:
    assert is_blind(1, task, min(first, second)) <= is_blind(1, task, max(first, second))
    assert not is_blind(1, task, 0.0)
    assert is_blind(1, task, 1.0)


def test_the_blind_share_is_about_right() -> None:
    assert 150 < sum(is_blind(7, task, 0.1) for task in range(2000)) < 250


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (45, 50, 0.7864, 0.9565)],
)
def test_wilsons_interval(hits: int, total: int, low: float, high: float) -> None:
    """Numbers of statsmodels' proportion_confint(method="wilson")."""
    figure = share([True] * hits + [False] * (total - hits))
    assert figure == share([True] * hits + [False] * (total - hits), range(total))  # one in each cluster
    assert (figure.low, figure.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize("images", [3, 5, 20])
@pytest.mark.parametrize("rates", [(1.0, 1.0), (9.0, 1.0), (50.0, 50.0)], ids=["any", "mostly good", "alike"])
def test_the_interval_of_a_share_covers_the_truth(images: int, rates: tuple[float, float]) -> None:
    """Each image has a rate of its own, from a beta distribution, and 1 to 59 regions. As if regions were independent,
    the interval would hold the truth in 40 of 100 samples where rates vary most.
    """
    rng = np.random.default_rng(0)
    truth, covered, naive = rates[0] / sum(rates), 0, 0
    for _ in range(1000):
        sizes = rng.integers(1, 60, images)
        outcomes = (rng.random(sizes.sum()) < np.repeat(rng.beta(*rates, images), sizes)).tolist()
        figure, apart = share(outcomes, np.repeat(np.arange(images), sizes).tolist()), share(outcomes)
        covered += (figure.low or 0) <= truth <= (figure.high or 0)
        naive += (apart.low or 0) <= truth <= (apart.high or 0)
    assert covered >= 910
    assert naive < (500 if rates == (1.0, 1.0) else 930)


def test_regions_of_one_image_are_worth_an_image() -> None:
    """If they are all the same, nobody knows how alike they are."""
    assert share([True] * 300, [*range(10)] * 30) == replace(share([True] * 10), count=300)
    assert share([True, False] * 15, [7] * 30).low == pytest.approx(share([True, False]).low, abs=0.1)


def test_statistics_take_the_regions_of_a_task_together() -> None:
    """Also those of two annotators."""
    annotations = [
        annotation(n, *[correction("accepted" if n <= 6 else "deleted", task_id=n // 2)] * 20, task_id=n // 2)
        for n in range(1, 13)
    ]
    found = compute_statistics(annotations)
    (red, _) = sorted(found.rows, key=lambda row: row.label != "red")
    for figure in (red.accepted, red.deleted, found.calibration[0].kept):
        assert figure.value == 0.5 and figure.count == 240
        assert (figure.high or 0) - (figure.low or 0) > 0.4, figure
    assert (red.false_positives.high or 0) - (red.false_positives.low or 0) > 0.3


def test_too_few_values_have_no_interval() -> None:
    assert median([0.5]) == Figure(0.5, None, None, 1)
    assert median([0.5] * 30, [*"abcde"] * 6) == Figure(0.5, None, None, 30)  # regions of five images
    assert median([0.5] * 6) == Figure(0.5, 0.5, 0.5, 6)
    assert median_ratio([1.0] * 30, [2.0] * 5) == Figure(0.5, None, None, 35)


def test_the_bootstrap_covers_the_true_median() -> None:
    """In about 95 of 100 samples of 30 values; and regions of one image are worth less than as many images."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        figure = median(rng.exponential(size=30))
        hits += (figure.low or 0) <= np.log(2) <= (figure.high or 0)
    assert 85 <= hits <= 100
    values = np.repeat(rng.normal(size=10), 10)
    apart, together = median(values), median(values, np.repeat(np.arange(10), 10).tolist())
    assert (together.high or 0) - (together.low or 0) > (apart.high or 0) - (apart.low or 0)


def test_no_observations_no_figure() -> None:
    for figure in (share([]), share([], []), median([]), median_ratio([], [1.0]), median_ratio([1.0], [])):
        assert (figure.value, figure.low, figure.high, figure.count) == (None, None, None, 0)
