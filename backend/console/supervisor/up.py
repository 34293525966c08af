"""`argenseg up`: everything that one machine needs, in one command and one log."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM

from backend.console.supervisor.embedded_redis import data_folder_lock, find_redis_server, redis_command, redis_log
from backend.console.supervisor.processes import Command, Supervisor
from backend.operations.listening import open_socket
from backend.operations.projects.connection import basic_authorization, connect_backend, require_allowed_address
from backend.operations.projects.label_notes import label_notes
from backend.operations.running import announced
from labeling.credentials import hide_passwords
from labeling.settings import Settings, environment_of
from worker.errors import QueueUnreachable, SupervisorError
from worker.projects.open_project import require_client
from worker.queue.connection import connect, is_reachable
from worker.queue.queues import GPU, live_workers

REDIS_READY_S = 60.0  # it first reads its append-only file
READY_S = 1800.0  # a large model may come from a slow disk, or from the Hub


def up(settings: Settings, projects: Sequence[int] = ()) -> None:
    """Start every service, say when they are ready, and keep them running until Ctrl-C or SIGTERM.

    These `projects` of Label Studio are connected to the backend. SupervisorError if a service cannot be started,
    WorkerError or LabelStudioError if a project cannot be connected; where Label Studio is not named, does not answer,
    has no such project, or forbids the backend's address, nothing is started.
    """
    _ask_label_studio(settings, projects)
    log_file = settings.data_dir / "logs" / "argenseg.log"
    services = Supervisor(log_file, log_format=settings.log_format)
    with data_folder_lock(settings) as lock, announced(settings), services.supervising() as supervisor:
        supervisor.say(f"starting with data in {settings.data_dir}; loading the model takes a moment")
        start_services(supervisor, settings, lock)
        if supervisor.run_until(lambda: is_ready(settings), READY_S):
            for project in projects:
                client, said = require_client(settings), f"project {project}: "
                for change in connect_backend(client, project, settings.public_backend_url, settings):
                    supervisor.say(f"{said}{change}")
                for note in label_notes(settings, client, project):
                    supervisor.say(f"{said}{note}")
            for line in _what_comes_next(settings, projects, log_file):
                supervisor.say(line)
        supervisor.run_until(lambda: False)
        supervisor.say("stopping")


def _ask_label_studio(settings: Settings, projects: Sequence[int]) -> None:
    """What can be known before anything is started: it takes minutes to load a model."""
    if projects:
        client = require_client(settings)
        for project in projects:
            client.get_project(project)
        require_allowed_address(client, settings.public_backend_url)
        client.close()


def _what_comes_next(settings: Settings, projects: Sequence[int], log_file: Path) -> list[str]:
    url = hide_passwords(settings.public_backend_url)
    ready = f"ready: model {settings.model}, backend at {url}, log {log_file}"
    if not projects:
        return [ready, f"next: connect a project, argenseg connect --project N (or by hand: Settings > Model > {url})"]
    connected = " and ".join(map(str, projects))
    predict = f"argenseg predict --project {projects[0]} --pin"
    return [ready, f"next: project {connected} is connected to it; in another terminal: {predict}"]


def start_services(supervisor: Supervisor, settings: Settings, lock: int) -> None:
    """Start Redis unless REDIS_URL names one, wait for it, then start the workers and the backend.

    The children read the same environment as we do, with `settings` over it. Redis is stopped last.
    `lock` is the descriptor of `data_folder_lock`. SupervisorError if the backend's address is taken.
    """
    listening = open_socket(settings)  # ours, so that connections wait while a killed backend is started again
    if settings.redis_url is None:
        command = redis_command(settings, find_redis_server())
        supervisor.start(
            Command("redis", command, death_signal=SIGTERM, inherited_descriptors=(lock,), outlives_others=True)
        )
        if not supervisor.run_until(lambda: is_reachable(connect(settings)), REDIS_READY_S):
            if supervisor.stop_requested:
                return
            raise SupervisorError(
                f"The embedded Redis did not answer within {REDIS_READY_S:g} s; see {redis_log(settings)}."
            )
    environment = {**os.environ, **environment_of(settings)}
    names = {"publisher": 10.0, "sweeper": 10.0, "scheduler": 30.0, "worker": 30.0, "backend": 10.0}
    for name, stop_timeout_s in names.items():
        argv = [sys.executable, "-m", "backend.console.cli", name]
        held = listening if name == "backend" else None
        supervisor.start(Command(name, argv, environment, stop_timeout_s=stop_timeout_s, listening=held))


def is_ready(settings: Settings) -> bool:
    """Whether a GPU worker has its model warm (it registers afterwards) and the backend answers."""
    return _answers(lambda: _has_gpu_worker(settings)) and _answers(lambda: _is_healthy(settings))


def _answers(question: Callable[[], bool]) -> bool:
    with suppress(QueueUnreachable, OSError):
        return bool(question())
    return False


def _has_gpu_worker(settings: Settings) -> bool:
    return live_workers(connect(settings), GPU) > 0


def _is_healthy(settings: Settings) -> bool:
    request = urllib.request.Request(f"{settings.local_backend_url}/health")
    if (authorization := basic_authorization(settings)) is not None:
        request.add_header("Authorization", authorization)
    with urllib.request.urlopen(request, timeout=2.0) as response:
        return bool(response.status == 200)
