"""The command `argenseg finetune`."""

from pathlib import Path

import click

from argenseg_model.threads import be_a_good_neighbour
from backend.console.command_line import known_project, note_action, start
from labeling.extras import require_extra
from worker.errors import NothingToDo

_project_option = click.option("--project", type=int, metavar="N", help="Label Studio's number of the project.")


@click.command()
@_project_option
@click.option("--from-corrections", is_flag=True, help="Learn from the corrections of the project, or of all.")
@click.option("--manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Learn from this set (with --out also COCO's or RefCOCO's).")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
              help="With --manifest: train a model folder into DIR, without store, gate and Label Studio. Options of "
              "the training follow behind --, see: python -m argenseg_model.training.finetune --help.")  # fmt: skip
@click.option("--model", default="starter", show_default=True, metavar="FOLDER|ID", help="With --out: what is taught.")
@click.argument("training", nargs=-1, metavar="[-- TRAINING OPTIONS]")
@click.option("--queue", is_flag=True, help="Leave the run to the scheduler instead of doing it here.")
@click.option("--stop", is_flag=True, help="Stop the open runs (of the project); their checkpoints stay.")
@click.option("--schedule", metavar="CRON", help="Times for this project, such as '0 3 * * *' (UTC); '' for never.")
@click.option("--every", type=click.IntRange(0), metavar="N", help="Also after N new corrections; 0 for never.")
@click.option("--use-default", is_flag=True, help="Forget this project's own schedule: FINETUNE_CRON and "
              "FINETUNE_CORRECTIONS hold again.")  # fmt: skip
def finetune(
    project: int | None, from_corrections: bool, manifest: Path | None, queue: bool, stop: bool, schedule: str | None,
    every: int | None, use_default: bool, out: Path | None, model: str, training: tuple[str, ...],
) -> None:  # fmt: skip
    """Teach the active model what was corrected; a gate decides whether the new version is active.

    Without options: the runs so far, and the schedules. --schedule and --every change one thing each, and leave the
    other as it is. Ctrl-C leaves a run to a scheduler, or to the same command given again, which go
    on from its checkpoint.

    \b
    Examples:
      argenseg finetune --project 3 --from-corrections
      argenseg finetune --project 3 --schedule "0 3 * * *" --every 50
      argenseg finetune --manifest set/manifest.jsonl
      argenseg finetune --manifest facade/train.json --out runs/facade -- --steps 300 --save-memory
      argenseg finetune --stop
    """
    if out is not None:
        if manifest is None:
            raise click.UsageError("--out trains on a set: give --manifest FILE too.")
        raise click.exceptions.Exit(_train_into(out, model, manifest, training))
    if training:
        raise click.UsageError("Options of the training are for --manifest with --out.")
    from backend.console import finetune_runs
    from worker.context import JobContext

    settings = start(log_level=None)
    with JobContext.open(settings, must_exist=True) as context:
        found = None if project is None else known_project(settings, context.store, project)
        if stop:
            stopped = context.store.finetunes.stop(found)
            if not stopped:
                raise NothingToDo("No run is open.")
            note_action(context.store, "stop", "all runs" if project is None else f"runs of project {project}")
            click.echo(f"{stopped} runs were asked to stop.")
        elif use_default or schedule is not None or every is not None:
            finetune_runs.set_schedule(settings, context.store, found, schedule, every, use_default)
        elif from_corrections or manifest is not None:
            finetune_runs.request(context, found, manifest, queue)
        else:
            finetune_runs.show(settings, context.store)


def _train_into(out: Path, model: str, manifest: Path, training: tuple[str, ...]) -> int:
    """Train here; the exit code: 0, 75 when it was stopped (the same command goes on), 1 when it failed."""
    require_extra("worker", "Training")
    be_a_good_neighbour()
    from argenseg_model.training.finetune import main

    name = () if "--name" in training else ("--name", out.name)
    return main(["--model", model, "--manifest", str(manifest), "--out", str(out), *name, *training])
