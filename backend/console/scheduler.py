"""The command `argenseg scheduler`."""

import click

from backend.console.command_line import start_serving, stop_on_signal


@click.command()
def scheduler() -> None:
    """Fine-tune when it is time (FINETUNE_CRON, FINETUNE_CORRECTIONS) or asked for. Any number of copies may run.

    Example: FINETUNE_CRON="0 3 * * *" argenseg scheduler
    """
    from worker.context import JobContext
    from worker.finetune import scheduler as scheduling

    with JobContext.open(start_serving()) as context, stop_on_signal() as stop:
        scheduling.run(context, stop)
