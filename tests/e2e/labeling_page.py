"""Label Studio's labeling page, as an annotator sees and uses it."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, Page

Place = tuple[float, float]

# The page first shows an empty annotation and replaces it when the prediction arrived: only the page's own store tells
# which of the two it is.
REGIONS = """() => window.Htx?.annotationStore?.selected?.regions
  .filter(region => /region$/.test(region.type) && region.type !== 'textarearegion' && !region.dynamic).length"""
LISTED = 10  # regions that the page's list surely renders: only what is in sight
IMAGE = ".lsf-image"  # the canvases over it may be wider than the image
IS_REGION_SELECTED = "() => window.Htx.annotationStore.selected.regions.some(region => region.inSelection)"
IS_WHOLE_IMAGE_SHOWN = "() => window.Htx.annotationStore.selected.names.get('image')?.zoomScale === 1"
IS_IMAGE_TURNED = "() => window.Htx.annotationStore.selected.names.get('image').rotation === 90"
REGION_IDS = """() => window.Htx.annotationStore.selected.regions
  .filter(region => /region$/.test(region.type) && region.type !== 'textarearegion').map(region => region.cleanId)"""
# What strokes change: those that a brush mask is made of, or a bitmask's picture, which is made anew after each.
STROKES = """() => JSON.stringify(window.Htx.annotationStore.selected.regions
  .map(region => region.imageDataURL ?? region.touches?.length))"""
CURVED_VERTICES = """() => window.Htx.annotationStore.selected.regions.find(region => region.inSelection).vertices
  .filter(vertex => vertex.isBezier)"""
TYPED_TEXTS = """() => JSON.stringify(window.Htx.annotationStore.selected.results
  .filter(result => result.type === 'textarea').flatMap(result => result.mainValue))"""
IMAGE_SIZE = """() => { const image = window.Htx.annotationStore.selected.names.get('image').currentImageEntity;
  return [image.naturalWidth, image.naturalHeight]; }"""


class LabelingPage:
    """One task, opened. Places on the image are fractions of its width and height."""

    def __init__(self, page: Page, label_studio_url: str, project: int, task: int) -> None:
        self._page = page
        self.waits: list[float] = []  # seconds from an interaction to its answer
        # By the list, as annotators do. By ".../data?task=ID" one page in fifteen stays empty: Label Studio 1.23
        # then asks for the task and the list together, and a list that comes last can take the prediction off the page.
        page.goto(f"{label_studio_url}/projects/{project}/data")
        self._find_listed(task).click()
        page.wait_for_function(f"() => window.Htx?.task?.id == {task}")

    def _find_listed(self, task: int) -> Locator:
        """Its row in the list, which holds only those rows that are in sight: scrolled to."""
        its_box = self._page.get_by_label(f"Select Task {task}", exact=True)
        row = self._page.locator(".lsf-table__row-wrapper").filter(has=its_box)
        self._page.locator(".lsf-table__row-wrapper").first.hover()
        for _ in range(100):
            if row.count():
                return row
            self._page.mouse.wheel(0, 200)
            self._page.wait_for_timeout(100)
        raise AssertionError(f"task {task} is not in the list")

    def open_listed(self, row: int, task: int) -> None:
        """Click another task in the list beside the page; rows count from 0."""
        self._page.locator(".lsf-table__row-wrapper").nth(row).click()
        self._page.wait_for_function(f"() => window.Htx?.task?.id == {task}")

    def wait_for_regions(self, count: int) -> None:
        """Until the annotation that is being edited holds `count` regions, also in the page's list of regions."""
        self._page.wait_for_function(f"({REGIONS})() === {count}")
        listed = min(count, LISTED)
        if listed:
            self._page.locator(".lsf-outliner-item").nth(listed - 1).wait_for()
        assert count > LISTED or self._page.locator(".lsf-outliner-item").count() == count
        self._page.locator(IMAGE).wait_for()
        self._show_whole_image()
        self.wait_until_drawn()

    def _show_whole_image(self) -> None:
        """Zoom to fit: Label Studio opens an image a little enlarged when its panels came after the first layout."""
        self._page.evaluate("() => window.dispatchEvent(new Event('resize'))")  # it measures its panels anew
        self._page.keyboard.press("Shift+Digit1")
        self._page.wait_for_function(IS_WHOLE_IMAGE_SHOWN)

    def wait_until_drawn(self) -> None:
        """Until two pictures in a row are the same."""
        before = self.picture()
        for _ in range(50):
            self._page.wait_for_timeout(200)
            after = self.picture()
            if np.array_equal(before, after):
                return
            before = after
        raise AssertionError("the page did not come to rest within 10 s")

    def picture(self) -> NDArray[np.uint8]:
        """What the image shows, masks included: (height, width, RGB)."""
        png = self._page.locator(IMAGE).screenshot(animations="disabled")
        with Image.open(io.BytesIO(png)) as picture:
            return np.asarray(picture.convert("RGB"))

    def drawn_mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Where the picture has the label's colour (blue over grey images), at the image's size (height, width)."""
        red, blue = (self.picture()[..., channel].astype(int) for channel in (0, 2))
        coloured = Image.fromarray((blue - red > 40).astype(np.uint8) * 255)
        return np.asarray(coloured.resize((width, height), Image.Resampling.BILINEAR)) >= 128

    def region_ids(self) -> list[str]:
        """The ids of the regions of the annotation that is being edited: a prediction's, while they are untouched."""
        ids: list[str] = self._page.evaluate(REGION_IDS)
        return ids

    def select_region(self) -> None:
        self._page.locator(".lsf-outliner-item").first.click()
        self._page.wait_for_function(IS_REGION_SELECTED)

    def click_region(self, place: Place) -> None:
        """Select the region that is drawn there."""
        self._page.mouse.click(*self._on_screen(place))
        self._page.wait_for_function(IS_REGION_SELECTED)
        self.wait_until_drawn()  # its handles come a moment later

    def drag(self, start: Place, end: Place) -> None:
        """Drag what is there, such as a corner of the selected region."""
        self._page.mouse.move(*self._on_screen(start))
        self._page.mouse.down()
        self._page.mouse.move(*self._on_screen(end), steps=10)
        self._page.mouse.up()
        self.wait_until_drawn()

    def delete_selected(self) -> None:
        """Press the key that deletes the selected region."""
        before = len(self.region_ids())
        self._page.keyboard.press("Backspace")
        self._page.wait_for_function(f"({REGION_IDS})().length === {before - 1}")

    def erase(self, stroke: list[Place]) -> None:
        """Draw the eraser of brush masks or bitmasks through the points of `stroke`, over the selected region."""
        self._draw("eraser", stroke)

    def paint(self, stroke: list[Place]) -> None:
        """Draw the bitmask brush through the points of `stroke`, into the selected region."""
        self._draw("bitmask-tool", stroke)

    def _draw(self, tool: str, stroke: list[Place]) -> None:
        self._page.get_by_role("button", name=tool).click()
        before = self._page.evaluate(STROKES)
        points = [self._on_screen(place) for place in stroke]
        self._page.mouse.move(*points[0])
        self._page.mouse.down()
        for point in points[1:]:
            self._page.mouse.move(*point, steps=20)
        self._page.mouse.up()
        self._page.wait_for_function(f"before => ({STROKES})() !== before", arg=before)
        self.wait_until_drawn()

    def bend(self, vertex: Place, handle: Place) -> None:
        """Make a vertex of the selected vector a curve's, by Shift and click, and drag the first of its handles."""
        self._page.keyboard.down("Shift")
        self._page.mouse.click(*self._on_screen(vertex))
        self._page.keyboard.up("Shift")
        self._page.wait_for_function(f"({CURVED_VERTICES})().length === 1")
        self.wait_until_drawn()
        (curved,) = self._page.evaluate(CURVED_VERTICES)
        width, height = self._page.evaluate(IMAGE_SIZE)
        # The page draws the handle where it likes; its store tells where, in pixels of the image.
        self.drag((curved["controlPoint1"]["x"] / width, curved["controlPoint1"]["y"] / height), handle)

    def turn_image(self) -> None:
        """Turn it to the right with the page's rotateControl; places on the image are then others on the screen."""
        self._page.get_by_role("button", name="rotate-right").click()
        self._page.wait_for_function(IS_IMAGE_TURNED)

    def type_prompt(self, text: str) -> list[dict[str, Any]]:
        """Switch Auto-Annotation on, type what to segment, and press Add; the suggested regions, when they came."""
        self._switch_auto_annotation_on()
        field = self._page.get_by_label("TextArea Input")
        field.fill(text)
        return self._ask(lambda: field.press("Shift+Enter"))

    def wait_for_texts(self, texts: list[str]) -> None:
        """Until the text field holds these, as the annotator reads them."""
        self._page.wait_for_function(f"texts => ({TYPED_TEXTS})() === JSON.stringify(texts)", arg=texts)
        self._page.get_by_text(texts[-1], exact=True).first.wait_for()

    def draw_smart_box(self, label_key: str, start: Place, end: Place) -> list[dict[str, Any]]:
        """Draw a box with the smart rectangle tool, for the label of this hotkey; the suggested regions."""
        self._choose_smart_tool("rectangle-tool", label_key)

        def drag() -> None:
            self._page.mouse.move(*self._on_screen(start))
            self._page.mouse.down()
            self._page.mouse.move(*self._on_screen(end), steps=5)
            self._page.mouse.up()

        return self._ask(drag)

    def click_smart_point(self, label_key: str, place: Place, *, is_positive: bool = True) -> list[dict[str, Any]]:
        """Click with the smart keypoint tool (Alt held: a negative point); the suggested regions."""
        self._choose_smart_tool("key-point-tool", label_key)

        def click() -> None:
            self._page.mouse.click(*self._on_screen(place))

        if is_positive:
            return self._ask(click)
        self._page.keyboard.down("Alt")
        suggested = self._ask(click)
        self._page.keyboard.up("Alt")
        return suggested

    def _switch_auto_annotation_on(self) -> None:
        """The browser remembers the switch from one page to the next."""
        if not self._page.evaluate("() => window.Htx.autoAnnotation"):
            self._page.get_by_text("Auto-Annotation", exact=True).click()

    def _choose_smart_tool(self, tool: str, label_key: str) -> None:
        """Choose from the tools behind "Auto-Detect", then the label, which Label Studio lets go after each shape."""
        self._switch_auto_annotation_on()
        self._page.locator(".lsf-tool_smart").first.hover()
        self._page.locator(f'.lsf-toolbar__smart [aria-label="{tool}"]').click()
        if not self._page.locator(".lsf-label_selected").count():
            self._page.keyboard.press(label_key)
        self._page.locator(".lsf-label_selected").wait_for(state="attached")

    def _ask(self, act: Callable[[], None]) -> list[dict[str, Any]]:
        """Do what makes the page ask the backend; the regions that it answered. Notes the seconds in `waits`."""
        started = time.monotonic()
        with self._page.expect_response(lambda response: "interactive-annotating" in response.url) as answer:
            act()
        assert answer.value.ok
        self.waits.append(time.monotonic() - started)
        regions: list[dict[str, Any]] = answer.value.json()["data"]["result"]
        return regions

    def _on_screen(self, place: Place) -> Place:
        box = self._page.locator(IMAGE).bounding_box()
        assert box is not None
        return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]

    def accept_suggestions(self) -> None:
        """Press the tick beside "1 suggestions": what the model offered becomes a region."""
        self._page.get_by_test_id("bottombar-accept-suggestions-button").click()

    def submit(self) -> int:
        """Submit the annotation; its id."""
        posted = "/annotations"
        button = self._page.get_by_role("button", name="Submit current annotation")
        with self._page.expect_response(lambda r: posted in r.url and r.request.method == "POST") as answer:
            button.click()
        assert answer.value.ok
        return int(answer.value.json()["id"])

    def screenshot(self, path: Path) -> None:
        self._page.screenshot(path=path)
