"""The command `argenseg restore`."""

import sys
from pathlib import Path

import click

from backend.console.command_line import start


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
def restore(file: Path) -> None:
    """Restore FILE, which `argenseg backup` wrote (- is standard input), into an installation that is empty.

    Stop the other processes of it first. What was unfinished is taken up again when they start.

    Example: argenseg restore argenseg-2026-11-29.tar.gz
    """
    from backend.operations.backup import restore_backup

    settings = start(log_level="ERROR")
    if str(file) == "-":
        summary = restore_backup(settings, sys.stdin.buffer)
    else:
        with file.open("rb") as stream:
            summary = restore_backup(settings, stream)
    click.echo(f"Restored: {summary}.")
