"""Every kind of region, drawn by Label Studio in a real browser, beside the mask that it stands for."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import BrowserContext
from scipy import ndimage

from argenseg_model.metrics import iou
from labeling.regions.kinds import KINDS, draw_regions, region_dict
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo
from tests.e2e.labeling_page import LabelingPage

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

IMAGE = "culture_01"
VERSION = "kinds"
TAGS = {"brush": "Brush", "bitmask": "Bitmask", "polygon": "Polygon", "vector": "Vector", "rectangle": "Rectangle"}
MIN_CHANGE = 3  # grey values: a plain <Brush> is drawn black on black
NEAR = 4.0  # px of the screen, where an image pixel is about three: the width of a line


@dataclass(frozen=True)
class OpenProject:
    """A project with a task for each kind, opened; `bare` is the picture of the image without any region."""

    page: LabelingPage
    tasks: dict[str, int]
    masks: dict[str, NDArray[np.bool_]]
    bare: NDArray[np.uint8]


def label_config() -> str:
    """One control tag of each kind, named by it."""
    return f'<View><Image name="image" value="$image"/>{"".join(map(control_tag, KINDS))}</View>'


def control_tag(kind: str) -> str:
    tag = TAGS[kind.removesuffix("labels")]
    if kind.endswith("labels"):
        label = '<Label value="ring" background="#0000ff"/>'
        return f'<{tag}Labels name="{kind}" toName="image">{label}</{tag}Labels>'
    return f'<{tag} name="{kind}" toName="image" strokeColor="#0000ff" fillColor="#0000ff"/>'


def ring_with_a_bay(height: int, width: int) -> NDArray[np.bool_]:
    """A mask with a hole, a bay and a slanted side, so that turning, mirroring and filling show."""
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, (width // 2, height // 2), (width // 3, height // 4), 25, 0, 360, 1, -1)
    cv2.circle(mask, (int(width * 0.42), int(height * 0.45)), height // 10, 0, -1)
    cv2.rectangle(mask, (int(width * 0.6), int(height * 0.5)), (width, height), 0, -1)
    return mask > 0


def predict(api: LabelStudioApi, task: int, kind: str, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Post the mask as a prediction; what the prediction encodes."""
    drawn = draw_regions(kind, mask)
    label = "ring" if kind.endswith("labels") else None
    place = {"from_name": kind, "to_name": "image"}
    result = [
        region_dict(each, kind=kind, label=label, score=0.9, region_id=f"r{index}", **place)
        for index, each in enumerate(drawn)
    ]
    body = {"task": task, "result": result, "score": 0.9, "model_version": VERSION}
    api.call("POST", "/api/predictions/", json=body)
    return np.logical_or.reduce([each.mask for each in drawn])


@pytest.fixture(scope="module")
def project(demo: RunningDemo, browser_context: BrowserContext) -> Iterator[OpenProject]:
    api = demo.label_studio
    number = api.create_project("all kinds", label_config())
    (first,) = api.import_images(number, [IMAGE])
    data = api.call("GET", f"/api/tasks/{first}")["data"]
    api.call("POST", f"/api/projects/{number}/import", json=[data] * len(KINDS))
    tasks = dict(zip(KINDS, sorted(api.task_ids(number))[1:], strict=True))
    mask = ring_with_a_bay(*api.image_size(IMAGE))
    masks = {kind: predict(api, task, kind, mask) for kind, task in tasks.items()}
    api.call("PATCH", f"/api/projects/{number}", json={"model_version": VERSION})
    page = browser_context.new_page()
    opened = LabelingPage(page, api.url, number, first)
    opened.wait_for_regions(0)
    yield OpenProject(opened, tasks, masks, opened.picture())
    page.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_region_is_drawn_where_its_mask_is(project: OpenProject, artifacts: Path, kind: str) -> None:
    project.page.open_listed(1 + KINDS.index(kind), project.tasks[kind])
    project.page.wait_for_regions(1)
    picture = project.page.picture()
    project.page.screenshot(artifacts / f"region-{kind}.png")
    drawn = np.abs(picture.astype(int) - project.bare).max(axis=2) >= MIN_CHANGE
    mask = project.masks[kind].view(np.uint8)
    expected = cv2.resize(mask, drawn.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    if kind.startswith("vector"):  # Label Studio draws its line and points, with no colour inside
        assert _share_near(drawn, _outline(expected)) > 0.9, "lines where the mask has no edge"
        assert _share_near(_outline(expected), drawn) > 0.98, "an edge of the mask has no line"
    else:
        assert iou(drawn, expected) > 0.95


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    outline: NDArray[np.bool_] = mask & ~ndimage.binary_erosion(mask)
    return outline


def _share_near(places: NDArray[np.bool_], others: NDArray[np.bool_]) -> float:
    """The share of the true pixels of `places` that have one of `others` within NEAR."""
    return float((ndimage.distance_transform_edt(~others)[places] <= NEAR).mean())
