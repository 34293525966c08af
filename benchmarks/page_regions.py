"""How long Label Studio's page takes to open a task and to select a region, by kind and number of regions.

PYTHONPATH=. python benchmarks/page_regions.py        # while `make demo` runs in another terminal

A picture of 1024 x 1024 px with so many discs, drawn as each kind by `labeling.regions`; headless Chromium opens it
from the list of tasks, as annotators do. Ratios are against one polygon of the same run. What takes longer than 60 s is
given up, and larger numbers of the kind are not tried.
"""

import argparse
import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import BrowserContext, Error, sync_playwright

from labeling.regions.cropped_mask import CroppedMask
from labeling.regions.kinds import draw_cropped, region_dict
from tests.e2e.conftest import CHROMIUM_FLAGS, log_in
from tests.e2e.label_studio_api import LabelStudioApi
from tests.e2e.labeling_page import LabelingPage

SIDE, LIMIT_S = 1024, 60.0
TAGS = {"polygon": "PolygonLabels", "rectangle": "RectangleLabels", "vector": "VectorLabels", "brush": "BrushLabels",
        "bitmask": "BitmaskLabels"}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path(".demo"), help="the demo's folder")
    parser.add_argument("--port", type=int, default=8080, help="Label Studio's port")
    parser.add_argument("--kinds", nargs="+", default=list(TAGS), choices=list(TAGS))
    parser.add_argument("--counts", nargs="+", type=int, default=[1, 20, 100, 400])
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    token = (options.data_dir / "label-studio" / "token").read_text().strip()
    api = LabelStudioApi(f"http://127.0.0.1:{options.port}", token)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, headless=True, args=CHROMIUM_FLAGS)
        context = browser.new_context(viewport={"width": 1500, "height": 950})
        context.set_default_timeout(LIMIT_S * 1000)
        log_in(context, api.url)
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'kind':<10} {'regions':>7} {'kB':>8} {'open':>7} {'ratio':>6} {'select':>7}")
        unit = None
        for kind in options.kinds:
            for count in options.counts:
                size, opened, selected = measure(api, context, kind, count)
                unit = unit or opened
                if opened is None:
                    print(f"{kind:<10} {count:>7} {size / 1000:>8.0f}   more than {LIMIT_S:.0f} s", flush=True)
                    break
                chosen = f"{selected:6.1f} s" if selected is not None else f"> {LIMIT_S:.0f} s"
                ratio = opened / (unit or opened)
                print(f"{kind:<10} {count:>7} {size / 1000:>8.0f} {opened:5.1f} s {ratio:5.1f}x {chosen}", flush=True)
        browser.close()


def measure(
    api: LabelStudioApi, context: BrowserContext, kind: str, count: int
) -> tuple[int, float | None, float | None]:
    """Bytes of the prediction, seconds to open, seconds to select a region; None where it took too long."""
    tag = TAGS[kind]
    drawn = f'<{tag} name="r" toName="image"><Label value="disc"/></{tag}>'
    config = f'<View>{drawn}<Image name="image" value="$image"/></View>'
    project = api.create_project(f"{count} regions of {kind}", config)
    picture = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 90, (SIDE, SIDE), np.uint8)).save(picture, "PNG")
    api.call("POST", f"/api/projects/{project}/import", files=[("a.png", ("a.png", picture.getvalue(), "image/png"))])
    (task,) = api.task_ids(project)
    result = regions(f"{kind}labels", count)
    prediction = {"task": task, "result": result, "score": 0.5, "model_version": "v"}
    api.call("POST", "/api/predictions/", json=prediction)
    api.call("PATCH", f"/api/projects/{project}", json={"model_version": "v"})
    size, tab = len(str(result)), context.new_page()
    try:
        began = time.monotonic()
        page = LabelingPage(tab, api.url, project, task)
        page.wait_for_regions(len(result))
        opened = time.monotonic() - began
        try:
            began = time.monotonic()
            page.select_region()
            page.wait_until_drawn()
        except (Error, AssertionError):
            return size, opened, None
        return size, opened, time.monotonic() - began
    except (Error, AssertionError):
        return size, None, None
    finally:
        tab.close()


def regions(kind: str, count: int) -> list[dict[str, Any]]:
    """Discs that do not touch, on a grid."""
    across = int(np.ceil(np.sqrt(count)))
    cell = SIDE // across
    y, x = np.mgrid[:cell, :cell]
    disc = np.hypot(y - cell / 2, x - cell / 2) < min(cell * 0.4, 60)
    found = []
    for number in range(count):
        mask = CroppedMask(disc, cell * (number // across), cell * (number % across), SIDE, SIDE).trimmed()
        (drawn,) = draw_cropped(kind, mask)
        tag = {"kind": kind, "label": "disc", "from_name": "r", "to_name": "image", "score": 0.5}
        found.append(region_dict(drawn, region_id=f"r{number}", **tag))
    return found


if __name__ == "__main__":
    main()
