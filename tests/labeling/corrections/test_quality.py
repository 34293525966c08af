"""Figures of the page Quality that can be counted by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from labeling.corrections.intervals import FEWEST, Figure, median, tasks_needed
from labeling.corrections.quality import Chosen, measure_quality
from labeling.store import AnnotationOutcome, AskedPrompt, RegionOutcome

MONDAY = datetime(2026, 11, 23, 10, tzinfo=UTC)
ASKED = (AskedPrompt("red", "red ball"), AskedPrompt("cell", "a cell"), AskedPrompt("cell", "cells"))


def region(kind: str, label: str = "red", prompt: str = "red ball", **changes: Any) -> RegionOutcome:
    fields: dict[str, Any] = {
        "kind": kind,
        "label": label,
        "label_before": None if kind == "added" else label,
        "prompt": None if kind == "added" else prompt,
        "model_version": None if kind == "added" else "v1",
        "score": None if kind == "added" else 0.85,
        "iou": {"accepted": 1.0, "edited": 0.7}.get(kind, 0.0),
        "boundary_iou": {"accepted": 1.0, "edited": 0.5}.get(kind, 0.0),
        "changed_pixels": 40,
        "interactive": False,
    }
    return RegionOutcome(**fields | changes)


def annotation(task: int, *regions: RegionOutcome, **changes: Any) -> AnnotationOutcome:
    fields: dict[str, Any] = {
        "project_id": 1,
        "task_id": task,
        "at": MONDAY,
        "prediction_id": 5,
        "model_version": "v1",
        "lead_time_s": 10.0,
        "capped_lead_time_s": 10.0,
        "ground_truth": False,
        "asked": ASKED,
        "regions": regions,
    }
    return AnnotationOutcome(**fields | changes)


def test_shares_are_of_what_was_predicted_and_added_ones_of_what_was_submitted() -> None:
    found = measure_quality(
        [
            annotation(1, region("accepted"), region("accepted"), region("edited"), region("deleted")),
            annotation(2, region("added"), region("added", "cell"), region("accepted", "cell", "cells")),
        ]
    )
    of_prompt = {(each.name, each.prompt): each for each in found.prompts}
    assert list(of_prompt) == [("cell", "(several)"), ("cell", "cells"), ("red", "red ball")]
    red = of_prompt["red", "red ball"]
    assert [each.value for each in (red.accepted, red.edited, red.deleted, red.added)] == [0.5, 0.25, 0.25, 0.25]
    assert (red.tasks, red.regions, red.iou.value, red.boundary_iou.value) == (2, 5, 0.7, 0.5)
    assert of_prompt["cell", "(several)"].added.value == 1.0 and of_prompt["cell", "(several)"].accepted.value is None
    assert [(each.name, each.tasks) for each in found.versions] == [("v1", 2)]
    assert found.annotations == 2 and found.untouched == 0


def test_a_slip_of_the_mouse_is_no_edit() -> None:
    slips = [region("edited", iou=0.999, changed_pixels=9), region("edited", iou=0.9, changed_pixels=3)]
    found = measure_quality([annotation(1, *slips, region("edited"), region("edited", iou=1.0, label_before="cell"))])
    assert found.overall is not None and (found.overall.accepted.value, found.overall.edited.value) == (0.5, 0.5)


def test_a_month_is_told_by_week_and_less_by_day() -> None:
    days = [annotation(n, region("accepted"), at=MONDAY + timedelta(days=n)) for n in range(3)]
    assert [each.name for each in measure_quality(days).periods] == ["2026-11-23", "2026-11-24", "2026-11-25"]
    weeks = measure_quality([*days, annotation(9, region("accepted"), at=MONDAY - timedelta(days=40))])
    assert weeks.period == "week" and [each.name for each in weeks.periods] == ["2026-10-12", "2026-11-23"]
    assert [each.name for each in weeks.paces] == ["2026-10-12", "2026-11-23"]


def test_nobodys_work_and_work_without_predictions_count_for_no_prediction() -> None:
    untouched = annotation(1, region("accepted"), lead_time_s=None, capped_lead_time_s=None)
    from_nothing = annotation(2, region("added"), prediction_id=None, model_version=None)
    found = measure_quality([untouched, from_nothing])
    assert (found.annotations, found.untouched, found.prompts, found.versions) == (1, 1, (), ())
    empty = measure_quality([])
    assert (empty.periods, empty.calibration, empty.time_saved.ratio.value) == ((), (), None)


def test_chosen_regions_only() -> None:
    annotations = [
        annotation(1, region("accepted"), region("deleted", "cell", "cells")),
        annotation(2, region("edited", model_version="v2"), model_version="v2", at=MONDAY - timedelta(days=3)),
    ]
    assert [each.name for each in measure_quality(annotations, chosen=Chosen(label="cell")).prompts] == ["cell"]
    assert [each.name for each in measure_quality(annotations, chosen=Chosen(version="v2")).versions] == ["v2"]
    assert [each.name for each in measure_quality(annotations, chosen=Chosen(since=MONDAY)).versions] == ["v1"]


def test_time_is_held_against_the_blind_slice() -> None:
    blind = [annotation(n, prediction_id=None, capped_lead_time_s=20.0) for n in range(8)]
    smart = annotation(99, region("accepted", interactive=True), prediction_id=None, capped_lead_time_s=900.0)
    found = measure_quality([*blind, smart, *(annotation(n) for n in range(8, 16))], blind_share=1.0)
    assert found.time_saved.ratio.value == 0.5 and found.time_saved.blind_s.count == 8
    assert found.paces[0].blind_s.value == 20.0 and found.paces[0].assisted_s.value == 10.0


def test_scores_are_held_against_what_was_kept() -> None:
    regions = [
        region("deleted", score=0.95),
        region("accepted", score=1.0),
        region("edited", score=0.31),
        region("added"),
    ]
    low, high = measure_quality([annotation(1, *regions)]).calibration
    assert (low.low, low.kept.value, low.mean_iou) == (0.3, 1.0, 0.7)
    assert (low.good.value, high.good.value) == (0.0, 0.5)  # the edited one has IoU 0.7
    assert (high.low, high.kept.value, high.mean_score) == (0.9, 0.5, pytest.approx(0.975))


def test_few_tasks_say_how_many_are_needed() -> None:
    few = measure_quality([annotation(n, region("accepted" if n else "deleted")) for n in range(3)]).prompts[0]
    assert not few.is_sure and few.tasks_needed > 20
    many = measure_quality([annotation(n, region("accepted" if n % 4 else "deleted")) for n in range(400)]).prompts[0]
    assert many.is_sure and 50 < many.tasks_needed < 100  # 1.96 ** 2 * 0.75 * 0.25 / 0.1 ** 2 = 72
    assert tasks_needed(Figure(None, None, None, 0), 0, 0.1) == FEWEST


def test_the_interval_of_a_median_in_clusters_covers_the_truth() -> None:
    """Regions of one image are alike; as if they were independent the interval would hold the truth in 40 of 100."""
    rng, covered, naive = np.random.default_rng(0), 0, 0
    for _ in range(300):
        images = rng.normal(size=25)
        values = (np.repeat(images, 20) + rng.normal(scale=0.3, size=500)).tolist()
        figure, apart = median(values, np.repeat(np.arange(25), 20).tolist()), median(values)
        covered += (figure.low or 0) <= 0.0 <= (figure.high or 0)
        naive += (apart.low or 0) <= 0.0 <= (apart.high or 0)
    assert covered >= 270 and naive < 180
