"""The command `argenseg sweeper`."""

import click

from backend.console.command_line import start_serving, stop_on_signal


@click.command()
def sweeper() -> None:
    """Put lost work back into the queues: after a kill, a Redis without memory, a Label Studio that was away.

    Example: argenseg sweeper
    """
    from worker import sweeper as sweeping
    from worker.context import JobContext

    with JobContext.open(start_serving()) as context, stop_on_signal() as stop:
        sweeping.run(context, stop)
