"""The command `argenseg backup`."""

import os
import sys
from pathlib import Path

import click

from backend.console.command_line import start
from labeling.errors import StoreError


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
def backup(file: Path) -> None:
    """Write all that this installation knows to FILE (tar.gz; - is standard output), while it goes on working.

    In it are the store, the masks, events that wait to be stored, and fine-tuned models; images and settings are not.
    Label Studio has backups of its own: make both at about the same time.

    Example: argenseg backup argenseg-2026-11-29.tar.gz
    """
    from backend.operations.backup import write_backup

    settings = start(log_level="ERROR")
    if str(file) == "-":
        click.echo(f"Written: {write_backup(settings, sys.stdout.buffer)}.", err=True)
        return
    if file.exists():
        raise click.UsageError(f"{file} is there already. Give another name.")
    unfinished = file.with_name(f"{file.name}.part")
    try:
        unfinished.touch(mode=0o600)
        with unfinished.open("wb") as stream:
            summary = write_backup(settings, stream)
            stream.flush()
            os.fsync(stream.fileno())
        unfinished.rename(file)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}.") from error
    finally:
        unfinished.unlink(missing_ok=True)
    click.echo(f"{file} was written: {summary}.")
