"""`argenseg evaluate`. Torch is imported when the command runs, not for `--help`."""

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from argenseg_model.annotated_sets import read_annotated_set
from argenseg_model.errors import ARGenSegError
from argenseg_model.evaluation import evaluate as measure
from argenseg_model.evaluation import summarise, write_rows
from argenseg_model.evaluation_page import COLUMNS, WorstCases, evaluation_page, figure_text, groups_of
from argenseg_model.files import replace_file
from argenseg_model.manifest import ManifestItem
from argenseg_model.overlays import draw_overlay
from argenseg_model.threads import be_a_good_neighbour

EPILOG = """\b
Examples:
  argenseg evaluate corrections/manifest.jsonl --model models/starter-1.1 --out report
  argenseg evaluate facade/test.json --out report        COCO, its pictures in facade/images/
  argenseg evaluate "refcoco/refs(unc).p" --part val     RefCOCO, with instances.json beside it

\b
DIR then holds
  index.html    the figures by label and size, and the worst answers as pictures
  summary.json  the figures
  items.jsonl   a line for each image and prompt

What cannot be used of a COCO or RefCOCO file is told and left out. Objects are connected components.
"""


@click.command(epilog=EPILOG)
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", default="starter", show_default=True, metavar="FOLDER|ID",
              help="A checkpoint folder, a Hugging Face id, or `starter`.")  # fmt: skip
@click.option("--split", type=click.Choice(["holdout", "train"]), default="holdout", show_default=True,
              help="Which side of a manifest to measure on.")  # fmt: skip
@click.option("--part", metavar="NAME", help="Which part of RefCOCO's references: val, testA, testB, ...")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads (torch's default: all).")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write a page with the worst answers, the figures, and a line for each item there.")  # fmt: skip
@click.option("--worst", type=click.IntRange(0, 1000), default=12, show_default=True, metavar="N",
              help="Answers on that page.")  # fmt: skip
@click.option("--pictures", type=click.IntRange(0, 1000), default=0, metavar="N",
              help="Also write DIR/pictures/: truth and answer of the first N items with an object, "
              "named by their lines in items.jsonl, from 0.")  # fmt: skip
def evaluate(
    manifest: Path,
    model: str,
    split: Any,
    part: str | None,
    device: str,
    threads: int | None,
    out: Path | None,
    worst: int,
    pictures: int,
) -> None:
    """Measure a model on annotated images (MANIFEST: ours, COCO's or RefCOCO's), beside trivial answers."""
    try:
        read = read_annotated_set(manifest, split, part)
        for problem in read.problems:
            click.echo(problem, err=True)
        be_a_good_neighbour()
        from argenseg_model import ARGenSeg

        if threads:
            import torch

            torch.set_num_threads(threads)
        draw = _Pictures(None if out is None else out / "pictures", pictures)
        cases = WorstCases(0 if out is None else worst)

        def on_answer(item: ManifestItem, pixels: np.ndarray, mask: np.ndarray) -> None:
            draw(item, pixels, mask)
            cases(item, pixels, mask)

        segmenter = ARGenSeg.from_pretrained(model, device=device)
        rows = measure(segmenter, read.manifest.split(split), on_answer=on_answer)
    except ARGenSegError as error:
        raise click.ClickException(str(error)) from error
    summary, title = summarise(rows), f"{model} on {manifest} ({part or split})"
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_rows(out / "items.jsonl", rows)
        with replace_file(out / "summary.json") as partial:
            partial.write_text(json.dumps(summary, indent=2) + "\n")
        with replace_file(out / "index.html") as partial:
            partial.write_text(evaluation_page(title, summary, cases.sorted()), encoding="utf-8")
    _print(title, summary)


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


def _print(title: str, summary: dict[str, Any]) -> None:
    table = Table("", *COLUMNS.values(), title=title)
    for name, group in groups_of(summary).items():
        table.add_row(name, *(figure_text(group[column]) for column in COLUMNS))
    for name, value in summary["baselines"].items():
        table.add_row(f"({name})", "", "", figure_text(value), style="dim")
    Console(markup=False, emoji=False).print(table)  # a label may hold [brackets]


if __name__ == "__main__":
    evaluate()
