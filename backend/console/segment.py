"""The model's own commands. Torch is imported when a command runs, not for `--help`."""

from __future__ import annotations  # its types are imported for type checkers only

from pathlib import Path
from typing import TYPE_CHECKING

import click

from argenseg_model.errors import ARGenSegError, PromptError
from argenseg_model.prompting import QUESTIONS, prompt_words
from argenseg_model.threads import be_a_good_neighbour
from backend.console.command_line import Refused

if TYPE_CHECKING:
    from argenseg_model.segment_files import ResultLine

SEGMENT_EPILOG = """\b
Examples:
  argenseg segment cell.png --prompt "all nuclei" --out result
  argenseg segment slides/ more/field-7.tif --prompt "all nuclei" --prompt "the largest nucleus" --out result

\b
The output folder then holds
  masks/PROMPT/IMAGE.png     0 or 255, upright, at the image's size; an empty mask is written too
  overlays/PROMPT/IMAGE.png  the mask drawn over the image
  results.jsonl              a line per image and prompt: image, prompt, mask, score, area_px, seconds, error
  run.json                   what the results were made with

\b
A folder that holds results is refused, unless --resume or --overwrite is given.
With --resume an image is left as it is when all its prompts have a result in DIR, made with the same model and
template, and its masks are there and not older than it; also after a run that was killed. Errors are tried again.

An image that cannot be read is reported and skipped. Exit code: 0 when all images were segmented, 1 when some were
not, or the model could not be loaded; 2 for a wrong command line; 3 when the folder was refused; 130 after Ctrl-C, when
--resume goes on.
"""

_INTERRUPTED = 130  # a shell's exit code after Ctrl-C


def _prompts_with_words(
    context: click.Context, parameter: click.Parameter, prompts: tuple[str, ...]
) -> tuple[str, ...]:
    try:
        for prompt in prompts:
            prompt_words(prompt)
    except PromptError as error:
        raise click.BadParameter(str(error)) from error
    return prompts


@click.command(epilog=SEGMENT_EPILOG)
@click.argument("sources", nargs=-1, required=True, metavar="IMAGE|FOLDER...")
@click.option("--prompt", "prompts", multiple=True, required=True, callback=_prompts_with_words,
              help="What to segment, in words; may be given several times.")  # fmt: skip
@click.option("--model", default="starter", show_default=True, metavar="FOLDER|ID",
              help="A checkpoint folder, a Hugging Face id, or `starter`: the small model that ships.")  # fmt: skip
@click.option("--template", type=click.Choice(list(QUESTIONS)), default="class", show_default=True,
              help="How the prompt is put to the model.")  # fmt: skip
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
              help="Where the model runs; `auto` takes the GPU if there is one.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="The folder for masks, overlays and results.jsonl; it may exist.")  # fmt: skip
@click.option("--fast", is_flag=True, help="Draw in bfloat16 where this processor is faster at it (measured first); "
              "an edge may move by a pixel.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Keep what an earlier, interrupted run finished in DIR.")
@click.option("--overwrite", is_flag=True, help="Drop the results of an earlier run in DIR.")
def segment(
    sources: tuple[str, ...],
    prompts: tuple[str, ...],
    model: str,
    template: str,
    device: str,
    out: Path,
    fast: bool,
    resume: bool,
    overwrite: bool,
) -> None:
    """Segment images by text prompts and write the masks as PNG files."""
    if resume and overwrite:
        raise click.UsageError("--resume and --overwrite exclude each other.")
    be_a_good_neighbour()
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from argenseg_model import ARGenSeg
    from argenseg_model.checkpoints import fingerprint
    from argenseg_model.decode_precision import choose_decode_precision
    from argenseg_model.segment_files import RESULTS, ResumeError, begin_run, find_images, segment_files

    images = find_images(sources, out)
    console = Console(stderr=True)
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    done = failed = 0
    with Progress(*bar, console=console) as progress:
        task = progress.add_task("Loading the model", total=len(images))

        def report(lines: list[ResultLine]) -> None:
            nonlocal done, failed
            done += 1
            image, error = lines[0].image, lines[0].error
            if error:
                failed += 1
                text = error if error.startswith(image) else f"{image}: {error}"
                console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
            progress.advance(task)

        try:
            run = {"model": model, "fingerprint": fingerprint(model), "template": template}
            finished = begin_run(out, run, resume=resume, overwrite=overwrite)  # before the model: it may be refused
        except ResumeError as error:
            raise Refused(f"{error}.") from error
        except ARGenSegError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            raise click.ClickException(f"cannot write to {out}: {error}") from error
        try:
            segmenter = ARGenSeg.from_pretrained(model, device=device)
        except ARGenSegError as error:
            raise click.ClickException(str(error)) from error
        if fast:
            choose_decode_precision(segmenter.image_tokenizer)
        progress.update(task, description="Segmenting")
        try:
            segment_files(segmenter, images, prompts, out, template, report, finished)
        except OSError as error:
            raise click.ClickException(f"cannot write to {out}: {error}") from error
        except KeyboardInterrupt:
            console.print(
                f"Stopped after {done} of {len(images)} images. The same command with --resume goes on from there.",
                soft_wrap=True,
            )
            raise click.exceptions.Exit(_INTERRUPTED) from None
    click.echo(f"{len(images) - failed} of {len(images)} images segmented: {click.format_filename(out / RESULTS)}")
    if failed:
        raise click.exceptions.Exit(1)
