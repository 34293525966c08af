"""The command `argenseg demo`."""

from __future__ import annotations  # its types are imported for type checkers only

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from labeling.errors import LabelingError
from worker.errors import WorkerError

if TYPE_CHECKING:
    from backend.console.demo.label_studio import LabelStudioServer
    from labeling.settings import Settings

QUICK_STEPS = 100  # of a fine-tune run: a few minutes on one core, and enough for the training project


@click.command()
@click.option("--check", is_flag=True, help="Verify on free ports and in a temporary folder, stop, and exit 0 or 1.")
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".demo"), show_default=True)
@click.option("--port", default=8080, show_default=True, help="Label Studio's port on 127.0.0.1.")
@click.option("--backend-port", default=9090, show_default=True, help="The ML backend's port on 127.0.0.1.")
@click.option(
    "--label-studio",
    type=click.Path(path_type=Path),
    envvar="ARGENSEG_LABEL_STUDIO",
    help="The label-studio program (default: the one in .venv-label-studio, else on PATH).",
)
@click.option("--browser/--no-browser", default=True, help="Open the first masks in a browser, if there is one.")
@click.option("--prepare", is_flag=True, help="Only make Label Studio's empty database, once: first starts copy it.")
def demo(
    check: bool,
    data_dir: Path,
    port: int,
    backend_port: int,
    label_studio: Path | None,
    browser: bool,
    prepare: bool,
) -> None:
    """Start Label Studio with microscope images whose masks are already drawn, and others for the model to learn.

    Example: argenseg demo --port 8081
    """
    from rich.console import Console
    from rich.markup import escape

    from backend.console.demo.check import CheckFailed
    from backend.console.demo.label_studio import LabelStudioServer, find_label_studio, free_ports, require_free_port
    from backend.console.demo.prepare import prepare_database
    from backend.console.demo.run import run_demo

    console = Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="argenseg-check-")) if check else data_dir.absolute()
    try:
        if prepare:
            prepare_database(find_label_studio(label_studio), console)
            return
        if check:
            port, backend_port = free_ports(2)
        else:
            require_free_port(port, service="Label Studio", option="--port")
            require_free_port(backend_port, service="the ML backend", option="--backend-port")
        server = LabelStudioServer(find_label_studio(label_studio), folder / "label-studio", port)
        server.take_prepared()  # its token too, so before anybody asks for one
        is_done = run_demo(
            server, _settings(server, folder / "argenseg", backend_port), console, check=check, browser=browser
        )
        if check and not is_done:
            raise CheckFailed("It was stopped before it was done.")
    except (WorkerError, LabelingError, CheckFailed) as error:
        what = "Check failed" if check else "The demo stopped"
        console.print(f"[red]{what}:[/red] {escape(str(error))}", soft_wrap=True)
        if check:
            console.print(f"Its data and logs are kept in {folder}", soft_wrap=True)
        sys.exit(1)
    if check:
        shutil.rmtree(folder)
        console.print("Check passed.")


def _settings(server: LabelStudioServer, data_dir: Path, backend_port: int) -> Settings:
    """The demo's settings: its own data and queue, whatever the environment says; the model from the environment."""
    from labeling.settings import Settings

    quick = {} if os.environ.get("FINETUNE_STEPS") else {"finetune_steps": QUICK_STEPS}
    settings = Settings(
        label_studio_url=server.url,
        label_studio_api_key=server.token(),
        data_dir=data_dir,
        redis_url=None,
        database_url=f"sqlite:///{data_dir}/argenseg.db",
        blob_url=str(data_dir / "blobs"),
        host="127.0.0.1",
        port=backend_port,
        backend_url=None,
        basic_auth_user=None,
        basic_auth_pass=None,
        predict_wait_s=30.0,  # here only typed prompts wait, and what comes later than this is lost to the page
    )
    return settings.model_copy(update=quick)
