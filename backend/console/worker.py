"""The commands of this floor: worker, publisher, sweeper, up. Everything is set by the environment (see README)."""

import signal
import sys
import threading

import click

from backend.console.command_line import label_studio_options, start
from worker import sweeper as sweeping
from worker.queue.jobs import JobContext, publish_functions
from worker.queue.leased_worker import LeasedWorker
from worker.queue.queues import PUBLISH


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

    settings = start(model=model, device=device, workers=workers, devices=devices)
    sys.exit(run(settings) if settings.workers == 1 and settings.devices is None else run_group(settings))


@click.command()
def publisher() -> None:
    """Send finished predictions to Label Studio, and make webhook events into corrections.

    Example: LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... argenseg publisher
    """
    with JobContext.open(start()) as context:
        LeasedWorker(PUBLISH, context.connection, publish_functions(context)).work(logging_level="WARNING")


@click.command()
def sweeper() -> None:
    """Put lost work back into the queues: after a kill, a Redis without memory, a Label Studio that was away.

    Example: argenseg sweeper
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with JobContext.open(start()) as context:
        sweeping.run(context, stop)


@click.command()
@label_studio_options
@click.option("--host", help="Address of the backend (HOST, default 127.0.0.1).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the backend (PORT, default 9090).")
@click.option("--backend-url", help="The backend as Label Studio reaches it (BACKEND_URL, default from host and port).")
@click.option("--project", "projects", type=int, multiple=True, help="With --connect: this project (repeatable).")
@click.option("--connect", is_flag=True, help="Connect the projects to the backend: ML backend and webhook.")
def up(
    label_studio_url: str | None,
    api_key: str | None,
    host: str | None,
    port: int | None,
    backend_url: str | None,
    projects: tuple[int, ...],
    connect: bool,
) -> None:
    """Run Redis, GPU worker, publisher, sweeper, scheduler and backend on this machine, with one log. Ctrl-C stops it.

    Example: argenseg up --label-studio-url http://localhost:8080 --api-key ... --project 3 --connect
    """
    from backend.console.supervisor import up as supervisor_up

    if connect != bool(projects):
        raise click.UsageError("--connect and --project belong together: which project is to be connected?")
    settings = start(label_studio_url=label_studio_url, api_key=api_key, host=host, port=port, backend_url=backend_url)
    supervisor_up.up(settings, projects)
