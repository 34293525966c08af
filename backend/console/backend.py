"""The command `argenseg backend`: it becomes the web door's process."""

import os
import sys

import click

from backend.console.command_line import start_serving


@click.command()
@click.option("--host", help="Address to listen on (HOST, default 127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (PORT, default 9090).")
def backend(host: str | None, port: int | None) -> None:
    """Serve the Label Studio ML backend. Everything else is set by the environment.

    Example: LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... argenseg backend --port 9090
    """
    from labeling.settings import environment_of

    environment = os.environ | environment_of(start_serving(host=host, port=port))
    os.execve(sys.executable, [sys.executable, "-m", "backend.web"], environment)
