"""Smart boxes, smart points and typed text, as an annotator uses them in a real browser, with the real worker."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext

from argenseg_model.metrics import iou
from backend.console.demo.sample_project import NUCLEI
from labeling.regions.kinds import region_mask
from tests.e2e.label_studio_api import RunningDemo
from tests.e2e.labeling_page import LabelingPage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGE = "culture_01"
LABEL_CONFIG = """<View><Image name="image" value="$image"/>
<BrushLabels name="mask" toName="image" smart="false">
  <Label value="Nucleus" prompt="all nuclei" background="#0000ff"/>
</BrushLabels>
<RectangleLabels name="box" toName="image" smart="true"><Label value="Nucleus" background="#00ff00"/></RectangleLabels>
<KeyPointLabels name="point" toName="image" smart="true"><Label value="Nucleus" background="#ff0000"/></KeyPointLabels>
<TextArea name="prompt" toName="image" editable="true" rows="1" maxSubmissions="1" showSubmitButton="true"/>
</View>"""
BOX_KEY, POINT_KEY = "2", "3"  # the hotkeys of the labels, in the order of the config
BOX = (0.17, 0.32), (0.33, 0.48)  # around one nucleus
NUCLEUS, ITS_RIGHT_SIDE = (0.795, 0.21), (0.835, 0.21)  # of another
LONGEST_WAIT_S = 20.0  # on a machine that is busy; about a second on one that is not


@pytest.fixture(scope="module")
def page(demo: RunningDemo, browser_context: BrowserContext) -> Iterator[LabelingPage]:
    """A task whose pinned prediction is empty, so that what appears was asked for."""
    api = demo.label_studio
    project = api.create_project("interactive", LABEL_CONFIG)
    (task,) = api.import_images(project, [IMAGE])
    empty = {"task": task, "result": [], "score": 0.5, "model_version": "empty"}
    api.call("POST", "/api/predictions/", json=empty)
    api.connect(project, demo.backend_url)
    api.call("PATCH", f"/api/projects/{project}", json={"model_version": "empty"})
    tab = browser_context.new_page()
    opened = LabelingPage(tab, api.url, project, task)
    opened.wait_for_regions(0)
    yield opened
    tab.close()
    assert opened.waits and max(opened.waits) < LONGEST_WAIT_S, opened.waits


def suggested_mask(regions: list[dict[str, Any]]) -> NDArray[np.bool_]:
    (region,) = regions
    assert region["type"] == "brushlabels" and region["value"]["brushlabels"] == ["Nucleus"]
    return region_mask(region)


def at(mask: NDArray[np.bool_], place: tuple[float, float]) -> bool:
    return bool(mask[int(place[1] * mask.shape[0]), int(place[0] * mask.shape[1])])


def test_box_points_and_text_draw_what_they_mean(
    page: LabelingPage, artifacts: Path, record_property: Callable[[str, object], None]
) -> None:
    truth = NUCLEI.truth(IMAGE)
    height, width = truth.shape
    inside = np.zeros_like(truth)
    (left, top), (right, bottom) = BOX
    inside[int(top * height) : int(bottom * height) + 1, int(left * width) : int(right * width) + 1] = True

    boxed = suggested_mask(page.draw_smart_box(BOX_KEY, *BOX))
    assert not (boxed & ~inside).any() and iou(boxed, truth & inside) > 0.6
    page.accept_suggestions()
    page.wait_for_regions(1)
    page.screenshot(artifacts / "smart-box.png")
    assert iou(page.drawn_mask(height, width), boxed) > 0.9, "the page shows another mask than was suggested"

    whole = suggested_mask(page.click_smart_point(POINT_KEY, NUCLEUS))
    assert at(whole, NUCLEUS) and at(whole, ITS_RIGHT_SIDE) and not (whole & boxed).any()
    assert whole.sum() < 0.2 * truth.sum(), "more than the nucleus under the point"
    rest = suggested_mask(page.click_smart_point(POINT_KEY, ITS_RIGHT_SIDE, is_positive=False))
    assert at(rest, NUCLEUS) and not at(rest, ITS_RIGHT_SIDE)
    assert not (rest & ~whole).any() and 0.4 < rest.sum() / whole.sum() < 0.95
    page.accept_suggestions()
    page.wait_for_regions(2)
    page.screenshot(artifacts / "smart-points.png")
    assert iou(page.drawn_mask(height, width), boxed | rest) > 0.9

    typed = suggested_mask(page.type_prompt("all nuclei"))
    assert iou(typed, truth) > 0.4
    page.accept_suggestions()
    page.wait_for_regions(3)
    page.screenshot(artifacts / "typed-beside-smart.png")
    assert iou(page.drawn_mask(height, width), typed | boxed | rest) > 0.9
    record_property("seconds of box, point, negative point, text", [round(wait, 2) for wait in page.waits])
