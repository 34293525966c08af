"""Measure a model on a set of annotated images, and write what came out: what `argenseg evaluate` does.

`python -m argenseg_model.evaluation_run MANIFEST ...` does it in a process of its own, as a fine-tune run needs it.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from argenseg_model.annotated_sets import read_annotated_set
from argenseg_model.errors import ARGenSegError
from argenseg_model.evaluation import evaluate, summarise, write_rows
from argenseg_model.evaluation_page import WorstCases, evaluation_page
from argenseg_model.files import replace_file
from argenseg_model.manifest import ManifestItem
from argenseg_model.overlays import draw_overlay
from argenseg_model.threads import be_a_good_neighbour


@dataclass(frozen=True)
class EvaluationOptions:
    """What to measure and what to write: `worst` answers on the page, `pictures` of the first items beside it."""

    model: str = "starter"
    split: Any = "holdout"
    part: str | None = None
    device: str = "auto"
    threads: int | None = None
    worst: int = 12
    pictures: int = 0


def evaluate_set(
    source: Path,
    options: EvaluationOptions,
    out: Path | None = None,
    on_problem: Callable[[str], None] = lambda problem: None,
) -> tuple[str, dict[str, Any]]:
    """Measure a model on `source` (a manifest of ours, COCO's or RefCOCO's) and return a title and the figures.

    `out` then holds index.html, summary.json and items.jsonl. `on_problem` hears of what could not be used of the set.
    ARGenSegError if the set or the model cannot be read.
    """
    read = read_annotated_set(source, options.split, options.part)
    for problem in read.problems:
        on_problem(problem)
    be_a_good_neighbour()
    from argenseg_model import ARGenSeg

    if options.threads:
        import torch

        torch.set_num_threads(options.threads)
    draw = _Pictures(None if out is None else out / "pictures", options.pictures)
    cases = WorstCases(0 if out is None else options.worst)

    def on_answer(item: ManifestItem, pixels: np.ndarray, mask: np.ndarray) -> None:
        draw(item, pixels, mask)
        cases(item, pixels, mask)

    segmenter = ARGenSeg.from_pretrained(options.model, device=options.device)
    rows = evaluate(segmenter, read.manifest.split(options.split), on_answer=on_answer)
    summary, title = summarise(rows), f"{options.model} on {source} ({options.part or options.split})"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_rows(out / "items.jsonl", rows)
        with replace_file(out / "summary.json") as partial:
            partial.write_text(json.dumps(summary, indent=2) + "\n")
        with replace_file(out / "index.html") as partial:
            partial.write_text(evaluation_page(title, summary, cases.sorted()), encoding="utf-8")
    return title, summary


class _Pictures:
    """Draws the truth and the answer of the first items over their images, small enough for a page."""

    def __init__(self, folder: Path | None, count: int) -> None:
        self._folder, self._left, self._number = folder, count, 0

    def __call__(self, item: ManifestItem, pixels: np.ndarray, mask: np.ndarray) -> None:
        number, self._number = self._number, self._number + 1
        if self._folder is None or not self._left or item.is_replay or item.mask is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, drawn in (("truth", item.decode_mask()), ("answer", mask)):
            picture = draw_overlay(Image.fromarray(pixels), drawn)
            picture.thumbnail((320, 320))
            picture.save(self._folder / f"{number}-{name}.jpg", quality=85)
        self._left -= 1


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(description="Measure a model on a manifest.")
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--split", default="holdout", choices=["train", "holdout"])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=0)
    given = parser.parse_args(arguments)
    options = EvaluationOptions(
        given.model, given.split, device=given.device, threads=given.threads, pictures=given.pictures
    )
    try:
        evaluate_set(given.manifest, options, given.out, lambda problem: print(problem, file=sys.stderr))
    except ARGenSegError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
