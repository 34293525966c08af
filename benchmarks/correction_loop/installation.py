"""The real parts: Label Studio, Redis, worker, publisher, sweeper, scheduler and backend, and the project in it."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.console.demo.label_studio import LabelStudioServer, find_label_studio, free_ports
from backend.console.supervisor.embedded_redis import data_folder_lock
from backend.console.supervisor.processes import Command, Supervisor
from backend.console.supervisor.up import is_ready, start_services
from backend.operations.projects.connection import connect_backend, find_backend
from benchmarks.correction_loop.images import TruthImage
from benchmarks.correction_loop.measurement import LABEL_CONFIG
from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings
from labeling.store import FinetuneRun, Project, Store
from worker.projects.requests import ProjectRequests

TITLE = "Correction loop"
START_S = 1200.0
WAIT_S = 3600.0  # for anything that a busy machine does
_LEARNT = ("promoted", "refused")


class LoopError(Exception):
    """The experiment cannot go on; the message says what was found."""


@dataclass(frozen=True)
class Installation:
    """A running installation and its project. What waits keeps the services alive meanwhile."""

    supervisor: Supervisor
    settings: Settings
    client: LabelStudioClient
    store: Store
    number: int

    @property
    def project(self) -> Project:
        """The store's record of the project."""
        return self._requests().project

    def version(self) -> str:
        """The model version of now."""
        return self._requests().model_version

    def active_model(self) -> str:
        """The folder (or name) of the model that is active for the project."""
        version = self.store.models.active(self.project)
        return self.settings.model if version is None else version.folder

    def wait(self, what: str, is_done: Callable[[], bool]) -> None:
        """Until it is so. LoopError when time runs out; KeyboardInterrupt when Ctrl-C came."""
        if self.supervisor.run_until(is_done, WAIT_S):
            return
        if self.supervisor.stop_requested:
            raise KeyboardInterrupt
        raise LoopError(f"Waited {WAIT_S:.0f} s for {what}; see {self.settings.data_dir.parent / 'log' / 'loop.log'}.")

    def import_images(self, images: Sequence[TruthImage]) -> None:
        """Upload those that the project does not hold yet. Label Studio's webhook has them predicted."""
        there = self.tasks()
        missing = [image for image in images if image.id not in there]
        for some in (missing[start : start + 20] for start in range(0, len(missing), 20)):
            files = [(image.id, (image.path.name, image.path.read_bytes(), "image/png")) for image in some]
            self._call("POST", f"/api/projects/{self.number}/import", files=files)

    def tasks(self) -> dict[str, int]:
        """Label Studio's task of each image."""
        listed = self._call("GET", "/api/tasks", params={"project": self.number, "page_size": 1000})["tasks"]
        return {_image_id(task["data"]["image"]): int(task["id"]) for task in listed}

    def predicted(self, task: int, version: str) -> dict[str, Any] | None:
        """The task's prediction of a version; None if Label Studio does not hold it yet."""
        listed = self._call("GET", "/api/predictions/", params={"task": task})
        return next((each for each in listed if each["model_version"] == version), None)

    def annotations(self, task: int) -> list[dict[str, Any]]:
        """What was submitted for a task."""
        return list(self._call("GET", f"/api/tasks/{task}/annotations/"))

    def submit(self, task: int, prediction: dict[str, Any], result: list[dict[str, Any]], seconds: float) -> None:
        """Submit as the page does: a correction of a prediction."""
        body = {"result": result, "lead_time": seconds, "parent_prediction": prediction["id"], "draft_id": 0}
        body |= {"parent_annotation": None, "project": self.number, "was_cancelled": False}
        self._call("POST", f"/api/tasks/{task}/annotations/", params={"project": self.number}, json=body)

    def press_start_training(self) -> None:
        """Label Studio's button: a START_TRAINING webhook, and the scheduler does the rest."""
        backend = find_backend(self.client, self.number, self.settings.public_backend_url)
        if backend is None:
            raise LoopError("The project lost its ML backend.")
        self._call("POST", f"/api/ml/{backend['id']}/train", json={})

    def finetune(self, after: int) -> FinetuneRun:
        """The first run after run number `after`: asked for if it is not there, and waited for."""
        if not self._runs(after):
            self.press_start_training()
        self.wait("the fine-tune run", lambda: any(run.ended_at for run in self._runs(after)))
        run = self._runs(after)[0]
        if run.status not in _LEARNT:
            raise LoopError(f"Fine-tune run {run.id} ended as {run.status}: {run.error}")
        return run

    def _runs(self, after: int) -> list[FinetuneRun]:
        return sorted((run for run in self.store.finetunes.newest() if run.id > after), key=lambda run: run.id)

    def _requests(self) -> ProjectRequests:
        return ProjectRequests(self.settings, self.store, self.number, LABEL_CONFIG)

    def _call(self, method: str, path: str, **request: Any) -> Any:
        return self.client.call(method, path, what=f"{method} {path} failed", **request)


@contextmanager
def running(out: Path, model: str, device: str, threads: int, steps: int) -> Iterator[Installation]:
    """Start everything with its data in `out`, on the ports of the first start; stopped at the end, whatever happens.

    SupervisorError, LabelStudioError or WorkerError as a part cannot be started or connected.
    """
    server, settings = _server_and_settings(out, model, device, threads, steps)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # of the worker too
    with data_folder_lock(settings) as lock, Supervisor(out / "log" / "loop.log", echo=False).supervising() as services:
        services.start(Command("studio", server.command, server.environment(), restarts=False))
        start_services(services, settings, lock)
        if not services.run_until(lambda: server.is_up() and is_ready(settings), START_S):
            raise LoopError(f"Label Studio or the model was not ready after {START_S:.0f} s; see {out / 'log'}.")
        client = LabelStudioClient(server.url, server.token(), timeout_s=120.0)
        number = _project(client)
        connect_backend(client, number, settings.public_backend_url, settings)
        with Store.open(settings.database_url, settings.blob_url) as store:
            yield Installation(services, settings, client, store, number)
        client.close()


def own_settings(out: Path, model: str, device: str, threads: int, steps: int, **more: Any) -> Settings:
    """The experiment's settings: its own data and queue in `out`, whatever the environment says."""
    data_dir = out / "argenseg"
    return Settings(
        data_dir=data_dir, redis_url=None, database_url=f"sqlite:///{data_dir}/argenseg.db",
        blob_url=str(data_dir / "blobs"), host="127.0.0.1", backend_url=None, basic_auth_user=None,
        basic_auth_pass=None, model=model, device=device, finetune_steps=steps, finetune_threads=threads,
        finetune_cron=None, finetune_corrections=None, **{"label_studio_url": None, **more},
    )  # fmt: skip


def _server_and_settings(out: Path, *options: Any) -> tuple[LabelStudioServer, Settings]:
    """Both on the ports of the first start: Label Studio's URL is a part of the project's name in the store."""
    ports = out / "ports.json"
    if not ports.is_file():
        ports.write_text(json.dumps(free_ports(2)))
    port, backend_port = json.loads(ports.read_text())
    server = LabelStudioServer(find_label_studio(None), out / "label-studio", port)
    return server, own_settings(
        out, *options, label_studio_url=server.url, label_studio_api_key=server.token(), port=backend_port
    )


def _project(client: LabelStudioClient) -> int:
    what = "The project could not be made"
    found = client.call("GET", "/api/projects/", what=what, params={"title": TITLE})["results"]
    if exact := [project for project in found if project["title"] == TITLE]:
        return int(exact[0]["id"])
    wanted = {"title": TITLE, "label_config": LABEL_CONFIG, "show_collab_predictions": True}
    return int(client.call("POST", "/api/projects/", what=what, json=wanted)["id"])


def _image_id(reference: str) -> str:
    """`culture_12` of `/data/upload/1/96360b92-culture_12.png`."""
    return reference.rpartition("/")[2].rpartition("-")[2].removesuffix(".png")
