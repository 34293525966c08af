"""The command plan-memory: what a GPU can do with a model, by arithmetic."""

import click

from argenseg_model.errors import ARGenSegError


@click.command("plan-memory")
@click.option("--model", default="starter", show_default=True, metavar="FOLDER|ID", help="Only its config.json counts.")
@click.option("--gpu", "gpus", multiple=True, type=click.FloatRange(1, 10_000), default=(24, 48, 80), metavar="GB",
              show_default=True, help="The memory of a GPU; may be given several times.")  # fmt: skip
@click.option("--rank", type=click.IntRange(1, 1024), default=16, show_default=True, help="Of the adapters.")
def plan_memory(model: str, gpus: tuple[float, ...], rank: int) -> None:
    """Tell what fits into a GPU: prompts at once, training of adapters, training of all weights.

    Arithmetic on the model's sizes, with a tenth and 1 GiB left for what torch takes beside; nothing is measured.

    \b
    Example:
      argenseg plan-memory --model ARGenSeg-8B --gpu 24 --gpu 80
    """
    from rich.console import Console
    from rich.table import Table

    from argenseg_model.checkpoints import load_config, locate
    from argenseg_model.memory_plan import GIB, sizes_of
    from argenseg_model.memory_plan import plan_memory as plan

    try:
        sizes = sizes_of(load_config(locate(model)))
    except ARGenSegError as error:
        raise click.ClickException(str(error)) from error
    title = f"{model}: {sizes.parameters / 1e9:.2f} billion parameters, bfloat16"
    table = Table("GPU", "prompts at once", f"rows, adapters of rank {rank}", "rows, all weights", title=title)
    for gpu in gpus:
        can = plan(sizes, int(gpu * GIB), rank)
        rows = ("no" if most is None else f"up to {most}" for most in (can.inference_rows, can.adapter_rows))
        whole = f"up to {can.full_rows}" if can.full_rows else "no"
        table.add_row(f"{gpu:g} GB", *rows, whole)
    Console(markup=False).print(table)
