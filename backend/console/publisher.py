"""The command `argenseg publisher`."""

import click

from backend.console.command_line import start_serving


@click.command()
def publisher() -> None:
    """Send finished predictions to Label Studio, and make webhook events into corrections.

    Example: LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... argenseg publisher
    """
    from worker.context import JobContext
    from worker.queue.jobs import publish_functions
    from worker.queue.leased_worker import LeasedWorker
    from worker.queue.queues import PUBLISH

    with JobContext.open(start_serving()) as context:
        LeasedWorker(PUBLISH, context.connection, publish_functions(context)).work(logging_level="WARNING")
