"""A project of 1,000 images is pre-annotated while worker, command, Redis and everything are killed: what is left?

    python benchmarks/project_of_1000.py IMAGES        a folder of pictures, such as docs/data.md tells of
    python benchmarks/project_of_1000.py IMAGES --tasks 200 --keep FOLDER    the second time Label Studio starts faster

Real Label Studio, Redis, backend, worker with the starter, publisher, sweeper. Half of the images are crops of those
in the folder, half drawn scenes, of 64 to 128 px. SIGKILL meets the command that shows the progress, the worker, Redis,
and in the end `argenseg up` with all its processes; then both commands are given again. It fails unless every task
holds exactly one prediction. Killed are only processes that this program started.
"""

import argparse
import io
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
from idleness import describe_idleness
from PIL import Image

from argenseg_model.scenes.drawing import draw_scene
from backend.console.demo.label_studio import LabelStudioServer, find_label_studio, free_ports
from backend.console.supervisor.up import is_ready
from labeling.label_studio.client import LabelStudioClient
from labeling.settings import Settings, environment_of
from labeling.store import Store

ROOT = Path(__file__).parents[1]
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="tag" toName="image">'
    '<Label value="nucleus" prompt="all nuclei"/></BrushLabels></View>'
)
UPLOADED_AT_ONCE = 50
PATIENCE_S = 900.0
KILLS = ((0.1, "predict"), (0.25, "worker"), (0.45, "redis"), (0.65, "everything"))  # when so much is predicted


class Installation:
    """`argenseg` beside a Label Studio that it did not start, in a folder of its own."""

    def __init__(self, label_studio: LabelStudioServer, folder: Path) -> None:
        self.settings = Settings(
            label_studio_url=label_studio.url,
            label_studio_api_key=label_studio.token(),
            data_dir=folder,
            redis_url=None,
            database_url=f"sqlite:///{folder}/argenseg.db",
            blob_url=str(folder / "blobs"),
            port=free_ports(1)[0],
            device="cpu",
        )
        self.client = LabelStudioClient(label_studio.url, label_studio.token())
        self._environment = {**os.environ, **environment_of(self.settings), "PYTHONPATH": str(ROOT)}

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        """In a process group of its own, which `kill_group` ends as a power cut would."""
        argv, output = [sys.executable, "-m", "backend.console.cli", *command], subprocess.DEVNULL
        return subprocess.Popen(argv, env=self._environment, stdout=output, start_new_session=True)

    def up(self, project: int) -> "subprocess.Popen[bytes]":
        """`argenseg up`, ready."""
        process = self.start("up", "--project", str(project), "--connect")
        wait_for("argenseg up", lambda: process.poll() is not None or is_ready(self.settings))
        assert process.poll() is None, "argenseg up ended"
        return process

    def predicted(self, project: int) -> int:
        """How many predictions Label Studio holds."""
        return sum(self.client.prediction_counts(project).values())


@contextmanager
def label_studio(folder: Path) -> Iterator[LabelStudioServer]:
    server = LabelStudioServer(find_label_studio(None), folder, free_ports(1)[0])
    output = subprocess.DEVNULL
    with subprocess.Popen(server.command, env=server.environment(), stdout=output, stderr=output) as process:
        try:
            wait_for("Label Studio", server.is_up)
            yield server
        finally:
            process.terminate()


def make_project(installation: Installation, sources: list[Path], tasks: int) -> int:
    """A project of so many small pictures, each another one."""
    client, settings = installation.client, installation.settings
    body = {"title": f"{tasks} images", "label_config": CONFIG, "show_collab_predictions": True}
    project = int(client.call("POST", "/api/projects/", what="No project could be made", json=body)["id"])
    for start in range(0, tasks, UPLOADED_AT_ONCE):
        numbers = range(start, min(start + UPLOADED_AT_ONCE, tasks))
        files = [(f"{number}.png", (f"{number}.png", picture(number, sources), "image/png")) for number in numbers]
        what = "The images could not be uploaded"
        client.call("POST", f"/api/projects/{project}/import", what=what, files=files, timeout=300.0)
    assert settings.label_studio_url is not None
    return project


def picture(number: int, sources: list[Path]) -> bytes:
    """Every second one a crop of a source, the others drawn scenes."""
    random = np.random.default_rng(number)
    side = int(random.choice([64, 96, 128]))
    if number % 2:
        image = Image.fromarray(draw_scene(random, side=side).image)
    else:
        with Image.open(sources[number // 2 % len(sources)]) as source:
            left, top = (int(random.integers(0, max(length - side, 0) + 1)) for length in source.size)
            image = source.convert("RGB").crop((left, top, left + side, top + side))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def run(installation: Installation, project: int, tasks: int) -> None:
    began, stood_still = time.monotonic(), {}
    command = ("predict", "--project", str(project), "--pin")
    up, predict = installation.up(project), installation.start(*command)
    for share, name in KILLS:
        wait_for(f"{share:.0%} of the tasks", lambda share=share: installation.predicted(project) >= share * tasks)
        if name == "predict":
            kill(predict.pid)
            predict.wait()
            predict = installation.start(*command, "--resume")
        elif name == "everything":
            kill_group(up, predict)
            up, predict = installation.up(project), installation.start(*command, "--resume")
        else:
            kill(child_named(up.pid, name))
        seen, killed = installation.predicted(project), time.monotonic()
        wait_for("more predictions", lambda seen=seen: installation.predicted(project) > seen)
        stood_still[name] = time.monotonic() - killed
        print(f"killed at {seen} of {tasks}: {name:10}  the next prediction came {stood_still[name]:.1f} s later")
    assert predict.wait(PATIENCE_S) == 0, "argenseg predict failed"
    seconds = time.monotonic() - began
    verify(installation, project, tasks)
    print(f"{tasks} tasks in {seconds:.0f} s with all that: {tasks / seconds:.1f} tasks/s")
    kill_group(up)


def verify(installation: Installation, project: int, tasks: int) -> None:
    """Every task holds exactly one prediction, and the store agrees."""
    client, settings = installation.client, installation.settings
    listed = [task["id"] for task in client.list_tasks(project)]
    held = [client.list_predictions(task) for task in listed]
    numbers = Counter(len(predictions) for predictions in held)
    versions = {prediction["model_version"] for predictions in held for prediction in predictions}
    regions = [region["id"] for predictions in held for item in predictions for region in item["result"]]
    with Store.open(settings.database_url, settings.blob_url) as store:
        known = store.projects.find(project)
        assert known is not None
        rows = [store.predictions.get(row) for row in range(1, tasks + 1)]
        counts = store.progress.counts()
    shown = client.get_project(project)["model_version"]
    print(f"tasks by how many predictions they hold: {dict(numbers)}; versions: {versions}; annotators see {shown!r}")
    print(f"{len(regions)} regions, {len(set(regions))} different ids; the store: {counts}")
    print(f"{sum(row.attempts > 1 for row in rows)} tasks were begun more than once")
    assert numbers == {1: tasks} and versions == {shown} and counts == {"published": tasks}, "lost or doubled"
    assert len(set(regions)) == len(regions)


def child_named(parent: int, name: str) -> int:
    """The service of this name that the supervisor `parent` started."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
        if words[-1] == name or (name == "redis" and "redis" in Path(words[0]).name):
            return int(pid)
    raise LookupError(f"argenseg up has no {name}")


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def kill_group(*processes: "subprocess.Popen[bytes]") -> None:
    """What these started ends with them: the kernel tells the supervisor's children."""
    for process in processes:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(what: str, question: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            if question():
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="a folder of pictures, to cut crops out of")
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--keep", type=Path, help="where Label Studio's data is kept, and used again")
    options = parser.parse_args()
    sources = sorted(options.images.glob("*.png"))
    assert sources, f"{options.images} holds no .png"
    print(describe_idleness())
    with tempfile.TemporaryDirectory() as folder, label_studio(options.keep or Path(folder) / "ls") as server:
        installation = Installation(server, Path(folder) / "argenseg")
        began = time.monotonic()
        project = make_project(installation, sources, options.tasks)
        print(f"{options.tasks} images uploaded in {time.monotonic() - began:.0f} s")
        run(installation, project, options.tasks)
    print(describe_idleness())


if __name__ == "__main__":
    main()
