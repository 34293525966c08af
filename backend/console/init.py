"""The command init: a new model to be trained."""

from pathlib import Path

import click

from argenseg_model.errors import ARGenSegError


@click.command()
@click.option("--base", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
              help="InternVL2.5 on InternLM2, as OpenGVLab/InternVL2_5-8B.")  # fmt: skip
@click.option("--vqvae", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="VAR's vae_ch160v4096z32.pth; only tensors are read of it.")  # fmt: skip
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="The folder of the new model.")  # fmt: skip
def init(base: Path, vqvae: Path, out: Path) -> None:
    """Start a new, untrained ARGenSeg out of an InternVL2.5 and a mask tokenizer.

    The vocabulary grows as in the release: four special tokens and one for each of the 4096 codes. What is made
    answers in words at once and must be trained to segment: argenseg finetune --manifest SET --model DIR --out DIR2.

    \b
    Example:
      argenseg init --base InternVL2_5-8B --vqvae vae_ch160v4096z32.pth --out argenseg-new
    """
    from argenseg_model.starting_point import start_from_internvl

    try:
        start_from_internvl(base, vqvae, out)
    except ARGenSegError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"A model to be trained is in {click.format_filename(out)}")
