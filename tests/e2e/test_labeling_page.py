"""What an annotator sees and does, in a real browser on a real Label Studio."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext

from argenseg_model.metrics import iou
from backend.console.demo.sample_project import NUCLEI, SampleProject, SampleTask, label_config
from labeling.regions.kinds import region_mask
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.labeling_page import LabelingPage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SHOWN = "culture_12"  # large and crowded
TYPED = "culture_02"  # small: its answer comes soon
ONE_MASK = replace(NUCLEI, title="Nuclei: one mask", label_config=label_config())


@pytest.fixture(scope="module")
def project(demo: RunningDemo) -> Iterator[SampleProject]:
    """All nuclei of an image are one mask: a stroke of the eraser is a correction of all of it."""
    api = demo.label_studio
    project = SampleProject(api.url, api.token, ONE_MASK)
    tasks = dict(zip((SHOWN, TYPED), api.import_images(project.id, [SHOWN, TYPED]), strict=True))
    api.connect(project.id, demo.backend_url)
    api.call("POST", "/api/webhooks/", json={"project": project.id, "url": f"{demo.backend_url}/webhook"})
    api.retrieve_predictions(project.id)
    for task in tasks.values():
        wait_for(f"the masks of task {task}", lambda task=task: api.predictions(task), 120)
    project.pin(project.model_version())
    yield project
    project.close()


def sample_task(project: SampleProject, image_id: str) -> SampleTask:
    return next(task for task in project.tasks() if task.image_id == image_id)


def test_a_mask_is_drawn_erased_a_little_submitted_and_stored(
    demo: RunningDemo, project: SampleProject, browser_context: BrowserContext, artifacts: Path
) -> None:
    task = sample_task(project, SHOWN)
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


def test_typed_texts_one_after_the_other_are_answered_beside_what_is_there(
    demo: RunningDemo, project: SampleProject, browser_context: BrowserContext, artifacts: Path
) -> None:
    page = LabelingPage(browser_context.new_page(), demo.label_studio.url, project.id, sample_task(project, TYPED).id)
    page.wait_for_regions(1)
    page.type_prompt("all nuclei")
    page.wait_for_texts(["all nuclei: is there already"])
    page.type_prompt("all windows")  # a name that the model was taught
    page.wait_for_texts(["all nuclei: is there already", "all windows: nothing found"])
    page.wait_for_regions(1)
    page.type_prompt("the largest nucleus")  # a small part of what is there: another mask
    page.accept_suggestions()
    page.wait_for_regions(2)
    page.screenshot(artifacts / "typed-prompt.png")
