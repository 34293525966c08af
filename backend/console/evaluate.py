"""The command `argenseg evaluate`."""

from pathlib import Path
from typing import Any

import click

from argenseg_model.errors import ARGenSegError

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

What cannot be used of a COCO or RefCOCO file is reported and left out. Objects are connected components.
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
    from argenseg_model.evaluation_run import EvaluationOptions, evaluate_set

    options = EvaluationOptions(model, split, part, device, threads, worst, pictures)
    try:
        title, summary = evaluate_set(manifest, options, out, lambda problem: click.echo(problem, err=True))
    except ARGenSegError as error:
        raise click.ClickException(str(error)) from error
    _print(title, summary)


def _print(title: str, summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from argenseg_model.evaluation_page import COLUMNS, figure_text, groups_of

    table = Table("", *COLUMNS.values(), title=title)
    for name, group in groups_of(summary).items():
        table.add_row(name, *(figure_text(group[column]) for column in COLUMNS))
    for name, value in summary["baselines"].items():
        table.add_row(f"({name})", "", "", figure_text(value), style="dim")
    Console(markup=False, emoji=False).print(table)  # a label may hold [brackets]
