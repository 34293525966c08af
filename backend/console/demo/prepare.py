"""Label Studio's empty database, made when it is installed: a first start that copies it takes seconds."""

import shutil
from pathlib import Path

from rich.console import Console

from backend.console.demo.label_studio import LabelStudioServer, free_ports
from backend.console.supervisor.processes import Command, Supervisor
from worker.errors import SupervisorError

_START_S = 900.0


def prepare_database(binary: Path, console: Console) -> None:
    """Start this Label Studio on a free port until it answers, stop it, and keep its folder beside its programs.

    SupervisorError if it does not answer, or the folder cannot be written to; then first starts make their own.
    """
    target = LabelStudioServer(binary, Path(), 0).prepared
    making = target.with_suffix(".new")
    shutil.rmtree(making, ignore_errors=True)
    server = LabelStudioServer(binary, making, *free_ports(1))
    console.print("Making Label Studio's empty database, once: a minute.")
    with Supervisor(making.with_suffix(".log"), echo=False).supervising() as supervisor:
        supervisor.start(Command("studio", server.command, server.environment(), restarts=False))
        is_up = supervisor.run_until(server.is_up, _START_S)
    if not is_up:
        raise SupervisorError(f"Label Studio did not answer; {making.with_suffix('.log')} says more.")
    shutil.rmtree(target, ignore_errors=True)
    making.rename(target)
