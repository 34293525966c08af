"""A project of a Label Studio that was there before us: connected, predicted, killed, resumed, pinned, pruned."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from backend.console.demo.label_studio import LabelStudioServer, find_label_studio, free_ports
from backend.console.demo.sample_project import NUCLEI, label_config
from labeling.settings import Settings, environment_of
from tests.e2e.label_studio_api import LabelStudioApi, RunningDemo, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]  # masks take seconds each on a machine that is busy

TASKS = 30
KILLED_AFTER = 4
READY_S = 300.0
RUN_S = 600.0


class Installation:
    """`argenseg` with a data folder of its own, beside a Label Studio that it did not start."""

    def __init__(self, label_studio: LabelStudioApi, folder: Path) -> None:
        self.label_studio = label_studio
        self._log = folder / "logs" / "argenseg.log"
        settings = Settings(
            label_studio_url=label_studio.url,
            label_studio_api_key=label_studio.token,
            data_dir=folder,
            redis_url=None,
            database_url=f"sqlite:///{folder}/argenseg.db",
            blob_url=str(folder / "blobs"),
            port=free_ports(1)[0],
            basic_auth_user="label-studio",
            basic_auth_pass="not a secret",
        )
        self.environment = {**os.environ, **environment_of(settings)}

    @contextmanager
    def up(self, *options: str) -> Iterator["subprocess.Popen[bytes]"]:
        """`argenseg up`, ready; killed at the end, if it still runs."""
        seen = self._ready_lines()
        output = subprocess.DEVNULL
        with subprocess.Popen(self._command("up", *options), env=self.environment, stdout=output) as process:
            try:
                wait_for("argenseg up", lambda: process.poll() is not None or self._ready_lines() > seen, READY_S)
                assert process.poll() is None, self._log.read_text()[-3000:]
                yield process
            finally:
                process.kill()

    def run(self, *command: str, exit_code: int = 0, url: str | None = None) -> str:
        """What a command printed; `url` names another Label Studio."""
        environment = {**self.environment, "LABEL_STUDIO_URL": url or self.label_studio.url}
        done = subprocess.run(
            self._command(*command), env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(self._command(*command), env=self.environment, stdout=subprocess.DEVNULL)

    def changes(self) -> list[str]:
        """What connecting changed, as the log tells."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.partition(" | ")[2] for line in lines if " | project " in line]

    def _ready_lines(self) -> int:
        return self._log.read_text().count("| ready: ") if self._log.exists() else 0

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "backend.console.cli", *words]


@pytest.fixture(scope="module")
def installation(demo: RunningDemo, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return Installation(demo.label_studio, tmp_path_factory.mktemp("operations"))


@pytest.fixture(scope="module")
def project(demo: RunningDemo) -> int:
    """A project of thirty tasks, with no backend yet."""
    number = demo.label_studio.create_project("Operations", label_config())
    names = [name for name in NUCLEI.ids if name.startswith("culture_")]
    for start in range(0, TASKS, len(names)):
        demo.label_studio.import_images(number, names[: TASKS - start])
    return number


def held(api: LabelStudioApi, project: int) -> dict[str, int]:
    """Label Studio's own count of predictions by version."""
    versions: dict[str, int] = api.call("GET", f"/api/projects/{project}/model-versions/")
    return {version: count for version, count in versions.items() if count}


def shown(api: LabelStudioApi, project: int) -> str:
    return str(api.call("GET", f"/api/projects/{project}/")["model_version"])


def test_a_killed_run_is_resumed_pinned_and_pruned(installation: Installation, project: int) -> None:
    api, number = installation.label_studio, str(project)
    with installation.up("--project", number, "--connect") as up:
        assert any("connected the ML backend" in change for change in installation.changes())
        running = installation.start("predict", "--project", number, "--pin")
        wait_for("the first masks", lambda: sum(held(api, project).values()) >= KILLED_AFTER, RUN_S)
        running.kill()
        running.wait()
        up.send_signal(signal.SIGKILL)
    assert sum(held(api, project).values()) < TASKS, "it was over before it was killed"

    changes = len(installation.changes())
    with installation.up("--project", number, "--connect"):
        assert all("password" in change for change in installation.changes()[changes:]), (
            "connecting again changes nothing"
        )
        reported = installation.run("predict", "--project", number, "--resume")
        assert "s a task, measured on" in reported and "whatever becomes of the backend" in reported
        ((version, count),) = held(api, project).items()
        assert count == TASKS and shown(api, project) == version
        assert {len(api.predictions(task)) for task in api.task_ids(project)} == {1}, "nothing lost, nothing doubled"

        (late,) = api.import_images(project, ["culture_01"])
        wait_for(
            "the mask of a new task", lambda: [p for p in api.predictions(late) if p["model_version"] == version], 120
        )
        checked = json.loads(installation.run("doctor", "--project", number, "--json"))
        assert [finding for finding in checked["findings"] if finding["state"] not in ("ok", "skipped")] == []

        api.call(
            "PATCH", f"/api/projects/{project}/", json={"label_config": label_config().replace("all nuclei", "nuclei")}
        )
        theirs = api.predictions(late)[0]
        copied = api.call("POST", "/api/predictions/", json={"task": late, "result": [], "model_version": version})
        installation.run("predict", "--project", number, "--limit", "3")
        assert version in installation.run("versions", "list", "--project", number)
        assert "0 predictions were deleted" in installation.run("versions", "prune", "--project", number, "--yes")
        assert "28 tasks have no prediction of it" in installation.run("versions", "pin", "--project", number)
        assert "3 predictions were deleted" in installation.run("versions", "prune", "--project", number, "--yes")
        assert held(api, project)[version] == TASKS + 1 - 3 + 1
        assert {theirs["id"], copied["id"]} <= {prediction["id"] for prediction in api.predictions(late)}


def test_the_two_defaults_that_break_it_are_named(
    demo: RunningDemo, installation: Installation, project: int, tmp_path: Path
) -> None:
    """A second Label Studio on a copy of the first one's data, with the two settings as they are by default."""
    original = demo.data_dir.parent / "label-studio"
    server = LabelStudioServer(find_label_studio(None), tmp_path, free_ports(1)[0])
    databases = [sqlite3.connect(folder / "label_studio.sqlite3") for folder in (original, tmp_path)]
    with closing(databases[0]) as source, closing(databases[1]) as copy:
        source.backup(copy)
    (tmp_path / "token").write_text((original / "token").read_text())
    settings = {"ML_BLOCK_LOCAL_IP": "true", "SSRF_PROTECTION_ENABLED": "true"}
    output = subprocess.DEVNULL
    with subprocess.Popen(
        server.command, env={**server.environment(), **settings}, stdout=output, stderr=output
    ) as process:
        try:
            wait_for("the second Label Studio", server.is_up, READY_S)
            reported = installation.run("doctor", "--project", str(project), "--json", exit_code=1, url=server.url)
        finally:
            process.terminate()
    findings = [finding for finding in json.loads(reported)["findings"] if finding["link"] == "private addresses"]
    assert [finding["mend"] for finding in findings] == [
        f"Set {setting}=false in Label Studio's environment and start it again." for setting in settings
    ]
