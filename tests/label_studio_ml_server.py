"""Our model in label-studio-ml's own server, in the environment that `make` builds for it."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.conftest import cannot_run

PYTHON = Path(__file__).parents[1] / ".venv-label-studio-ml" / "bin" / "python"
START_S = 120.0


@contextmanager
def label_studio_ml_server(environment: dict[str, str]) -> Iterator[str]:
    """The URL of a server that runs to the end of the block, with these variables over ours."""
    if not PYTHON.is_file():
        cannot_run("label-studio-ml is not installed: make .venv-label-studio-ml/.installed-1.0.9")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    program = ["--call", "backend.web.label_studio_ml_adapter:create_app"]
    command = [str(PYTHON), "-m", "waitress", "--listen", address, "--threads", "4", *program]
    with subprocess.Popen(command, env={**os.environ, **environment}) as process:
        try:
            deadline = time.monotonic() + START_S
            while not _answers(f"http://{address}/health"):
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
            yield f"http://{address}"
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5.0, trust_env=False).is_success
    except httpx.TransportError:
        return False
