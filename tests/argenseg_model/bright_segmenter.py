"""A segmenter without a model for the tests of `argenseg segment`, its pictures, and what is written of them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from argenseg_model.errors import PromptError
from argenseg_model.segment_files import ResultLine, segment_files


@dataclass(frozen=True)
class BrightRegion:
    mask: np.ndarray
    score: float


class BrightnessSegmenter:
    """A real, if simple, segmenter: what Otsu's threshold calls "bright" or "dark"; other prompts find nothing."""

    def segment(self, images: Sequence[Image.Image], prompts: Sequence[str], template: str) -> list[list[BrightRegion]]:
        if template == "reasoning":
            raise PromptError("a threshold does not reason")
        return [[self._region(image, prompt) for prompt in prompts] for image in images]

    def _region(self, image: Image.Image, prompt: str) -> BrightRegion:
        grey = np.asarray(image.convert("L"))
        _, bright = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        found = {"bright": bright == 1, "dark": bright == 0}
        return BrightRegion(found.get(prompt, np.zeros(grey.shape, bool)), 0.75)


def square(path: Path, at: int = 4, size: tuple[int, int] = (40, 30)) -> Path:
    """Write a picture of `size` (width, height): a bright square of 10 px on dark ground."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (10, 20, 30))
    image.paste((200, 210, 220), (at, at, at + 10, at + 10))
    image.save(path)
    return path


def written(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def run(images: Sequence[Path | str], prompts: Sequence[str], out: Path, **options: str) -> list[ResultLine]:
    return segment_files(BrightnessSegmenter(), [str(image) for image in images], prompts, out, **options)
