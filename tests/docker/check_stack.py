"""`make docker-test`: a team's stack in containers, from the images to a restored backup, a line and seconds per step.

It ends at the first step that fails, with what was seen, and removes what it made. Where docker/'s base images cannot
be had (tests/docker/engine says STAND_INS), Label Studio's image is made by pip as well.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from backend.console.demo.label_studio import free_ports
from backend.console.demo.sample_project import NUCLEI
from labeling.regions import brush_rle
from tests.docker.chart import check_chart
from tests.docker.stack import ROOT, CheckFailed, Stack, ensure_engine, run, stop_engine
from tests.e2e.label_studio_api import LabelStudioApi, wait_for

LABEL_CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="mask" toName="image">'
    '<Label value="Nucleus" prompt="all nuclei"/></BrushLabels></View>'
)
OLD_STORE = ROOT / "tests" / "fixtures" / "store" / "revision_0010.sql"
ROLES = ("backend", "publisher", "sweeper", "scheduler", "worker")
MASK_S = 120.0  # how long a mask, or a correction, may take on two busy cores


class Check:
    """The steps, in order. Each is a method that raises CheckFailed or AssertionError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = _new_stack(folder, "argenseg-test")
        self.restored = _new_stack(folder, "argenseg-restored", COMPOSE_PROFILES="")
        settings = self.stack.settings
        url = f"http://127.0.0.1:{settings['LABEL_STUDIO_PORT']}"
        self.images = list(NUCLEI.images())
        self.label_studio = LabelStudioApi(url, settings["LABEL_STUDIO_API_KEY"])

    @property
    def project(self) -> int:
        """The number of the project that `connect` made."""
        return int(self.label_studio.call("GET", "/api/projects/")["results"][0]["id"])

    def lint(self) -> None:
        hadolint = Path(sys.executable).with_name("hadolint")
        run(str(hadolint), "--ignore", "DL3042", *map(str, sorted((ROOT / "docker").glob("*.Dockerfile"))))
        for files in (["compose.yaml"], ["compose.yaml", "compose.gpu.yaml"]):
            options = [option for file in files for option in ("-f", f"docker/{file}")]
            run("docker", "compose", *options, "--env-file", str(self.stack.env_file), "config", "--quiet")

    def chart(self) -> None:
        folder = self.folder / "chart"
        folder.mkdir(exist_ok=True)
        check_chart(folder)

    def build_backend(self) -> None:
        self.stack.compose("build", "--quiet", "backend")

    def build_worker(self) -> None:
        self.stack.compose("build", "--quiet", "worker")

    def build_label_studio(self) -> None:
        """Only where no registry gives it."""
        if os.environ.get("STAND_INS") != "1":
            return
        version = re.search(r"label-studio:\$\{LABEL_STUDIO_VERSION:-([\d.]+)\}", _read("docker/compose.yaml"))
        assert version is not None
        context = self.folder / "label-studio"
        context.mkdir(exist_ok=True)
        pinned = run(str(ROOT / ".venv-label-studio" / "bin" / "python"), "-m", "pip", "freeze")
        (context / "constraints.txt").write_text(pinned)
        name, argument = f"heartexlabs/label-studio:{version[1]}", f"LABEL_STUDIO_VERSION={version[1]}"
        file = "tests/docker/label_studio.Dockerfile"
        run("docker", "build", "--quiet", "--file", file, "--tag", name, "--build-arg", argument, str(context))

    def up(self) -> None:
        self.stack.up()

    def health(self) -> None:
        """Every container says that it is well; the open pages answer for any Host, without torch in the process."""
        states = {container["Service"]: container["Health"] for container in self.stack.containers()}
        assert set(states.values()) == {"healthy"}, states
        for path in ("/live", "/ready"):
            assert self.stack.backend(path, Host="load-balancer.example.com").status_code == 200, path
        ready = self.stack.backend("/ready").json()
        assert ready["store"] and ready["spool"] and ready["redis"] and ready["workers"] == 1, ready
        with contextlib.suppress(CheckFailed):
            self.stack.compose("exec", "-T", "backend", "python", "-c", "import torch")
            raise AssertionError("the backend's image holds torch")
        for role in ROLES:
            seen = self.stack.compose(
                "exec", "-T", role, "sh", "-c", "id -u; touch /written 2>/dev/null || echo read-only"
            )
            assert seen.split() == ["10001", "read-only"], (role, seen)

    def connect(self) -> None:
        self.label_studio.import_images(self.label_studio.create_project("Nuclei", LABEL_CONFIG), list(self.images[:2]))
        said = self.stack.argenseg("connect", "--project", str(self.project))
        assert "connected the ML backend" in said, said
        said = self.stack.argenseg("doctor", "--project", str(self.project))
        assert "0 failures" in said or "All is well" in said, said

    def predict(self) -> None:
        """The project's tasks by command; one that is imported later by Label Studio's webhook."""
        self.stack.argenseg("predict", "--project", str(self.project), "--pin")
        for task in self.label_studio.task_ids(self.project):
            assert self._drawn(task), f"task {task} has no mask"
        [later] = self.label_studio.import_images(self.project, [self.images[2]])
        self._wait_for_mask(later)

    def correct(self) -> None:
        """A mask is changed by Label Studio's API, and the correction is reported with how much of it was changed."""
        self._correct(self.label_studio.task_ids(self.project)[0])
        self._wait_for_corrections({"edited": 1})

    def kill_worker(self) -> None:
        """The worker dies at work: it comes again, and the mask too."""
        [task] = self.label_studio.import_images(self.project, [self.images[3]])
        self.stack.compose("exec", "-T", "worker", "sh", "-c", "kill -KILL -1")
        self._wait_for_mask(task)

    def scale(self) -> None:
        self.stack.up("--no-recreate", "--scale", "worker=2", "worker")
        wait_for("two workers", lambda: self.stack.backend("/ready").json()["workers"] == 2)
        self.stack.up("--no-recreate", "--scale", "worker=1", "worker")

    def redis_away(self) -> None:
        """Redis is cut off: the door stays open and the correction is kept; it is seen when Redis is back."""
        network, redis = f"{self.stack.name}_default", self.stack.container("redis")
        run("docker", "network", "disconnect", network, redis)
        try:
            began = time.monotonic()
            assert self.stack.backend("/health").status_code == 200
            assert time.monotonic() - began < 1.0, "/health took longer than Label Studio waits"
            ready = self.stack.backend("/ready")
            assert (ready.status_code, ready.json()["redis"]) == (200, False), ready.text
            self._correct(self.label_studio.task_ids(self.project)[1])
        finally:
            run("docker", "network", "connect", "--alias", "redis", network, redis)
        self._wait_for_corrections({"edited": 2})
        wait_for("Redis", lambda: self.stack.backend("/ready").json()["redis"])
        [task] = self.label_studio.import_images(self.project, [self.images[4]])
        self._wait_for_mask(task)

    def down_and_up(self) -> None:
        """Volumes keep everything."""
        self.stack.compose("down", "--timeout", "60")
        self.stack.up()
        self._wait_for_corrections({"edited": 2})
        assert all(self._drawn(task) for task in self.label_studio.task_ids(self.project))

    def upgrade(self) -> None:
        """A store that an older version left is brought up by the new image where it lies, with what is in it."""
        load = "import sqlite3, sys; sqlite3.connect('/data/old.db').executescript(sys.stdin.read())"
        self.stack.compose("exec", "-T", "backend", "python", "-c", load, stdin=OLD_STORE.read_bytes())
        database = ["-e", "DATABASE_URL=sqlite:////data/old.db"]
        listed = self.stack.compose("exec", "-T", *database, "backend", "argenseg", "corrections", "list", "--json")
        kinds = sorted(json.loads(line)["kind"] for line in listed.splitlines())
        assert kinds == ["added", "edited"], kinds  # its third one is excluded

    def secrets(self) -> None:
        """A password by file instead of by environment; a wrong one is refused."""
        token = self.stack.settings["LABEL_STUDIO_API_KEY"]
        self.stack.compose("exec", "-T", "backend", "sh", "-c", "cat > /tmp/token", stdin=token.encode())
        options = ["-e", "LABEL_STUDIO_API_KEY=", "-e", "LABEL_STUDIO_API_KEY_FILE=/tmp/token"]
        said = self.stack.compose(
            "exec", "-T", *options, "backend", "argenseg", "versions", "list", "--project", str(self.project)
        )
        assert "starter" in said, said

    def backup(self) -> None:
        file = self.folder / "backup.tar.gz"
        options = f"-p {self.stack.name} -f docker/compose.yaml --env-file {self.stack.env_file}"
        run("sh", "-c", f"docker compose {options} exec -T backend argenseg backup - > {file}")
        assert file.stat().st_size > 1000

    def restore(self) -> None:
        """Into an empty stack: the corrections are there, the backend serves them, and a second restore is refused."""
        content = (self.folder / "backup.tar.gz").read_bytes()
        self.restored.up("postgres", "redis")
        said = self.restored.compose("run", "--rm", "-T", "backend", "restore", "-", stdin=content)
        assert said.startswith("Restored"), said
        self.restored.up("backend", "sweeper")
        listed = self.restored.argenseg("corrections", "list", "--project", str(self.project), "--json")
        assert len(listed.splitlines()) == 2, listed
        try:
            self.restored.argenseg("restore", "-", stdin=content)
        except CheckFailed as error:
            assert "not empty" in str(error), error
        else:
            raise AssertionError("a backup was restored over another installation")

    def _drawn(self, task: int) -> bool:
        return any(prediction["result"] for prediction in self.label_studio.predictions(task))

    def _wait_for_mask(self, task: int) -> None:
        wait_for(f"the mask of task {task}", lambda: self._drawn(task), MASK_S)

    def _wait_for_corrections(self, kinds: dict[str, int]) -> None:
        def are_there() -> bool:
            listed = self.stack.argenseg("corrections", "list", "--project", str(self.project), "--json")
            found = [json.loads(line)["kind"] for line in listed.splitlines()]
            return {kind: found.count(kind) for kind in set(found)} == kinds

        wait_for(f"corrections {kinds}", are_there, MASK_S)

    def _correct(self, task: int) -> None:
        """Submit the task's first prediction with a rectangle painted into each of its masks."""
        prediction = next(found for found in self.label_studio.predictions(task) if found["result"])
        result = [_painted(region) for region in prediction["result"]]
        self._submit(task, result, prediction["id"])

    def _submit(self, task: int, result: list[dict[str, Any]], prediction: int) -> None:
        body = {"result": result, "parent_prediction": prediction, "lead_time": 5.0}
        self.label_studio.call("POST", f"/api/tasks/{task}/annotations/", json=body)

    def remove(self) -> None:
        for stack in (self.stack, self.restored):
            with contextlib.suppress(CheckFailed):
                stack.remove()


def _painted(region: dict[str, Any]) -> dict[str, Any]:
    width, height = region["original_width"], region["original_height"]
    mask = brush_rle.decode(region["value"]["rle"], width, height).copy()
    mask[: height // 4, : width // 4] = 255
    return {**region, "value": {**region["value"], "rle": brush_rle.encode(np.asarray(mask, np.uint8))}}


def _new_stack(folder: Path, name: str, **settings: str) -> Stack:
    stack = Stack(name, folder / f"{name}.env")
    if stack.env_file.exists():  # of an earlier call
        return stack
    run("docker/make-env", str(stack.env_file))
    label_studio, backend = free_ports(2)
    ports = {"LABEL_STUDIO_PORT": label_studio, "BACKEND_PORT": backend}
    with stack.env_file.open("a") as file:  # what comes last counts
        file.writelines(f"{key}={value}\n" for key, value in {**ports, **settings}.items())
    return stack


def _read(path: str) -> str:
    return (ROOT / path).read_text()


@contextlib.contextmanager
def step(name: str) -> Iterator[None]:
    """Print the step's name and its seconds, whether it succeeds or not."""
    began = time.monotonic()
    try:
        yield
    except BaseException:
        print(f"{name:<18} {time.monotonic() - began:7.1f} s  FAILED", flush=True)
        raise
    print(f"{name:<18} {time.monotonic() - began:7.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="work there and leave all running, for a later call"
    )
    parser.add_argument("steps", nargs="*", help="only these (default: all)")
    options = parser.parse_args()
    began, folder = time.monotonic(), options.keep or Path(tempfile.mkdtemp(prefix="argenseg-docker-"))
    folder.mkdir(exist_ok=True)
    engine = folder.with_name(f"{folder.name}-engine")  # beside it: what it leaves is removed by nobody who waits
    with step("engine"):
        is_ours = ensure_engine(engine)
    check = Check(folder)
    steps: list[Callable[[], None]] = [
        check.lint,
        check.chart,
        check.build_backend,
        check.build_worker,
        check.build_label_studio,
        check.up,
        check.health,
        check.connect,
        check.predict,
        check.correct,
        check.kill_worker,
        check.scale,
        check.redis_away,
        check.down_and_up,
        check.upgrade,
        check.secrets,
        check.backup,
        check.restore,
    ]
    try:
        for each in steps:
            if not options.steps or each.__name__ in options.steps:
                with step(each.__name__.replace("_", " ")):
                    each()
    except (CheckFailed, AssertionError) as error:
        print(f"{check.stack.compose('logs', '--no-color', '--tail', '15', *ROLES)}\n\n{error}", file=sys.stderr)
        raise SystemExit(1) from None
    finally:
        if not options.keep:
            with step("stop"):
                if is_ours:  # with all that runs in it
                    stop_engine(engine)
                else:
                    check.remove()
                shutil.rmtree(folder, ignore_errors=True)
    print(f"{'all':<18} {time.monotonic() - began:7.1f} s")


if __name__ == "__main__":
    main()
