"""`argenseg evaluate`. Torch is imported when the command runs, not for `--help`."""

from __future__ import annotations  # its types are imported for type checkers only

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from argenseg_model.errors import ARGenSegError
from argenseg_model.files import replace_file

if TYPE_CHECKING:
    import numpy as np

    from argenseg_model.manifest import ManifestItem

COLUMNS = {"items": "items", "ciou": "cIoU", "giou": "gIoU", "boundary_iou": "boundary IoU", "object_f1": "object F1",
           "absent_items": "absent", "false_positives": "drawn all the same"}  # fmt: skip


@click.command()
@click.argument("manifest", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--model", default="starter", show_default=True, metavar="FOLDER|ID",
              help="A checkpoint folder, a Hugging Face id, or `starter`.")  # fmt: skip
@click.option("--split", type=click.Choice(["holdout", "train"]), default="holdout", show_default=True,
              help="Which side of the manifest to measure on.")  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="CPU threads (torch's default: all).")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="Write items.jsonl (a line for each item) and summary.json there.")  # fmt: skip
@click.option("--pictures", type=click.IntRange(0, 1000), default=0, metavar="N",
              help="Also write DIR/pictures/: truth and answer of the first N items with an object, "
              "named by their lines in items.jsonl, from 0.")  # fmt: skip
def evaluate(
    manifest: Path, model: str, split: Any, device: str, threads: int | None, out: Path | None, pictures: int
) -> None:
    """Measure a model on a manifest, beside trivial answers.

    Example: argenseg evaluate corrections/manifest.jsonl --model models/starter-1.1 --out report
    """
    from argenseg_model.evaluation import evaluate as measure
    from argenseg_model.evaluation import summarise, write_rows
    from argenseg_model.manifest import Manifest

    try:
        items = Manifest.read(manifest).split(split)
        from argenseg_model import ARGenSeg

        if threads:
            import torch

            torch.set_num_threads(threads)
        draw = _Pictures(None if out is None else out / "pictures", pictures)
        rows = measure(ARGenSeg.from_pretrained(model, device=device), items, on_answer=draw)
    except ARGenSegError as error:
        raise click.ClickException(str(error)) from error
    summary = summarise(rows)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_rows(out / "items.jsonl", rows)
        with replace_file(out / "summary.json") as partial:
            partial.write_text(json.dumps(summary, indent=2) + "\n")
    _print(f"{model} on {manifest} ({split})", summary)


class _Pictures:
    """Draws the truth and the answer of the first items over their images, small enough for a page."""

    def __init__(self, folder: Path | None, count: int) -> None:
        self._folder, self._left, self._number = folder, count, 0

    def __call__(self, item: ManifestItem, pixels: np.ndarray, mask: np.ndarray) -> None:
        from PIL import Image

        from argenseg_model.overlays import draw_overlay

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
    from rich.console import Console
    from rich.table import Table

    table = Table("", *COLUMNS.values(), title=title)
    for name, group in {"all": summary, **summary["by_label"], **summary["by_size"]}.items():
        table.add_row(name, *(_text(group[column]) for column in COLUMNS))
    for name, value in summary["baselines"].items():
        table.add_row(f"({name})", "", "", _text(value), style="dim")
    Console(markup=False, emoji=False).print(table)  # a label may hold [brackets]


def _text(value: float | None) -> str:
    return "–" if value is None else str(value) if isinstance(value, int) else f"{value:.3f}"


if __name__ == "__main__":
    evaluate()
