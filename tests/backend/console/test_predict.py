"""The commands, as a person runs them."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis import Redis

from backend.console import project_run
from backend.console.cli import main
from backend.operations.projects import predict, progress
from backend.operations.projects.progress import Standing, current_standing, duration
from labeling.predictions import Prediction
from labeling.settings import Settings, environment_of
from labeling.store import RunOptions
from labeling.store.base import utc_now
from tests.backend.operations.projects.label_studio_double import LabelStudioDouble
from worker.projects.open_project import OpenProject

Argenseg = Callable[..., tuple[int, str]]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def argenseg(connected: Settings, redis_connection: Redis) -> Argenseg:
    def run(*command: str) -> tuple[int, str]:
        answer = CliRunner().invoke(main, list(command), env=environment_of(connected))
        return answer.exit_code, answer.output

    return run


@pytest.fixture
def at_work(project: OpenProject, label_studio: LabelStudioDouble) -> Iterator[None]:
    """Somebody who predicts whatever is wanted, and sends it; task 4 is beyond them."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            for row in project.store.requests.stale(-1):
                request = project.store.requests.begin(row)
                if request is None or request.task_id == 4:
                    project.store.predictions.fail(row, "the image is damaged")
                    continue
                project.store.predictions.finish(row, Prediction([], None, request.model_version))
            for row in project.store.predictions.unpublished(-1):
                ready = project.store.predictions.get(row)
                project.store.predictions.mark_published(
                    row, label_studio.add_prediction(ready.task_id, ready.model_version)
                )

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.mark.usefixtures("at_work")
def test_a_project_from_the_first_look_to_the_pin(
    argenseg: Argenseg, project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    code, reported = argenseg("predict", "--project", "5", "--dry-run")
    assert (
        code == 0
        and "5 of its 5 tasks lack masks" in reported
        and project.store.project_runs.find_open(project.project) is None
    )
    code, reported = argenseg("predict", "--project", "5", "--pin")
    assert code == 1
    assert "5 of 5 tasks, 1 failed" in reported and "Label Studio holds 4 predictions" in reported
    assert "1 failed: the image is damaged (task 4)" in reported and "They are not pinned" in reported
    assert label_studio.project["model_version"] == ""
    assert "(task 4)" in argenseg("predict", "--project", "5", "--failed")[1]
    code, reported = argenseg("predict", "--project", "5", "--retry-failed")
    assert (
        code == 1 and reported.startswith("1 tasks are tried again.") and "1 failed: the image is damaged" in reported
    )
    del label_studio.tasks[4]
    assert argenseg("predict", "--project", "5", "--retry-failed") == (
        0,
        "0 tasks are tried again. 1 are gone from Label Studio.\n",
    )
    code, reported = argenseg("predict", "--project", "5", "--pin")
    assert code == 0 and "None of its 4 tasks lacks masks" in reported and "from now on" in reported
    assert label_studio.project["model_version"] == project.version
    code, reported = argenseg("versions", "list", "--project", "5")
    assert code == 0 and "current, seen by annotators" in " ".join(reported.split())
    assert argenseg("versions", "prune", "--project", "5") == (0, "0 predictions were deleted.\n")
    code, reported = argenseg("predict", "--project", "5")
    assert code == 4 and len(reported.splitlines()) == 1 and "argenseg predict --project 5 --again" in reported
    code, reported = argenseg("predict", "--project", "5", "--again")
    assert code == 0 and reported.startswith("4 predictions of") and "holds 4 predictions" in reported
    assert len(label_studio.predictions) == 4
    assert project.store.progress.counts()["published"] == 4 + 4, "what was predicted before stays in our store"


@pytest.mark.parametrize("title", ["[/data] cells", "Cells [batch 1]", "Cells :car:"])
def test_a_title_is_shown_as_it_is(argenseg: Argenseg, label_studio: LabelStudioDouble, title: str) -> None:
    label_studio.project["title"] = title
    code, reported = argenseg("predict", "--project", "5", "--dry-run")
    assert code == 0 and title in reported


@pytest.mark.usefixtures("at_work")
def test_a_shortfall_is_said_and_not_pinned(
    argenseg: Argenseg, project: OpenProject, label_studio: LabelStudioDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    del label_studio.tasks[4]
    add, lost = label_studio.add_prediction, [2, 3]

    def losing(task: int, version: str, *region_ids: str) -> int:
        """Label Studio says that it took a prediction, and does not have it."""
        return 900 + task if task in lost else add(task, version, *region_ids)

    monkeypatch.setattr(label_studio, "add_prediction", losing)
    code, reported = argenseg("predict", "--project", "5", "--pin")
    assert code == 1 and "2 tasks have none all the same" in reported and "They are not pinned" in reported
    assert label_studio.project["model_version"] == ""
    lost.clear()
    code, reported = argenseg("predict", "--project", "5", "--pin")
    assert code == 0 and "all the same" not in reported
    assert label_studio.project["model_version"] == project.version


def test_the_blind_slice_is_left_out(connected: Settings, redis_connection: Redis, project: OpenProject) -> None:
    environment = {**environment_of(connected), "BLIND_SHARE": "0.5"}
    reported = CliRunner().invoke(main, ["predict", "--project", "5", "--no-wait"], env=environment).output
    wanted = project.store.progress.counts()["requested"]
    assert 0 < wanted < 5
    assert f"{wanted} of its 5 tasks, 50% of them left blind (BLIND_SHARE), lack masks" in reported
    assert f"{wanted} tasks are queued" in reported


def test_cancel(argenseg: Argenseg, project: OpenProject) -> None:
    before = predict.look(project)
    assert "5 tasks are queued" in argenseg("predict", "--project", "5", "--no-wait")[1]
    assert argenseg("predict", "--project", "5", "--cancel")[1].startswith("5 tasks are taken back")
    standing = current_standing(project, predict.look(project), utc_now(), before, 5)
    assert (standing.done, standing.text()) == (0, "5 taken back"), "cancelled is not done"
    assert argenseg("predict", "--project", "5", "--cancel")[0] == 4
    assert argenseg("predict", "--project", "5", "--failed")[1] == "No task failed.\n"


def test_ctrl_c_says_how_to_come_back(connected: Settings, redis_connection: Redis, project: OpenProject) -> None:
    environment = {**os.environ, **environment_of(connected), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "backend.console.cli", "predict", "--project", "5"]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell's background jobs inherit that it is ignored
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, preexec_fn=heed) as process:
        assert process.stdout is not None
        reported = ""
        while "0 of 5 tasks" not in reported:
            reported += process.stdout.readline()
        assert "no worker is running" in reported
        process.send_signal(signal.SIGINT)
        reported, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "argenseg predict --project 5 --resume" in reported and "--project 5 --cancel" in reported
    assert project.store.project_runs.find_open(project.project) is not None


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        (["predict", "--project", "5", "--cancel", "--failed"], "exclude each other"),
        (["predict"], "--project"),
        (["versions", "pin", "--project", "5"], "no prediction of"),
        (["predict", "--project", "77"], "404"),
        (["up", "--connect"], "belong together"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(argenseg: Argenseg, command: list[str], reported: str) -> None:
    code, output = argenseg(*command)
    assert code != 0 and reported in output and "Traceback" not in output


@pytest.mark.parametrize("command", ["list", "pin", "prune"])
def test_every_version_command_has_an_example(argenseg: Argenseg, command: str) -> None:
    assert f"Example: argenseg versions {command}" in argenseg("versions", command, "--help")[1]


@pytest.mark.usefixtures("at_work")
def test_who_sees_the_live_backends_version_is_told_of_pinning(
    argenseg: Argenseg, project: OpenProject, label_studio: LabelStudioDouble
) -> None:
    del label_studio.tasks[4]
    label_studio.backends.append({"id": 1, "title": "ARGenSeg", "model_version": project.version})
    label_studio.project["model_version"] = "ARGenSeg"
    code, reported = argenseg("predict", "--project", "5")
    assert code == 0 and "uncertainty sampling works: argenseg versions pin --project 5" in reported
    assert "uncertainty" not in argenseg("predict", "--project", "5", "--pin")[1]
    assert "uncertainty" not in argenseg("predict", "--project", "5")[1]


def test_a_cancelled_run_is_resumed_with_its_options(argenseg: Argenseg, project: OpenProject) -> None:
    code, reported = argenseg("predict", "--project", "5", "--resume")
    assert code == 4 and "nothing to resume" in reported
    argenseg("predict", "--project", "5", "--limit", "2", "--only-unlabeled", "--pin", "--no-wait")
    project.store.requests.begin(project.store.requests.stale(-1)[0])
    assert argenseg("predict", "--project", "5", "--cancel")[1].startswith("1 tasks are taken back.")
    assert argenseg("predict", "--project", "5", "--resume", "--dry-run")[0] == 0
    assert project.store.project_runs.find_open(project.project) is None
    assert argenseg("predict", "--project", "5", "--resume", "--no-wait")[0] == 0
    run = project.store.project_runs.find_open(project.project)
    assert run is not None
    assert (run.options, run.requested) == (RunOptions(only_unlabeled=True, limit=2, pin=True), 2)
    assert project.store.progress.counts() == {"requested": 2}


@pytest.mark.parametrize(("change", "reported"), [("taken over", "took over"), ("cancelled", "was cancelled")])
@pytest.mark.usefixtures("at_work")
def test_a_run_that_ends_otherwise_is_no_success(
    argenseg: Argenseg,
    project: OpenProject,
    label_studio: LabelStudioDouble,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    reported: str,
) -> None:
    def meanwhile(*_: object) -> None:
        if change == "cancelled":
            project.store.project_runs.end(project.project, "cancelled")
        else:
            project.store.project_runs.begin(project.project, "tuned · 1", RunOptions(only_unlabeled=True))

    monkeypatch.setattr(project_run, "follow", meanwhile)
    code, output = argenseg("predict", "--project", "5", "--pin")
    assert code == 1 and reported in output
    assert label_studio.project["model_version"] == ""


def test_what_is_postponed_is_reported_and_not_in_the_estimate(
    argenseg: Argenseg, project: OpenProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = predict.look(project)
    argenseg("predict", "--project", "5", "--no-wait")
    began, rows = utc_now(), project.store.requests.stale(-1)
    project.store.requests.begin(rows[0])
    project.store.predictions.finish(rows[0], Prediction([], None, project.version))
    for row in rows[1:4]:
        project.store.requests.note_delay(row, "no such host")

    def standing() -> Standing:
        monkeypatch.setattr(progress, "live_workers", lambda *_: 1)
        return current_standing(project, predict.look(project), began, before, 5)

    some = standing()
    assert (some.postponed, some.reason) == (3, "no such host") and some.seconds_left is not None
    pace = project.store.progress.pace(weights="tiny")
    assert pace is not None and some.seconds_left == pytest.approx(pace.seconds_per_task)
    project.store.requests.note_delay(rows[4], "busy")
    project.store.requests.note_delay(rows[0], "Label Studio is down")  # computed, not sent
    assert standing().text() == "5 postponed: no such host"
    assert "3 postponed: no such host (task 2, 3, 4)" in argenseg("predict", "--project", "5", "--failed")[1]


def test_times_are_told_as_people_do() -> None:
    assert [duration(seconds) for seconds in (0.2, 89, 90, 60 * 89, 60 * 90, 12345)] == [
        *("1 s", "89 s", "2 min", "89 min", "1 h 30 min", "3 h 26 min")
    ]


def test_what_is_shown_beside_the_bar() -> None:
    assert Standing(3, 10, 1, 0, 1, 61.0).text() == "1 failed, about 61 s left"
    assert Standing(3, 10, 0, 7, 1, None).text() == "7 wait to be sent"
    assert Standing(7, 10, 0, 0, 1, None, 3, "no such host").text() == "3 postponed: no such host"
    assert Standing(5, 10, 0, 0, 1, 4.0, 3, "no such host").text() == "about 4 s left, 3 postponed: no such host"
    assert "no worker" in Standing(3, 10, 0, 0, 0, 5.0).text()
    assert Standing(10, 10, 0, 0, 0, None).text() == ""
