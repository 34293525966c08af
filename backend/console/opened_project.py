"""What the commands on one project of Label Studio share."""

from __future__ import annotations  # its types are imported for type checkers only

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from backend.console import command_line

if TYPE_CHECKING:
    from rich.console import Console

    from worker.projects.open_project import OpenProject

project_option = click.option("--project", "number", type=int, required=True, help="Label Studio's project number.")


@contextmanager
def opened_project(
    number: int, label_studio_url: str | None, api_key: str | None
) -> Iterator[tuple[OpenProject, Console]]:
    """The project and a console to report on. Errors as of `open_project`."""
    from worker.projects.open_project import open_project

    settings = command_line.start(log_level="WARNING", label_studio_url=label_studio_url, api_key=api_key)
    with open_project(settings, number) as project:
        yield project, command_line.plain_console()
