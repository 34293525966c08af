"""`argenseg backend` as a process of its own, as people start it."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from labeling.settings import Settings
from tests.backend.web.recorded import eventually

START_S = 240.0  # on a busy machine
STOP_S = 60.0


@dataclass(frozen=True)
class Served:
    """A backend that answers. `log` is what it wrote until now."""

    process: "subprocess.Popen[bytes]"
    port: int
    client: httpx.Client
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def connect(self, first: bytes) -> socket.socket:
        """A connection of its own, on which these bytes were sent and no more."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=5.0)
        connection.sendall(first)
        return connection


@contextmanager
def backend_process(settings: Settings, **environment: str) -> Iterator[Served]:
    """Start it on a free port, wait until it answers, and see that it ends well when it is asked to."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours = {
        "ARGENSEG_DATA_DIR": str(settings.data_dir),
        "REDIS_URL": settings.redis_url or "",
        "ARGENSEG_MODEL": settings.model,
        "LABEL_STUDIO_URL": settings.label_studio_url or "",
        **environment,
    }
    command = [sys.executable, "-m", "backend.console.cli", "backend", "--port", str(port)]
    with tempfile.NamedTemporaryFile(suffix=".log") as log:
        process = subprocess.Popen(command, env=os.environ | ours, stdout=log, stderr=subprocess.STDOUT)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client:
                served = Served(process, port, client, Path(log.name))
                eventually(lambda: is_up(client), START_S)
                yield served
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_S) == 0
            assert "Traceback" not in served.log
        finally:
            process.kill()
            process.wait()


def is_up(client: httpx.Client) -> bool:
    """Whether /health is answered."""
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
