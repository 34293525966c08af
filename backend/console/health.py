"""The command `argenseg health`."""

import sys

import click

from backend.console.command_line import start


@click.command()
@click.argument("role", type=click.Choice(["backend", "worker", "publisher", "sweeper", "scheduler"]))
def health(role: str) -> None:
    """Exit 0 if this host's process of that ROLE is at work, else 1 with the reason: for health checks of containers.

    A worker counts as soon as its model is loaded.

    Example: argenseg health worker
    """
    from backend.operations.health import find_fault

    fault = find_fault(start(log_level="ERROR"), role)
    click.echo(fault or f"The {role} is at work.")
    sys.exit(1 if fault else 0)
