"""The commands of this floor: worker, publisher, sweeper, up. Everything is set by the environment (see README)."""

import logging
import signal
import sys
import threading
from typing import Any

import click

from labeling.settings import Settings, read_settings
from worker import sweeper as sweeping
from worker.jobs import JobContext, publish_functions
from worker.leased_worker import LeasedWorker
from worker.queues import PUBLISH

_TALKATIVE = ("alembic", "httpx")  # they tell of every connection and request


@click.command()
@click.option("--model", help="A folder, a Hub id, or 'starter' (ARGENSEG_MODEL, default starter).")
@click.option("--device", help="auto, cpu or cuda (DEVICE, default auto).")
def worker(model: str | None, device: str | None) -> None:
    """Compute wanted predictions with the model, one worker for each GPU. Ctrl-C ends it after the current task.

    Example: REDIS_URL=redis://queue:6379/0 argenseg worker --model /models/ARGenSeg-8B --device cuda
    """
    from worker.gpu_worker.worker import run

    sys.exit(run(_start(model=model, device=device)))


@click.command()
def publisher() -> None:
    """Send finished predictions to Label Studio, and make webhook events into corrections.

    Example: LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... argenseg publisher
    """
    with JobContext.open(_start()) as context:
        LeasedWorker(PUBLISH, context.connection, publish_functions(context)).work(logging_level="WARNING")


@click.command()
def sweeper() -> None:
    """Put lost work back into the queues: after a kill, a Redis without memory, a Label Studio that was away.

    Example: argenseg sweeper
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with JobContext.open(_start()) as context:
        sweeping.run(context, stop)


@click.command()
@click.option("--host", help="Address of the backend (HOST, default 127.0.0.1).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the backend (PORT, default 9090).")
def up(host: str | None, port: int | None) -> None:
    """Run everything on this machine: Redis, GPU worker, publisher, sweeper and backend, with one log. Ctrl-C stops it.

    Example: LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... argenseg up
    """
    from worker.supervisor import up as supervisor_up

    supervisor_up.up(_start(host=host, port=port))


def _start(**options: Any) -> Settings:
    """Read the environment's settings, with the command line's over them, and configure the log."""
    settings = read_settings(**options)
    logging.basicConfig(level=settings.log_level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stdout)
    if settings.log_level != "DEBUG":
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
    return settings
