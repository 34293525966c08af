"""The pictures of docs/label-config.md: what the starter answers to label configs, drawn as Label Studio would.

PYTHONPATH=. python docs/images/draw_cookbook.py

Nothing in them is drawn by hand: a picture of the simulator (the demo's first), prompts and options go through the
model and `labeling`, as in a worker (which shows the model only what is near a box or point, where this asks about the
whole image). Draw them anew when the starter changes, and look at them: seed and places were chosen for what they show.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from argenseg_model import ARGenSeg
from argenseg_model.overlays import COLOURS
from backend.console.demo.pictures import CULTURES
from labeling.answers import Answer, build_answer, questions
from labeling.prompts.focus import Box, Focus, Point
from labeling.prompts.interaction import Interaction
from labeling.prompts.label_config import LabelConfig, parse_label_config
from labeling.prompts.plan import PromptPlan, plan_prompts
from labeling.regions.kinds import region_mask

FOLDER = Path(__file__).parent
MAX_BYTES = 60_000
PANEL = 256  # px, a side
CAPTION = 26  # px, above it

RED = (255, 50, 50)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Panel:
    """One part of a picture: a tag with its options, and what an annotator boxed or pointed at."""

    caption: str
    tag: str
    options: str = ""
    label: str = 'value="cell" prompt="all nuclei"'
    focus: Focus | None = None

    def config(self) -> LabelConfig:
        """The label config."""
        drawn = f'<{self.tag} name="mask" toName="image" {self.options}><Label {self.label}/></{self.tag}>'
        return parse_label_config(f'<View><Image name="image" value="$image"/>{drawn}</View>')

    def plan(self) -> PromptPlan:
        """What is asked."""
        config = self.config()
        label = config.controls[0].labels[0].label
        return plan_prompts(config, {}, Interaction(focus=self.focus, label=label) if self.focus else None)


BOX = Box(35, 3, 15, 26)
PICTURES: dict[str, list[Panel]] = {
    "prompts": [  # of the README
        Panel("all cats", "BrushLabels", 'instances="true"', 'value="cell" prompt="all cats"'),
        Panel("all nuclei", "BrushLabels", 'instances="true" min_area="20"'),
        Panel("the largest nucleus", "BrushLabels", label='value="cell" prompt="the largest nucleus"'),
    ],
    "kinds": [
        Panel("PolygonLabels", "PolygonLabels"),
        Panel("BrushLabels, BitmaskLabels", "BrushLabels"),
        Panel("RectangleLabels", "RectangleLabels"),
    ],
    "instances": [
        Panel("one region", "BrushLabels"),
        Panel('instances="true"', "BrushLabels", 'instances="true"'),
        Panel('... min_area="600"', "BrushLabels", 'instances="true" min_area="600"'),
    ],
    "tolerance": [
        Panel('tolerance="0.5"', "PolygonLabels", 'tolerance="0.5"'),
        Panel('tolerance="1"', "PolygonLabels", 'tolerance="1"'),
        Panel('tolerance="4"', "PolygonLabels", 'tolerance="4"'),
    ],
    "smart": [
        Panel("smart box", "PolygonLabels", 'instances="true"', focus=Focus(boxes=(BOX,))),
        Panel("smart point", "PolygonLabels", 'instances="true"', focus=Focus(points=(Point(79, 52),))),
        Panel("two", "PolygonLabels", 'instances="true"', focus=Focus(points=(Point(79, 52), Point(72, 62)))),
    ],
    "exclude": [
        Panel('prompt="all nuclei"', "BrushLabels"),
        Panel('prompt="nuclei in the top half"', "BrushLabels", label='value="cell" prompt="nuclei in the top half"'),
        Panel(
            '... exclude="nuclei in the top half"',
            "BrushLabels",
            label='value="cell" prompt="all nuclei" exclude="nuclei in the top half"',
        ),
    ],
}


def main() -> None:
    model = ARGenSeg.from_pretrained("starter")
    image = Image.open(io.BytesIO(CULTURES[0].png()))
    for name, panels in PICTURES.items():
        prompts = list(dict.fromkeys(prompt for panel in panels for prompt in questions(panel.plan())))
        answers = dict(zip(prompts, model.segment([image], prompts)[0], strict=True))
        picture = np.concatenate([draw_panel(image, panel, answers) for panel in panels], axis=1)
        path = FOLDER / f"cookbook-{name}.png"
        Image.fromarray(picture).quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path.name}: {size:,} bytes")
        if size > MAX_BYTES:
            raise SystemExit(f"{path.name} is larger than {MAX_BYTES:,} bytes: show less of the image.")


def draw_panel(image: Image.Image, panel: Panel, answers: Mapping[str, Answer]) -> Pixels:
    """The image with what the panel's config makes of the model's answers, below its caption; (H, W, 3)."""
    plan = panel.plan()
    own = {prompt: answers[prompt] for prompt in questions(plan)}
    regions = build_answer(plan, panel.config(), own, "starter").result
    vertices = sum(len(region["value"].get("points", [])) for region in regions)
    counts = f"{len(regions)} region{'s' * (len(regions) != 1)}" + (f", {vertices} vertices" if vertices else "")
    shown = ImageOps.autocontrast(image.convert("RGB").resize((PANEL, PANEL), Image.Resampling.BICUBIC), cutoff=0.5)
    pixels = (np.array(ImageOps.posterize(shown, 4)) * 0.65).astype(np.uint8)  # even, so that lines show on it
    for number, region in enumerate(regions):
        draw_region(pixels, region, COLOURS[number % len(COLOURS)])
    draw_focus(pixels, panel.focus)
    head = np.full((2 * CAPTION, PANEL, 3), 255, np.uint8)
    for line, text in enumerate((panel.caption, counts)):
        place = (4, CAPTION * line + 18)
        cv2.putText(head, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return np.pad(np.concatenate([head, pixels]), ((0, 6), (3, 3), (0, 0)), constant_values=255)


def draw_region(pixels: Pixels, region: dict[str, Any], colour: tuple[int, int, int]) -> None:
    """Draw it as Label Studio shows it: masks as a tint, shapes by their lines and vertices."""
    value, scale = region["value"], PANEL / 100
    if "points" in value:
        corners = np.round(np.array(value["points"]) * scale).astype(np.int32)
        cv2.polylines(pixels, [corners], True, colour, 1, cv2.LINE_AA)
        for corner in corners:
            cv2.rectangle(pixels, tuple(corner - 1), tuple(corner + 1), (255, 255, 255), -1)
    elif "rle" in value:
        mask = cv2.resize(region_mask(region).view(np.uint8), (PANEL, PANEL), interpolation=cv2.INTER_NEAREST) > 0
        pixels[mask] = (0.45 * pixels[mask] + 0.55 * np.array(colour)).astype(np.uint8)
    else:
        ends = np.array([[value["x"], value["y"]], [value["x"] + value["width"], value["y"] + value["height"]]])
        low, high = np.round(ends * scale).astype(int).tolist()
        cv2.rectangle(pixels, low, high, colour, 1)


def draw_focus(pixels: Pixels, focus: Focus | None) -> None:
    """What the annotator drew, in red."""
    scale = PANEL / 100
    for box in focus.boxes if focus else ():
        ends = np.array([[box.x, box.y], [box.x + box.width, box.y + box.height]]) * scale
        low, high = np.round(ends).astype(int).tolist()
        cv2.rectangle(pixels, low, high, RED, 2)
    for point in focus.points if focus else ():
        cv2.circle(pixels, (round(point.x * scale), round(point.y * scale)), 4, RED, -1)


if __name__ == "__main__":
    main()
