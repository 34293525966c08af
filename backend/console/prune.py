"""The command `argenseg prune`."""

import click

from backend.console.command_line import note_action, open_store, start


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def prune(dry_run: bool) -> None:
    """Delete what is older than KEEP_EVENTS_DAYS, KEEP_ANSWERS_DAYS and KEEP_CACHED_IMAGES_DAYS, now.

    The sweeper does it every hour, too. Corrections, answers that were taken, images of submitted tasks, predictions
    that were sent and model versions stay.

    Example: argenseg prune --dry-run
    """
    from worker import retention

    settings = start(log_level="WARNING")
    with open_store(settings) as store:
        pruned = retention.prune(settings, store, dry_run=dry_run)
        if not dry_run:
            note_action(store, "prune", str(pruned))
    click.echo(f"{pruned} {'would go' if dry_run else 'are gone'}.")
