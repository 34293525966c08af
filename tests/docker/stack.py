"""The stack of docker/compose.yaml as a test drives it: a compose project with ports, passwords, volumes of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[2]
ENGINE = Path(__file__).with_name("engine")
HOW_TO_INSTALL = (
    "No Docker answers. Install Docker Engine with its compose plugin (https://docs.docker.com/engine/install/)."
)


class CheckFailed(Exception):
    """A step did not do what it should; the message says what was seen."""


def run(*command: str, timeout_s: float = 900.0, stdin: bytes | None = None, **environment: str) -> str:
    """Run a command and return its standard output. CheckFailed with the end of what it said if it fails."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=os.environ | environment, input=stdin, capture_output=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"{' '.join(command)} took longer than {timeout_s:.0f} s") from error
    if done.returncode:
        said = (done.stdout[-1500:] + done.stderr[-3000:]).decode(errors="replace")
        raise CheckFailed(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout.decode(errors="replace")


def ensure_engine(folder: Path) -> bool:
    """See to it that a Docker engine answers. Under CI=true one is started in `folder`: then the answer is True.

    Everywhere else a missing engine ends the program: nothing is skipped.
    """
    try:
        run("docker", "info")
        return False
    except (CheckFailed, FileNotFoundError):
        if os.environ.get("CI") != "true":
            sys.exit(HOW_TO_INSTALL)
    subprocess.run([ENGINE, folder], check=True)
    listed = run("bash", "-c", f". {folder}/env && env -0")
    os.environ.update(line.split("=", 1) for line in listed.split("\0") if "=" in line)
    return True


def stop_engine(folder: Path) -> None:
    """Stop what `ensure_engine` started, and remove its folder."""
    subprocess.run([ENGINE, folder, "stop"], check=True)


@dataclass(frozen=True)
class Stack:
    """One compose project. `env_file` holds its settings."""

    name: str
    env_file: Path

    @property
    def settings(self) -> dict[str, str]:
        """What the settings' file says."""
        lines = (line.strip() for line in self.env_file.read_text().splitlines())
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def compose(self, *arguments: str, stdin: bytes | None = None, timeout_s: float = 900.0) -> str:
        """`docker compose ...` on this project; its standard output."""
        options = ["-p", self.name, "-f", "docker/compose.yaml", "--env-file", str(self.env_file)]
        environment = {"ARGENSEG_ENV_FILE": str(self.env_file)}
        return run("docker", "compose", *options, *arguments, stdin=stdin, timeout_s=timeout_s, **environment)

    def up(self, *arguments: str) -> None:
        """Start what does not run, and wait until all of it is healthy."""
        self.compose("up", "--detach", "--wait", "--no-build", *arguments)

    def argenseg(self, *arguments: str, service: str = "backend", stdin: bytes | None = None) -> str:
        """A command of argenseg in a container that runs."""
        return self.compose("exec", "-T", service, "argenseg", *arguments, stdin=stdin)

    def containers(self) -> list[dict[str, Any]]:
        """What `docker compose ps` tells of each container, such as Service, ID, State, Health."""
        return [json.loads(line) for line in self.compose("ps", "--all", "--format", "json").splitlines()]

    def container(self, service: str) -> str:
        """The id of a service's first container."""
        return self.compose("ps", "--quiet", service).split()[0]

    def backend(self, path: str, **headers: str) -> httpx.Response:
        """GET a page of the backend, through its published port."""
        url = f"http://127.0.0.1:{self.settings['BACKEND_PORT']}{path}"
        return httpx.get(url, headers=headers, timeout=10.0, trust_env=False)

    def remove(self) -> None:
        """Stop all containers and delete them and their volumes."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "10")
