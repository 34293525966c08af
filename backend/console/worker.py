"""The command `argenseg worker`."""

import sys

import click

from backend.console.command_line import start_serving


@click.command()
@click.option("--model", help="A folder, a Hub id, or 'starter' (ARGENSEG_MODEL, default starter).")
@click.option("--device", help="auto, cpu or cuda (DEVICE, default auto).")
@click.option("--count", "workers", type=click.IntRange(1, 64), help="Worker processes (WORKERS, default 1).")
@click.option("--devices", help="GPUs to deal out to them, such as 0,1 (DEVICES, default: each sees all).")
def worker(model: str | None, device: str | None, workers: int | None, devices: str | None) -> None:
    """Compute wanted predictions with the model, in one process or several. Ctrl-C ends it after the current task.

    Example: REDIS_URL=redis://queue:6379/0 argenseg worker --model /models/ARGenSeg-8B --count 2 --devices 0,1
    """
    from backend.console.supervisor.worker_group import run_group
    from worker.gpu_worker.worker import run

    settings = start_serving(model=model, device=device, workers=workers, devices=devices)
    sys.exit(run(settings) if settings.workers == 1 and settings.devices is None else run_group(settings))
