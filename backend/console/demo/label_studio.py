"""The demo's own Label Studio: where it is installed, how it is started, and the wait until it answers."""

import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import httpx

from worker.errors import SupervisorError

USER = "demo@example.com"
PASSWORD = "all-nuclei"
_DATABASE = "label_studio.sqlite3"


@dataclass(frozen=True)
class LabelStudioServer:
    """One Label Studio on loopback. `data_dir` keeps its database, its uploads, its token, and `local_files`."""

    binary: Path
    data_dir: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def local_files(self) -> Path:
        """Folders in it can be connected to a project as storages of local files; nothing else of this machine can."""
        return self.data_dir / "local-files"

    @property
    def command(self) -> list[str]:
        address = ["--internal-host", "127.0.0.1", "--port", str(self.port)]
        return [str(self.binary), "start", "--no-browser", "--log-level", "WARNING", *address]

    @property
    def has_database(self) -> bool:
        """Whether it was started before: its first start makes the database, and takes a minute."""
        return (self.data_dir / _DATABASE).exists()

    @property
    def prepared(self) -> Path:
        """A data folder with an empty database, made when Label Studio was installed (`argenseg demo --prepare`)."""
        return self.binary.parent.parent / "argenseg-prepared"

    def take_prepared(self) -> bool:
        """Begin with a copy of what is prepared, its token too; False without any, or if this folder has a database."""
        if self.has_database or not (self.prepared / _DATABASE).exists():
            return False
        shutil.copytree(self.prepared, self.data_dir, dirs_exist_ok=True)
        return True

    def token(self) -> str:
        """The legacy API token, made once and kept in the data folder (readable by its owner only)."""
        path = self.data_dir / "token"
        if not path.exists():
            self.data_dir.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.touch(mode=0o600)
            fresh.write_text(secrets.token_hex(20))
            fresh.replace(path)
        return path.read_text().strip()

    def environment(self) -> dict[str, str]:
        """The environment of its process: ours, and what this server needs over it.

        Two defaults of Label Studio would break us silently: it refuses ML backends on private addresses
        (ML_BLOCK_LOCAL_IP) and drops webhooks to them without a word (SSRF_PROTECTION_ENABLED).
        """
        return {
            **os.environ,
            "LABEL_STUDIO_USERNAME": USER,
            "LABEL_STUDIO_PASSWORD": PASSWORD,
            "LABEL_STUDIO_USER_TOKEN": self.token(),
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_HOST": self.url,
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.data_dir),
            "DJANGO_DB": "sqlite",
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(self.local_files.absolute()),
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
        }

    def is_up(self) -> bool:
        """Whether /health answers."""
        try:
            return httpx.get(f"{self.url}/health", timeout=2.0, trust_env=False).is_success
        except httpx.TransportError:
            return False


def find_label_studio(asked: Path | None) -> Path:
    """The `label-studio` program: the one asked for, else in the work folder, beside our environment, or on PATH."""
    beside_our_environment = Path(sys.prefix).parent / ".venv-label-studio"
    candidates = [folder / "bin" / "label-studio" for folder in (Path(".venv-label-studio"), beside_our_environment)]
    on_path = shutil.which("label-studio")
    for candidate in [asked] if asked else [*candidates, *([Path(on_path)] if on_path else [])]:
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate.absolute()
    raise SupervisorError(
        f"Label Studio is not installed{f' at {asked}' if asked else ''}. It needs an environment of its own:"
        " python3 -m venv .venv-label-studio && .venv-label-studio/bin/pip install label-studio==1.23.2"
    )


def require_free_port(port: int, *, service: str, option: str) -> None:
    """SupervisorError when something listens on `port` of loopback already."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise SupervisorError(
                f"Port {port} for {service} is taken, perhaps by another demo. Stop that program, or use another"
                f" port: argenseg demo {option} {port + 1}"
            )


def free_ports(count: int) -> list[int]:
    """`count` different ports of loopback that nobody listened on a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()
