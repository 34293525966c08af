"""The command `argenseg up`."""

import click

from backend.console.command_line import label_studio_options, start_serving


@click.command()
@label_studio_options
@click.option("--host", help="Address of the backend (HOST, default 127.0.0.1).")
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the backend (PORT, default 9090).")
@click.option("--backend-url", help="The backend as Label Studio reaches it (BACKEND_URL, default from host and port).")
@click.option("--project", "projects", type=int, multiple=True, help="With --connect: this project (repeatable).")
@click.option("--connect", is_flag=True, help="Connect the projects to the backend: ML backend and webhook.")
def up(
    label_studio_url: str | None,
    api_key: str | None,
    host: str | None,
    port: int | None,
    backend_url: str | None,
    projects: tuple[int, ...],
    connect: bool,
) -> None:
    """Run Redis, GPU worker, publisher, sweeper, scheduler and backend on this machine, with one log. Ctrl-C stops it.

    Example: argenseg up --label-studio-url http://localhost:8080 --api-key ... --project 3 --connect
    """
    from backend.console.supervisor import up as supervisor_up

    if connect != bool(projects):
        raise click.UsageError("--connect and --project belong together: which project is to be connected?")
    settings = start_serving(
        label_studio_url=label_studio_url, api_key=api_key, host=host, port=port, backend_url=backend_url
    )
    supervisor_up.up(settings, projects)
