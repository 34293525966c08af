"""A project of outlines through the whole product: import, worker, publisher, page, Submit, webhook, correction."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext

from argenseg_model.metrics import iou
from labeling.regions.kinds import region_mask
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.labeling_page import LabelingPage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGE = "0c6507d493bf"
LABEL_CONFIG = """<View><Image name="image" value="$image"/>
<{tag}Labels name="shape" toName="image" min_area="400">
  <Label value="Nucleus" prompt="all nuclei" background="#0000ff"/>
</{tag}Labels></View>"""
FINE = 16  # sub-pixels: what a region covers is counted here without our own code


@pytest.mark.parametrize("tag", ["Polygon", "Rectangle"])
def test_one_outline_is_changed_one_is_deleted_and_the_others_are_left(
    demo: RunningDemo, browser_context: BrowserContext, artifacts: Path, tag: str
) -> None:
    api, store = demo.label_studio, demo.store
    project = api.create_project(f"{tag}s", LABEL_CONFIG.format(tag=tag))
    api.connect(project, demo.backend_url)
    (task,) = api.import_images(project, [IMAGE])
    (prediction,) = wait_for("the prediction of the imported image", lambda: api.predictions(task))
    assert wait_for("its row", lambda: store.counts(project).get("published")) == 1, "nobody has opened the task yet"
    predicted = {str(region["id"]): region for region in prediction["result"]}
    assert len(predicted) > 2 and {region["type"] for region in predicted.values()} == {f"{tag.lower()}labels"}

    page = LabelingPage(browser_context.new_page(), api.url, project, task)
    page.wait_for_regions(len(predicted))
    assert set(page.region_ids()) == set(predicted)
    changed, deleted, *left = predicted.values()
    page.click_region(middle(deleted))
    page.delete_selected()
    page.click_region(middle(changed))
    page.drag(corners(changed)[0], middle(changed))
    page.screenshot(artifacts / f"{tag.lower()}s-corrected.png")
    before, annotation = store.newest_event(), page.submit()

    submitted = {region["id"]: region for region in api.call("GET", f"/api/annotations/{annotation}/")["result"]}
    assert submitted.keys() == predicted.keys() - {deleted["id"]}
    overlap = iou(covered(changed), covered(submitted[changed["id"]]))
    assert 0.2 < overlap < 0.95, "the drag changed nothing, or nearly everything"
    stored = wait_for(
        "the stored corrections",
        lambda: [each for each in store.list_corrections(project) if each.annotation_id == annotation],
    )
    assert store.has_event("ANNOTATION_CREATED", project, after=before), "no webhook told of it"
    found = {each.region_id: each for each in stored}
    kinds = {changed["id"]: "edited", deleted["id"]: "deleted"} | {each["id"]: "accepted" for each in left}
    assert {region_id: each.kind for region_id, each in found.items()} == kinds
    whence = {(each.label, each.region_type, each.model_version) for each in stored}
    assert whence == {("Nucleus", f"{tag.lower()}labels", prediction["model_version"])}
    assert [found[each["id"]].iou for each in left] == [1.0] * len(left) and found[deleted["id"]].iou == 0.0
    edited = found[changed["id"]]
    assert edited.iou == pytest.approx(overlap, abs=0.03)
    assert edited.mask_after is not None
    assert np.array_equal(store.read_mask(edited.mask_after), region_mask(submitted[changed["id"]]))


def corners(region: dict[str, Any]) -> list[tuple[float, float]]:
    """Fractions of the image's width and height."""
    value = region["value"]
    if "points" in value:
        return [(x / 100, y / 100) for x, y in value["points"]]
    left, top, width, height = (value[name] / 100 for name in ("x", "y", "width", "height"))
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def middle(region: dict[str, Any]) -> tuple[float, float]:
    """The mean of its corners, which is inside: nuclei are round."""
    across, down = np.mean(corners(region), axis=0)
    return float(across), float(down)


def covered(region: dict[str, Any]) -> NDArray[np.bool_]:
    """Its sub-pixels."""
    size = np.array([region["original_width"], region["original_height"]]) * FINE
    canvas = np.zeros(size[::-1], np.uint8)
    cv2.fillPoly(canvas, [np.round(np.array(corners(region)) * size).astype(np.int32)], 1)
    return canvas > 0
