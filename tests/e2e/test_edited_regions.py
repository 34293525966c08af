"""Every kind of region through the whole product: import, worker, publisher, page, Submit, webhook, correction."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import BrowserContext

from argenseg_model.metrics import iou
from tests.e2e.label_studio_api import RunningDemo, wait_for
from tests.e2e.labeling_page import LabelingPage, Place

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGE = "culture_01"
LABEL_CONFIG = """<View><Image name="image" value="$image" rotateControl="true"/>
<{tag}Labels name="shape" toName="image" min_area="400" {options}>
  <Label value="Nucleus" prompt="all nuclei" background="#0000ff"/>
</{tag}Labels></View>"""
# What a region covers is found here without our own code.
FINE = 17  # sub-pixels; an odd number, so that one is in the middle of its pixel
CURVE_STEPS = 50

Region = dict[str, Any]


def middle(region: Region) -> Place:
    """The mean of its pixels or corners, which is inside: nuclei are round."""
    if "imageDataURL" in region["value"]:
        down, across = np.mean(np.argwhere(covered(region)) + 0.5, axis=0)
        return float(across / region["original_width"]), float(down / region["original_height"])
    across, down = np.mean(corners(region), axis=0)
    return float(across), float(down)


def on_the_line(region: Region) -> Place:
    """Between the first two corners: what is not filled is taken hold of there."""
    first, second, *_ = corners(region)
    return between(first, second, 0.5)


def pull_a_corner_in(page: LabelingPage, region: Region) -> None:
    page.drag(corners(region)[0], middle(region))


def pull_a_corner_in_and_turn_the_image(page: LabelingPage, region: Region) -> None:
    """Label Studio notes the turn with every region, and leaves their coordinates as they are."""
    pull_a_corner_in(page, region)
    page.turn_image()


def erase_left_and_paint_right(page: LabelingPage, region: Region) -> None:
    """With Label Studio's own tools, which reach 10 px and 15 px to each side: a strip is lost, a cap is won."""
    width, height = region["original_width"], region["original_height"]
    rows, columns = np.nonzero(covered(region))
    left, right = (columns.min() - 4) / width, (columns.max() - 5) / width
    page.erase([(left, rows.min() / height), (left, rows.max() / height)])
    page.paint([(right, middle(region)[1]), (right, middle(region)[1] + 2 / height)])


def bend_and_pull_in(page: LabelingPage, region: Region) -> None:
    """Make of a corner a curve, with handles along the outline, half as long as the next corners are apart."""
    before, corner, after = corners(region)[2:5]
    handle = corner[0] + (before[0] - after[0]) / 2, corner[1] + (before[1] - after[1]) / 2
    page.bend(corner, handle)
    page.drag(corner, middle(region))


@dataclass(frozen=True)
class Edit:
    """How an annotator takes hold of the regions of a tag, and changes one."""

    tag: str
    options: str
    hold: Callable[[Region], Place]
    change: Callable[[LabelingPage, Region], None]


EDITS = {
    "polygon": Edit("Polygon", "", middle, pull_a_corner_in),
    "rectangle": Edit("Rectangle", "", middle, pull_a_corner_in_and_turn_the_image),
    "bitmask": Edit("Bitmask", 'instances="true"', middle, erase_left_and_paint_right),
    "vector": Edit("Vector", "", on_the_line, pull_a_corner_in),
    "curve": Edit("Vector", 'closable="true" curves="true"', middle, bend_and_pull_in),
}


@pytest.mark.parametrize("name", EDITS)
def test_one_region_is_changed_one_is_deleted_and_the_others_are_left(
    demo: RunningDemo, browser_context: BrowserContext, artifacts: Path, name: str
) -> None:
    api, store, edit = demo.label_studio, demo.store, EDITS[name]
    kind = f"{edit.tag.lower()}labels"
    project = api.create_project(f"{name}s", LABEL_CONFIG.format(tag=edit.tag, options=edit.options))
    api.connect(project, demo.backend_url)
    (task,) = api.import_images(project, [IMAGE])
    (prediction,) = wait_for("the prediction of the imported image", lambda: api.predictions(task))
    assert wait_for("its row", lambda: store.progress.counts(project).get("published")) == 1, (
        "nobody has opened the task yet"
    )
    predicted = {str(region["id"]): region for region in prediction["result"]}
    assert len(predicted) > 2 and {region["type"] for region in predicted.values()} == {kind}

    page = LabelingPage(browser_context.new_page(), api.url, project, task)
    page.wait_for_regions(len(predicted))
    assert set(page.region_ids()) == set(predicted)
    changed, deleted, *left = predicted.values()
    page.click_region(edit.hold(deleted))
    page.delete_selected()
    page.click_region(edit.hold(changed))
    edit.change(page, changed)
    page.screenshot(artifacts / f"{name}s-corrected.png")
    newest, annotation = store.events.newest(), page.submit()

    submitted = {region["id"]: region for region in api.call("GET", f"/api/annotations/{annotation}/")["result"]}
    assert submitted.keys() == predicted.keys() - {deleted["id"]}
    before, after = covered(changed), covered(submitted[changed["id"]])
    overlap = iou(before, after)
    assert 0.2 < overlap < 0.95, "the edit changed nothing, or nearly everything"
    assert (before & ~after).sum() > 50, "nothing was taken away"
    assert edit.tag != "Bitmask" or (after & ~before).sum() > 50, "nothing was painted"
    stored = wait_for(
        "the stored corrections",
        lambda: [each for each in store.corrections.of_project(project) if each.annotation_id == annotation],
    )
    assert store.events.has("ANNOTATION_CREATED", project, after=newest), "no webhook reported it"
    found = {each.region_id: each for each in stored}
    kinds = {changed["id"]: "edited", deleted["id"]: "deleted"} | {each["id"]: "accepted" for each in left}
    assert {region_id: each.kind for region_id, each in found.items()} == kinds
    whence = {(each.label, each.region_type, each.model_version) for each in stored}
    assert whence == {("Nucleus", kind, prediction["model_version"])}
    assert [found[each["id"]].iou for each in left] == [1.0] * len(left) and found[deleted["id"]].iou == 0.0
    edited = found[changed["id"]]
    assert edited.mask_after is not None
    # A line may pass so near to a pixel's centre that one finds it inside and the other outside; a PNG leaves no doubt.
    slack = 0.0 if edit.tag == "Bitmask" else 0.02
    assert iou(store.corrections.read_mask(edited.mask_after), after) >= 1.0 - slack
    assert edited.iou == pytest.approx(overlap, abs=slack)


def corners(region: Region) -> list[Place]:
    """Of an outline, in fractions of the image's width and height."""
    value = region["value"]
    if "points" in value:
        return [(x / 100, y / 100) for x, y in value["points"]]
    if "vertices" in value:
        return [on_image(vertex) for vertex in value["vertices"]]
    left, top, width, height = (value[side] / 100 for side in ("x", "y", "width", "height"))
    return [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]


def line(region: Region) -> list[Place]:
    """An outline with points along its curves: cubic ones, as Label Studio's source draws them."""
    vertices = region["value"].get("vertices")
    if vertices is None:
        return corners(region)
    places = []
    for start, end in pairwise([*vertices, vertices[0]]):
        assert end["prevPointId"] == start["id"], "the vertices are no ring"
        here, there = on_image(start), on_image(end)
        leaving = on_image(start["controlPoint2"]) if start.get("isBezier") else between(here, there, 0.3)
        arriving = on_image(end["controlPoint1"]) if end.get("isBezier") else between(there, here, 0.3)
        steps = CURVE_STEPS if start.get("isBezier") or end.get("isBezier") else 1
        for step in range(steps):  # de Casteljau's construction
            points = [here, leaving, arriving, there]
            while len(points) > 1:
                points = [between(*pair, step / steps) for pair in pairwise(points)]
            places += points
    return places


def on_image(point: dict[str, float]) -> Place:
    return point["x"] / 100, point["y"] / 100


def between(start: Place, end: Place, share: float) -> Place:
    """The point that lies `share` of the way to `end`."""
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def covered(region: Region) -> NDArray[np.bool_]:
    """Its pixels (height, width): those that are more opaque than not, or whose centre is inside the outline."""
    width, height = region["original_width"], region["original_height"]
    url = region["value"].get("imageDataURL")
    if url is not None:
        with Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))) as png:
            assert png.size == (width, height)
            return np.asarray(png.convert("RGBA"))[..., 3] >= 128
    canvas = np.zeros((height * FINE, width * FINE), np.uint8)
    subpixels = np.array(line(region)) * (width * FINE, height * FINE) - 0.5  # OpenCV's 0 is the first one's middle
    cv2.fillPoly(canvas, [np.round(subpixels).astype(np.int32)], 1)
    return canvas[FINE // 2 :: FINE, FINE // 2 :: FINE] > 0
