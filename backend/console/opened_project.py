"""What the commands on one project of Label Studio share."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console

from backend.console import command_line
from worker.projects.open_project import OpenProject, open_project

project_option = click.option("--project", "number", type=int, required=True, help="Label Studio's project number.")


@contextmanager
def opened_project(
    number: int, label_studio_url: str | None, api_key: str | None
) -> Iterator[tuple[OpenProject, Console]]:
    """The project and a console to report on. Errors as of `open_project`."""
    settings = command_line.start(log_level="WARNING", label_studio_url=label_studio_url, api_key=api_key)
    with open_project(settings, number) as project:
        yield project, command_line.plain_console()
