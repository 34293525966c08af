"""The README's animation: a text is typed on a real page of Label Studio, masks come, they are accepted.

PYTHONPATH=. python docs/images/record_demo.py        # while `make demo` runs in another terminal

Nothing in it is drawn by hand, and nothing is sped up but waiting: each picture is a screenshot of the page. It adds a
project to the demo, with a picture of the simulator on which nothing is predicted yet.
"""

import argparse
import io
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from backend.console.demo.sample_project import label_config
from tests.e2e.conftest import CHROMIUM_FLAGS, log_in
from tests.e2e.label_studio_api import LabelStudioApi
from tests.e2e.labeling_page import LabelingPage

TARGET = Path(__file__).with_name("demo.gif")
MAX_BYTES = 900_000
SIZE = {"width": 1360, "height": 860}  # from here on the list of regions stands beside the image
PICTURE, TEXT = "culture_01", "all nuclei"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path(".demo"), help="the demo's folder")
    parser.add_argument("--port", type=int, default=8080, help="Label Studio's port")
    parser.add_argument("--backend-port", type=int, default=9090, help="the backend's port")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    token = (options.data_dir / "label-studio" / "token").read_text().strip()
    api = LabelStudioApi(f"http://127.0.0.1:{options.port}", token)
    project = api.create_project("Type what to segment", label_config(instances=True))
    (task,) = api.import_images(project, [PICTURE])
    api.call("POST", "/api/predictions/", json={"task": task, "result": [], "score": 0.5, "model_version": "empty"})
    api.connect(project, f"http://127.0.0.1:{options.backend_port}")
    api.call("PATCH", f"/api/projects/{project}", json={"model_version": "empty"})
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, headless=True, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport=SIZE)
        context.set_default_timeout(120_000)
        log_in(context, api.url)
        frames = record(context.new_page(), api.url, project, task)
        browser.close()
    save(frames)


def record(tab: Page, url: str, project: int, task: int) -> list[tuple[Image.Image, int]]:
    """Screenshots with the milliseconds that each is shown."""
    page = LabelingPage(tab, url, project, task)
    page.wait_for_regions(0)
    tab.get_by_text("Auto-Annotation", exact=True).click()
    field = tab.get_by_placeholder("Type what to segment")
    field.click()
    frames = [(shot(tab), 1200)]
    for end in range(1, len(TEXT) + 1):
        field.fill(TEXT[:end])
        frames.append((shot(tab), 90))
    frames[-1] = frames[-1][0], 700
    page.type_prompt(TEXT)
    tab.wait_for_timeout(2000)
    frames.append((shot(tab), 2200))
    page.accept_suggestions()
    tab.wait_for_timeout(2000)
    return [*frames, (shot(tab), 3000)]


def shot(tab: Page) -> Image.Image:
    return Image.open(io.BytesIO(tab.screenshot(animations="disabled"))).convert("RGB")


def save(frames: list[tuple[Image.Image, int]]) -> None:
    """As one GIF with one palette; what did not change is stored once."""
    palette = frames[-1][0].quantize(64, dither=Image.Dither.NONE)
    first, *others = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in frames]
    times = [time for _, time in frames]
    first.save(TARGET, save_all=True, append_images=others, duration=times, loop=0, optimize=True)
    size = TARGET.stat().st_size
    print(f"{TARGET.name}: {len(frames)} pictures, {size:,} bytes")
    if size > MAX_BYTES:
        raise SystemExit(f"{TARGET.name} is larger than {MAX_BYTES:,} bytes.")


if __name__ == "__main__":
    main()
