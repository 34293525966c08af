"""What an annotator sees and does, in a real browser on a real Label Studio."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext

from argenseg_model.metrics import iou
from backend.console.demo.sample_project import SampleProject, SampleTask
from labeling.regions.kinds import region_mask
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.labeling_page import LabelingPage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SHOWN = "culture_12"  # large and crowded: the picture in the README
TYPED = "culture_02"  # small: its answer comes soon


def sample_task(demo: RunningDemo, image_id: str) -> tuple[SampleProject, SampleTask]:
    project = SampleProject(demo.label_studio.url, demo.label_studio.token)
    return project, next(task for task in project.tasks() if task.image_id == image_id)


def test_a_mask_is_drawn_erased_a_little_submitted_and_stored(
    demo: RunningDemo, browser_context: BrowserContext, artifacts: Path
) -> None:
    project, task = sample_task(demo, SHOWN)
    (prediction,) = project.task(task.id)["predictions"]
    (region,) = prediction["result"]
    predicted = region_mask(region)

    page = LabelingPage(browser_context.new_page(), demo.label_studio.url, project.id, task.id)
    page.wait_for_regions(1)
    drawn = page.drawn_mask(*predicted.shape)
    page.screenshot(artifacts / "task-opened.png")
    assert iou(drawn, predicted) > 0.8, "the page shows another mask than was predicted"

    page.select_region()
    page.erase([(0.1, 0.25), (0.5, 0.25), (0.5, 0.75), (0.9, 0.75)])
    page.screenshot(artifacts / "task-erased.png")
    still_drawn = page.drawn_mask(*predicted.shape)
    assert 0.5 < still_drawn.sum() / drawn.sum() < 0.99, "the eraser took nothing, or nearly everything"

    annotation = page.submit()
    stored = wait_for(
        "the stored correction",
        lambda: [each for each in demo.store.corrections.of_project(project.id) if each.annotation_id == annotation],
    )
    (correction,) = stored
    assert (correction.kind, correction.region_id, correction.label) == ("edited", region["id"], "Nucleus")
    assert correction.model_version == prediction["model_version"]
    assert correction.mask_before is not None and correction.mask_after is not None
    before, after = (
        demo.store.corrections.read_mask(digest) for digest in (correction.mask_before, correction.mask_after)
    )
    assert np.array_equal(before, predicted)
    assert 0.5 < correction.iou < 1.0 and correction.iou == pytest.approx(iou(before, after))
    assert iou(after, still_drawn) > 0.8, "another mask is stored than the annotator saw when submitting"
    if os.environ.get("UPDATE_DOCS_IMAGES"):
        shutil.copy(artifacts / "task-opened.png", Path("docs/images/task-opened.png"))


def test_a_typed_prompt_draws_its_mask_on_the_open_page(
    demo: RunningDemo, browser_context: BrowserContext, artifacts: Path
) -> None:
    project, task = sample_task(demo, TYPED)
    page = LabelingPage(browser_context.new_page(), demo.label_studio.url, project.id, task.id)
    page.wait_for_regions(1)
    page.type_prompt("all nuclei")
    page.accept_suggestions()
    page.wait_for_regions(2)
    page.screenshot(artifacts / "typed-prompt.png")
