"""The command `argenseg connect`."""

import click

from backend.console.command_line import label_studio_options, start
from labeling.credentials import hide_passwords


@click.command()
@label_studio_options
@click.option("--backend-url", help="The backend as Label Studio reaches it (BACKEND_URL, default from host and port).")
@click.option("--project", "projects", type=int, multiple=True, required=True, help="This project (repeatable).")
def connect(
    label_studio_url: str | None, api_key: str | None, backend_url: str | None, projects: tuple[int, ...]
) -> None:
    """Connect projects of Label Studio to the backend, which must run: ML backend and webhook.

    What is right already stays as it is.

    Example: argenseg connect --project 3
    """
    from backend.operations.projects.connection import connect_backend
    from backend.operations.projects.label_notes import label_notes
    from backend.operations.running import beside_running
    from worker.projects.open_project import require_client

    given = start(log_level="ERROR", label_studio_url=label_studio_url, api_key=api_key, backend_url=backend_url)
    settings = beside_running(given)
    client, url = require_client(settings), settings.public_backend_url
    for project in projects:
        changes = connect_backend(client, project, url, settings)
        click.echo(f"Project {project}: {', '.join(changes) or f'is connected to {hide_passwords(url)} already'}.")
        for note in label_notes(settings, client, project):
            click.echo(f"  {note}")
