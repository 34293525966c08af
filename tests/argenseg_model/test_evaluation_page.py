"""The page of an evaluation: figures and the worst answers."""

import numpy as np

from argenseg_model.evaluation import evaluate, summarise
from argenseg_model.evaluation_page import WorstCases, evaluation_page
from argenseg_model.manifest import Manifest
from tests.argenseg_model.test_evaluation import Threshold
from tests.argenseg_model.test_evaluation import manifest as manifest


def test_the_worst_answers_come_first_and_right_ones_never(manifest: Manifest) -> None:
    cases = WorstCases(2)
    evaluate(Threshold(), manifest, on_answer=cases)
    assert [(case.prompt, case.iou) for case in cases.sorted()] == [("cat", 0.0), ("dog", 0.0)]
    all_cases = WorstCases(10)
    evaluate(Threshold(), manifest, on_answer=all_cases)
    assert [case.prompt for case in all_cases.sorted()] == ["cat", "dog", "left half"]


def test_no_case_is_kept_when_none_is_wanted(manifest: Manifest) -> None:
    cases = WorstCases(0)
    evaluate(Threshold(), manifest, on_answer=cases)
    assert cases.sorted() == []


def test_the_page_shows_figures_and_pictures_and_escapes_what_is_foreign(manifest: Manifest) -> None:
    cases = WorstCases(5)
    rows = evaluate(Threshold(), manifest, on_answer=cases)
    page = evaluation_page("<b>model</b>", summarise(rows), cases.sorted())
    assert "&lt;b&gt;model&lt;/b&gt;" in page
    assert "[/s]" in page
    assert page.count("data:image/jpeg;base64,") == 2 * len(cases.sorted()) == 6
    assert "0.750" in page  # gIoU


def test_a_page_without_absent_items_has_dashes(manifest: Manifest) -> None:
    items = tuple(item for item in manifest.items if item.mask is not None)
    rows = evaluate(Threshold(), Manifest(manifest.folder, items))
    assert "–" in evaluation_page("m", summarise(rows), [])
    assert np.isfinite(summarise(rows)["giou"])
